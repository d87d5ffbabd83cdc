"""Lines into columns: a block at once where nothing is suspicious, line by line where something is.

The fast way is taken only when it provably loses nothing: no quote, no NUL, as many lines as rows and as many separators as columns ask for
(polars fills short rows with null without a word). Everything else goes through the standard ``csv`` module in its strict mode.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import polars as pl

from daogou.data.quarantine import CELL_CHARS, FOUND_CHARS, Rejected, shorten
from daogou.data.readers.batch import MAX_FIELD_CHARS, line_numbers
from daogou.data.readers.source import Block

MAX_RECORD_LINES = 1000  # of one record with line ends inside quotes; a quote that stays open longer was never meant to open


class Split(NamedTuple):
    """A block in columns. `rest` is an unfinished record at its end, to be put before the next block."""

    rows: pl.DataFrame
    lines: pl.Series
    rejected: list[Rejected]
    rest: bytes = b""


def split(block: Block, names: Sequence[str], separator: str, file: str, *, final: bool) -> Split:
    """Cells of a block by column, as text."""
    rows = split_fast(block.data, names, separator)
    if rows is not None:
        return Split(rows, line_numbers(block.first_line, rows.height), [])
    return split_quoted(block, names, separator) or LineSplitter(block, names, separator, file, final=final).split()


def split_fast(data: bytes, names: Sequence[str], separator: str) -> pl.DataFrame | None:
    """All lines at once, or None where a line could be wrong."""
    if len(names) < 2 or b'"' in data or b"\0" in data or data.count(b"\r") != data.count(b"\r\n"):
        return None
    n_lines = data.count(b"\n") + (not data.endswith(b"\n"))
    if data.count(separator.encode()) != n_lines * (len(names) - 1):
        return None  # with the error that polars raises for too many cells, this proves every single row
    try:
        rows = pl.read_csv(io.BytesIO(data), has_header=False, schema=dict.fromkeys(names, pl.String), separator=separator, quote_char=None)
    except pl.exceptions.PolarsError:
        return None
    if rows.height != n_lines or any((rows[name].str.len_bytes().max() or 0) > MAX_FIELD_CHARS for name in names):  # type: ignore[operator]
        return None
    return rows


def split_quoted(block: Block, names: Sequence[str], separator: str) -> Split | None:
    """A block with quotes by one run of the csv module, or None where a record could be wrong or reaches over more than two lines."""
    if b"\0" in block.data:
        return None
    rows, lines, line = [], [], 1
    try:
        text = io.StringIO(block.data.decode().replace("\r\n", "\n"), newline="\n")
        reader = csv.reader(text, delimiter=separator, strict=True)
        for row in reader:
            if row:
                rows.append(row)
                lines.append(line)
                if len(row) != len(names) or reader.line_num - line > 1:
                    return None
            line = reader.line_num + 1
    except (UnicodeDecodeError, csv.Error):
        return None
    return Split(_frame(names, rows), pl.Series(lines, dtype=pl.Int64) + (block.first_line - 1), [])


def _frame(names: Sequence[str], rows: list[list[str]]) -> pl.DataFrame:
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return pl.DataFrame([pl.Series(name, cells, dtype=pl.String) for name, cells in zip(names, columns, strict=True)])


class _Open(Exception):
    """The record does not end within the lines there are."""


class LineSplitter:
    """The slow and certain way. A line that cannot be used is rejected with the reason, and the next one gets its chance."""

    def __init__(self, block: Block, names: Sequence[str], separator: str, file: str, *, final: bool) -> None:
        self.raw = block.data.removesuffix(b"\n").split(b"\n")
        self.first_line, self.names, self.separator, self.file, self.final = block.first_line, tuple(names), separator, file, final
        self.rows: list[list[str]] = []
        self.lines: list[int] = []
        self.rejected: list[Rejected] = []

    def split(self) -> Split:
        at, end = 0, len(self.raw)
        while at < end:
            try:
                at += self._record(at)
            except _Open:
                return self._done(b"\n".join(self.raw[at:]) + b"\n")
        return self._done(b"")

    def _done(self, rest: bytes) -> Split:
        return Split(_frame(self.names, self.rows), pl.Series(self.lines, dtype=pl.Int64), self.rejected, rest)

    def _record(self, at: int) -> int:
        """Takes or rejects the record that begins at line `at` of the block; returns the number of lines it had."""
        text = self._text(at)
        if text is None or not text.strip():  # rejected already, or blank
            return 1
        if '"' not in text:
            cells, used = text.split(self.separator), 1
        else:
            parsed = self._quoted(at, text)
            if parsed is None:
                return 1
            cells, used = parsed
        self._take(at, text, cells)
        return used

    def _take(self, at: int, text: str, cells: list[str]) -> None:
        n, expected = len(cells), len(self.names)
        if n != expected:
            column = self.names[n] if n < expected else ""
            self._reject(at, column, "too few columns" if n < expected else "too many columns", f"{n} columns", f"{expected} columns", text)
            return
        if len(text) > MAX_FIELD_CHARS:
            for name, cell in zip(self.names, cells, strict=True):
                if len(cell) > MAX_FIELD_CHARS:
                    self._reject(at, name, "field too long", cell, f"at most {MAX_FIELD_CHARS} characters", text)
                    return
        self.rows.append(cells)
        self.lines.append(self.first_line + at)

    def _text(self, at: int, *, reject: bool = True) -> str | None:
        """One line as text without its end; None, and a rejection, where it is none."""
        line = self.raw[at]
        try:
            text = line.removesuffix(b"\r").decode()
        except UnicodeDecodeError as e:
            if reject:
                self._reject(
                    at, self._column_at(line[: e.start].decode()), "not valid text", repr(line[e.start : e.start + 20]), "UTF-8", line.decode(errors="replace")
                )
            return None
        if "\0" in text:
            if reject:
                self._reject(at, self._column_at(text[: text.index("\0")]), "NUL byte", text, "text", text)
            return None
        return text

    def _column_at(self, before: str) -> str:
        """The column that is being written after this part of a line."""
        number = before.count(self.separator)
        return self.names[number] if number < len(self.names) else ""

    def _quoted(self, at: int, text: str) -> tuple[list[str], int] | None:
        """A record with quotes, which may go on over the next lines; None, and a rejection, where the quotes do not close."""
        reader = csv.reader(self._following(at), delimiter=self.separator, strict=True)
        try:
            cells = next(reader)
            used = reader.line_num
        except csv.Error as e:
            if "limit" in str(e) and len(text) > MAX_FIELD_CHARS:
                column = self._column_at(text[: max(text.find(self.separator + '"') + 1, 0)])
                self._reject(at, column, "field too long", text, f"at most {MAX_FIELD_CHARS} characters", text)
                return None
            ended = "unexpected end" in str(e) and len(self.raw) - at < MAX_RECORD_LINES
            if ended and not self.final and all(self._text(i, reject=False) is not None for i in range(at, len(self.raw))):
                raise _Open from None
            self._broken(at, text)
            return None
        if used > 1 and (len(cells) != len(self.names) or self._swallowed(at + 1, at + used - 1)):
            self._broken(at, text)
            return None
        return cells, used

    def _following(self, at: int) -> Iterator[str]:
        for i in range(at, min(at + MAX_RECORD_LINES, len(self.raw))):
            text = self._text(i, reject=False)
            if text is None:
                return
            yield text + "\n"

    def _swallowed(self, first: int, last: int) -> bool:
        """Whether the lines inside a long record are complete rows: then its opening quote is an accident and not the start of a text."""
        inside = [self.raw[i] for i in range(first, last)]
        return bool(inside) and all(line.count(self.separator.encode()) == len(self.names) - 1 for line in inside)

    def _broken(self, at: int, text: str) -> None:
        opening = 0 if text.startswith('"') else text.find(self.separator + '"') + 1
        self._reject(at, self._column_at(text[:opening]), "broken quotes", text[opening:], "a quoted field closed by a quote, quotes inside it doubled", text)

    def _reject(self, at: int, column: str, reason: str, found: str, expected: str, text: str) -> None:
        self.rejected.append(Rejected(self.file, self.first_line + at, column, reason, shorten(found, FOUND_CHARS), expected, shorten(text, CELL_CHARS)))
