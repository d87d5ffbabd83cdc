"""What a language model may add to what the rules have read: constraints over values of the catalogue, from words that were said; else nothing."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from daogou.guide.language_model import LanguageModel
from daogou.guide.reading import read_with
from daogou.guide.understand import Understood, understand
from daogou.guide.values import Values
from daogou.scenario import LanguageModel as Settings
from daogou.testing.chat_server import ChatServer, completion

ASKED = "shirts my gran would wear to the opera, a couple hundred at most"


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer().running() as made:
        yield made


Read = Callable[..., tuple[Understood, Counter[str]]]


@pytest.fixture
def read(server: ChatServer, values: Values) -> Read:
    """Reads a text with a model that answers `said`."""

    def reading(said: Any, text: str = ASKED) -> tuple[Understood, Counter[str]]:
        server.behaviour = lambda _: [(0.0, completion(said if isinstance(said, str) else json.dumps(said)))]
        counted = Counter[str]()
        model = LanguageModel(Settings(url=server.url, model="m"), count=lambda use, outcome: counted.update([outcome]))

        async def course() -> Understood:
            try:
                return await read_with(model, understand(text, values), values, time.monotonic() + 5)
            finally:
                await model.close()

        return asyncio.run(course()), counted

    return reading


def claim(attribute: str, value: object, said: str, op: str = "=") -> dict[str, object]:
    return {"attribute": attribute, "op": op, "value": value, "said": said}


def test_it_adds_what_was_meant(read: Read, server: ChatServer) -> None:
    found, counted = read(
        {
            "constraints": [claim("usage", "Formal", "opera"), claim("price", "200", "a couple hundred", "<="), claim("gender", "女士", "gran")],
            "words": "elegant evening",
        }
    )
    assert [one.filter for one in found.constraints] == ['category = "Apparel > Topwear > Shirts"', 'usage = "Formal"', "price <= 200", 'gender = "Women"']
    assert (found.words, counted) == ("elegant evening", {"used": 1})
    seen = json.loads(server.asked[0]["messages"][1]["content"])
    assert seen["asked"] == ASKED and "Formal" in seen["attributes"]["usage"] and set(seen) == {"asked", "unread", "attributes"}


def test_fences_and_words_around_do_no_harm(read: Read) -> None:
    found, _ = read('Sure!\n```json\n{"constraints": [{"attribute": "usage", "op": "!=", "value": "sports", "said": "OPERA"}], "words": ""}\n```')
    assert [one.filter for one in found.constraints][1:] == ['not usage = "Sports"']


def test_what_the_rules_have_read_stands(read: Read) -> None:
    found, _ = read({"constraints": [claim("color", "Red", "blue"), claim("season", "Winter", "skiing")], "words": ""}, "something blue for skiing")
    assert [one.filter for one in found.constraints] == ['color = "Blue"', 'season = "Winter"']


def test_where_nothing_is_left_to_read_nobody_is_asked(read: Read, server: ChatServer) -> None:
    read({"constraints": [], "words": ""}, "red shirts")
    assert not server.asked


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("I think she wants a red one.", "schema"),
        ("", "schema"),
        ("[]", "schema"),
        ('{"constraints": [', "schema"),
        ('{"constraints": {}}', "schema"),
        ('{"constraints": [], "items": ["w1"]}', "schema"),
        ({"constraints": [{**claim("usage", "Formal", "opera"), "filter": "1=1"}]}, "schema"),
        ({"constraints": [claim("usage", ["Formal"], "opera")]}, "schema"),
        ({"constraints": [claim("usage", "Formal", "opera", "in")]}, "schema"),
        ({"constraints": [claim("usage", "Formal", "opera")] * 13}, "schema"),
        ("[" * 50_000, "schema"),
        ('{"constraints":' + "[" * 50_000 + "]" * 50_000 + "}", "schema"),
        ({"constraints": [claim("usage", "Gala", "opera")]}, "value"),
        ({"constraints": [claim("mood", "Formal", "opera")]}, "value"),
        ({"constraints": [claim("item_id", "w1", "opera")]}, "value"),
        ({"constraints": [claim("price", "cheap", "opera", "<=")]}, "value"),
        ({"constraints": [claim("price", "NaN", "opera", "<=")]}, "value"),
        ({"constraints": [claim("price", -5, "opera", "<=")]}, "value"),
        ({"constraints": [claim("price", 1e300, "opera", "<=")]}, "value"),
        ({"constraints": [claim("price", 5, "opera")]}, "operator"),
        ({"constraints": [claim("usage", "Formal", "opera", "<=")]}, "operator"),
        ({"constraints": [claim("usage", "Formal", "ballet")]}, "not said"),
        ({"constraints": [claim("usage", "Formal", "")]}, "not said"),
        ({"constraints": [claim("gender", "Women", "gran"), claim("usage", "Gala", "opera")]}, "value"),
    ],
)
def test_a_wrong_answer_is_none(said: Any, reason: str, read: Read, values: Values) -> None:
    found, counted = read(said)
    assert found == understand(ASKED, values) and counted == {reason: 1}
