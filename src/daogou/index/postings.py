"""Which items have which terms: for questions that want all that match and no scores, which a search engine answers one found document at a time.

Every state of an item is a row; a term lists the rows that have it, and a change adds a row and lets the old one die. Once more rows are dead than alive,
the dead are cleared away, so that changing the same items for ever costs no memory.

Axes: R rows.
"""

from array import array
from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from daogou.contract import Codes

MOST_DEAD = 1000
"""Rows that may be dead however few are alive."""


class Postings:
    """Terms of items, 4 bytes for each. Not to be changed while it is asked: whoever owns it holds a lock."""

    def __init__(self) -> None:
        self._rows: dict[str, array[int]] = {}
        self._code_R, self._alive_R = array("i"), bytearray()
        self._row = array("i")  # of each code, −1 = none
        self._n_dead = 0

    def put(self, code: int, terms: Iterable[str]) -> None:
        """Adds or replaces an item; without terms it is taken out."""
        self._row.extend([-1] * (code + 1 - len(self._row)))
        if (old := self._row[code]) >= 0:
            self._alive_R[old], self._row[code] = False, -1
            self._n_dead += 1
        if has := set(terms):
            row = self._row[code] = len(self._code_R)
            self._code_R.append(code)
            self._alive_R.append(True)
            for term in has:
                if (rows := self._rows.get(term)) is None:
                    rows = self._rows[term] = array("i")
                rows.append(row)
        if self._n_dead > max(MOST_DEAD, len(self._code_R) // 2):
            self._clear()

    def having(self, terms: Collection[str]) -> Codes:
        """Codes of the items that have every term, in no order; none for no term."""
        lists = sorted((self._rows.get(term, array("i")) for term in terms), key=len)
        if not lists or not lists[0]:
            return np.zeros(0, np.int32)
        rows = _read(lists[0])
        for more in lists[1:]:
            there_R = np.zeros(len(self._code_R), np.bool_)
            there_R[_read(more)] = True
            rows = rows[there_R[rows]]
        if self._n_dead:
            rows = rows[np.frombuffer(self._alive_R, np.bool_)[rows]]
        return _read(self._code_R)[rows]

    def _clear(self) -> None:
        """Numbers the living rows anew."""
        alive_R = np.frombuffer(bytes(self._alive_R), np.bool_)
        new_R = np.cumsum(alive_R, dtype=np.int32) - 1
        for term, rows in list(self._rows.items()):
            old = _read(rows)
            if len(left := new_R[old[alive_R[old]]]):
                self._rows[term] = _array(left)
            else:
                del self._rows[term]
        codes = _read(self._code_R)[alive_R]
        self._code_R, self._alive_R, self._n_dead = _array(codes), bytearray(b"\1" * len(codes)), 0
        for row, code in enumerate(codes.tolist()):
            self._row[code] = row


def _read(numbers: "array[int]") -> NDArray[np.int32]:
    """A view: it must be gone before the array grows."""
    return np.frombuffer(numbers, np.int32) if numbers else np.zeros(0, np.int32)


def _array(numbers: NDArray[np.int32]) -> "array[int]":
    out = array("i")
    out.frombytes(numbers.astype(np.int32, copy=False).tobytes())
    return out
