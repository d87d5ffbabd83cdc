"""Orders without times: one line a person, ``user item item …``, oldest first; or one JSON object ``{"user": ["item", …]}``.

The form in which sequence models are published (SASRec's and S3-Rec's files of Amazon reviews and MovieLens). As items, one JSON object
``{"item": {"title": …}}``. There are no times: the position in the line stands for them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from daogou.data.quarantine import CELL_CHARS, Rejected, shorten
from daogou.data.readers.batch import Batch, line_numbers
from daogou.data.readers.jsonlines import columns
from daogou.data.readers.source import Source
from daogou.data.readers.table import given
from daogou.errors import DataError


def read(path: Path | None, *, table: str) -> Iterator[Batch]:
    """Events without a name (the importer gives them the scenario's strongest), or items of a JSON object.

    Raises:
        DataError: no such file, or another format.
    """
    path = given(path)
    blocks = Source(path)
    for block in blocks:
        if block.first_line == 1 and block.data.lstrip()[:1] == b"{":
            yield _of_json(path, table)
            return
        users, rows, lines, rejected = [], [], [], []
        for line, raw in enumerate(block.data.split(b"\n"), block.first_line):
            cells = raw.decode(errors="replace").split()
            if len(cells) > 1:
                users.append(cells[0])
                rows.append(cells[1:])
                lines.append(line)
            elif cells:
                rejected.append(Rejected(str(path), line, "", "no items", cells[0], "user item item …", shorten(cells[0], CELL_CHARS)))
        yield _events(users, rows, lines, path, block.share, tuple(rejected))


def _of_json(path: Path, table: str) -> Batch:
    text = b"".join(block.data for block in Source(path))
    try:
        if table == "items":
            items = msgspec.json.decode(text, type=dict[str, dict[str, Any]])
            return Batch("items", columns([{"item_id": name, **facts} for name, facts in items.items()]), line_numbers(1, len(items)), str(path), share=1.0)
        rows = msgspec.json.decode(text, type=dict[str, list[str | int]])
    except msgspec.MsgspecError as e:
        expected = '{"item": {"title": …}, …}' if table == "items" else '{"user": ["item", …], …}'
        raise DataError(f"not the JSON of {table}: {e}", expected=expected, where=str(path)) from e
    return _events(list(rows), list(rows.values()), list(range(1, len(rows) + 1)), path, 1.0, ())


def _events(users: list[str], rows: Sequence[Sequence[str | int]], lines: list[int], path: Path, share: float, rejected: tuple[Rejected, ...]) -> Batch:
    lengths = np.array([len(row) for row in rows], np.int64)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    position = np.arange(int(lengths.sum())) - starts
    frame = pl.DataFrame(
        {
            "user_id": pl.Series(users, dtype=pl.String).gather(np.repeat(np.arange(len(users)), lengths)),
            "item_id": pl.Series([str(item) for row in rows for item in row], dtype=pl.String),
            "time": pl.Series(position, dtype=pl.Int64),  # a running number, and reported as one
        }
    )
    return Batch("events", frame, pl.Series(np.repeat(np.array(lines, np.int64), lengths)), str(path), rejected, share=share, nameless=True)
