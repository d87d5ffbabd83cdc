"""Where rows go that cannot be used: one JSONL file per import, one line per row, with what was found and what was expected."""

import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import msgspec

from daogou.errors import DataError

FOUND_CHARS = 200  # of a found value that is kept
CELL_CHARS = 2000  # of each cell of the raw row: enough to mend it, not enough for a 10 MB field to be stored twice


class Rejected(msgspec.Struct, frozen=True):
    """One row that was not loaded, and why. `line` counts from 1 as editors do (in Parquet it is the number of the row)."""

    file: str
    line: int
    column: str
    "Name in the file; empty where the row as a whole is wrong."
    reason: str
    found: str
    expected: str
    row: str | dict[str, Any]
    "The raw row: cells by column, or the text of a line that could not be split."


def shorten(text: str, chars: int) -> str:
    """`text`, or its beginning with the number of characters it has."""
    return text if len(text) <= chars else f"{text[:chars]}… ({len(text)} characters)"


def raw_row(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Cells of a row in a form that JSON can carry, long ones shortened."""
    return {name: value if value is None or isinstance(value, bool | int) else shorten(str(value), CELL_CHARS) for name, value in cells.items()}


class Quarantine:
    """Writes rejected rows; the file appears with the first of them, readable by its owner only, because rows hold personal data.

    `path` is None while nothing was rejected. `reasons` counts (column, reason) pairs.
    """

    def __init__(self, directory: Path, name: str = "import") -> None:
        self.directory, self.name = directory, name
        self.path: Path | None = None
        self.reasons: Counter[tuple[str, str]] = Counter()
        self._file: IO[bytes] | None = None

    def add(self, rows: Iterable[Rejected]) -> int:
        """Appends rows and returns how many they were.

        Raises:
            DataError: the directory cannot be written.
        """
        n = 0
        for row in rows:
            if self._file is None:
                self._open()
            assert self._file is not None
            self._file.write(msgspec.json.encode(row) + b"\n")
            self.reasons[row.column, row.reason] += 1
            n += 1
        return n

    def _open(self) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            handle, path = tempfile.mkstemp(".jsonl", f"{self.name}-{stamp}-", self.directory)  # mode 0600, never an existing file
        except OSError as e:
            raise DataError(f"cannot write rejected rows ({e.strerror})", fix="make the directory writable", where=str(self.directory)) from e
        self.path, self._file = Path(path), os.fdopen(handle, "wb")

    def close(self) -> None:
        """Flushes to disk."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def read_quarantine(path: Path) -> list[Rejected]:
    """The rejected rows of one file."""
    return msgspec.json.Decoder(Rejected).decode_lines(path.read_bytes())


def forget(directory: Path, user_id: str) -> int:
    """Removes every rejected row that names this person (erasure) and returns how many; files left empty are deleted.

    A row names a person where the id stands in it as a whole word: damaged rows have no columns to look into.
    """
    name = re.compile(rf"(?<!\w){re.escape(user_id)}(?!\w)")
    removed = 0
    for path in sorted(directory.glob("*.jsonl")):
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if not any(name.search(text) for text in _texts(line))]
        if len(kept) < len(lines):
            removed += len(lines) - len(kept)
            _overwrite(path, b"".join(kept))
        if not kept:
            path.unlink()
    return removed


def _texts(line: bytes) -> Iterable[str]:
    """All text of a rejected row that can name someone; the whole line where a crash has cut it."""
    try:
        row = msgspec.json.decode(line, type=Rejected)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return [line.decode(errors="replace")]
    return [row.found, *([row.row] if isinstance(row.row, str) else map(str, row.row.values()))]


def _overwrite(path: Path, content: bytes) -> None:
    """In place and with zeros first: a file put in its stead would leave the old bytes on the disk."""
    with path.open("r+b") as file:
        for data in (bytes(path.stat().st_size), content):
            file.seek(0)
            file.write(data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
