"""What a reader yields."""

from dataclasses import dataclass

import polars as pl

from daogou.data.quarantine import Rejected

MAX_FIELD_CHARS = 131_072
"""Longest cell that is read. It equals the limit of Python's csv module; no title, description or id of a real shop comes near it."""

NESTED = "\0json:"
"""Prefix of a text cell that holds a JSON object or list of the file. Text itself may not hold NUL, so nothing else begins like this."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of one table, with the line of each in its file, and the lines that could not be split into columns.

    Cells are text as it stands in the file, or typed (numbers, booleans, dates) where the format has types.
    """

    table: str
    rows: pl.DataFrame
    lines: pl.Series
    file: str
    rejected: tuple[Rejected, ...] = ()
    notes: tuple[str, ...] = ()
    "What was assumed while reading (encoding, separator), each said once."
    share: float | None = None
    "How much of the file has been read, 0–1, where that is known: for progress."
    nameless: bool = False
    "Events of a format that has one kind of event and no name for it: they become the scenario's strongest."

    @property
    def read(self) -> int:
        """Rows of the file that this batch accounts for."""
        return self.rows.height + len(self.rejected)


def line_numbers(first: int, n: int) -> pl.Series:
    """Consecutive line numbers."""
    return pl.int_range(first, first + n, dtype=pl.Int64, eager=True)
