"""The pages as a browser without scripts gets them, from the real engine and store."""

import re
import time
from html import unescape
from pathlib import Path

import httpx
import pytest
from litestar.testing import TestClient

from daogou.data.rows import Event, Item
from daogou.errors import StoreBusy
from daogou.scenario import load_project
from daogou.serve.app import create_app
from daogou.store import Store

SHOPPER = "1003"
PASTA = "10050"


def cards(page: httpx.Response | str) -> list[str]:
    """Ids of the items on a page's cards, in order."""
    text = page if isinstance(page, str) else page.text
    return re.findall(r'<h3><a href="/item/([^"?]+)', text)


def row(page: httpx.Response, title: str) -> list[str]:
    """Ids of the items of one row."""
    return cards(page.text.partition(f"<h2>{title}</h2>")[2].partition("</section>")[0])


def reasons(page: httpx.Response) -> list[str]:
    return [unescape(text) for text in re.findall(r'</svg><span>([^<]+)</span><span class="aside">Why', page.text)]


# ---- home ----------------------------------------------------------------------------------------------------------------------
def test_a_guest_sees_what_is_popular_and_nothing_that_cannot_be_had(client) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "Popular now" in page.text and "We know nothing about you yet" in page.text
    assert len(row(page, "Popular now")) == 12
    assert "10042" not in cards(page)  # not available
    assert len(set(cards(page))) == len(cards(page))  # an item stands in one row only


def test_the_home_of_a_shopper_is_about_what_they_buy(client, site) -> None:
    page = client.become(SHOPPER)
    store = site.app.state.store
    bought = {event.item_id for event in store.history(SHOPPER, 500, events=["purchase"])}
    mine, new = row(page, "For you"), row(page, "Something new")
    kinds = {item.category for item in store.items(list(bought))}
    of_their_kinds = [item.item_id for item in store.items(mine) if item.category in kinds]
    assert len(of_their_kinds) >= 10  # of 12; the households buy less than half of the kinds
    assert not set(new) & bought
    assert any(reason.startswith("Because you bought ") for reason in reasons(page))
    assert f"Shopper {SHOPPER}" in page.text
    other = client.become("1010")
    assert row(other, "For you") != mine


def test_the_footer_says_what_the_answer_rests_on(client, site) -> None:
    page = client.become("1042")
    known = site.app.state.store.history("1042", 500, events=["purchase"])
    assert site.app.state.live.release in page.text
    assert f'<a href="/known">{len(known)} events</a>' in page.text
    assert "by every model of this page" in page.text


def test_what_was_shown_does_not_crowd_out_what_was_done(client, site) -> None:
    before = client.become("1060")
    at = time.time_ns() // 1000
    site.app.state.store.add_events([Event(user_id="1060", item_id=PASTA, event="shown", time=at + n) for n in range(1200)])  # more than one answer reads
    after = client.get("/")
    assert row(after, "For you") == row(before, "For you")
    assert re.findall(r"these rows are chosen from[^<]+", after.text.lower()) == re.findall(r"these rows are chosen from[^<]+", before.text.lower()) != []


def test_a_release_that_is_missing_a_model_says_so(client, site, monkeypatch) -> None:
    engine = site.app.state.live.engine
    monkeypatch.setattr(engine, "_models", {name: model for name, model in engine._models.items() if name != "ease"})
    monkeypatch.setattr(engine._blends["home.for_you"], "part", lambda *_: (_ for _ in ()).throw(RuntimeError("broken")))
    page = client.become(SHOPPER)
    assert page.status_code == 200 and cards(page)
    assert "by simpler models than usual" in page.text


def test_what_has_no_name_is_not_shown_nor_noted_as_shown(client, site) -> None:
    store, engine = site.app.state.store, site.app.state.live.engine
    store.patch_item(Item(item_id="10051", title=None))
    engine.catalogue_changed(["10051"])
    try:
        before = time.time_ns() // 1000
        page = client.get("/item/10055")  # the sauce that goes with it
        assert "10051" not in cards(page) and len(row(page, "Often bought together")) == 5
        site.app.state.services.shown.flush()
        shown = [(e.item_id, e.position) for e in store.history(client.person, 100) if e.event == "shown" and e.time >= before]
        assert ("10051", 0) not in shown and {item for item, _ in shown} == set(cards(page))
    finally:
        store.patch_item(Item(item_id="10051", title="FARM STYLE PASTA"))
        engine.catalogue_changed(["10051"])


