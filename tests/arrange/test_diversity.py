"""Diversity: the order by score where none is asked for, and lists that differ where it is."""

import numpy as np
import pytest

from daogou.arrange.diversity import diversify


def test_without_diversity_the_order_is_that_of_the_scores() -> None:
    scores = np.array([0.1, 0.9, 0.5, 0.7])
    assert diversify(scores, ["a", "a", "a", "b"], 3, share=0.0).tolist() == [1, 3, 2]


def test_the_next_item_differs_from_those_chosen() -> None:
    scores = np.array([1.0, 0.99, 0.98, 0.5, 0.0])
    assert diversify(scores, ["a", "a", "a", "b", "b"], 3, share=0.5).tolist() == [0, 3, 1]


def test_known_order_by_the_formula() -> None:
    """rel = 1, .8, .6, 0 after scaling; d = .4. After item 0 (a > x): item 1 (a > y) .48 − .4·½ = .28, item 2 (b) .36."""
    scores = np.array([10.0, 8.0, 6.0, 0.0])
    assert diversify(scores, ["a > x", "a > y", "b", None], 4, share=0.4).tolist() == [0, 2, 1, 3]


def test_a_common_path_counts_by_its_levels() -> None:
    scores = np.array([1.0, 0.9, 0.9, 0.0])
    near_then_far = diversify(scores, ["a > x", "a > x", "a > y", None], 2, share=0.3)
    assert near_then_far.tolist() == [0, 2]


def test_what_has_no_label_is_like_nothing() -> None:
    scores = np.array([1.0, 0.99, 0.98, 0.0])
    assert diversify(scores, [None, None, None, None], 3, share=0.9).tolist() == [0, 1, 2]


def test_a_cap_bounds_each_label_and_may_leave_places_free() -> None:
    scores = np.arange(6, 0, -1).astype(float)
    labels = ["a", "a", "a", "b", None, None]
    assert diversify(scores, labels, 6, share=0.0, cap=1).tolist() == [0, 3, 4, 5]
    assert diversify(scores, labels, 6, share=0.0, cap=2).tolist() == [0, 1, 3, 4, 5]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_candidates(n: int) -> None:
    assert sorted(diversify(np.ones(n), ["a"] * n, 5, share=0.3).tolist()) == list(range(n))
