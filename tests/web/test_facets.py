"""A search narrowed by its counts, as a browser without scripts gets it."""

import re
from html import unescape
from typing import Any, NamedTuple

import httpx
import pytest

from daogou.serve.web.facets import Looked


class Link(NamedTuple):
    label: str
    href: str
    items: int


def facets(page: httpx.Response) -> dict[str, list[Link]]:
    """Name of an attribute → its values."""
    out = {}
    for part in page.text.split('<details class="facet"')[1:]:
        name = re.search(r"<summary>([^<]+)<", part)
        assert name is not None
        found = re.findall(r'<li><a href="([^"]+)" rel="nofollow"><span>([^<]*)</span><small>([\d,]+)</small>', part)
        out[unescape(name[1])] = [Link(unescape(label), unescape(href), int(n.replace(",", ""))) for href, label, n in found]
    return out


def chips(page: httpx.Response) -> list[tuple[str, str]]:
    """Label and address of each."""
    return [(unescape(label), unescape(href)) for href, label in re.findall(r'<a class="chip" href="([^"]+)"[^>]*>([^<]*)<', page.text)]


def rows(page: httpx.Response, site: Any) -> list[Any]:
    return list(site.app.state.store.items(re.findall(r'<h3><a href="/item/([^"?]+)', page.text)))


def test_every_value_leads_to_as_many_goods_as_it_says(shopper) -> None:
    page = shopper.get("/search?q=acme")
    found = facets(page)
    assert set(found) >= {"Category", "For", "Colour", "Year", "Season"} and "Occasion" not in found  # all are for one
    for name, links in found.items():
        assert len(links) > 1, name
        for link in links[:3]:
            total = re.search(r"of (\d+)</h2>|<h2>(\d+) product", shopper.get(link.href).text)
            assert total is not None and int(total[1] or total[2]) == link.items, link


def test_values_narrow_one_after_another_and_chips_take_them_back(shopper, wardrobe) -> None:
    start = shopper.get("/search?q=acme")
    red = next(link for link in facets(start)["Colour"] if link.label == "Red")
    page = shopper.get(red.href)
    assert rows(page, wardrobe) and {row.attributes["color"] for row in rows(page, wardrobe)} == {"Red"} and "Colour" not in facets(page)
    women = next(link for link in facets(page)["For"] if link.label == "Women")
    bags = next(link for link in facets(shopper.get(women.href))["Category"] if link.label == "Accessories")
    page = shopper.get(bags.href)
    assert [label for label, _ in chips(page)] == ["Accessories", "Red", "Women"] and "q=acme" in bags.href and "category=Accessories" in bags.href
    found = rows(page, wardrobe)
    assert found and all(row.attributes["gender"] == "Women" and str(row.category).startswith("Accessories") for row in found)
    assert "category = &#34;Accessories&#34; and color = &#34;Red&#34; and gender = &#34;Women&#34;" in page.text
    without = shopper.get(dict(chips(page))["Red"])
    assert [label for label, _ in chips(without)] == ["Accessories", "Women"] and len({row.attributes["color"] for row in rows(without, wardrobe)}) > 1


def test_labels_are_in_the_pages_language(shopper) -> None:
    shopper.headers["accept-language"] = "zh"
    page = shopper.get("/search?q=acme")
    found = facets(page)
    assert {"红色", "蓝色"} <= {link.label for link in found["颜色"]} and {link.label for link in found["适用人群"]} == {"男士", "女士"}
    red = next(link for link in found["颜色"] if link.label == "红色")
    assert chips(shopper.get(red.href))[0][0] == "红色" and "color+%3D+%22Red%22" in red.href


def test_ranges_are_written_as_money_and_a_typed_price_stays(client, site) -> None:
    page = client.get("/search", params={"q": "pasta", "max": "8"})
    ranges = facets(page)["Price"]
    assert all(re.fullmatch(r"< \$[\d.]+|≥ \$[\d.]+|\$[\d.]+ – \$[\d.]+", link.label) for link in ranges)
    narrowed = client.get(ranges[1].href)
    assert [label for label, _ in chips(narrowed)] == ["≤ $8", ranges[1].label] and 'name="max"' in narrowed.text
    low, high = (float(edge) for edge in re.findall(r"[\d.]+", ranges[1].label)) if "–" in ranges[1].label else (0, 8)
    assert rows(narrowed, site) and all(low <= row.price <= min(high, 8) for row in rows(narrowed, site))


def test_counts_without_words_are_of_what_may_be_browsed(shopper) -> None:
    found = facets(shopper.get("/search?category=Footwear"))
    assert sum(link.items for link in found["Colour"]) == 30 and "Category" not in found


def test_more_values_than_fit_are_folded(client) -> None:
    assert re.search(r'<details class="more"><summary>\d+ more</summary>', client.get("/search?q=organic").text)


def test_words_that_nothing_has_leave_nothing_to_count(client) -> None:
    page = client.get("/search", params={"q": "qqqqqqq", "only": 'brand = "Sunday"'})
    assert "Nothing fits that yet" in page.text and facets(page) == {} and chips(page) == [("Sunday", "/search?q=qqqqqqq")]


def test_a_slip_is_said(client) -> None:
    assert "Searched for “pasta”" in client.get("/search?q=patsa").text and "Searched for" not in client.get("/search?q=pasta").text


@pytest.mark.parametrize("only", ["colour = 1", "brand =", "x" * 501])
def test_a_filter_that_is_none_is_answered_with_a_page(only: str, client) -> None:
    page = client.get("/search", params={"q": "pasta", "only": only})
    assert page.status_code == 400 and "<h1>" in page.text


def test_a_filter_of_ones_own_is_a_chip_as_it_is_written(client, site) -> None:
    own = ['brand = "Sunday" or brand = "Old Barn"', "not price > 5", "price >= 0", "created >= 1000000"]
    page = client.get("/search", params={"q": "pasta", "only": own})
    assert [label for label, _ in chips(page)] == [*own[:2], "≥ $0", own[3]]
    assert rows(page, site) and all(row.brand in ("Sunday", "Old Barn") and row.price <= 5 for row in rows(page, site))
    assert Looked(category='a"b', only=("x = 1 or y = 2",)).filter == 'category = "a\\"b" and (x = 1 or y = 2)'


def test_what_stands_in_an_address_stays_text(client) -> None:
    page = client.get("/search", params={"only": 'brand = "<script>alert(1)</script>"'})
    assert "<script>alert" not in page.text and page.status_code == 200
