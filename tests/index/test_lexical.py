"""Search by words in Latin and Chinese, never parsed, filtered before the choice, changed in place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daogou.index.lexical import Lexical, words

TITLES = [
    "Red running shoes",
    "蓝色无线耳机",
    "Headphone stand",
    "耳机",
    "Blue shoe",
    "Ｗｉｄｅ Ｈａｔ",
    "Café crème",
    "跑鞋 Nike Air",
    "ランニングシューズ",
    "무선 이어폰",
]


@pytest.fixture(scope="module")
def index() -> Lexical:
    return Lexical(enumerate([title] for title in TITLES))


def found(index: Lexical, text: str, k: int = 10) -> list[int]:
    return [code for code, _ in index.search(text, k)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red shoes", [0, 4]),
        ("shoe", [4, 0]),
        ("RUNNING", [0]),
        ("耳机", [3, 1]),
        ("无线", [1]),
        ("机", [3, 1]),
        ("鞋", [7]),
        ("跑鞋", [7]),
        ("wide hat", [5]),
        ("cafe\u0301", [6]),
        ("シューズ", [8]),
        ("이어폰", [9]),
        ("runing", [0]),
        ("headfone", []),
        ("headphome", [2]),
        ("nothing of it", []),
        ("", []),
        ("   !?", []),
    ],
)
def test_finds(index: Lexical, text: str, expected: list[int]) -> None:
    assert found(index, text) == expected


def test_a_short_word_must_be_spelt_right(index: Lexical) -> None:
    assert found(index, "rad") == []


def test_words_are_never_a_query_language(index: Lexical) -> None:
    for text in ('shoe"(', "code:4", "words:shoe OR *", "shoe AND NOT red", "[a TO z]", "shoe~2^9", "\\", "+red -shoes"):
        assert set(found(index, text)) <= {0, 4}


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    assert len(SHARED.search(text, 3)) <= 3


SHARED = Lexical(enumerate([title] for title in TITLES))


def test_the_filter_counts_before_the_choice() -> None:
    index = Lexical((code, ["tea"]) for code in range(3000))
    allowed = np.zeros(3000, np.bool_)
    allowed[[5, 2999]] = True
    assert sorted(code for code, _ in index.search("tea", 2, allowed)) == [5, 2999]
    assert len(index.search("tea", 10, allowed)) == 2
    assert index.search("tea", 3, np.zeros(3000, np.bool_)) == []
    most = np.ones(3000, np.bool_)
    most[:500] = False
    assert [code for code, _ in index.search("tea", 3, most)] == [500, 501, 502]
    assert index.search("tea", 2, allowed) == [hit for hit in index.search("tea", 3000) if hit[0] in (5, 2999)]


def test_changes_in_place() -> None:
    index = Lexical([(0, ["green tea"]), (1, ["black tea"])])
    index.put([(0, ["green coffee"]), (7, ["white tea"]), (1, None)])
    assert found(index, "tea") == [7]
    assert found(index, "coffee") == [0]
    index.put([(0, []), (99, None)])
    assert found(index, "coffee") == []


def test_a_code_beyond_the_mask_is_not_answered() -> None:
    index = Lexical([(9, ["tea"])])
    assert index.search("tea", 3, np.ones(5, np.bool_)) == []


def test_words_of_a_text() -> None:
    assert words("Wi-Fi 6耳机架") == ["wi", "fi", "6", "耳机", "机架", "耳", "机", "架"]
    assert words("耳机架", query=True) == ["耳机", "机架"]
    assert words("架", query=True) == ["架"]
    assert words("ﬁne ＡＢＣ") == ["fine", "abc"]


def test_a_score_is_the_share_of_the_question_that_an_item_has() -> None:
    index = Lexical((n, [title]) for n, title in enumerate(["red running shoes", "red shirt", "red hat", "蓝牙耳机", "tea"]))
    whole, half = dict(index.search("running shoes", 5)), dict(index.search("running zebra shoes wanted", 5))
    assert 0.8 < whole[0] < 1.5 and half[0] < 0.7 * whole[0]
    assert index.search("red zzzzz qqqqq", 1)[0][1] < 0.3 and index.search("咖啡杯 red", 1)[0][1] < 0.3


def test_a_misspelt_word_is_read_as_its_neighbour() -> None:
    index = Lexical((n, [title]) for n, title in enumerate(["red running shoes", "stapler", "staple remover", "蓝牙耳机"]))
    assert index.corrected("Runnign shoes!") == "running shoes!" and index.corrected("stapelr") == "stapler"
    assert index.corrected("red shoes") is None is index.corrected("蓝牙机") is index.corrected("") is index.corrected("xylophone")
    assert [code for code, _ in index.search("runnign shose", 3)] == [0]


def test_other_names_find_but_weigh_less() -> None:
    index = Lexical((n, [title]) for n, title in enumerate(["sneakers, blue", "运动鞋", "tea"]))
    found = dict(index.search("运动鞋", 5, alike=["sneakers", "running shoes"]))
    assert set(found) == {0, 1} and found[1] > found[0] > 0
    assert [code for code, _ in index.search("", 5, alike=["sneakers"])] == [0]


def test_having_wants_every_word() -> None:
    index = Lexical([(0, ["Red running shoes"]), (1, ["Red shirt"]), (2, ["蓝牙耳机"])])
    for _ in range(2):  # as asked first, and as kept
        assert sorted(index.having("red").tolist()) == [0, 1] and index.having("red shoe").tolist() == [0] and index.having("耳机").tolist() == [2]
        assert index.having("red 耳机").tolist() == [] == index.having("").tolist()
    index.put([(1, None), (5, ["red hat"])])
    assert sorted(index.having("red").tolist()) == [0, 5]
