"""Items that have every term: as sets would say, whatever changed before."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daogou.index import postings
from daogou.index.postings import Postings

CHANGES = st.lists(st.tuples(st.integers(0, 12), st.sets(st.sampled_from("abcde"))), max_size=80)


@settings(max_examples=150, deadline=None)
@given(CHANGES, st.lists(st.sets(st.sampled_from("abcdef"), max_size=3), max_size=5))
def test_as_sets_say(changes: list[tuple[int, set[str]]], questions: list[set[str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postings, "MOST_DEAD", 3)
        made, truth = Postings(), dict[int, set[str]]()
        for code, terms in changes:
            made.put(code, terms)
            truth[code] = terms
            for asked in questions:
                wanted = sorted(code for code, has in truth.items() if asked and asked <= has)
                assert sorted(made.having(asked).tolist()) == wanted


def test_changing_for_ever_costs_no_memory() -> None:
    made = Postings()
    for n in range(30_000):
        made.put(n % 10, [f"word{n}", "all"])
    assert sorted(made.having(["all"]).tolist()) == list(range(10))
    assert len(made._rows) < 2500 and len(made._code_R) < 2500 and made.having(["word29999"]).tolist() == [9] and not len(made.having(["word5"]))


def test_what_was_answered_does_not_change_later() -> None:
    made = Postings()
    made.put(0, "a")
    first = made.having("a")
    for code in range(100):
        made.put(code, "ab")
    assert first.tolist() == [0] and first.dtype == np.int32 and len(made.having("ba")) == 100
