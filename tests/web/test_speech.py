import re
from importlib import resources
from string import Formatter

import pytest

from daogou.scenario import load_scenario
from daogou.serve.web.speech import LOCALES, Speech, catalogue, negotiate

TEMPLATES = [path for path in (resources.files("daogou.serve.web") / "templates").iterdir() if path.name.endswith(".html")]
SOURCES = [*TEMPLATES, *(path for path in resources.files("daogou.serve.web").iterdir() if path.name.endswith(".py"))]
MADE = {f"error.{kind}.{part}" for kind in ("missing", "wrong", "stale", "busy") for part in ("title", "text")} | {"why.exact", "why.left-out"}
"""Keys that templates put together from parts."""


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("locale", LOCALES)
def test_every_language_says_the_same_things(locale: str) -> None:
    english, other = catalogue("en"), catalogue(locale)
    assert list(other) == list(english)
    words = {"item", "items", "user"}  # a language may need the business's word where another does not
    for key, text in other.items():
        assert text.strip()
        assert fields(text) - words == fields(english[key]) - words, key


def test_the_chinese_catalogue_is_chinese() -> None:
    plain = {"person", "months"}  # made of names and numbers
    assert not [key for key, text in catalogue("zh").items() if key not in plain and not re.search(r"[\u4e00-\u9fff]", text)]


def test_every_text_is_used_and_every_text_that_is_used_exists() -> None:
    used = MADE.copy()
    for path in SOURCES:
        text = path.read_text("utf-8")
        used |= set(re.findall(r'\b(?:t|speech)\("([a-z][a-z.-]*)"', text)) | set(re.findall(r"\bt\('([a-z][a-z.-]*)'", text))
        used |= {key for key in re.findall(r'"([a-z][a-z.-]*)"|\'([a-z][a-z.-]*)\'', text) for key in key if key in catalogue("en")}
    known = {key.removesuffix(".one").removesuffix(".other") for key in catalogue("en")}
    assert {key for key in used if key not in known and key not in {"error.", "why."}} == set()
    assert known - used == set()


@pytest.mark.parametrize(
    ("header", "locale"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh;q=0.8", "en"),
        ("fr, zh;q=0.2, en;q=0.4", "en"),
        ("ZH-tw", "zh"),
        ("", "en"),
        ("de", "en"),
        ("zh;q=0, en;q=0.1", "en"),
        ("zh;q=x", "en"),
        ("*", "en"),
    ],
)
def test_the_browser_is_asked_for_its_language(header: str, locale: str) -> None:
    assert negotiate(header) == locale


def test_counting_and_the_words_of_the_business() -> None:
    shop, social = Speech("en", load_scenario("shop")), Speech("en", load_scenario("social"))
    assert (shop("search.found", n=1), shop("search.found", n=3), social("search.found", n=2)) == ("1 product", "3 products", "2 profiles")
    assert Speech("zh", load_scenario("shop"))("search.placeholder") == "搜索全部商品"