# ---- language -------------------------------------------------------------------------------------------------------------------
def test_the_browser_and_then_the_switch_choose_the_language(client) -> None:
    assert '<html lang="zh-CN">' in client.get("/", headers={"accept-language": "zh-CN,zh;q=0.9"}).text
    assert '<html lang="en">' in client.get("/").text
    page = client.send_form("/language", to="zh", next="/search?q=pasta")
    assert '<html lang="zh-CN">' in page.text and str(page.url).endswith("/search?q=pasta")
    assert "街角集市" in page.text and "搜索结果" in page.text
    assert '<html lang="zh-CN">' in client.get("/").text
    assert '<html lang="zh-CN">' in client.send_form("/language", to="xx", next="//evil.example/").text  # stays, and stays here
    assert client.get("/").url.host == "127.0.0.1"


# ---- one item -------------------------------------------------------------------------------------------------------------------
def test_an_item_has_a_page_with_what_goes_with_it(client) -> None:
    page = client.get(f"/item/{PASTA}")
    assert "Often bought together" in page.text and "Similar products" in page.text
    together = row(page, "Often bought together")
    assert len(together) == 6 and PASTA not in cards(page)
    assert "Because you bought" not in page.text  # a look is not a purchase
    assert any("bought together with" in reason for reason in reasons(page))


def test_looking_is_an_event_with_the_answer_that_led_there(client, site) -> None:
    home = client.become("1044")
    href = re.search(r'<h3><a href="(/item/(\w+)\?r=(\w+)&amp;p=(\d+))"', home.text)
    assert href is not None
    page = client.get(unescape(href[1]))
    assert f'name="item" value="{href[2]}"' in page.text
    before = len(site.app.state.store.history("1044", 1000))
    sent = client.send_form("/seen", item=href[2], r=href[3], p=href[4])
    assert sent.status_code == 204
    event = next(e for e in reversed(site.app.state.store.history("1044", 1000)) if e.event == "view")
    assert (event.item_id, event.request_id, event.position) == (href[2], href[3], int(href[4]))
    assert abs(event.time / 1e6 - time.time()) < 60
    assert len(site.app.state.store.history("1044", 1000)) > before
    client.get(f"/item/{PASTA}")  # showing a page is no event: only its post is
    assert not [e for e in site.app.state.store.history("1044", 1000) if e.event == "view" and e.item_id == PASTA]


def test_a_guest_who_looked_has_a_home_of_their_own(client, site) -> None:
    client.send_form("/seen", item=PASTA, r="", p="0")
    page = client.get("/")
    assert "For you" in page.text and "1 thing you did here" in page.text
    sauce = {item.item_id for item in site.app.state.store.items(cards(page)) if "PASTA SAUCE" in str(item.title)}
    assert sauce


MISSING = ["/item/nope", "/item/", "/item/" + "x" * 300, "/item/..%2F..%2Fetc", "/why?place=home.for_you&item=nope"]
MISSING += ["/art/none.svg", "/static/none.css", "/static/../page.py"]


