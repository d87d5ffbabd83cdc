"""The pages in real Chromium: what scripts do, how they look at a phone's width, and that no request leaves this machine."""

import re
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = Path("/usr/bin/chromium")
SHOPPER = "1003"
PASTA, SAUCE = "10050", "10055"

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM}")]


def titles(page: Any, row: str) -> list[str]:
    return page.locator("section.row", has=page.get_by_role("heading", name=row, exact=True)).locator("h3").all_inner_texts()


def test_home_of_a_shopper_in_both_languages(visit) -> None:
    page = visit(as_shopper=SHOPPER)
    assert page.get_by_role("heading", level=1).inner_text() == f"Shopper {SHOPPER}"
    assert len(titles(page, "For you")) == 12
    assert page.evaluate("document.fonts.check('16px Figtree')")
    page.get_by_role("button", name=re.compile("中文")).click()
    page.wait_for_selector("html[lang=zh-CN]")
    assert page.get_by_role("heading", level=1).inner_text() == f"顾客 {SHOPPER}"
    assert len(titles(page, "为你推荐")) == 12
    assert visit(locale="zh-CN").get_by_placeholder("搜索全部商品").is_visible()


def test_why_this_opens_names_causes_and_closes(visit) -> None:
    page = visit(as_shopper=SHOPPER)
    opener = page.locator(".because").first
    opener.click()
    sheet = page.get_by_role("dialog", name="Why you see this")
    sheet.wait_for()
    shares = [int(text.rstrip("%")) for text in sheet.locator(".causes b").all_inner_texts()]
    assert 97 <= sum(shares) <= 103
    bars = sheet.locator(".bar-part").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
    assert bars == sorted(bars, reverse=True) and bars[0] > bars[-1]
    page.keyboard.press("Escape")
    sheet.wait_for(state="hidden")
    assert opener.evaluate("link => link === document.activeElement")  # where one was before


def test_looking_at_an_item_is_noticed(visit, site) -> None:
    page = visit(as_shopper="1050")
    name = page.locator(".card h3 a").first.inner_text()
    with page.expect_response("**/seen"):
        page.locator(".card h3 a").first.click()
    assert page.get_by_role("heading", level=1).inner_text() == name
    seen = [event for event in site.app.state.store.history("1050", 1000) if event.event == "view"]
    assert len(seen) == 1 and seen[0].request_id and seen[0].position == 0


def test_the_cart_changes_what_goes_with_it(visit, site) -> None:
    page = visit(f"/item/{PASTA}", as_shopper="1051")
    page.locator(".buy").get_by_role("button", name=re.compile("^Add")).click()
    page.locator(".buy .control.some").wait_for()
    assert page.locator("#cart-link").inner_text().split() == ["Cart", "1", "product"]
    assert "1 ×" in page.get_by_role("status").inner_text()
    page.goto("/cart")
    before = titles(page, "Goes with your cart")
    added = page.locator("#goes-with .card").first
    name = added.locator("h3").inner_text()
    with page.expect_response("**/cart/goes-with"):
        added.get_by_role("button").click()
    playwright.expect(page.locator("#goes-with h3")).not_to_have_text(before)
    after = titles(page, "Goes with your cart")
    assert after and after != before
    page.reload()
    assert name in page.locator(".lines").inner_text()
    more = page.get_by_role("button", name=re.compile("^One more")).first
    more.click()
    playwright.expect(page.locator("#cart-link b")).to_have_text("3")
    assert page.evaluate("document.activeElement.id").startswith("more-")  # the keyboard stays where it was
    page.get_by_role("button", name="Buy now").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Thank you!"
    assert page.locator("#cart-link").inner_text().strip() == "Cart"
    bought = [event for event in site.app.state.store.history("1051", 1000) if event.event == "purchase"]
    assert {event.value for event in bought[-2:]} == {1.0, 2.0}


def test_quick_presses_are_all_counted(visit) -> None:
    page = visit(f"/item/{PASTA}")
    page.locator(".buy .more").click()
    page.locator(".buy .control.some").wait_for()
    for _ in range(4):
        page.locator(".buy .more").click(no_wait_after=True)
        page.wait_for_timeout(30)
    page.wait_for_load_state("networkidle")
    page.goto("/cart")
    assert page.locator(".lines .control span").inner_text() == page.locator("#cart-link b").inner_text()
    assert int(page.locator("#cart-link b").inner_text()) >= 4


