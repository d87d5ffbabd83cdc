"""Exploration: the logged propensities are the frequencies with which items really appear."""

import numpy as np
import pytest

from daogou.arrange.exploration import explore


@pytest.mark.parametrize(
    ("n_ranked", "n_pool", "k", "share", "n_head"),
    [
        *((10, 20, 10, 0.25, 0), (10, 20, 10, 0.3, 0), (6, 3, 5, 0.5, 0), (3, 8, 5, 0.2, 0), (10, 1, 4, 0.5, 0), (4, 0, 4, 0.5, 0)),
        *((10, 30, 10, 0.25, 5), (10, 30, 10, 0.3, 1), (6, 3, 6, 0.5, 3), (10, 8, 5, 0.1, 4), (10, 9, 8, 0.5, 8), (10, 7, 8, 0.5, 2)),
    ],
)
def test_propensities_are_frequencies(n_ranked: int, n_pool: int, k: int, share: float, n_head: int) -> None:
    rng = np.random.default_rng(7)
    rounds = 6000
    seen: dict[int, int] = {}
    logged: dict[int, float] = {}
    for _ in range(rounds):
        drawn = explore(n_ranked, n_pool, k, share, rng, n_head)
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


def test_half_of_the_places_go_to_the_head_of_the_pool() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        drawn = [-1 - place for place in explore(20, 100, 20, 0.2, rng, 10).places if place < 0]
        assert len(drawn) == 4 and sum(place < 10 for place in drawn) == 2
