"""Counts of a search in real Chromium: beside the results on a screen, folded away on a phone, in both languages."""

import re
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = Path("/usr/bin/chromium")

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM}")]


def facet(page: Any, name: str) -> Any:
    return page.locator(".facet", has=page.locator("summary", has_text=name))


def count(page: Any) -> int:
    """Goods that the page says there are."""
    number = re.findall(r"\d+", page.locator(".results-head h2").inner_text())
    return int(number[-1])


def test_a_screen_shows_counts_beside_the_results_and_one_press_narrows(visit_wardrobe) -> None:
    page = visit_wardrobe("/search?q=acme")
    side, results = page.locator(".facets").bounding_box(), page.locator(".results").bounding_box()
    assert side["x"] + side["width"] <= results["x"] and not page.get_by_role("checkbox", name="Narrow down").is_visible()
    red = facet(page, "Colour").get_by_role("link", name=re.compile("^Red"))
    said = int(red.locator("small").inner_text())
    red.click()
    page.wait_for_url("**only=color*")
    assert count(page) == said and page.locator(".card").count() == said
    facet(page, "For").get_by_role("link", name=re.compile("^Women")).click()
    page.wait_for_url("**gender*")
    assert count(page) < said
    page.get_by_role("link", name="Without “Red”").click()
    page.wait_for_load_state()
    chosen = page.get_by_role("navigation", name="Chosen")
    assert chosen.locator(".chip").all_inner_texts() == ["Women"]
    chosen.get_by_role("link", name="Clear all").click()
    page.wait_for_url("**/search?q=acme")
    assert page.locator(".chip").count() == 0


def test_a_typed_price_keeps_what_was_chosen(visit) -> None:
    page = visit("/search?q=pasta")
    facet(page, "Brand").get_by_role("link").first.click()
    page.wait_for_url("**only=brand*")
    page.get_by_label("Price up to").fill("6")
    page.get_by_label("Price up to").press("Enter")
    page.wait_for_url("**max=6*")
    assert "only=brand" in page.url and page.locator(".chip").count() == 2
    prices = [float(text.removeprefix("$")) for text in page.locator(".card .price").all_inner_texts()]
    assert prices and max(prices) <= 6


@pytest.mark.parametrize(
    ("locale", "narrow", "colour", "red"), [("en-US", "Narrow down", "Colour", "Red"), ("zh-CN", "筛选", "颜色", "红色")], ids=["en", "zh"]
)
def test_a_phone_folds_them_away_until_asked(visit_wardrobe, locale: str, narrow: str, colour: str, red: str) -> None:
    page = visit_wardrobe("/search?q=acme", width=360, locale=locale, has_touch=True)
    assert not page.locator(".facets").is_visible() and page.locator(".card").first.bounding_box()["y"] < 500
    page.get_by_text(narrow, exact=True).click()
    assert page.locator(".facets").is_visible() and page.evaluate("document.documentElement.scrollWidth") == 360
    small = page.locator(".facets a, .facets summary").evaluate_all(
        "all => all.filter(it => it.checkVisibility() && it.getBoundingClientRect().height < 36).length"
    )
    assert small == 0
    facet(page, colour).get_by_role("link", name=re.compile(f"^{red}")).click()
    page.wait_for_url("**only=color*")
    assert not page.locator(".facets").is_visible() and page.locator(".chip").all_inner_texts() == [red]
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_role("checkbox", name=re.compile(narrow)).press("Space")  # by the keyboard, too
    assert page.locator(".facets").is_visible()


def test_without_scripts_they_work_too(visit_wardrobe) -> None:
    page = visit_wardrobe("/search?q=acme", width=360, java_script_enabled=False)
    page.get_by_text("Narrow down", exact=True).click()
    facet(page, "Season").get_by_role("link").first.click()
    assert page.locator(".chip").count() == 1 and page.locator(".card").count() > 0


def test_every_part_has_a_name_for_those_who_do_not_see(visit_wardrobe) -> None:
    page = visit_wardrobe("/search?q=acme&only=color+%3D+%22Red%22", width=360)
    page.get_by_text("Narrow down").click()
    nameless = page.evaluate(
        """[...document.querySelectorAll('main a, main button, main input:not([type=hidden]), main nav:not([aria-label]), main aside:not([aria-label])')]
           .filter(it => it.checkVisibility() && !it.closest('[aria-hidden=true]'))
           .filter(it => !(it.innerText?.trim() || it.getAttribute('aria-label') || it.labels?.length)).map(it => it.outerHTML.slice(0, 100))"""
    )
    assert nameless == []
