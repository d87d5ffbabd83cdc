"""The pages about one's own profile and the questions for new people, without scripts."""

import re

import pytest

from daogou.serve.web import fields, taste
from daogou.serve.web.speech import catalogue


def home(client) -> str:
    return client.get("/").text


def cards(html: str) -> list[str]:
    """Ids of the items of the first row, in which nothing is drawn by chance."""
    return re.findall(r'<h3><a href="/item/(\d+)\?', html.partition('<section class="row"')[2].partition("</section>")[0])


@pytest.fixture
def shopper(client):
    """Somebody with a history, who takes back at the end what they said: the shop is the same for all tests."""
    client.become("1007")
    yield client
    client.send_form("/profile/forget")


def test_a_shopper_sees_tastes_with_their_evidence(shopper) -> None:
    page = shopper.get("/profile").text
    assert "<h1>Your taste</h1>" in page and "as often as others" in page
    assert re.search(r"Bought \d+×", page) and page.count('class="taste"') >= 5
    assert "Your rhythm" in page and "You came on" in page and page.count("<rect") > 31
    assert not re.search(r"25-34|35-44|45-54|35-49K|50-74K", page), "who they are is neither shown nor guessed"


def test_a_guest_without_history_is_led_to_the_questions(client) -> None:
    page = client.get("/profile").text
    assert "Nothing is concluded yet" in page and 'href="/welcome"' in page
    assert 'href="/welcome"' in home(client)


def first_taste(page: str) -> tuple[str, str]:
    found = re.search(
        r'name="attribute" value="([^"]+)"><input type="hidden" name="value" value="([^"]+)"><input type="hidden" name="says" value="wrong"', page
    )
    assert found is not None
    return found[1], found[2].replace("&gt;", ">").replace("&amp;", "&")


def test_saying_that_it_is_wrong_changes_the_next_page_and_is_taken_back(shopper) -> None:
    before = cards(home(shopper))
    attribute, value = first_taste(shopper.get("/profile").text)
    after = shopper.send_form("/profile/say", attribute=attribute, value=value, says="wrong")
    assert after.url.path == "/profile" and "What you said" in after.text and "Not me" in after.text
    assert cards(home(shopper)) != before
    assert (attribute, value) != first_taste(shopper.get("/profile").text)
    shopper.send_form("/profile/say", attribute=attribute, value=value, says="undo")
    assert cards(home(shopper)) == before and "What you said" not in shopper.get("/profile").text


def test_more_is_raised_and_says_so(shopper) -> None:
    said = shopper.send_form("/profile/say", htmx=True, attribute="brand", value="Bluebird", says="more")
    assert said.text.lstrip().startswith('<div id="profile">') and "you will see more" in said.headers["hx-trigger"]
    page = home(shopper)
    assert "You asked for more of this" in page and page.count("Bluebird") >= 4
    shopper.send_form("/profile/forget")
    assert "You asked for more of this" not in home(shopper)


def test_what_cannot_be_said_is_answered_for_people(shopper) -> None:
    assert shopper.send_form("/profile/say", attribute="brand", value="No such brand", says="more").status_code == 400
    assert shopper.send_form("/profile/say", attribute="age", value="25-34", says="more").status_code == 400
    assert shopper.send_form("/profile/say", attribute="brand", value="Bluebird", says="perhaps").status_code == 404
    assert shopper.post("/profile/say", data={"attribute": "brand", "value": "Bluebird", "says": "more"}).status_code == 403


def test_in_chinese(shopper) -> None:
    shopper.send_form("/language", to="zh", next="/profile")
    page = shopper.get("/profile").text
    assert "<h1>你的画像</h1>" in page and "是别人的" in page and re.search(r"购买 \d+×", page) and "你的节奏" in page
    assert "<h1>你喜欢什么？</h1>" in shopper.get("/welcome").text
    shopper.send_form("/language", to="en", next="/")


def test_a_guest_answers_and_is_met_as_somebody(client, site) -> None:
    before = cards(home(client))
    page = client.get("/welcome").text
    assert page.count("<fieldset>") == 3 and "Question 3 of 3" in page and "Skip this" in page
    offered = re.findall(r'name="pick" value="(item_id=\d+)"', page)
    assert len(offered) == 18
    token = re.search(r'name="_csrf_token" value="([0-9a-f]+)"', page)
    assert token is not None
    chosen = offered[:3]
    answered = client.post("/welcome", data={"_csrf_token": token[1], "pick": chosen})
    assert answered.url.path == "/" and cards(answered.text) != before
    known = site.app.state.store.corrections(client.person)
    assert {f"{one.attribute}={one.value}" for one in known} == set(chosen) and {one.says for one in known} == {"more"}
    assert "Goes with what you chose at the start" in answered.text
    assert "These rows follow what you said you like" in answered.text and "For you</h2>" in answered.text
    assert client.get("/profile").text.count("More of it") == 3


def test_no_pick_and_a_foreign_pick(client) -> None:
    assert client.send_form("/welcome").url.path == "/"
    assert client.send_form("/welcome", pick="item_id=nothing").status_code == 400


@pytest.mark.parametrize(
    ("attribute", "value", "kind", "expected"),
    [
        ("category", "DAIRY > FLUID MILK", "category", ["Dairy", "Fluid Milk"]),
        ("price", "2.3..3.2", "number", ["$2.30 – $3.20"]),
        ("price", "..5", "number", ["< $5.00"]),
        ("year", "2010..", "number", ["≥ 2010"]),
        ("brand", "Hill & Dale", "tag", ["Hill & Dale"]),
        ("range", "1..2", "tag", ["1..2"]),
    ],
)
def test_values_read_as_people_write_them(attribute: str, value: str, kind: str, expected: list[str]) -> None:
    assert fields.label(attribute, value, kind, "USD") == expected


def test_every_word_has_its_message() -> None:
    assert {*taste.WORD_OF.values()} <= set(catalogue("zh"))
