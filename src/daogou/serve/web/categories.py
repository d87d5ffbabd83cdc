"""The most general categories of the catalogue, largest first: what one can browse by."""

import threading
import time

import polars as pl
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from daogou.store import Store

FRESH_S = 60.0
"How long a count may be old while the catalogue changes; it is a menu, not an answer."
FEWEST = 2
"A category of fewer items is no place to browse."


class Menu:
    """Counts the catalogue when it has changed, and not more often than once in `FRESH_S`."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._version, self._until = -1, 0.0
        self._lock = threading.Lock()

    def of(self, store: Store) -> list[str]:
        """Names of the top categories, those with most items first."""
        with self._lock:
            if store.catalogue_version != self._version and time.monotonic() >= self._until:
                self._version, self._until = store.catalogue_version, time.monotonic() + FRESH_S
                self._names = _top(store.item_table({}))
        return self._names


Shared = NamedDependency[SkipValidation[Menu]]
"""Annotation of a handler's argument `menu`."""


def _top(table: pl.DataFrame) -> list[str]:
    if "category" not in table.columns:
        return []
    top = table["category"].cast(pl.String).drop_nulls().str.split(">").list.first().str.strip_chars().alias("name")
    counts = top.value_counts(sort=True).filter((pl.col("name") != "") & (pl.col("count") >= FEWEST))
    return counts.sort(["count", "name"], descending=[True, False])["name"].to_list()
