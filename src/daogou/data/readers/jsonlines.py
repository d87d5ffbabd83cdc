"""JSON lines into columns. Objects and lists inside a row become text cells marked with `NESTED`."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import polars as pl

from daogou.data.quarantine import CELL_CHARS, FOUND_CHARS, Rejected, shorten
from daogou.data.readers.batch import MAX_FIELD_CHARS, NESTED, line_numbers
from daogou.data.readers.source import Block

INT64 = 1 << 63
EXACT = 1 << 53  # whole numbers up to this are exact as floats

_decoder = msgspec.json.Decoder(dict[str, Any])


class Decoded(NamedTuple):
    """A block in columns."""

    rows: pl.DataFrame
    lines: pl.Series
    rejected: list[Rejected]


def decode(block: Block, file: str) -> Decoded:
    """Rows of a block; a line that is no JSON object is rejected."""
    rows = _decode_all(block.data)
    if rows is None:
        return _decode_each(block, file)
    return Decoded(columns(rows), line_numbers(block.first_line, len(rows)), [])


def _decode_all(data: bytes) -> list[dict[str, Any]] | None:
    """All lines at once, or None where one could be wrong.

    Where every line begins with ``{`` and ends with ``}`` no object reaches over a line end, so as many objects as lines means one on each.
    """
    data = data.removesuffix(b"\n").replace(b"\r\n", b"\n").removesuffix(b"\r")
    if data.count(b"}\n{") != data.count(b"\n") or data[:1] != b"{" or data[-1:] != b"}":
        return None
    lines = data.count(b"\n") + 1
    if len(data) > MAX_FIELD_CHARS and max(map(len, data.split(b"\n"))) > MAX_FIELD_CHARS:
        return None
    try:
        rows = _decoder.decode_lines(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return rows if len(rows) == lines else None


def _decode_each(block: Block, file: str) -> Decoded:
    rows, lines, rejected = [], [], []
    for number, line in enumerate(block.data.split(b"\n"), block.first_line):
        if not line.strip():
            continue
        try:
            row = _decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
            reason, expected = _why(line)
            text = line.decode(errors="replace")
            rejected.append(Rejected(file, number, "", reason, shorten(str(e) or type(e).__name__, FOUND_CHARS), expected, shorten(text, CELL_CHARS)))
            continue
        if long := next((k for k, v in row.items() if isinstance(v, str) and len(v) > MAX_FIELD_CHARS), None) if len(line) > MAX_FIELD_CHARS else None:
            expected = f"at most {MAX_FIELD_CHARS} characters"
            rejected.append(Rejected(file, number, long, "field too long", shorten(row[long], FOUND_CHARS), expected, shorten(line.decode(), CELL_CHARS)))
            continue
        rows.append(row)
        lines.append(number)
    return Decoded(columns(rows), pl.Series(lines, dtype=pl.Int64), rejected)


def _why(line: bytes) -> tuple[str, str]:
    try:
        line.decode()
    except UnicodeDecodeError:
        return "not valid text", "UTF-8"
    if b"\0" in line:
        return "NUL byte", "text"
    return "not a JSON object", 'one JSON object a line: {"column": value, …}'


def columns(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Objects by column, in order of first appearance; a name that an object lacks is null."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    if not names:
        return pl.DataFrame(height=len(rows))
    return pl.DataFrame([_series(name, [row.get(name) for row in rows]) for name in names])


def _series(name: str, cells: list[Any]) -> pl.Series:
    kinds = set(map(type, cells)) - {type(None)}
    if kinds == {bool}:
        return pl.Series(name, cells, dtype=pl.Boolean)
    if kinds == {int} and _within(cells, INT64):
        return pl.Series(name, cells, dtype=pl.Int64)
    if kinds in ({float}, {int, float}) and _within((c for c in cells if type(c) is int), EXACT):
        return pl.Series(name, cells, dtype=pl.Float64, strict=False)
    if kinds <= {str}:
        return pl.Series(name, cells, dtype=pl.String)
    return pl.Series(name, [_text(cell) for cell in cells], dtype=pl.String)


def _within(cells: Iterable[int | None], limit: int) -> bool:
    return all(c is None or -limit <= c < limit for c in cells)


def _text(cell: Any) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, dict | list | bool):
        return NESTED + msgspec.json.encode(cell).decode()
    return str(cell)
