"""Ranks by counting against ranks by the definition, one comparison at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daogou.data.histories import Histories
from daogou.evaluate.ranking import rank


def by_definition(scores_I: list[float], hidden: set[int], wanted: int) -> float:
    """0-based rank with ties as half; inf where the item cannot be retrieved."""
    mine = scores_I[wanted]
    if wanted in hidden or np.isnan(mine) or mine == -np.inf:
        return np.inf
    others = [s for i, s in enumerate(scores_I) if i != wanted and i not in hidden and not np.isnan(s)]
    return sum(s > mine for s in others) + sum(s == mine for s in others) / 2


SCORES = st.sampled_from([0.0, -0.0, 1.0, 2.0, -3.5, 1e-30, np.inf, -np.inf, np.nan])


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_rank_follows_the_definition(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 12))
    scores_I = data.draw(st.lists(SCORES, min_size=n, max_size=n))
    seen = data.draw(st.lists(st.integers(-1, n + 2), max_size=4))
    known_I = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    wanted = data.draw(st.lists(st.integers(0, n - 1), max_size=5, unique=True))
    found = rank(np.array([scores_I], np.float32), Histories.of([wanted]), Histories.of([seen]), known_I, k=3)
    hidden = set(seen) | set(np.flatnonzero(~known_I))
    assert found.rank_T.tolist() == [by_definition(scores_I, hidden, w) for w in wanted]
    assert found.candidates_B[0] == n - len(hidden & set(range(n)))


@settings(deadline=None, max_examples=300)
@given(scores_I=st.lists(SCORES, min_size=1, max_size=12), seen=st.lists(st.integers(0, 11), max_size=4))
def test_list_is_best_first_and_ties_go_by_code(scores_I: list[float], seen: list[int]) -> None:
    found = rank(np.array([scores_I], np.float32), Histories.of([[0]]), Histories.of([seen]), None, k=5)
    allowed = [i for i, s in enumerate(scores_I) if i not in seen and s > -np.inf]
    best = sorted(allowed, key=lambda i: (-scores_I[i], i))[:5]
    assert found.lists_BK[0].tolist() == best + [-1] * (5 - len(best))


def test_wanted_item_beyond_the_scores_is_lost() -> None:
    found = rank(np.ones((1, 3), np.float32), Histories.of([[2, 7]]), None, None, k=3)
    assert found.rank_T.tolist() == [1.0, np.inf]
    assert np.isnan(found.middle_T[1])


@pytest.mark.parametrize(("size", "candidates"), [(2, 2), (5, 3)])
def test_known_items_may_be_told_of_another_catalogue_size(size: int, candidates: int) -> None:
    """An older release scores fewer items than the vocabulary has by now, and the other way round."""
    assert rank(np.ones((1, 3), np.float32), Histories.of([[0]]), None, np.ones(size, np.bool_), k=1).candidates_B[0] == candidates


def test_scores_are_left_alone() -> None:
    scores_BI = np.arange(6, dtype=np.float32).reshape(2, 3)
    scores_BI.flags.writeable = False
    rank(scores_BI, Histories.of([[0], [1]]), Histories.of([[1], [2]]), None, k=2)
    assert scores_BI.ravel().tolist() == [0, 1, 2, 3, 4, 5]
