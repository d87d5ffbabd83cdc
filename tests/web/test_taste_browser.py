"""The profile page and the questions in real Chromium: pressed, looked at on a phone, used by keyboard."""

import re
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = Path("/usr/bin/chromium")
SHOPPER = "1021"

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM}")]


def test_a_word_is_said_and_taken_back_without_leaving_the_page(visit) -> None:
    page = visit(as_shopper=SHOPPER)
    page.locator("#taste").click()
    page.wait_for_url("**/profile")
    first = page.locator(".taste").first
    name = first.locator("h3").inner_text()
    first.get_by_role("button", name="That’s wrong").click()
    page.locator(".said-list").wait_for()
    page.locator("#said.up", has_text="Noted").wait_for()
    assert page.locator(".said-list li.wrong").count() == 1
    assert name not in page.locator(".taste h3").all_inner_texts()
    page.get_by_role("button", name="Take back").click()
    page.locator(".said-list").wait_for(state="detached")
    assert page.locator(".taste h3").first.inner_text() == name


def test_more_of_a_brand_is_on_the_next_page(visit) -> None:
    page = visit("/profile", as_shopper=SHOPPER)
    brand = page.locator(".taste-group", has=page.get_by_role("heading", name="Brand", exact=True)).locator(".taste").first
    name = brand.locator("h3").inner_text()
    brand.get_by_role("button", name="More of this").click()
    page.locator(".said-list li.more").wait_for()
    page.goto("/")
    assert page.locator(".because", has_text="You asked for more of this").count() >= 1
    assert page.locator("section.row").first.locator(".small", has_text=name).count() >= 4
    page.goto("/profile")
    page.get_by_role("button", name="Take back").first.click()
    page.locator(".said-list").wait_for(state="detached")


def test_the_evidence_opens(visit) -> None:
    page = visit("/profile", as_shopper=SHOPPER)
    page.locator(".taste summary").first.click()
    items = page.locator(".taste-items").first
    items.wait_for()
    assert items.locator("a").count() >= 1 and re.search(r"\d+ ×", items.inner_text())
    items.locator("a").first.click()
    page.wait_for_url("**/item/*")


def test_three_questions_by_keyboard(visit) -> None:
    page = visit("/welcome")
    boxes = page.get_by_role("checkbox")
    assert boxes.count() == 18
    boxes.first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.locator(".choice:has(:checked)").count() == 2
    page.get_by_role("button", name="Show me what fits").press("Enter")
    page.wait_for_url(re.compile(r"/$"))
    assert page.locator(".because", has_text="Goes with what you chose at the start").count() >= 4
    page.goto("/profile")
    assert page.locator(".said-list li.more").count() == 2
    page.get_by_role("button", name="Take everything back").click()
    page.locator(".said-list").wait_for(state="detached")


def test_the_questions_can_be_skipped(visit, site) -> None:
    page = visit("/")
    page.get_by_role("link", name="Answer three questions").click()
    page.get_by_role("link", name="Skip this").click()
    page.wait_for_url(re.compile(r"/$"))
    assert page.get_by_role("link", name="Answer three questions").is_visible()


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_on_a_phone_nothing_scrolls_sideways_and_everything_can_be_pressed(visit, locale: str) -> None:
    page = visit(width=360, locale=locale, as_shopper=SHOPPER, has_touch=True)
    for path in ("/profile", "/welcome"):
        page.goto(path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        small = page.evaluate(
            """[...document.querySelectorAll('main button, main .choice')]
               .filter(e => { const r = e.getBoundingClientRect(); return r.height < 44 || r.width < 44 })
               .map(e => e.outerHTML.slice(0, 80))"""
        )
        assert small == [], path
