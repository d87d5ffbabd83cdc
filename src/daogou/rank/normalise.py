"""Scores of different models made comparable: z-scores per query over the candidates that the model can speak of.

Axes: B queries, C candidates, I items.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from daogou.contract import Scores
from daogou.data.histories import Histories

NO_SPREAD = 1e-6  # relative: a row whose scores differ by less says nothing


class Moments(NamedTuple):
    """z = (score − mean) · inverse. `inverse` is 0 for a row that says nothing: constant, or without two finite scores."""

    mean_B: NDArray[np.float64]
    inverse_B: NDArray[np.float64]
    floor_B: NDArray[np.float64]
    "The lowest finite z: what an item gets of which the model can say nothing (−inf, NaN)."


def moments(scores_BI: Scores, left_out: Histories | None = None) -> Moments:
    """Mean and deviation of each row over its finite scores, without the items of `left_out` (masked later, and extreme in most models)."""
    row, item = _distinct(left_out, scores_BI.shape[1]) if left_out is not None else (np.zeros(0, np.int64), np.zeros(0, np.int64))
    start = np.searchsorted(row, np.arange(len(scores_BI) + 1))
    mean_B, deviation_B, low_B = _sums(np.ascontiguousarray(scores_BI), start, item)
    spread = deviation_B > NO_SPREAD * np.maximum(np.abs(mean_B), 1e-12)
    inverse_B = np.divide(1.0, deviation_B, out=np.zeros_like(mean_B), where=spread)
    return Moments(mean_B, inverse_B, (low_B - mean_B) * inverse_B)


def z_scores(scores_BC: Scores, of: Moments) -> Scores:
    """[B, C] z-scores of any columns of the rows that `of` was taken from; 0 in rows that say nothing."""
    mean, inverse = of.mean_B[:, None].astype(np.float32), of.inverse_B[:, None].astype(np.float32)
    finite = np.isfinite(scores_BC)
    if finite.all():
        return np.asarray((scores_BC - mean) * inverse, np.float32)
    z = (np.where(finite, scores_BC, mean) - mean) * inverse
    return np.asarray(np.where(finite, z, of.floor_B[:, None]), np.float32)


@njit(cache=True, nogil=True)
def _sums(scores_BI: Scores, start: NDArray[np.int64], left_out: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean, deviation and lowest finite score of each row in two passes (a single one loses the variance of scores far from 0)."""
    n_rows, n_items = scores_BI.shape
    mean_B, deviation_B, low_B = np.zeros(n_rows), np.zeros(n_rows), np.zeros(n_rows)
    for b in range(n_rows):
        count, total, low = 0, 0.0, np.inf
        for i in range(n_items):
            score = scores_BI[b, i]
            if np.isfinite(score):
                count += 1
                total += score
                low = min(low, score)
        for at in range(start[b], start[b + 1]):
            score = scores_BI[b, left_out[at]]
            if np.isfinite(score):
                count -= 1
                total -= score
        if count < 2:
            continue
        mean, square = total / count, 0.0
        for i in range(n_items):
            score = scores_BI[b, i]
            if np.isfinite(score):
                square += (score - mean) * (score - mean)
        for at in range(start[b], start[b + 1]):
            score = scores_BI[b, left_out[at]]
            if np.isfinite(score):
                square -= (score - mean) * (score - mean)
        mean_B[b], deviation_B[b], low_B[b] = mean, np.sqrt(max(square, 0.0) / count), low
    return mean_B, deviation_B, low_B


def _distinct(history: Histories, n_items: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and item of each item that a row holds, once, rows ascending."""
    ok = (history.item >= 0) & (history.item < n_items)
    key = np.unique(history.row[ok] * np.int64(n_items) + history.item[ok])
    return key // max(n_items, 1), key % max(n_items, 1)
