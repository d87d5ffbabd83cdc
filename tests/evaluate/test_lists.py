"""What lists are like: against the definitions, pair by pair."""

from itertools import combinations

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from daogou.data.dataset import Dataset, from_frames
from daogou.evaluate.lists import Catalogue, gini, intra_list_diversity, per_list, together


def taken(rows: dict[str, str], items: pl.DataFrame | None = None) -> Dataset:
    """User → items, one letter each."""
    frame = pl.DataFrame(
        [(u, i, "buy", t) for u, word in rows.items() for t, i in enumerate(word)], schema=["user_id", "item_id", "event", "time"], orient="row"
    )
    return from_frames(frame, items)


def test_gini() -> None:
    assert gini(np.array([3, 3, 3])) == 0
    assert gini(np.array([0, 0, 0, 8])) == 0.75
    assert gini(np.array([1, 3])) == pytest.approx(0.25)
    assert gini(np.array([], np.int64)) == gini(np.zeros(3)) == 0


def test_coverage_counts_candidates_only() -> None:
    found = together(np.array([[0, 1], [0, 2], [-1, -1]], np.int32), np.array([True, True, True, True, False]), (1, 2))
    assert found["coverage@1"] == 0.25
    assert found["coverage@2"] == 0.75
    assert found["gini@1"] == 0.75


def test_diversity_is_one_minus_the_mean_cosine_of_all_pairs() -> None:
    rng = np.random.default_rng(5)
    rows_IF = sp.random(40, 25, 0.2, random_state=6, format="csr")
    norm = np.linalg.norm(rows_IF.toarray(), axis=1)
    dense_IF = rows_IF.toarray() / np.maximum(norm, 1e-12)[:, None]
    lists_BK = np.stack([rng.permutation(40)[:10] for _ in range(6)]).astype(np.int32)
    lists_BK[3, 4:] = -1
    lists_BK[5, 1:] = -1
    found = intra_list_diversity(lists_BK, sp.csr_matrix(dense_IF.astype(np.float32)), (5, 10))
    for n, k in enumerate((5, 10)):
        for b, row in enumerate(lists_BK):
            items = [i for i in row[:k] if i >= 0 and norm[i] > 0]
            pairs = [dense_IF[i] @ dense_IF[j] for i, j in combinations(items, 2)]
            expected = 1 - np.mean(pairs) if pairs else np.nan
            assert found[n][b] == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_items_taken_by_the_same_users_are_alike() -> None:
    data = taken({"u": "ab", "v": "ab", "w": "cd", "x": "d"})
    lists_BK = np.array([[0, 1], [0, 2], [2, 3]], np.int32)
    found = per_list(lists_BK, Catalogue.of(data), (2,))
    assert found["diversity@2"] == pytest.approx([0, 1, 1 - 1 / np.sqrt(2)], abs=1e-6)
    assert "category_diversity@2" not in found


def test_novelty_and_popularity() -> None:
    data = taken({"u": "aab", "v": "a", "w": "a"})
    found = per_list(np.array([[0], [1], [-1]], np.int32), Catalogue.of(data), (1,))
    assert found["popularity@1"] == pytest.approx([1, 1 / 3, np.nan], nan_ok=True)  # users, not events
    assert found["novelty@1"] == pytest.approx([0, 1, np.nan], nan_ok=True)  # (1 + 1) of (3 + 1) users: one bit


def test_categories_are_paths_and_may_be_several() -> None:
    items = pl.DataFrame({"item_id": list("abcde"), "category": ["X > Y", "X > Z", "Q", "X > Y|Q", None]})
    found = per_list(np.array([[0, 1], [0, 2], [0, 3], [0, 4]], np.int32), Catalogue.of(taken({"u": "abcde"}, items)), (2,))["category_diversity@2"]
    assert found == pytest.approx([0.5, 1, 1 - 2 / np.sqrt(6), np.nan], abs=1e-6, nan_ok=True)
