"""Questions over HTTP: what is answered, to whom, and what a wrong question hears."""

from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from daogou.scenario import Project
from daogou.serve.app import create_app

Client = TestClient[Litestar]


def ask(client: Client, **body: Any) -> dict[str, Any]:
    response = client.post("/v1/recommendations", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_every_placement_answers_with_items_and_the_release(reading: Client) -> None:
    for place in reading.get("/v1/placements").json():
        answer = ask(reading, placement=place["name"], user_id="u1", items=["i3"] if place["about"] == "items" else [])
        assert len(answer["items"]) == place["size"]
        assert answer["release"] == reading.app.state.live.release
        assert not answer["degraded"]
        assert all(item["item"]["title"] for item in answer["items"])


def test_taste_is_personal(reading: Client) -> None:
    odd, even = (ids(ask(reading, placement="home.for_you", user_id=who, k=5)) for who in ("u1", "u2"))
    assert {int(i[1:]) % 2 for i in odd} == {1}
    assert {int(i[1:]) % 2 for i in even} == {0}


def test_an_unknown_shopper_is_a_guest(reading: Client) -> None:
    stranger, guest = ask(reading, placement="home.guest", user_id="nobody-knows-me"), ask(reading, placement="home.guest")
    assert ids(stranger) == ids(guest)
    assert len(ids(guest)) == 12


def test_a_session_speaks_for_a_guest(reading: Client) -> None:
    seen = [{"item_id": f"i{n}", "event": "purchase"} for n in (1, 3, 5)]
    answer = ask(reading, placement="home.for_you", session=seen, k=5, explain=True)
    assert {int(i[1:]) % 2 for i in ids(answer)} == {1}
    assert {cause["item_id"] for item in answer["items"] for cause in item["explanation"]} <= {"i1", "i3", "i5"}


def test_the_next_request_sees_the_event_just_sent(client: Client) -> None:
    before = ids(ask(client, placement="home.discover", user_id="u1", k=10))
    for bought in before[:3]:
        sent = client.post("/v1/events", json={"user_id": "u1", "item_id": bought, "event": "purchase"})
        assert sent.json()["accepted"] == 1
        after = ids(ask(client, placement="home.discover", user_id="u1", k=10))
        assert bought not in after  # this placement leaves out what was bought


def test_price_and_stock_count_at_once(client: Client) -> None:
    first = ids(ask(client, placement="home.guest"))[0]
    client.patch(f"/v1/items/{first}", json={"available": False})
    assert first not in ids(ask(client, placement="home.guest"))
    client.patch(f"/v1/items/{first}", json={"available": True, "price": 0.5})
    assert ids(ask(client, placement="home.guest", filter="price < 1")) == [first]


def test_filter_exclude_and_details(reading: Client) -> None:
    answer = ask(reading, placement="home.guest", filter='brand = "brand1" and price <= 20', exclude=["i1"], details=False)
    assert set(ids(answer)) == {"i5", "i9", "i13", "i17"}
    assert all(item["item"] is None for item in answer["items"])


def test_rank_orders_exactly_the_given_items(reading: Client) -> None:
    answer = reading.post("/v1/rank", json={"user_id": "u1", "items": ["i2", "i21", "i4", "i23"]}).json()
    assert sorted(ids(answer)) == ["i2", "i21", "i23", "i4"]
    assert set(ids(answer)[:2]) == {"i21", "i23"}


@pytest.mark.parametrize("what", ["similar", "bought-together"])
def test_neighbours_of_an_item(reading: Client, what: str) -> None:
    answer = reading.get(f"/v1/items/i4/{what}", params={"k": 3}).json()
    assert len(ids(answer)) == 3
    assert "i4" not in ids(answer)
    assert {int(i[1:]) % 2 for i in ids(answer)} == {0}
    missing = reading.get(f"/v1/items/none/{what}")
    assert missing.status_code == 404
    assert missing.json()["extra"][0]["field"] == "item_id"


def test_search_finds_words_and_keeps_the_filter(reading: Client) -> None:
    assert ids(reading.get("/v1/search", params={"q": "thing 7", "k": 1}).json()) == ["i7"]
    found = reading.get("/v1/search", params={"q": "thing", "filter": "price > 38", "k": 10}).json()
    assert set(ids(found)) == {"i38", "i39"}


def test_without_a_release_the_newest_answer(project: Project) -> None:
    with TestClient(create_app(project, open_access=True)) as client:
        answer = ask(client, placement="home.guest", k=3)
        assert answer["release"] is None
        assert ids(answer) == ["i39", "i38", "i37"]
        assert client.get("/readyz").json()["release"] is None


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/recommendations", {"placement": "nowhere"}, "placement"),
    ("/v1/recommendations", {}, "placement"),
    ("/v1/recommendations", {"placement": 7}, "placement"),
    ("/v1/recommendations", {"placement": "home.guest", "k": 0}, "k"),
    ("/v1/recommendations", {"placement": "home.guest", "k": 101}, "k"),
    ("/v1/recommendations", {"placement": "home.guest", "k": "5"}, "k"),
    ("/v1/recommendations", {"placement": "home.guest", "surprise": 1}, "surprise"),
    ("/v1/recommendations", {"placement": "home.guest", "filter": "price <="}, "filter"),
    ("/v1/recommendations", {"placement": "home.guest", "filter": "colour = 1"}, "filter"),
    ("/v1/recommendations", {"placement": "product.similar", "items": ["none"]}, "items[0]"),
    ("/v1/recommendations", {"placement": "home.guest", "session": [{"item_id": "i1", "evnt": "view"}]}, "session[0].evnt"),
    ("/v1/recommendations", {"placement": "home.guest", "session": [{"item_id": "i1", "event": "view", "time": 10**30}]}, "session[0].time"),
    ("/v1/rank", {"items": []}, "items"),
    ("/v1/rank", {"items": ["i1", "none"]}, "items[1]"),
    ("/v1/rank", {"user_id": "u1"}, "items"),
]


