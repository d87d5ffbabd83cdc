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


def explore(n_ranked: int, n_pool: int, k: int, share: float, rng: np.random.Generator, n_head: int = 0) -> Explored:
    """A list of k: m places, on average share · k, are drawn uniformly without replacement from the pool, the others are the ranked items in order.

    Half of the m places, rounded up, go to the head of the pool, where new goods stand: a few of them would be lost among many known ones.

    Args:
        n_ranked: items in order of preference.
        n_pool: other items that may be shown.
        share: of the places; 0 explores nothing.
        n_head: so many of the pool are its head; 0 = it has none.

    The propensity of ranked item r (from 0) is P(r < k − m), of one of the head E[m_head] / n_head, of another of the pool E[m − m_head] / (n_pool − n_head).
    """
    mean = share * k
    low = int(np.floor(mean))
    odds = {low: 1 - (mean - low), low + 1: mean - low}
    odds = _fitting(odds, n_pool, k)
    m = int(rng.choice(list(odds), p=list(odds.values())))
    kept = list(range(min(n_ranked, k - m)))
    head, others = _divided(m, n_head, n_pool)
    drawn = [-1 - int(n) for n in rng.choice(n_head, head, replace=False)] if head else []
    drawn += [-1 - n_head - int(n) for n in rng.choice(n_pool - n_head, others, replace=False)] if others else []
    rng.shuffle(drawn)
    spots: NDArray[np.int64] = np.sort(rng.choice(len(kept) + m, m, replace=False)) if m else np.zeros(0, np.int64)
    places = kept
    for spot, item in zip(spots.tolist(), drawn, strict=True):
        places.insert(spot, item)
    halves = [(p, *_divided(count, n_head, n_pool)) for count, p in odds.items()]
    of_head = sum(p * drawn for p, drawn, _ in halves) / max(n_head, 1)
    of_others = sum(p * drawn for p, _, drawn in halves) / max(n_pool - n_head, 1)

    def propensity(place: int) -> float:
        if place >= 0:
            return sum(p for count, p in odds.items() if place < k - count)
        return of_head if -1 - place < n_head else of_others

    return Explored(places, [propensity(place) for place in places])


def _divided(m: int, n_head: int, n_pool: int) -> tuple[int, int]:
    """How many of m draws fall on the head of the pool, and on the others; where one side has too few, the other takes its place."""
    head = min(max((m + 1) // 2, m - (n_pool - n_head)), n_head, m)
    return head, m - head


def _fitting(odds: dict[int, float], n_pool: int, k: int) -> dict[int, float]:
    """The same odds where the pool is too small for that many draws; what cannot happen is left out."""
    out: dict[int, float] = {}
    for m, p in odds.items():
        if p > 0:
            out[min(m, n_pool, k)] = out.get(min(m, n_pool, k), 0.0) + p
    return out
