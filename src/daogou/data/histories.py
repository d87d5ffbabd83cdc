"""Ragged rows of item codes: what each shopper did, oldest first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from daogou.contract import Codes, Scores, Times


@dataclass(frozen=True, slots=True)
class Histories:
    """B rows; row b is ``item[start[b]:start[b+1]]``, oldest first. Same layout as a CSR matrix whose columns keep their order and may repeat."""

    start: NDArray[np.int64]  # [B + 1]
    item: Codes  # [E]
    time: Times  # [E]
    weight: Scores  # [E], > 0

    @classmethod
    def of(
        cls, rows: Iterable[Sequence[int]], *, times: Iterable[Sequence[int]] | None = None, weights: Iterable[Sequence[float]] | None = None
    ) -> "Histories":
        """From Python lists; times default to 0, weights to 1."""
        codes = [np.asarray(r, np.int32) for r in rows]
        start = np.zeros(len(codes) + 1, np.int64)
        np.cumsum([len(r) for r in codes], out=start[1:])
        item = np.concatenate(codes).astype(np.int32) if codes else np.zeros(0, np.int32)
        time = np.concatenate([np.asarray(t, np.int64) for t in times]) if times is not None and codes else np.zeros(len(item), np.int64)
        weight = np.concatenate([np.asarray(w, np.float32) for w in weights]) if weights is not None and codes else np.ones(len(item), np.float32)
        return cls(start, item, time, weight)

    @classmethod
    def empty(cls, n: int) -> "Histories":
        """n rows without an event."""
        return cls(np.zeros(n + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.float32))

    @classmethod
    def group(cls, row: NDArray[Any], n: int, item: Codes, time: Times, weight: Scores) -> "Histories":
        """From events whose rows ascend (`row` sorted)."""
        start = np.zeros(n + 1, np.int64)
        np.cumsum(np.bincount(row, minlength=n), out=start[1:])
        return cls(start, item, time, weight)

    def __len__(self) -> int:
        return len(self.start) - 1

    def __getitem__(self, rows: slice | NDArray[Any]) -> "Histories":
        """Some rows, in the order asked for (a slice, codes, or a mask)."""
        index = np.arange(len(self))[rows]
        lengths = self.lengths[index]
        start = np.zeros(len(index) + 1, np.int64)
        np.cumsum(lengths, out=start[1:])
        if len(index) and np.array_equal(index, np.arange(index[0], index[0] + len(index))):
            span = slice(self.start[index[0]], self.start[index[-1] + 1])
            return Histories(start, self.item[span], self.time[span], self.weight[span])
        take = np.repeat(self.start[index] - start[:-1], lengths) + np.arange(start[-1])
        return Histories(start, self.item[take], self.time[take], self.weight[take])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[B] events of each row."""
        return np.diff(self.start)

    @property
    def row(self) -> NDArray[np.int64]:
        """[E] the row of each event."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def age(self) -> NDArray[np.int64]:
        """[E] how many events of the row are newer: 0 for the newest."""
        return np.repeat(self.start[1:], self.lengths) - 1 - np.arange(len(self.item))

    def keep(self, mask: NDArray[np.bool_]) -> "Histories":
        """Only the events where `mask` [E] is true; rows stay."""
        start = np.zeros(len(self) + 1, np.int64)
        np.cumsum(np.bincount(self.row[mask], minlength=len(self)), out=start[1:])
        return Histories(start, self.item[mask], self.time[mask], self.weight[mask])

    def tail(self, n: int) -> "Histories":
        """Only the newest n events of each row."""
        return self if not len(self.item) or int(self.lengths.max()) <= n else self.keep(self.age < n)

    def matrix(self, n_items: int, values: NDArray[Any] | None = None) -> sp.csr_matrix:
        """[B, I] float32; `values` [E] default to the weights; repeated items are summed; codes outside 0 … I−1 are left out."""
        values = self.weight if values is None else values
        ok = (self.item >= 0) & (self.item < n_items)
        out = sp.csr_matrix((values[ok].astype(np.float32), (self.row[ok], self.item[ok])), shape=(len(self), n_items))
        out.sum_duplicates()
        return out

    def seen(self, n_items: int) -> NDArray[np.bool_]:
        """[B, I] whether the row holds the item."""
        out = np.zeros((len(self), n_items), np.bool_)
        ok = (self.item >= 0) & (self.item < n_items)
        out[self.row[ok], self.item[ok]] = True
        return out