def test_search_suggests_by_keyboard_and_narrows(visit) -> None:
    page = visit()
    box = page.get_by_role("combobox", name="Search")
    box.press_sequentially("past", delay=20)
    page.locator("#suggestions [role=option]").first.wait_for()
    assert box.get_attribute("aria-expanded") == "true"
    assert "Pasta" in page.locator("#suggestions [role=option]").first.inner_text()
    box.press("ArrowDown")
    assert page.locator("#suggestions [role=option]").first.get_attribute("aria-selected") == "true"
    box.press("Escape")
    page.locator("#suggestions [role=option]").first.wait_for(state="hidden")
    box.press("Enter")
    page.wait_for_url("**/search?q=*")
    assert "Pasta" in page.locator(".card h3").first.inner_text()
    page.get_by_label("Price up to").fill("3")
    page.get_by_label("Price up to").press("Enter")
    page.wait_for_url("**max=3*")
    prices = [float(text.removeprefix("$")) for text in page.locator(".card .price").all_inner_texts()]
    assert prices and max(prices) <= 3
    page.go_back()
    playwright.expect(page.get_by_label("Price up to")).to_have_value("")
    box.fill("m")  # what scripts hold on to is still there
    page.locator("#suggestions [role=option]").first.wait_for()


def test_rows_turn(visit) -> None:
    page = visit(as_shopper=SHOPPER, reduced_motion="reduce")
    row = page.locator("section.row").first
    back, on = row.get_by_role("button", name="Back"), row.get_by_role("button", name="On", exact=True)
    assert back.is_disabled() and on.is_enabled()
    on.click()
    playwright.expect(back).to_be_enabled()
    assert row.locator(".cards").evaluate("cards => cards.scrollLeft") > 100


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_a_phone_shows_every_page_without_sideways_scrolling(visit, locale: str) -> None:
    page = visit(width=360, locale=locale, as_shopper=SHOPPER, has_touch=True, expected="404")
    page.goto(f"/item/{PASTA}")
    page.locator(".buy .more").click()
    page.locator(".buy .control.some").wait_for()
    finds = ("/search?q=pasta", "/search?category=PRODUCE&max=4", "/search?q=qqqqq")
    for path in ("/", f"/item/{PASTA}", "/cart", *finds, "/shoppers", "/known", "/item/nope", f"/why?place=home.for_you&item={SAUCE}"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") == 360, path
        small = page.evaluate(
            """[...document.querySelectorAll('main button, header a, header button, .button')].filter(it => it.checkVisibility())
               .filter(it => Math.min(it.getBoundingClientRect().width, it.getBoundingClientRect().height) < 36).map(it => it.outerHTML.slice(0, 80))"""
        )
        assert small == [], path
    page.goto("/")
    page.locator(".because").first.click()
    page.get_by_role("dialog").wait_for()
    assert page.evaluate("document.querySelector('dialog').getBoundingClientRect().right") <= 360


def test_without_scripts_everything_still_works(visit) -> None:
    page = visit(f"/item/{PASTA}", java_script_enabled=False)
    page.locator(".buy .more").click()
    assert page.locator("#cart-link").inner_text().split() == ["Cart", "1", "product"]
    page.goto("/")
    page.locator(".because").first.click()
    assert page.get_by_role("heading", name="Why you see this").is_visible()
    page.get_by_role("button", name=re.compile("中文")).click()
    assert page.get_by_placeholder("搜索全部商品").is_visible()


def test_everything_has_a_name_for_those_who_do_not_see(visit) -> None:
    page = visit(as_shopper=SHOPPER)
    for path in ("/", f"/item/{PASTA}", "/cart", "/search?q=pasta", "/shoppers", "/known"):
        page.goto(path)
        nameless = page.evaluate(
            """[...document.querySelectorAll('a, button, input:not([type=hidden]), select, img:not([alt]), nav:not([aria-label])')]
               .filter(it => it.checkVisibility() && !it.closest('[aria-hidden=true]'))
               .filter(it => !(it.innerText?.trim() || it.getAttribute('aria-label') || it.labels?.length || it.title)).map(it => it.outerHTML.slice(0, 100))"""
        )
        assert nameless == [], path
        assert page.locator("h1").count() == 1, path
        double = page.evaluate("[...document.querySelectorAll('[id]')].map(it => it.id).filter((id, n, all) => all.indexOf(id) !== n)")
        assert double == [], path
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
