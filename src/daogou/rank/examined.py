"""How far the places of a list are looked at, learned from what was shown where and what of it was taken.

Position-based model (Richardson et al. 2007; Craswell et al. 2008):

    P(taken | item i at place p) = θ_p · r_i

Counts of what was taken are fitted by alternating  θ_p = Σ taken / Σ r_i  and  r_i = (Σ taken + κ r̄) / (Σ θ_p + κ),  with θ of the best place 1. What was taken
from place p then counts 1/θ_p in learning (inverse propensity, Joachims et al. 2017): a good item far down is taken seldom for where it stood, not for what
it is. What was found without being shown counts 1.

Axes: N impressions, P places, T wanted items.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from daogou.contract import Mask, Scores
from daogou.data.dataset import Dataset
from daogou.data.split import Targets

PLACES = 50  # later ones are taken together
FEWEST = 200  # impressions that were taken; below, chance would be learned
PRIOR = 20.0  # κ: impressions by which an item is held to the mean
ROUNDS = 30
MOST = 10.0  # no event counts more: the variance of large weights costs more than their bias
LATER_US = 86_400_000_000  # within a day: what is taken later was not taken from the list


@dataclass(frozen=True)
class Examined:
    """θ [P], and the impressions (user, item, time, place) by which an event finds the place it was taken from."""

    theta_P: Scores
    user_N: NDArray[np.int32]
    item_N: NDArray[np.int32]
    time_N: NDArray[np.int64]
    place_N: NDArray[np.int64]

    @classmethod
    def of(cls, data: Dataset) -> Self | None:
        """None where too little of what was shown was taken, or places were not logged."""
        e = data.events
        shown = (e.position >= 0) & (data.weight_E == 0)
        if not shown.any():
            return None
        user, item, time = e.user[shown], e.item[shown], e.time[shown]
        place = np.minimum(e.position[shown], PLACES - 1).astype(np.int64)
        signal = data.weight_E > 0
        key, key_S = (a.astype(np.int64) * data.n_items + b for a, b in ((user, item), (e.user[signal], e.item[signal])))
        taken = np.zeros(len(key), np.bool_)
        taken[(last := _latest(key_S, e.time[signal], key, time))[last >= 0]] = True
        return cls(_theta(item, place, taken), user, item, time, place) if taken.sum() >= FEWEST else None

    def weights(self, targets: Targets) -> Scores:
        """[T] 1/θ of the place that each wanted item was taken from; 1 where it was not shown in the day before."""
        wanted, n = targets.wanted, int(max(self.item_N.max(initial=0), targets.wanted.item.max(initial=0))) + 1
        user_T = targets.queries.user_B[wanted.row].astype(np.int64)
        found = _latest(user_T * n + wanted.item, wanted.time, self.user_N.astype(np.int64) * n + self.item_N, self.time_N)
        there = (found >= 0) & (user_T >= 0)
        weight = np.ones(len(found), np.float32)
        weight[there] = np.minimum(1.0 / self.theta_P[self.place_N[found[there]]], MOST)
        return weight


def _theta(item_N: NDArray[np.int32], place_N: NDArray[np.int64], taken_N: Mask) -> Scores:
    """[P] how far each place is looked at, never rising with the place; the best is 1."""
    row_N = np.unique(item_N, return_inverse=True)[1]
    mean = taken_N.mean()
    theta_P = np.ones(PLACES)
    taken_I, taken_P = np.bincount(row_N, taken_N), np.bincount(place_N, taken_N, PLACES)
    for _ in range(ROUNDS):
        rate_I = (taken_I + PRIOR * mean) / (np.bincount(row_N, theta_P[place_N]) + PRIOR)
        due_P = np.bincount(place_N, rate_I[row_N], PLACES)
        theta_P = np.where(due_P > 0, (taken_P + 1.0) / (due_P + 1.0), 0.0)
        theta_P = np.minimum.accumulate(theta_P / max(theta_P[0], 1e-9))
    return np.clip(theta_P, 1.0 / MOST, 1.0).astype(np.float32)


def _latest(key_A: NDArray[np.int64], time_A: NDArray[np.int64], key_B: NDArray[np.int64], time_B: NDArray[np.int64]) -> NDArray[np.int64]:
    """[A] number of the newest of B with the same key, at most a day earlier; −1 = none."""
    key, time = np.concatenate([key_A, key_B]), np.concatenate([time_A, time_B])
    of_b = np.arange(len(key)) >= len(key_A)
    order = np.lexsort((~of_b, time, key))  # of one moment, B comes first
    at = np.maximum.accumulate(np.where(of_b[order], np.arange(len(order)), -1))
    here = ~of_b[order]
    mine, before = order[here], at[here]
    nearest = order[np.maximum(before, 0)]
    good = (before >= 0) & (key[nearest] == key[mine]) & (time[mine] - time[nearest] <= LATER_US)
    out = np.full(len(key_A), -1, np.int64)
    out[mine[good]] = nearest[good] - len(key_A)
    return out
