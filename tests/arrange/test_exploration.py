"""Exploration: the logged propensities are the frequencies with which items really appear."""

import numpy as np
import pytest

from daogou.arrange.exploration import explore


@pytest.mark.parametrize(
    ("n_ranked", "n_pool", "k", "share"), [(10, 20, 10, 0.25), (10, 20, 10, 0.3), (6, 3, 5, 0.5), (3, 8, 5, 0.2), (10, 1, 4, 0.5), (4, 0, 4, 0.5)]
)
def test_propensities_are_frequencies(n_ranked: int, n_pool: int, k: int, share: float) -> None:
    rng = np.random.default_rng(7)
    rounds = 6000
    seen: dict[int, int] = {}
    logged: dict[int, float] = {}
    for _ in range(rounds):
        drawn = explore(n_ranked, n_pool, k, share, rng)
        assert len(drawn.places) == len(set(drawn.places)) <= k
        for place, p in zip(drawn.places, drawn.propensity, strict=True):
            seen[place] = seen.get(place, 0) + 1
            assert logged.setdefault(place, p) == p  # one item, one propensity
    for place, p in logged.items():
        assert seen[place] / rounds == pytest.approx(p, abs=4 * np.sqrt(max(p * (1 - p), 1e-9) / rounds))


def test_nothing_is_explored_at_share_0_or_without_a_pool() -> None:
    rng = np.random.default_rng(0)
    for n_pool, share in ((9, 0.0), (0, 0.5)):
        drawn = explore(5, n_pool, 3, share, rng)
        assert drawn.places == [0, 1, 2]
        assert drawn.propensity == [1.0, 1.0, 1.0]


def test_explored_items_come_at_every_position() -> None:
    rng = np.random.default_rng(3)
    at = {n for _ in range(300) for n, place in enumerate(explore(5, 5, 5, 0.2, rng).places) if place < 0}
    assert at == set(range(5))


def test_ranked_items_keep_their_order() -> None:
    rng = np.random.default_rng(4)
    for _ in range(100):
        kept = [place for place in explore(8, 8, 6, 0.5, rng).places if place >= 0]
        assert kept == sorted(kept)
