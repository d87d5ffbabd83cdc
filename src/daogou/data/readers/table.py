"""Tables in files: CSV and TSV with a header line, JSON lines, Parquet. The text formats also packed with gzip."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from daogou.data.readers.batch import Batch, line_numbers
from daogou.data.readers.delimited import split
from daogou.data.readers.jsonlines import decode
from daogou.data.readers.source import Block, Source
from daogou.data.readers.typed import plain
from daogou.errors import DataError

SEPARATORS = ",;\t|"
PARQUET_ROWS = 500_000  # of one batch


def read_csv(path: Path | None, *, table: str) -> Iterator[Batch]:
    """CSV (RFC 4180) with a header; the separator is the sign of ``, ; tab |`` that the header has most of.

    Raises:
        DataError: no such file, no header, a column named twice, another format.
    """
    return _delimited(given(path), table, None)


def read_tsv(path: Path | None, *, table: str) -> Iterator[Batch]:
    """As `read_csv`, separated by tabs."""
    return _delimited(given(path), table, "\t")


def _delimited(path: Path, table: str, separator: str | None) -> Iterator[Batch]:
    source = Source(path)
    names: tuple[str, ...] = ()
    rest, rest_line = b"", 0
    block: Block | None = None
    for following in _with_last(source):
        block, final = following
        if rest:
            block = Block(rest + block.data, rest_line, block.share)
        if not names:
            names, separator, block = _header(block, separator, source)
        assert separator is not None
        done = split(block, names, separator, str(path), final=final)
        rest, rest_line = done.rest, block.first_line + block.data.count(b"\n") - done.rest.count(b"\n")
        yield Batch(table, done.rows, done.lines, str(path), tuple(done.rejected), tuple(source.notes), block.share)


def _with_last(source: Source) -> Iterator[tuple[Block, bool]]:
    """Blocks, and whether each is the last."""
    before: Block | None = None
    for block in source:
        if before is not None:
            yield before, False
        before = block
    if before is not None:
        yield before, True


def _header(block: Block, separator: str | None, source: Source) -> tuple[tuple[str, ...], str, Block]:
    """Names of the columns, the separator, and the block without its header."""
    where, data, line = str(source.path), block.data, block.first_line
    head = b""
    while data and not head.strip():
        head, _, data = data.partition(b"\n")
        line += 1
        if hint := re.fullmatch(rb"sep=(.)\r?", head):  # the first line that Excel writes
            separator, head = hint[1].decode(), b""
    try:
        text = head.removesuffix(b"\r").decode()
    except UnicodeDecodeError as e:
        raise DataError(f"the header is not valid text: {head[:100]!r}", expected="UTF-8, GB18030 or UTF-16", fix="save the file as UTF-8", where=where) from e
    if not text.strip():
        raise DataError("the file has no header line", expected="names of columns in the first line", where=where)
    if separator is None:
        separator = max(SEPARATORS, key=text.count)
        if separator != ",":
            source.notes.append(f"separated by {separator!r}")
    try:
        cells = next(csv.reader([text], delimiter=separator, strict=True))
    except csv.Error as e:
        raise DataError(f"the header cannot be read ({e}): {text[:100]!r}", expected="names of columns", where=where) from e
    names = tuple(cell.strip() or f"column {i}" for i, cell in enumerate(cells, 1))
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"the column {double[0]!r} appears twice", fix="rename or remove one of them", where=f"{where} line {line - 1}")
    return names, separator, Block(data, line, block.share)


def read_jsonl(path: Path | None, *, table: str) -> Iterator[Batch]:
    """One JSON object a line.

    Raises:
        DataError: no such file, another format, one JSON array instead of lines.
    """
    path = given(path)
    source = Source(path)
    for block in source:
        if block.first_line == 1 and block.data.lstrip()[:1] == b"[":
            raise DataError("the file is one JSON array", expected="one JSON object a line", fix="convert it: jq -c '.[]' in.json > out.jsonl", where=str(path))
        done = decode(block, str(path))
        yield Batch(table, done.rows, done.lines, str(path), tuple(done.rejected), tuple(source.notes), block.share)


def read_parquet(path: Path | None, *, table: str) -> Iterator[Batch]:
    """Parquet; lines are numbers of rows.

    Raises:
        DataError: no such file, or it is damaged.
    """
    path = given(path)
    try:
        total = int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
        for start in range(0, max(total, 1), PARQUET_ROWS):
            frame = pl.scan_parquet(path, glob=False).slice(start, PARQUET_ROWS).collect()
            rows, notes = plain(frame)
            yield Batch(table, rows, line_numbers(start + 1, rows.height), str(path), (), tuple(notes), (start + rows.height) / max(total, 1))
    except FileNotFoundError as e:
        raise DataError("no such file", fix="give the path of an existing file", where=str(path)) from e
    except (pl.exceptions.PolarsError, OSError) as e:
        raise DataError(f"not a readable Parquet file ({e})", fix="write it again", where=str(path)) from e


def given(path: Path | None) -> Path:
    """The path, which formats that lie in files need."""
    if path is None:
        raise DataError("this format needs a file", fix="name the file to import")
    return path
