"""What a ranker knows of the items: when they were taken, what they cost, which group they belong to. Learned from one Dataset, read as of any moment.

Everything is counted strictly before the moment of the question, so that no feature can see what came after it. Axes: I items, E events, N pairs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from daogou.contract import Codes, Mask, Scores, Times
from daogou.data.dataset import Dataset

DAY_US = 86_400_000_000
WINDOWS_DAYS = (1, 7, 28)
FIRST_REAL_US = 100_000_000_000_000  # 1973: earlier times are counters, not clocks
NO_GROUP = frozenset({"item_id", "title", "description", "image", "currency"})
MOST_GROUPS = 8
PATH = " > "


@dataclass(frozen=True)
class Facts:
    """Columns of I items. `time` holds the events of item i at ``start[i]:start[i+1]``, ascending; `older_I` counts those before them that were not kept."""

    end: int
    "Time of the newest event, µs: a question that is asked later is answered as of then."
    real: bool
    "Whether times are clocks; counters know neither hour nor trend."
    start: NDArray[np.int64]
    time: Times
    older_I: NDArray[np.int64]
    first_I: Times
    "When the item was created, or its first event; `end` where neither is known."
    price_I: Scores
    "NaN where unknown."
    gap_I: Scores
    "Logarithm of the usual number of days between two events of one person with the item; NaN where nobody came back."
    known_I: Mask
    "Items that exist at `end`."
    groups: Mapping[str, Codes]
    "Attribute → number of each item's value, −1 where unknown."

    @classmethod
    def of(cls, data: Dataset) -> Self:
        """Facts at the end of `data`; only events of positive weight count."""
        e = data.events
        signal = np.flatnonzero(data.weight_E > 0)
        order = signal[np.lexsort((e.time[signal], e.item[signal]))]
        start = np.searchsorted(e.item[order], np.arange(data.n_items + 1)).astype(np.int64)
        time = e.time[order]
        had = start[1:] > start[:-1]
        first = np.full(data.n_items, data.end, np.int64)
        first[had] = time[start[:-1][had]]
        created = _numbers(data.item_table, "created")
        first = np.where(np.isfinite(created), np.nan_to_num(created), first).astype(np.int64)
        return cls(
            end=data.end,
            real=data.end >= FIRST_REAL_US,
            start=start,
            time=time,
            older_I=np.zeros(data.n_items, np.int64),
            first_I=first,
            price_I=_numbers(data.item_table, "price").astype(np.float32),
            gap_I=_gaps(data, signal),
            known_I=np.ones(data.n_items, np.bool_) if data.known_I is None else data.known_I,
            groups=_groups(data.item_table),
        )

    def before(self, item_N: Codes, moment_N: Times) -> NDArray[np.int64]:
        """[N] events of each item strictly before each moment."""
        return self.older_I[item_N] + _before(self.start, self.time, item_N.astype(np.int64), moment_N)

    # ---- files
    def recent(self) -> Self:
        """The same for every question asked at `end` or later, with only the events that such a question looks at."""
        keep = self.time > self.end - WINDOWS_DAYS[-1] * DAY_US
        item = np.repeat(np.arange(len(self.first_I)), np.diff(self.start))
        start = np.concatenate([[0], np.cumsum(np.bincount(item[keep], minlength=len(self.first_I)))]).astype(np.int64)
        older = self.older_I + np.bincount(item[~keep], minlength=len(self.first_I))
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return type(self)(**values | {"start": start, "time": self.time[keep], "older_I": older})

    def save(self, file: Path) -> None:
        """One safetensors file. It names items by code and nobody."""
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in ("start", "time", "older_I", "first_I", "price_I", "gap_I")}
        arrays |= {"known_I": self.known_I.astype(np.uint8), "head": np.array([self.end, self.real], np.int64)}
        arrays |= {f"group.{name}": codes for name, codes in self.groups.items()}
        save_file({name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}, file)

    @classmethod
    def load(cls, file: Path) -> Self:
        arrays = load_file(file)
        end, real = arrays.pop("head").tolist()
        groups = {name.removeprefix("group."): arrays.pop(name) for name in sorted(arrays) if name.startswith("group.")}
        known = arrays.pop("known_I").astype(np.bool_)
        return cls(end=end, real=bool(real), known_I=known, groups=groups, **arrays)


def _gaps(data: Dataset, signal: NDArray[np.int64]) -> Scores:
    """[I] mean logarithm of the days between two events of one person with one item, at different times."""
    e = data.events
    order = signal[np.lexsort((e.time[signal], e.item[signal], e.user[signal]))]
    user, item, time = e.user[order], e.item[order], e.time[order]
    again = (np.diff(user, prepend=-1) == 0) & (np.diff(item, prepend=-1) == 0) & (np.diff(time, prepend=time[:1]) > 0)
    days = np.diff(time, prepend=time[:1])[again] / DAY_US
    total = np.bincount(item[again], np.log(np.maximum(days, 1.0)), data.n_items)
    count = np.bincount(item[again], minlength=data.n_items)
    return np.asarray(np.divide(total, count, out=np.full(data.n_items, np.nan), where=count > 0), np.float32)


def _groups(table: pl.DataFrame) -> dict[str, Codes]:
    """Attributes whose values several items share; of a path also its first level."""
    out: dict[str, Codes] = {}
    for name in table.columns:
        series = table[name]
        if name in NO_GROUP or series.dtype != pl.String:
            continue
        out |= {name: codes} if (codes := _shared(series)) is not None else {}
        if series.str.contains(PATH, literal=True).any():
            top = series.str.split(PATH).list.first()
            out |= {f"{name} (top)": codes} if (codes := _shared(top)) is not None else {}
    return dict(sorted(list(out.items())[:MOST_GROUPS]))  # the order of a file, so that columns do not change places


def _shared(series: pl.Series) -> Codes | None:
    values = series.drop_nulls().unique().sort()
    if not 1 < len(values) <= len(series) / 2:
        return None
    number = {value: n for n, value in enumerate(values.to_list())}
    return np.array([number.get(value, -1) for value in series.to_list()], np.int32)


def _numbers(table: pl.DataFrame, name: str) -> NDArray[np.float64]:
    if name not in table.columns:
        return np.full(len(table), np.nan)
    series = table[name]
    if series.dtype == pl.Datetime:
        series = series.dt.timestamp("us")
    return series.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()


@njit(cache=True, nogil=True)
def _before(start: NDArray[np.int64], time: Times, item_N: NDArray[np.int64], moment_N: Times) -> NDArray[np.int64]:
    out = np.zeros(len(item_N), np.int64)
    for n in range(len(item_N)):
        low, high = start[item_N[n]], start[item_N[n] + 1]
        first = low
        while low < high:
            middle = (low + high) // 2
            if time[middle] < moment_N[n]:
                low = middle + 1
            else:
                high = middle
        out[n] = low - first
    return out
