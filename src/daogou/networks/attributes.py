"""Attributes of items or people as sparse indicator features: what a model knows of those it has no events of.

Axes: N rows, F features.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from daogou.contract import ITEMS, USERS

MOST_VALUES = 1000  # of one column, the most frequent first
BINS = 8  # of a number, by quantile
SKIPPED = {name for name, kind in {**ITEMS, **USERS}.items() if kind.rstrip("*") not in ("tag", "category", "number")}
PATH = ">"  # between the levels of a category


class Column(msgspec.Struct, frozen=True):
    """One attribute. `edges` divide a number into bins; otherwise `values` are the texts that have a feature each."""

    name: str
    values: list[str] = []
    edges: list[float] = []

    @property
    def width(self) -> int:
        return len(self.edges) + 1 if self.edges else len(self.values)


class Attributes(msgspec.Struct, frozen=True):
    """Which attribute value is which feature. Each row of an encoding has norm 1, or 0 where nothing is known."""

    columns: list[Column] = []

    @classmethod
    def of(cls, table: pl.DataFrame) -> "Attributes":
        """The columns of an item or user table that describe: tags, categories, numbers, flags and lists. Free text is left to encoders."""
        made = (_column(name, table[name].to_list()) for name in table.columns if name not in SKIPPED)
        return cls([column for column in made if column is not None])

    @property
    def width(self) -> int:
        """F"""
        return sum(column.width for column in self.columns)

    def encode(self, columns: Mapping[str, Iterable[Any]], n: int) -> sp.csr_matrix:
        """[N, F] float32 of n rows given by column; what is missing, null or was never seen has no feature."""
        row: list[int] = []
        feature: list[int] = []
        first = 0
        for column in self.columns:
            known = {value: first + f for f, value in enumerate(column.values)}
            for r, thing in enumerate(columns.get(column.name, ())):
                found = [first + b for b in _bin(thing, column.edges)] if column.edges else [known[t] for t in _texts(thing) if t in known]
                row += [r] * len(found)
                feature += found
            first += column.width
        out = sp.csr_matrix((np.ones(len(row), np.float32), (row, feature)), shape=(n, self.width))
        norm = np.sqrt(np.asarray(out.multiply(out).sum(axis=1)).ravel())
        out.sort_indices()  # one order of sums, before a file and after it
        out.data /= np.repeat(np.maximum(norm, 1), np.diff(out.indptr)).astype(np.float32)
        return out

    def table(self, table: pl.DataFrame) -> sp.csr_matrix:
        """[N, F] of a table with one row per code."""
        return self.encode({c.name: table[c.name].to_list() for c in self.columns if c.name in table.columns}, len(table))

    def to_array(self) -> NDArray[np.uint8]:
        """For a file of arrays."""
        return np.frombuffer(msgspec.json.encode(self), np.uint8)

    @classmethod
    def from_array(cls, array: Any) -> "Attributes":
        return msgspec.json.decode(np.asarray(array, np.uint8).tobytes(), type=cls)


def _column(name: str, things: list[Any]) -> Column | None:
    numbers = [float(t) for t in things if isinstance(t, int | float) and not isinstance(t, bool) and np.isfinite(t)]
    if numbers:
        edges = np.unique(np.quantile(numbers, np.arange(1, BINS) / BINS, method="lower"))
        return Column(name, edges=edges.tolist())
    counts = Counter(text for t in things for text in _texts(t))
    often = [text for text, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])) if count > 1][:MOST_VALUES]
    # A column in which hardly any value comes twice names its rows instead of describing them.
    return Column(name, sorted(often)) if often and len(counts) <= max(10, 0.5 * len(things)) else None


def _texts(thing: Any) -> list[str]:
    """A list gives each of its members, a category each level of its path: ``A > B`` is in ``A``, too."""
    if thing is None or (isinstance(thing, float) and not np.isfinite(thing)):
        return []
    if isinstance(thing, list | tuple | np.ndarray | pl.Series):
        return sorted({text for t in thing for text in _texts(t)})
    levels = [level.strip() for level in str(thing).split(PATH)]
    return [f" {PATH} ".join(levels[: n + 1]) for n in range(len(levels))]


def _bin(thing: Any, edges: list[float]) -> list[int]:
    if isinstance(thing, bool) or not isinstance(thing, int | float | np.number) or not np.isfinite(thing):
        return []
    return [int(np.searchsorted(edges, float(thing), side="left"))]
