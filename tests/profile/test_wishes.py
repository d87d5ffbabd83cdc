"""What words do to lists."""

import itertools
from collections.abc import Iterable

import numpy as np
import pytest

from daogou.data.rows import Correction
from daogou.profile.traits import Traits
from daogou.profile.wishes import NONE, Wishes, in_turn, raised, reordered, wishes, within


def said(attribute: str, value: str, says: str = "wrong", time: int = 1) -> Correction:
    return Correction(attribute=attribute, value=value, says=says, time=time)  # type: ignore[arg-type]


def test_words_become_masks(traits: Traits) -> None:
    found = wishes(
        [said("category", "Hats"), said("brand", "b1"), said("colour", "Blue", "more"), said("item_id", "i4", "more", 9)], traits, lambda code: [code + 1]
    )
    assert found and found.wrong_I is not None
    assert np.flatnonzero(found.wrong_I).tolist() == [n for n in range(40) if n % 4 >= 2 or n % 5 == 1]
    assert np.flatnonzero(found.more[0]).tolist() == list(range(0, 40, 4))
    assert np.flatnonzero(found.more[1]).tolist() == [4, 5] and found.items == ((4, 9),)
    assert found.wanted([0, 1, 5]) == {0, 5}


def test_wrong_wins_over_more_and_nothing_is_no_wish(traits: Traits) -> None:
    assert wishes([said("item_id", "i4", "more"), said("category", "Shoes")], traits, lambda _: []).items == ()
    assert not wishes([said("colour", "Mauve"), said("faith", "x")], traits, lambda _: [])
    assert not NONE and not NONE.is_wrong(3)


def test_a_catalogue_that_grew() -> None:
    assert within(None, 3).tolist() == [False] * 3
    assert within(np.array([True]), 3).tolist() == [True, False, False]
    assert not Wishes(np.array([True])).is_wrong(5) and Wishes(np.array([True])).is_wrong(0)


@pytest.mark.parametrize("k", [1, 2, 3, 6, 12])
@pytest.mark.parametrize("had", [0, 1, 3])
def test_a_third_of_the_places_more(k: int, had: int) -> None:
    order, extra = list(range(k)), list(range(100, 130))
    wanted = set(order[:had])
    out = raised(order, wanted, extra, k)[:k]
    gained = sum(code >= 100 or code in wanted for code in out) - min(had, k)
    assert gained == min(k - min(had, k), -(-k // 3))
    assert [code for code in out if code < 100] == sorted(code for code in out if code < 100), "the others keep their order"
    assert len(set(out)) == len(out) == k


def test_raising_what_there_is_not_changes_nothing() -> None:
    assert raised([1, 2, 3], set(), [], 3) == [1, 2, 3]
    assert raised([], set(), [7, 8, 9], 3) == [7]
    assert raised([1, 2, 3], {1, 2, 3}, [7], 3) == [1, 2, 3]


def test_a_short_list_grows() -> None:
    assert raised([1, 2], set(), [7, 8], 6) == [1, 7, 2, 8]


def test_reordering_loses_and_doubles_nothing() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        n = int(rng.integers(1, 30))
        order = rng.permutation(40)[:n].tolist()
        wished = Wishes(rng.random(40) < 0.3, tuple(rng.random(40) < 0.2 for _ in range(2)), ())
        out = reordered(order, wished, int(rng.integers(1, 15)))
        assert sorted(out) == sorted(order)
        wrong = [wished.is_wrong(code) for code in out]
        assert wrong == sorted(wrong), "what is wrong stands behind everything else"


def test_pools_take_turns() -> None:
    pools: list[Iterable[int]] = [[1, 2, 3], [2, 9], itertools.count(50)]
    assert list(itertools.islice(in_turn(pools, {1}), 7)) == [2, 9, 50, 3, 51, 52, 53]
