"""What the store holds about one person, and how to make it hold nothing.

SQLite's secure_delete overwrites what is deleted, but not the copies that a page keeps in its free middle after its rows were spread over
two pages (about 2 of 1,000 erased ids were still to be read in the file). So erasing ends with a look at the bytes themselves, and if the
id is found, the file is rewritten (VACUUM), after which it holds nothing but the rows that are still there.
"""

import re
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import sqlalchemy as sa
from msgspec import Struct

from daogou.errors import StoreBusy
from daogou.store.records import FACTS
from daogou.store.scan import occurrences
from daogou.store.schema import corrections, events, items, users
from daogou.store.writer import Writer

DISTINCT_BYTES = 8  # an id at least this long is looked for by itself; a shorter one ("7") only as the key it would be
PATIENCE_S = 50.0


class Receipt(Struct, frozen=True):
    """What an erasure did. `verified`: the files were read afterwards, and no row that held the person is left in them."""

    user_id_sha256: str
    events: int
    tables: dict[str, int]
    "Rows erased, by table."
    verified: bool
    elsewhere: int
    "How often the id's letters still occur in rows about others (an item of that name, someone else's context)."
    seconds: float


def delete_rows(conn: sa.Connection, user_id: str, item_ids: Sequence[str]) -> tuple[int | None, dict[str, int]]:
    """Deletes a person's rows; their number, and rows by table. Items that are the person lose name and content, and every event about them goes."""
    number = conn.scalar(sa.select(users.c.user_no).where(users.c.user_id == user_id))
    item_nos = conn.scalars(sa.select(items.c.item_no).where(items.c.item_id.in_(item_ids))).all()
    counts = {"events": conn.execute(sa.delete(events).where(sa.or_(events.c.user_no == number, events.c.item_no.in_(item_nos)))).rowcount}
    said = sa.and_(corrections.c.attribute == "item_id", corrections.c.value.in_(item_ids))
    counts["corrections"] = conn.execute(sa.delete(corrections).where(sa.or_(corrections.c.user_no == number, said))).rowcount
    counts["users"] = conn.execute(sa.delete(users).where(users.c.user_no == number)).rowcount
    nothing = {**dict.fromkeys((*FACTS, "attributes")), "deleted": True}
    for item_no in item_nos:
        conn.execute(sa.update(items).where(items.c.item_no == item_no).values(item_id=f"erased:{item_no}", **nothing))
    return number, {**counts, "items": len(item_nos)}


def sweep(writer: Writer, path: Path, names: Sequence[str], number: int | None) -> tuple[bool, int]:
    """Empties the log and reads both files; rewrites them if a name is found. (verified, occurrences in rows about others)

    `number` is the row number that the first of the names had.
    """
    patterns = [_pattern(name, number if i == 0 else None) for i, name in enumerate(names)]
    deadline = time.monotonic() + PATIENCE_S
    try:
        found = _look(writer, path, patterns, deadline)
        if found:
            writer.maintain(lambda raw: raw.execute("VACUUM")).result()
            found = _look(writer, path, patterns, deadline)
    except (StoreBusy, OSError, subprocess.CalledProcessError):  # no room for the second copy that VACUUM needs, or no process to read with
        return False, 0
    return found is not None, found or 0


def _look(writer: Writer, path: Path, patterns: Sequence[bytes], deadline: float) -> int | None:
    """Occurrences in database and log. None: until the deadline someone kept reading an older moment, so that the log could not be emptied."""
    while not writer.maintain(_empty_log).result():
        if time.monotonic() > deadline:
            return None
        time.sleep(0.05)  # other writes go on meanwhile
    return occurrences([path, path.with_name(path.name + "-wal")], patterns)


def _empty_log(raw: sqlite3.Connection) -> bool:
    raw.execute("PRAGMA busy_timeout=100")  # the queue waits
    try:
        busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        raw.execute("PRAGMA busy_timeout=5000")
    return not busy


def _pattern(name: str, number: int | None) -> bytes:
    """Regular expression of the bytes to look for (SQLite file format, section 2.1: a record is its header, the types of its values, and the values)."""
    text = name.encode()
    if len(text) >= DISTINCT_BYTES:
        return re.escape(text)
    kind = bytes([13 + 2 * len(text)])  # type of a text of this length; one byte, as the text is short
    # As a key of the unique index: a header of three bytes, the text, the row's number.
    after = b"" if number is None else re.escape(_integer(number))
    key = b"\\x03" + re.escape(kind) + b"[\\x01-\\x06\\x08\\x09]" + re.escape(text) + after
    # As a row of `users`: header without the number (type 0), the text's type, consent, attributes; then the text.
    row = b"\\x00" + re.escape(kind) + b"[\\x00\\x01\\x08\\x09].{1,3}" + re.escape(text)
    return b"(?:" + key + b")|(?:" + row + b")"


def _integer(number: int) -> bytes:
    """A number as SQLite stores it: 0 and 1 in the type alone, others in 1, 2, 3, 4, 6 or 8 bytes."""
    if number in (0, 1):
        return b""
    size = next(n for n in (1, 2, 3, 4, 6, 8) if -(1 << (8 * n - 1)) <= number < 1 << (8 * n - 1))
    return number.to_bytes(size, "big", signed=True)


def digest(user_id: str) -> str:
    """How a receipt names the person."""
    return sha256(user_id.encode()).hexdigest()
