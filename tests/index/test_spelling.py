"""One slip: found whatever it is, and nothing that is further away."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daogou.index.spelling import Spelling, one_slip


@pytest.mark.parametrize(
    ("said", "meant"), [("runing", "running"), ("runnning", "running"), ("rubning", "running"), ("rnuning", "running"), ("staplerr", "stapler")]
)
def test_every_kind_of_slip(said: str, meant: str) -> None:
    assert Spelling(["stapler", "running", "red"]).nearest(said, lambda word: 1) == meant


def test_the_word_most_in_use_and_rather_one_that_begins_alike() -> None:
    times = {"planter": 3, "planner": 9, "blanner": 99}
    assert Spelling(times).nearest("planer", times.__getitem__) == "planner"
    assert Spelling(times).nearest("planer", lambda word: int(word == "planter")) == "planter"
    assert Spelling(times).nearest("planer", lambda word: 0) is None


def test_short_words_numbers_and_chinese_stay_as_they_are() -> None:
    spelling = Spelling(["red", "a4000", "耳机支架", "cafés"])
    assert [spelling.nearest(word, lambda one: 1) for word in ("rad", "a400", "耳机架", "café", "reds")] == [None, None, None, None, "red"]


def test_words_may_come_later() -> None:
    spelling = Spelling()
    assert spelling.nearest("headphome", lambda word: 1) is None
    spelling.add(["headphone"])
    assert spelling.nearest("headphome", lambda word: 1) == "headphone"


def slow(a: str, b: str) -> int:
    """Damerau-Levenshtein distance (optimal string alignment) by the textbook."""
    d = [[max(i, j) if 0 in (i, j) else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            d[i][j] = min(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                d[i][j] = min(d[i][j], d[i - 2][j - 2] + 1)
    return d[-1][-1]


@settings(max_examples=500, deadline=None)
@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_one_slip_is_a_distance_of_one(a: str, b: str) -> None:
    assert one_slip(a, b) == (slow(a, b) == 1)


@settings(max_examples=100, deadline=None)
@given(st.text(string.ascii_lowercase, min_size=5, max_size=12), st.integers(0, 3), st.integers(0, 10), st.sampled_from(string.ascii_lowercase))
def test_no_slip_is_overlooked(word: str, kind: int, at: int, letter: str) -> None:
    at = 1 + at % (len(word) - 2)
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    said = (word[:at] + word[at + 1 :], word[:at] + letter + word[at:], word[:at] + letter + word[at + 1 :], swapped)[kind]
    if said != word:
        assert Spelling([word, "zz" + word + "zz"]).nearest(said, lambda one: 1) == word
