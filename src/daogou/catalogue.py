"""The live item table in memory: what the filter, the arrangement and the fallback need to know of every item, changed in place.

Codes are those of the release's vocabulary; items that came after its training get the codes behind it, which no model knows. Stock and price
count at once. Titles and pictures stay in the store.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from msgspec import UNSET
from numpy.typing import NDArray

from daogou.contract import ITEMS, Codes, Mask
from daogou.data.rows import Item
from daogou.data.vocab import Vocabulary
from daogou.filters import NUMBERS, Column, Numbers, Words
from daogou.scenario import Attributes

FIXED = {name: kind.rstrip("*") for name, kind in ITEMS.items()}


def item_columns(attributes: Attributes) -> dict[str, str]:
    """Name → kind of everything a filter may ask of an item."""
    return {**FIXED, **attributes.items}


class Catalogue:
    """Codes, columns and availability of every item; a `filters.Table`.

    Columns are built when first asked for. Whoever reads more than one column for one answer holds `lock`, so that all have the same number of rows.
    """

    def __init__(self, table: pl.DataFrame, attributes: Attributes, trained: Vocabulary | None = None) -> None:
        """
        Args:
            table: all items, columns of contract.ITEMS and the declared attributes.
            trained: the vocabulary of the release; its codes come first.
        """
        self.lock = threading.RLock()
        self.kinds = item_columns(attributes)
        self.items = Vocabulary(trained.ids if trained is not None else ())
        self.items.extend(table["item_id"].to_list())
        self.version = 0
        self._declared = frozenset(attributes.items)
        self._table = pl.DataFrame({"item_id": pl.Series(self.items.ids, dtype=pl.String)}).join(table, on="item_id", how="left", maintain_order="left")
        self._columns: dict[str, Column] = {}
        self._changed: dict[int, Item | None] = {}
        listed = np.zeros(len(self.items), np.bool_)
        listed[self.items.codes(table["item_id"])] = True
        # A store without any item table (events alone) offers what it was trained on.
        self._listed = Numbers((listed if len(table) else ~listed).astype(np.float64))

    def __len__(self) -> int:
        return len(self.items)

    @property
    def listed_I(self) -> Mask:
        """[I] whether the item exists now."""
        return np.asarray(self._listed.values_I > 0)

    @property
    def offered_I(self) -> Mask:
        """[I] whether the item exists now and can be had."""
        available = self.column("available")
        assert isinstance(available, Numbers)
        return np.asarray(self.listed_I & ~(available.values_I == 0))

    def column(self, name: str) -> Column:
        """One attribute of all items; KeyError for a name that `kinds` lacks."""
        with self.lock:
            if name not in self._columns:
                self._columns[name] = self._built(name)
            return self._columns[name]

    def code(self, item_id: str) -> int:
        """The code of an item that exists now, else −1."""
        code = self.items.code(item_id)
        return code if code >= 0 and self._listed.values_I[code] > 0 else -1

    def values(self, code: int, names: Iterable[str]) -> dict[str, Any]:
        """Some attributes of one item, unknown ones left out."""
        out: dict[str, Any] = {}
        for name in names:
            column = self.column(name)
            if isinstance(column, Numbers):
                value = float(column.values_I[code])
                if value == value:
                    out[name] = value
            elif (number := int(column.codes_I[code])) >= 0:
                out[name] = column.text(number)
        return out

    def newest(self, allowed_I: Mask, k: int) -> Codes:
        """The k allowed items that came last: by time of creation, then by code."""
        codes = np.flatnonzero(allowed_I)
        created = self.column("created")
        assert isinstance(created, Numbers)
        times = np.nan_to_num(created.values_I[codes], nan=-np.inf)
        return codes[np.lexsort((-codes, -times))[:k]].astype(np.int32)

    def update(self, item_ids: Sequence[str], items: Sequence[Item]) -> None:
        """Takes over what the store now holds of `item_ids`; those that `items` lacks were deleted."""
        now = {item.item_id: item for item in items}
        with self.lock:
            for item_id in item_ids:
                item = now.get(item_id)
                if item is None and item_id not in self.items:
                    continue
                self.items.extend([item_id])
                code = self.items.code(item_id)
                self._changed[code] = item
                self._listed.set(code, item is not None)
                for name, column in self._columns.items():
                    _put(column, code, self._value(item, name))
            self.version += 1

    def texts(self, names: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """Code and texts of every item that exists, for an index of words."""
        table = self._table.select(name for name in names if name in self._table.columns)
        listed = self.listed_I
        for code, row in enumerate(table.iter_rows()):
            if listed[code] and code not in self._changed:
                yield code, [str(value) for value in row if value is not None]
        for code, item in self._changed.items():
            if item is not None:
                yield code, self.texts_of(item, names)

    def texts_of(self, item: Item, names: Sequence[str]) -> list[str]:
        """The texts of one item."""
        return [str(value) for name in names if (value := self._value(item, name)) is not None]

    def _value(self, item: Item | None, name: str) -> Any:
        if item is None:
            return None
        value = item.attributes.get(name) if name in self._declared else getattr(item, name)
        if value is UNSET or value is None:
            return True if name == "available" else None
        return value

    def _built(self, name: str) -> Column:
        kind = self.kinds[name]
        series = self._table[name] if name in self._table.columns else pl.Series(name, [None] * len(self._table), dtype=pl.String)
        column: Column = Numbers(_numbers(series)) if kind in NUMBERS else _words(series, kind)
        for code, item in self._changed.items():
            _put(column, code, self._value(item, name))
        if len(self.items) > len(self._table):
            _put(column, len(self.items) - 1, self._value(self._changed.get(len(self.items) - 1), name))
        return column


def _numbers(series: pl.Series) -> NDArray[np.float64]:
    if series.dtype == pl.Datetime:
        series = series.dt.timestamp("us")
    return series.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()


def _words(series: pl.Series, kind: str) -> Words:
    if isinstance(series.dtype, pl.List):
        series = series.cast(pl.List(pl.String)).list.join("|")
    return Words(series.cast(pl.String).to_list(), kind)


def _put(column: Column, code: int, value: Any) -> None:
    """Writes one value as the store holds it; one of the wrong type counts as unknown."""
    if isinstance(column, Numbers):
        column.set(code, float(value) if isinstance(value, int | float) else None)
    elif isinstance(value, list | tuple):
        column.set(code, "|".join(map(str, value)))
    else:
        column.set(code, None if value is None else str(value))
