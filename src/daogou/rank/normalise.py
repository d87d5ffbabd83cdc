"""Scores of different models made comparable: z-scores per query over the candidates that the model can speak of.

Axes: B queries, I items.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daogou.contract import Scores
from daogou.data.histories import Histories

NO_SPREAD = 1e-6  # relative: a row whose scores differ by less says nothing


class Moments(NamedTuple):
    """z = (score − mean) · inverse. `inverse` is 0 for a row that says nothing: constant, or without a finite score."""

    mean_B: NDArray[np.float64]
    inverse_B: NDArray[np.float64]
    floor_B: NDArray[np.float64]
    "The lowest finite z: what an item gets of which the model can say nothing (−inf, NaN)."


def moments(scores_BI: Scores, left_out: Histories | None = None) -> Moments:
    """Mean and deviation of each row over its finite scores, without the items of `left_out` (masked later, and extreme in most models)."""
    n_items = scores_BI.shape[1]
    finite = np.isfinite(scores_BI)
    clean = scores_BI if finite.all() else np.where(finite, scores_BI, 0)
    count_B = finite.sum(axis=1).astype(np.float64) if clean is not scores_BI else np.full(len(clean), float(n_items))
    # Around a value of the row itself, so that a large common offset does not swallow the variance.
    shift_B = clean.mean(axis=1, dtype=np.float64) if n_items else np.zeros(len(clean))
    low_B = clean.min(axis=1, where=finite, initial=np.inf) if n_items else np.full(len(clean), np.inf)
    centred = (clean - shift_B[:, None].astype(np.float32)) * finite if clean is not scores_BI else clean - shift_B[:, None].astype(np.float32)
    sum_B = centred.sum(axis=1, dtype=np.float64)
    square_B = np.einsum("bi,bi->b", centred, centred, dtype=np.float64)
    if left_out is not None:
        row, item = _distinct(left_out, n_items)
        gone = centred[row, item].astype(np.float64) * finite[row, item]
        sum_B -= np.bincount(row, gone, len(clean))
        square_B -= np.bincount(row, gone**2, len(clean))
        count_B = count_B - np.bincount(row, finite[row, item], len(clean))
    some = count_B > 1
    mean_B = np.divide(sum_B, count_B, out=np.zeros_like(sum_B), where=some)
    variance_B = np.divide(square_B, count_B, out=np.zeros_like(sum_B), where=some) - mean_B**2
    deviation_B = np.sqrt(np.maximum(variance_B, 0))
    mean_B = mean_B + shift_B
    spread = some & (deviation_B > NO_SPREAD * np.maximum(np.abs(mean_B), 1e-12))
    inverse_B = np.divide(1.0, deviation_B, out=np.zeros_like(sum_B), where=spread)
    floor_B = (np.where(np.isfinite(low_B), low_B, mean_B) - mean_B) * inverse_B
    return Moments(mean_B, inverse_B, floor_B)


def z_scores(scores_BC: Scores, of: Moments) -> Scores:
    """[B, C] z-scores of any columns of the rows that `of` was taken from; 0 in rows that say nothing."""
    mean, inverse = of.mean_B[:, None].astype(np.float32), of.inverse_B[:, None].astype(np.float32)
    finite = np.isfinite(scores_BC)
    if finite.all():
        return np.asarray((scores_BC - mean) * inverse, np.float32)
    z = (np.where(finite, scores_BC, mean) - mean) * inverse
    return np.asarray(np.where(finite, z, of.floor_B[:, None]), np.float32)


def _distinct(history: Histories, n_items: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    ok = (history.item >= 0) & (history.item < n_items)
    key = np.unique(history.row[ok] * np.int64(n_items) + history.item[ok])
    return key // max(n_items, 1), key % max(n_items, 1)
