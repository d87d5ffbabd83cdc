"""Content hashes of files that have not changed, known without opening them: by path, size and times, as they were when the file was last read.

A file that was changed about when it was read is read again the next time: a second change within one tick of the file system's clock would otherwise stay
unseen (git's "racy" entries). What is kept, in one SQLite file beside the cached vectors, is hashes and numbers: no path, no byte of a file.
"""

import hashlib
import os
import sqlite3
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Self

import structlog

log = structlog.get_logger("daogou.encode")

NAME = "files.sqlite3"
RACY_NS = 2_000_000_000
"""Two seconds, the coarsest clock of a file system in use (FAT)."""
SPARE = 10_000
"""Rows kept beyond twice those asked for."""
BATCH = 2_000
"""Files read, then noted: what a kill loses."""


class Filed(NamedTuple):
    """A file as the file system describes it."""

    mark: bytes
    "Stands for its path."
    state: tuple[int, int, int]
    """Size, time of writing, time of the inode, which changes even where a copy brings its old time of writing: what differs once something was written."""

    @classmethod
    def of(cls, path: str, stat: os.stat_result) -> Self:
        """The file at `path`."""
        return cls(hashlib.blake2b(os.fsencode(path), digest_size=16).digest(), (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))

    def settled(self, now_ns: int) -> bool:
        """Whether any change from now on will show in its times."""
        return max(self.state[1:]) < now_ns - RACY_NS


class InFiles(Sequence[bytes]):
    """Things that lie in files: they are read only where those have changed."""

    @abstractmethod
    def files(self) -> Sequence[Filed | None]:
        """The file of each as it is now; None where there is none."""


Row = tuple[bytes, int, int, int, bytes]


def keys(files: Sequence[Filed | None], hashed: Callable[[int], bytes], directory: Path) -> list[bytes]:
    """The content hash of each file; `hashed(n)` reads file n and is called only where that is needed. None = no file, which is asked of it, too.

    Args:
        directory: in which hashes are remembered.
    """
    now_ns = time.time_ns()  # before anything is read: what is written later has a later time
    path = directory / NAME
    known = _known(path, [file.mark for file in files if file is not None])
    out, rows = list[bytes](), list[Row]()
    for n, file in enumerate(files):
        before = known.get(file.mark) if file is not None else None
        if file is not None and before is not None and before[:3] == file.state:
            out.append(before[3])
            continue
        out.append(hashed(n))
        if file is not None and file.settled(now_ns):
            rows.append((file.mark, *file.state, out[n]))
        if len(rows) >= BATCH:
            _note(path, rows)
            rows = []
    _note(path, rows)
    return out


def forget(db: sqlite3.Connection, keys: Sequence[bytes]) -> int:
    """Takes out what has this content; how many files had it."""
    return sum(db.execute("DELETE FROM files WHERE key = ?", (key,)).rowcount for key in keys)


def opened(path: Path) -> sqlite3.Connection:
    """The file of hashes, made where there is none."""
    db = sqlite3.connect(path, timeout=60)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = OFF")  # after a power cut everything is read once more
    db.execute("CREATE TABLE IF NOT EXISTS files (mark BLOB PRIMARY KEY, size INTEGER, written_ns INTEGER, changed_ns INTEGER, key BLOB) WITHOUT ROWID")
    return db


def _known(path: Path, marks: list[bytes]) -> dict[bytes, tuple[int, int, int, bytes]]:
    """Mark → state and content hash. Those that nobody asks for any more go once they are many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(opened(path)) as db:
            rows = {mark: (size, written, changed, key) for mark, size, written, changed, key in db.execute("SELECT * FROM files")}
            if len(rows) > 2 * len(marks) + SPARE:
                gone = rows.keys() - set(marks)
                with db:
                    db.executemany("DELETE FROM files WHERE mark = ?", ((mark,) for mark in gone))
            return rows
    except sqlite3.DatabaseError as e:
        log.warning("what was known of files is damaged and made anew", file=path.name, found=str(e))
        for file in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
            file.unlink(missing_ok=True)
        return {}


def _note(path: Path, rows: list[Row]) -> None:
    if rows:
        with closing(opened(path)) as db, db:
            db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", rows)
