"""Formats that can be imported, one a file. Readers are plugins: the name of an entry point is the suffix it answers to."""

from collections.abc import Iterator
from pathlib import Path

from daogou import plugins
from daogou.contract import Reader
from daogou.data.readers.batch import Batch
from daogou.errors import DataError

ALIASES = {"ndjson": "jsonl", "tab": "tsv", "pq": "parquet", "json": "jsonl"}
PACKED = {".gz"}


def name_of(path: Path) -> str:
    """The reader that answers to a file's suffix.

    Raises:
        DataError: no reader answers to it.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in PACKED]
    suffix = suffixes[-1].lstrip(".") if suffixes else ""
    name = ALIASES.get(suffix, suffix)
    known = plugins.names("reader")
    if name not in known:
        raise DataError(
            f"the suffix {path.suffix!r} says no format" if path.suffix else "a folder or a file without suffix says no format",
            expected=", ".join("." + known_name for known_name in known),
            fix="name the format: --format NAME",
            where=str(path),
        )
    return name


def find(path: Path | None, name: str | None = None) -> tuple[str, Reader]:
    """(name, reader) of the format `name`, or of the file's suffix."""
    if name is None:
        if path is None:
            raise DataError("neither a file nor a format is given", fix="name a file, or a format: --format NAME")
        name = name_of(path)
    return name, plugins.load("reader", name)


def read(path: Path | None, *, table: str, name: str | None = None) -> Iterator[Batch]:
    """Raw batches of a file or a known format; nothing is renamed or checked yet."""
    return find(path, name)[1](path, table=table)
