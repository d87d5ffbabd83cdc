"""Exploration: a share of the places goes to items drawn at random, and the probability of everything shown is logged.

Without known propensities nothing can be learned from what was shown (Horvitz and Thompson 1952): a list that is always the same says only
how good itself is.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Explored(NamedTuple):
    """The list: positions in `ranked` (≥ 0) or in `pool` (as −1 − position), and the probability that each is on the list."""

    places: list[int]
    propensity: list[float]


def explore(n_ranked: int, n_pool: int, k: int, share: float, rng: np.random.Generator) -> Explored:
    """A list of k: m places, on average share · k, are drawn uniformly without replacement from the pool, the others are the ranked items in order.

    Args:
        n_ranked: items in order of preference.
        n_pool: other items that may be shown.
        share: of the places; 0 explores nothing.

    The propensity of ranked item r (from 0) is P(r < k − m), of a pool item E[m] / n_pool.
    """
    mean = share * k
    low = int(np.floor(mean))
    odds = {low: 1 - (mean - low), low + 1: mean - low}
    odds = _fitting(odds, n_pool, k)
    m = int(rng.choice(list(odds), p=list(odds.values())))
    kept = list(range(min(n_ranked, k - m)))
    drawn = [-1 - int(n) for n in rng.choice(n_pool, m, replace=False)] if m else []
    spots: NDArray[np.int64] = np.sort(rng.choice(len(kept) + m, m, replace=False)) if m else np.zeros(0, np.int64)
    places = kept
    for spot, item in zip(spots.tolist(), drawn, strict=True):
        places.insert(spot, item)
    expected = sum(p * count for count, p in odds.items())
    return Explored(places, [sum(p for count, p in odds.items() if place < k - count) if place >= 0 else expected / n_pool for place in places])


def _fitting(odds: dict[int, float], n_pool: int, k: int) -> dict[int, float]:
    """The same odds where the pool is too small for that many draws; what cannot happen is left out."""
    out: dict[int, float] = {}
    for m, p in odds.items():
        if p > 0:
            out[min(m, n_pool, k)] = out.get(min(m, n_pool, k), 0.0) + p
    return out