@pytest.mark.parametrize("path", MISSING)
def test_what_is_not_there_is_not_found(client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_missing_page_speaks_to_people(client) -> None:
    page = client.get("/item/nope", headers={"accept-language": "zh"})
    assert page.status_code == 404 and "没有这个页面" in page.text


@pytest.mark.parametrize("path", ["/why?place=nope&item=" + PASTA, "/why", "/search?q=" + "x" * 300, "/shoppers?after=-1", "/item/10050?p=x"])
def test_a_wrong_address_is_answered_for_people(client, path: str) -> None:
    page = client.get(path)
    assert page.status_code == 400 and "could not be understood" in page.text


# ---- why ------------------------------------------------------------------------------------------------------------------------
def test_why_names_the_causes_and_their_shares(client, site) -> None:
    page = client.become(SHOPPER)
    item = row(page, "For you")[0]
    why = client.get(f"/why?place=home.for_you&item={item}", headers={"hx-request": "true"})
    shares = [int(share) for share in re.findall(r"<b>(\d+)%</b>", why.text)]
    causes = re.findall(r'<li>\s*<a href="/item/(\w+)"', why.text)
    bought = {event.item_id for event in site.app.state.store.history(SHOPPER, 500, events=["purchase", "view", "cart"])}
    assert shares == sorted(shares, reverse=True) and 97 <= sum(shares) <= 103
    assert causes and set(causes) <= bought
    assert "Shares are exact" in why.text and "<html" not in why.text
    assert "<html" in client.get(f"/why?place=home.for_you&item={item}").text  # without scripts, a page of its own


def test_why_on_a_product_page_speaks_of_the_page(client) -> None:
    why = client.get(f"/why?place=product.bought_together&item=10055&of={PASTA}")
    assert "what is on this page" in why.text and f'<a href="/item/{PASTA}">' in why.text


def test_why_something_popular_claims_nothing_about_the_guest(client) -> None:
    item = row(client.get("/"), "Popular now")[0]
    assert "Nothing about you was used" in client.get(f"/why?place=home.guest&item={item}").text


def test_why_says_so_when_the_item_would_not_be_chosen_any_more(client) -> None:
    assert "would not be chosen again" in client.get("/why?place=home.for_you&item=10042").text


# ---- cart -----------------------------------------------------------------------------------------------------------------------
def test_the_cart_changes_what_goes_with_it_and_is_taken_once(client, site) -> None:
    client.become("1046")
    empty = client.get("/cart")
    assert "Your cart is empty" in empty.text
    client.send_form("/cart", item=PASTA, change="1", r="abc", p="2")
    first = row(client.get("/cart"), "Goes with your cart")
    client.send_form("/cart", item="10170", change="1")  # dog food
    page = client.send_form("/cart", item=PASTA, change="1")
    both = client.get("/cart")
    second = row(both, "Goes with your cart")
    assert first and second and first != second
    assert not {PASTA, "10170"} & {*first, *second}
    assert "3 products" in both.text and ">3</b>" in page.text
    events = [(e.event, e.item_id, e.request_id, e.position) for e in site.app.state.store.history("1046", 1000) if e.event == "cart"]
    assert events == [("cart", PASTA, "abc", 2), ("cart", "10170", None, None), ("cart", PASTA, None, None)]

    cookie = client.cookies["daogou-visit"]
    done = client.send_form("/cart/take")
    assert "Thank you!" in done.text
    assert "Your cart is empty" in client.get("/cart").text
    client.cookies.delete("daogou-visit")
    client.cookies.set("daogou-visit", cookie, domain="127.0.0.1", path="/")  # the button pressed twice: the same cart is sent again
    assert "Thank you!" in client.send_form("/cart/take").text
    bought = [e for e in site.app.state.store.history("1046", 1000) if e.event == "purchase" and e.time > 1_750_000_000_000_000]
    assert sorted((e.item_id, e.value) for e in bought) == [(PASTA, 2.0), ("10170", 1.0)]


def test_lines_are_counted_down_and_taken_out(client) -> None:
    for change in ("1", "1", "-1"):
        client.send_form("/cart", item=PASTA, change=change)
    assert "1 product" in client.get("/cart").text
    part = client.send_form("/cart", htmx=True, item=PASTA, change="0", view="lines")
    assert 'id="lines"' in part.text and "Your cart is empty" in part.text and "hx-swap-oob" in part.text
    assert "cart-changed" in part.headers["hx-trigger"] and part.headers["hx-trigger"].isascii()


def test_a_press_in_a_card_answers_with_the_counter_alone(client) -> None:
    part = client.send_form("/cart", htmx=True, item=PASTA, change="1", r="abc", p="2")
    assert "<html" not in part.text and 'name="change" value="-1"' in part.text and 'value="abc"' in part.text


def test_a_full_cart_says_so_and_keeps_what_it_holds(client, site) -> None:
    store = site.app.state.store
    names = ["z" * 200 + str(n) for n in range(20)]
    store.put_items([Item(item_id=name, title=name[-3:]) for name in names])
    try:
        said = [client.send_form("/cart", htmx=True, item=name, change="1").headers["hx-trigger"] for name in names]
        assert "in your cart" in said[0] and "The cart is full" in said[-1]
        assert len(client.cookies["daogou-visit"]) < 4000
    finally:
        for name in names:
            store.delete_item(name)
    assert "Your cart is empty" in client.get("/cart").text  # what left the catalogue leaves the cart


def test_what_is_not_in_the_catalogue_cannot_be_added(client) -> None:
    assert client.send_form("/cart", item="nope", change="1").status_code == 404
    assert client.send_form("/seen", item="nope").status_code == 404


# ---- search ---------------------------------------------------------------------------------------------------------------------
def test_search_finds_by_words_and_narrows(client, site) -> None:
    page = client.get("/search", params={"q": "pasta sauce"})
    first = site.app.state.store.items(cards(page)[:5])
    assert all("PASTA SAUCE" in str(item.title) for item in first)
    narrowed = client.get("/search", params={"q": "pasta", "max": "3,50", "category": "GROCERY"})
    found = site.app.state.store.items(cards(narrowed))
    assert found and all(float(item.price) <= 3.5 and str(item.category).startswith("GROCERY") for item in found)
    assert "category = &#34;GROCERY&#34; and price &lt;= 3.5" in narrowed.text


def test_a_category_is_browsed_in_the_shoppers_order(client, site) -> None:
    client.become(SHOPPER)
    mine = cards(client.get("/search?category=PRODUCE"))
    assert mine and all(str(item.category).startswith("PRODUCE") for item in site.app.state.store.items(mine))
    client.become("1011")
    assert cards(client.get("/search?category=PRODUCE")) != mine


def test_finding_nothing_is_friendly(client) -> None:
    page = client.get("/search?q=qqqqqqq")
    assert "Nothing fits that yet" in page.text and cards(page)  # and something to look at
    assert "Nothing fits that yet" in client.get('/search?category=x"y\\').text
    assert "Nothing fits" not in client.get("/search?max=abc").text  # what is no price is no filter


def test_suggestions_while_typing(client) -> None:
    assert "Milk" in client.get("/search/suggest?q=mil").text
    assert "/search?category=PRODUCE" in client.get("/search/suggest?q=prod").text
    assert client.get("/search/suggest?q=").text.strip() == ""
    assert "Nothing begins like that" in client.get("/search/suggest?q=qqqqqq").text


def test_what_is_typed_stays_text(client) -> None:
    page = client.get("/search", params={"q": '"><script>alert(1)</script>'})
    assert "<script>alert" not in page.text and "&lt;script&gt;alert(1)" in page.text


# ---- who is asking ---------------------------------------------------------------------------------------------------------------
def test_shoppers_are_listed_found_and_forgotten_again(client) -> None:
    page = client.get("/shoppers")
    assert page.text.count('name="user"') == 25 and "/shoppers?after=24" in page.text
    assert client.get("/shoppers?after=144").text.count('name="user"') == 16
    assert 'value="1077"' in client.get("/shoppers?q=1077").text
    assert "Nobody is known" in client.get("/shoppers?q=zzz").text
    client.become(SHOPPER)
    client.send_form("/cart", item=PASTA, change="1")
    assert "Guest" in client.become("").text
    assert "Your cart is empty" in client.get("/cart").text  # it was someone else's


def test_what_is_known_is_shown(client) -> None:
    client.become(SHOPPER)
    page = client.get("/known")
    assert "Household size" in page.text and "Bought" in page.text and "Feb 2024" in page.text
    assert "2024年2月" in client.send_form("/language", to="zh", next="/known").text


# ---- safety ----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["/cart", "/cart/take", "/seen", "/like", "/shopper", "/language", "/guide"])
def test_a_form_without_its_token_changes_nothing(client, path: str) -> None:
    client.get("/")
    for fields in ({}, {"_csrf_token": "0" * 128}):
        refused = client.post(path, data={"item": PASTA, "change": "1", "user": SHOPPER, "to": "zh", **fields})
        assert refused.status_code == 403 and "grown old" in refused.text
    assert "Your cart is empty" in client.get("/cart").text


def test_a_token_of_an_earlier_server_is_replaced(client) -> None:
    client.get("/")
    client.cookies.delete("daogou-csrf")
    client.cookies.set("daogou-csrf", "0" * 128, domain="127.0.0.1", path="/")
    assert client.send_form("/cart", item=PASTA, change="1").status_code == 403
    assert "daogou-csrf" not in client.cookies  # so that loading the page again helps, as the message says
    assert client.send_form("/cart", item=PASTA, change="1").status_code == 200


def test_a_store_that_cannot_answer_is_a_page_too(client, site, monkeypatch) -> None:
    def busy(*_: object, **__: object) -> None:
        raise StoreBusy("its disk is away")

    client.get("/")
    for method in ("history", "item", "items"):
        monkeypatch.setattr(site.app.state.store, method, busy)
    page = client.get(f"/item/{PASTA}")
    assert page.status_code == 503 and "One moment, please" in page.text and page.headers["retry-after"] == "1"
    assert "disk" not in page.text


def test_the_language_switch_after_a_purchase_leads_to_a_page(client) -> None:
    client.send_form("/cart", item=PASTA, change="1")
    done = client.send_form("/cart/take")
    assert 'name="next" value="/"' in done.text


def test_cookies_and_headers(client) -> None:
    page = client.get("/")
    cookies = page.headers.get_list("set-cookie")
    assert len(cookies) == 2
    for cookie in cookies:
        assert "HttpOnly" in cookie and "samesite=lax" in cookie.lower() and "Path=/" in cookie
    assert page.headers["cache-control"] == "no-store"
    assert "default-src 'self'" in page.headers["content-security-policy"] and "unsafe" not in page.headers["content-security-policy"]
    assert client.get("/").headers.get_list("set-cookie") == []  # an unchanged visit is not sent again: a slow answer brings no old cart back
    kept = client.get("/static/app.css")
    assert "max-age=86400" in kept.headers["cache-control"] and not kept.headers.get_list("set-cookie")
    assert client.get("/art/milk.sky.0.svg").headers["content-type"].startswith("image/svg+xml")


def test_a_forged_visit_is_a_new_guest(client) -> None:
    client.become(SHOPPER)
    signed = client.cookies["daogou-visit"]
    client.cookies.delete("daogou-visit")
    client.cookies.set("daogou-visit", signed[:10] + ("A" if signed[10] != "A" else "B") + signed[11:], domain="127.0.0.1", path="/")
    assert f"Shopper {SHOPPER}" not in client.get("/").text


def test_pages_are_not_there_where_keys_are_needed(tmp_path: Path) -> None:
    (tmp_path / "daogou.toml").write_text('scenario = "shop"\n')
    project = load_project(tmp_path)
    with Store.open(project.store_url) as store, TestClient(create_app(project, open_access=False, store=store)) as closed:
        assert {closed.get(path).status_code for path in ("/", "/shoppers", "/known", "/static/app.css")} == {404}


# ---- every business, and the first minute -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("scenario", ["shop", "content", "social"])
def test_the_same_pages_serve_every_business_from_the_first_minute(scenario: str, tmp_path: Path) -> None:
    (tmp_path / "daogou.toml").write_text(f'scenario = "{scenario}"\n')
    project = load_project(tmp_path)
    with Store.open(project.store_url) as store, TestClient(create_app(project, open_access=True, store=store)) as client:
        assert "not trained yet" in client.get("/").text  # not even an item
        assert "Nothing fits that yet" in client.get("/search").text
        kinds = [None, "person", "artist"]
        store.put_items([Item(item_id=f"a/b {n}?", title=f"Thing {n}", kind=kinds[n % 3], created=n) for n in range(30)])
    with Store.open(project.store_url) as store, TestClient(create_app(project, open_access=True, store=store)) as client:
        home = client.get("/")
        assert home.status_code == 200 and "Thing" in home.text
        item = client.get("/item/a%2Fb%207%3F")
        assert item.status_code == 200 and "<h1>Thing 7</h1>" in item.text
        assert client.get("/search?q=thing").text.count('class="card"') == 24
        assert (client.get("/cart").status_code == 200) is (scenario == "shop")
        token = re.search(r'name="_csrf_token" value="([0-9a-f]+)"', home.text)
        assert token is not None
        liked = client.post("/like", data={"_csrf_token": token[1], "item": "a/b 7?"}, headers={"hx-request": "true"})
        assert liked.status_code == (404 if scenario == "shop" else 200)
        if scenario != "shop":
            assert 'aria-pressed="true"' in liked.text
            client.post("/like", data={"_csrf_token": token[1], "item": "a/b 7?"})  # pressed twice
            assert client.get("/known").text.count("<time") == 1
