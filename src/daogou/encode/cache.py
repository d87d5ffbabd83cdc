"""Vectors by the hash of what was encoded: only what changed is encoded again.

One SQLite file for each encoder, version and weights, in the `vectors/` directory of a project. A cache: a file that is damaged or of other dimensions is made
anew. It holds hashes and numbers, no text, and keeps no more than twice what was last asked for.
"""

import hashlib
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from daogou.contract import Encoder, Mask, Progress, Scores
from daogou.encode import filed, stamp

log = structlog.get_logger("daogou.encode")

BATCH = 256  # encoded, then written: what a kill loses
SPARE = 10_000  # rows kept beyond twice those asked for
ASKED = 900  # parameters of one query that SQLite takes in any version


def encode(one: Encoder, things: Sequence[str | bytes], directory: Path | None = None, progress: Progress | None = None) -> tuple[Scores, Mask]:
    """Unit vectors [n, dim] and where there is one, as `one.encode` gives them but rounded to half precision, the same with the cache and without.

    Args:
        directory: of the cache; None = encode everything.
    """
    keys = _keys(things, directory)
    place = {key: n for n, key in enumerate(keys)}  # of equal things the last: all have one vector
    if directory is None:
        found: dict[bytes, bytes] = {}
        found |= _new(one, things, place, found, progress, None)
    else:
        found = _through(directory, one, things, place, progress)
    rows = [found[key] for key in keys]
    out_ND, mask_N = np.zeros((len(keys), one.dim), np.float32), np.array([len(row) > 0 for row in rows], np.bool_)
    out_ND[mask_N] = np.frombuffer(b"".join(rows), np.float16).reshape(-1, one.dim)
    return out_ND, mask_N


def forget(directory: Path, things: Sequence[str | bytes]) -> int:
    """Takes these texts and photos out of every cache of the directory; how many rows there were. Their bytes are overwritten.
    A network that learned from one of the photos is removed whole, and counts as one: the next training teaches another.

    Raises:
        OSError: a cache is in use for longer than a minute, or cannot be written.
    """
    gone, keys = 0, [_key(thing) for thing in dict.fromkeys(things)]
    for path in sorted(directory.glob("*.sqlite3")):
        known = path.name == filed.NAME
        try:
            with closing(filed.opened(path) if known else _open(path)) as db:
                db.execute("PRAGMA secure_delete = ON")
                with db:
                    n = filed.forget(db, keys) if known else sum(db.execute("DELETE FROM vectors WHERE key = ?", (key,)).rowcount for key in keys)
                gone += 0 if known else n
                busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.DatabaseError as e:
            raise OSError(f"{path.name}: {e}") from e
        if busy:
            raise OSError(f"{path.name} is being read")
    marks = np.frombuffer(b"".join(mark(thing) for thing in things if isinstance(thing, bytes)), np.uint64)
    for path in sorted(directory.glob("*.safetensors")) if len(marks) else ():
        if _saw(path, marks):
            path.unlink()
            gone += 1
    return gone


def mark(*parts: bytes) -> bytes:
    """Eight bytes by which a network remembers what it learned from, and nothing of how it looked."""
    return hashlib.blake2b(b"\0".join(parts), digest_size=8).digest()


def _saw(path: Path, marks: NDArray[np.uint64]) -> bool:
    """Whether a network learned from one of the marked photos; True where that cannot be read."""
    try:
        with safe_open(path, "np") as file:
            return bool(np.isin(marks, file.get_tensor("seen")).any())
    except SafetensorError:
        return True


def _key(thing: str | bytes) -> bytes:
    return hashlib.sha256(thing.encode("utf-8", "surrogatepass") if isinstance(thing, str) else thing).digest()


def _keys(things: Sequence[str | bytes], directory: Path | None) -> list[bytes]:
    if directory is None or not isinstance(things, filed.InFiles):
        return [_key(thing) for thing in things]
    return filed.keys(things.files(), lambda n: _key(things[n]), directory)


def _through(directory: Path, one: Encoder, things: Sequence[str | bytes], place: dict[bytes, int], progress: Progress | None) -> dict[bytes, bytes]:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{stamp(one)}-{one.dim}.sqlite3"
    try:
        with closing(_open(path)) as db:
            found = _known(db, list(place), one.dim)
    except sqlite3.DatabaseError as e:
        log.warning("the cache of vectors is damaged and made anew", file=path.name, found=str(e))
        for file in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
            file.unlink(missing_ok=True)
        found = {}
    with closing(_open(path)) as db:
        found |= _new(one, things, place, found, progress, db)
        _prune(db, place)
    return found


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=60)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = OFF")  # a cache: after a power cut it is made anew
    db.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID")
    return db


def _known(db: sqlite3.Connection, keys: list[bytes], dim: int) -> dict[bytes, bytes]:
    (kept,) = db.execute("SELECT count(*) FROM vectors").fetchone()
    if kept <= 2 * len(keys):  # reading all is faster than looking up many
        found = dict(db.execute("SELECT key, vector FROM vectors").fetchall())
        found = {key: found[key] for key in keys if key in found}
    else:
        found = {}
        for first in range(0, len(keys), ASKED):
            some = keys[first : first + ASKED]
            found |= dict(db.execute(f"SELECT key, vector FROM vectors WHERE key IN ({','.join('?' * len(some))})", some).fetchall())
    return {key: row for key, row in found.items() if len(row) in (0, 2 * dim)}


def _new(
    one: Encoder, things: Sequence[str | bytes], place: dict[bytes, int], found: dict[bytes, bytes], progress: Progress | None, db: sqlite3.Connection | None
) -> dict[bytes, bytes]:
    """What is not in `found`, encoded and written. No vector is an empty one, so that it is not tried again."""
    left = [key for key in place if key not in found]
    made: dict[bytes, bytes] = {}
    for first in range(0, len(left), BATCH):
        some = left[first : first + BATCH]
        read = [things[place[key]] for key in some]
        vectors_ND, mask_N = one.encode(read)
        rows = {key: row.tobytes() if ok else b"" for key, row, ok in zip(some, vectors_ND.astype(np.float16), mask_N.tolist(), strict=True)}
        made |= rows
        # A file may have changed since its hash was taken: the vector of what is there now must not be kept under what was.
        rows = {_key(thing): rows[key] for key, thing in zip(some, read, strict=True)}
        if db is not None:
            with db:
                db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows.items())
        if progress is not None:
            progress(f"encode: {one.id}", min(first + BATCH, len(left)), len(left))
    return made


def _prune(db: sqlite3.Connection, asked: dict[bytes, int]) -> None:
    (kept,) = db.execute("SELECT count(*) FROM vectors").fetchone()
    if kept > 2 * len(asked) + SPARE:
        with db:
            db.execute("CREATE TEMP TABLE asked (key BLOB PRIMARY KEY)")
            db.executemany("INSERT INTO asked VALUES (?)", ((key,) for key in asked))
            db.execute("DELETE FROM vectors WHERE key NOT IN (SELECT key FROM asked)")
