"""What the questions about a dataset share, worked out once."""

from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from daogou.data.dataset import Dataset
from daogou.data.times import EARLIEST_NUMBER_S, SECOND_US


class Overview:
    """Counts and masks over a dataset's events E, users U and items I."""

    def __init__(self, data: Dataset) -> None:
        e = data.events
        self.data, self.n = data, len(e)
        self.by_user = np.bincount(e.user, minlength=data.n_users)
        self.by_item = np.bincount(e.item, minlength=data.n_items)
        self.signal = data.weight_E > 0
        self.signal_by_user = np.bincount(e.user[self.signal], minlength=data.n_users)
        self.dated = bool(self.n) and int(np.median(e.time)) >= EARLIEST_NUMBER_S * SECOND_US
        "Whether times are dates and not running numbers."
        self.tied = np.zeros(self.n, np.bool_)
        "[E] whether an event has the moment of the one before, of the same user (events are sorted by user and time)."
        self.tied[1:] = (e.user[1:] == e.user[:-1]) & (e.time[1:] == e.time[:-1])

    def pairs(self, rows: NDArray[np.bool_] | None = None) -> int:
        """Different (user, item) pairs among events."""
        user, item = (self.data.events.user, self.data.events.item) if rows is None else (self.data.events.user[rows], self.data.events.item[rows])
        return distinct(user.astype(np.int64) * max(self.data.n_items, 1) + item)

    @cached_property
    def described(self) -> NDArray[np.bool_]:
        """[I] whether the catalogue says anything of the item beyond its id."""
        return _filled(self.data.item_table, ("item_id",), self.data.n_items)

    @cached_property
    def registered(self) -> NDArray[np.bool_]:
        """[U] whether anything is known of the user beyond the id."""
        return _filled(self.data.user_table, ("user_id", "consent"), self.data.n_users)


def _filled(table: pl.DataFrame, ids: tuple[str, ...], n: int) -> NDArray[np.bool_]:
    columns = [name for name in table.columns if name not in ids]
    if not columns:
        return np.zeros(n, np.bool_)
    return table.select(pl.any_horizontal(pl.col(columns).is_not_null())).to_series().to_numpy()


def distinct(values: NDArray[np.generic]) -> int:
    """How many different values there are."""
    return pl.Series(values).n_unique()