@pytest.mark.parametrize(("path", "body", "field"), WRONG)
def test_a_wrong_question_names_its_field(reading: Client, path: str, body: dict[str, Any], field: str) -> None:
    response = reading.post(path, json=body)
    assert response.status_code == 400, response.text
    problem = response.json()
    assert problem["status_code"] == 400
    assert problem["detail"]
    assert [flaw["field"] for flaw in problem["extra"]] == [field]
    assert problem["extra"][0]["found"]


@pytest.mark.parametrize("params", [{"q": "x", "k": "0"}, {"q": "x", "k": "many"}, {}, {"q": ""}, {"q": "x", "filter": "nope nope"}, {"q": "x" * 501}])
def test_a_wrong_search_names_its_parameter(reading: Client, params: dict[str, str]) -> None:
    response = reading.get("/v1/search", params=params)
    assert response.status_code == 400, response.text
    assert response.json()["extra"][0]["field"] in {"k", "q", "filter"}


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "nothing"), (b"{", "truncated"), (b"\xff\xfe", ""), (b'{"placement": "\xff"}', "utf-8"), (b"null", "null")],
)
def test_a_body_that_is_not_json(reading: Client, content: bytes, found: str) -> None:
    response = reading.post("/v1/recommendations", content=content)
    assert response.status_code == 400
    flaw = response.json()["extra"][0]
    assert flaw["field"] == "body"
    assert found in flaw["found"]


def test_a_huge_body_is_refused_before_it_is_read(reading: Client) -> None:
    response = reading.post("/v1/recommendations", content=b'{"placement": "' + b"x" * 300_000 + b'"}')
    assert response.status_code == 413
    assert response.json()["extra"][0]["field"] == "body"


def test_an_unknown_field_is_told_its_nearest_name(reading: Client) -> None:
    flaw = reading.post("/v1/recommendations", json={"placment": "home.guest"}).json()["extra"][0]
    assert flaw["fix"] == "did you mean `placement`?"
