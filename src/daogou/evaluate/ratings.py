"""How far predicted ratings lie from those that were given: RMSE and MAE of models that predict ratings.

Error of ratings is not quality of lists: it says nothing of the items that nobody rated.

Axes: B queries, T wanted items.
"""

from typing import NamedTuple

import numpy as np

from daogou.contract import Rater, Scores
from daogou.data.dataset import Dataset
from daogou.data.split import Targets
from daogou.evaluate.result import Interval

BLOCK = 4096  # wanted items predicted at once: each repeats its query's history


class RatingError(NamedTuple):
    """Over `n` ratings; the interval is over people, as their ratings err together."""

    rmse: float
    mae: float
    rmse_ci95: Interval
    n: int


def given(data: Dataset, targets: Targets) -> Scores:
    """[T] the value of each wanted item's event, NaN where it has none or the query does not say whose it is."""
    e, wanted = data.events, targets.wanted
    user_T = targets.queries.user_B[wanted.row].astype(np.int64)
    rated = np.flatnonzero(np.isfinite(e.value) & np.isin(e.user, user_T))
    value = dict(zip(zip(e.user[rated].tolist(), e.item[rated].tolist(), e.time[rated].tolist(), strict=True), e.value[rated].tolist(), strict=True))
    keys = zip(user_T.tolist(), wanted.item.tolist(), wanted.time.tolist(), strict=True)
    return np.array([value.get(key, np.nan) for key in keys], np.float32)


def rating_error(rater: Rater, targets: Targets, value_T: Scores) -> RatingError | None:
    """None where no wanted item was rated.

    Args:
        value_T: `given`.
    """
    wanted = targets.wanted
    rated = np.flatnonzero(np.isfinite(value_T))
    if not len(rated):
        return None
    row = wanted.row[rated]
    parts = [slice(first, first + BLOCK) for first in range(0, len(rated), BLOCK)]
    predicted = np.concatenate([rater.predict(targets.queries[row[part]], wanted.item[rated[part]]) for part in parts])
    error = predicted.astype(np.float64) - value_T[rated]
    squared_B, count_B = np.bincount(row, error**2, len(targets)), np.bincount(row, minlength=len(targets))
    mean = float(squared_B.sum() / count_B.sum())
    people = max(int((count_B > 0).sum()), 2)
    spread = float(np.sqrt(people / (people - 1) * ((squared_B - mean * count_B) ** 2).sum()) / count_B.sum())
    low, high = (float(np.sqrt(max(mean + side * 1.96 * spread, 0.0))) for side in (-1, 1))
    return RatingError(float(np.sqrt(mean)), float(np.abs(error).mean()), Interval(low, high), len(rated))
