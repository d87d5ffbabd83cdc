"""The store: events, items, users and keys of one shop, in one database, written by one process."""

import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import msgspec
import polars as pl
import sqlalchemy as sa
from msgspec import Struct

from daogou.data.dataset import Dataset
from daogou.data.rows import Ack, Correction, Event, Item, User
from daogou.errors import StoreError, UsageError
from daogou.scenario import Attributes, Kind
from daogou.store import corrections, migrate, privacy, records, schema
from daogou.store import events as intake
from daogou.store.engines import database_path, reader_engine, writer_engine
from daogou.store.lock import WriterLock
from daogou.store.snapshot import snapshot
from daogou.store.writer import Writer

T = TypeVar("T")

CHUNK_ROWS = 100_000  # of an import: one transaction, and as long as another writer may have to wait (well under a second)
CACHED_ITEMS = 50_000
NOTED_ROWS = 1_000  # deleted in one transaction


class Counts(NamedTuple):
    """Rows of a store. Items deleted from the catalogue do not count."""

    events: int
    items: int
    users: int


class Key(Struct, frozen=True):
    """An API key. The secret itself is nowhere, only its sha256."""

    id: str
    kind: str
    secret_sha256: str
    scopes: tuple[str, ...]
    origins: tuple[str, ...]
    created: int
    revoked: int | None = None


class Store:
    """Made by `Store.open`. Every method may be called from any thread; writing methods return when the rows are on disk.

    All writing methods raise `StoreBusy` when the queue is full or the disk refuses, with nothing half-written, and `UsageError` for
    rows that are not what their type says. A process that has a store open must not open its file by other means (see scan.py).
    """

    def __init__(self, path: Path, lock: WriterLock | None) -> None:
        self._path, self._lock = path, lock
        self._reader = reader_engine(path)
        self._catalogue_version = self._read_version()
        self._intake = intake.Intake(self._reader.dialect)
        self._write_engine = writer_engine(path) if lock else None
        self._writer = Writer(self._write_engine, self._intake.forget) if self._write_engine else None
        # Caches of the writing process alone. A write replaces them, never empties them: what was read before it cannot get into the new one.
        self._item_cache: dict[str, Item] = {}
        self._key_cache: dict[str, dict[str, Key]] = {}

    @classmethod
    def open(cls, url: str, *, create: bool = True, read_only: bool = False) -> Self:
        """Opens the store at a SQLAlchemy URL (``sqlite:///path``), making or upgrading its tables.

        Args:
            create: whether a store that does not exist is made.
            read_only: reads beside the process that writes; takes no lock.

        Raises:
            StoreLocked: another process writes to it.
            StoreError: it does not exist, is no store, or has a schema that this version does not know.
            UsageError: the URL is not one of a SQLite file.
        """
        path = database_path(url)
        if not path.exists() and (read_only or not create):
            raise StoreError("there is no store", fix="import events or items first: that makes one", where=str(path))
        if not path.parent.is_dir():
            raise StoreError("its directory does not exist", fix=f"make the directory {path.parent}", where=str(path))
        if read_only:
            engine = reader_engine(path)
            try:
                if (found := migrate.revision(engine, path)) != schema.HEAD:
                    raise StoreError(f"its schema is {found}", expected=schema.HEAD, fix="open it for writing once, which upgrades it", where=str(path))
            finally:
                engine.dispose()
            return cls(path, None)
        lock = WriterLock(path)
        try:
            engine = writer_engine(path)
            try:
                migrate.prepare(engine, path)
            finally:
                engine.dispose()
            return cls(path, lock)
        except (sa.exc.DatabaseError, sqlite3.Error) as e:
            lock.release()
            raise StoreError(f"it cannot be opened ({e})", expected="a SQLite database of daogou on a disk with room", where=str(path)) from e
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        """Writes what is queued and lets go of files and lock. May be called twice."""
        if self._writer:
            self._writer.close()
        for engine in (self._reader, self._write_engine):
            if engine:
                engine.dispose()
        if self._lock:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- events
    def submit_events(self, batch: Iterable[Event]) -> "Future[Ack]":
        """Queues events; the future resolves when they are on disk. All of one call become durable together or not at all.

        Events that are already there (same `event_id`; without one, same content) change nothing and count as duplicates.
        """
        rows = intake.checked(batch)
        return self._writing.submit(lambda conn: self._intake.add(conn, rows), rows=len(rows))

    def add_events(self, batch: Iterable[Event]) -> Ack:
        """As `submit_events`, and waits."""
        return self.submit_events(batch).result()

    def bulk_events(self, frame: pl.DataFrame) -> Ack:
        """Imports a frame with columns of contract.EVENTS (times int64 µs). Ids may be of any type that reads as text.

        Durable in pieces of `CHUNK_ROWS`; after an interruption the same call again adds what is missing.

        Raises:
            DataError: a column or value that cannot be stored, found before anything is written.
        """
        frame = intake.normalised(frame)
        accepted = duplicates = 0
        for part in frame.iter_slices(CHUNK_ROWS):
            ack = self._written(lambda conn, part=part: self._intake.add_frame(conn, part), rows=len(part), alone=True, wait=True)  # type: ignore[misc]
            accepted, duplicates = accepted + ack.accepted, duplicates + ack.duplicates
        return Ack(accepted=accepted, duplicates=duplicates)

    def history(self, user_id: str, limit: int, *, events: Collection[str] | None = None) -> list[Event]:
        """The newest `limit` events of a user, oldest first; empty for someone unknown.

        Args:
            events: names of the events that count; without them what was merely shown, many rows a page, crowds out what was done.
        """
        with self._reader.connect() as conn:
            return intake.read_events(conn, user_id, limit, events)

    def signals(self, user_id: str, limit: int, events: Collection[str]) -> list[tuple[str, str, int]]:
        """(item id, event, time) of a user's newest `limit` events of these names, oldest first: `history` for those who ask at every page."""
        with self._reader.connect() as conn:
            return intake.read_signals(conn, user_id, limit, events)

    def items_with(self, user_id: str, events: Collection[str]) -> set[str]:
        """Ids of the items with which the user has one of these events, however long ago."""
        with self._reader.connect() as conn:
            return intake.read_items_with(conn, user_id, events)

    def taken(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Item id → sum of `weights` over the events of everybody who did not refuse; items without such an event are left out."""
        with self._reader.connect() as conn:
            return intake.read_taken(conn, weights)

    def drop_noted(self, event: str, before: int, after: int = 0) -> tuple[int, int, bool]:
        """Deletes the next rows of this event that the server noted of its own answers before a time (µs). They were written in the order of time, so the
        first that is younger ends it.

        Args:
            after: the row behind which to go on.

        Returns:
            How many rows went, behind which row to go on, and whether there may be more.
        """
        with self._reader.connect() as conn:
            rows = intake.read_noted(conn, event, after, NOTED_ROWS)
        old = [number for number, _ in takewhile(lambda row: row[1] < before, rows)]
        gone = self._written(lambda conn: intake.drop_noted(conn, old, before), rows=len(old)) if old else 0
        return gone, old[-1] if old else after, len(old) == NOTED_ROWS

    # ---- items
    def put_items(self, batch: Iterable[Item]) -> None:
        """Inserts items or replaces them as a whole."""
        rows = records.checked(batch, Item)
        self._catalogue(lambda conn: records.put_items(conn, rows), rows=len(rows))

    def bulk_items(self, frame: pl.DataFrame) -> None:
        """As `put_items`, from a frame; columns beyond contract.ITEMS become attributes.

        Raises:
            DataError: no `item_id`, or a value of the wrong kind; nothing is written then.
        """
        rows = records.items_of_frame(frame)
        for start in range(0, len(rows), CHUNK_ROWS):
            part = rows[start : start + CHUNK_ROWS]
            self._catalogue(lambda conn, part=part: records.put_items(conn, part), rows=len(part), wait=True)  # type: ignore[misc]

    def patch_item(self, item: Item) -> None:
        """Changes the facts and attributes that are given; an attribute given as None is removed. Makes the item if there is none."""
        rows = records.checked([item], Item)
        self._catalogue(lambda conn: records.patch_item(conn, rows[0]))

    def delete_item(self, item_id: str) -> bool:
        """Takes an item out of the catalogue (events about it stay); whether it was there."""
        return self._catalogue(lambda conn: records.delete_item(conn, item_id))

    def item(self, item_id: str) -> Item | None:
        """One item; facts that are not known are None."""
        return next(iter(self.items([item_id])), None)

    def items(self, ids: Sequence[str]) -> list[Item]:
        """Those of `ids` that exist, in their order."""
        cache = self._item_cache if self._writer else {}
        found = {item_id: cache[item_id] for item_id in ids if item_id in cache}
        if missing := [item_id for item_id in dict.fromkeys(ids) if item_id not in found]:
            with self._reader.connect() as conn:
                read = records.read_items(conn, missing)
            if len(cache) + len(read) <= CACHED_ITEMS:
                cache.update(read)
            found |= read
        return [found[item_id] for item_id in ids if item_id in found]

    def item_table(self, attributes: Mapping[str, Kind]) -> pl.DataFrame:
        """Every item in the order of codes: columns of contract.ITEMS and declared attributes. `available` is never null; deleted items are not."""
        with self._reader.connect() as conn:
            return records.item_frame(conn, attributes)

    @property
    def catalogue_version(self) -> int:
        """Grows with each write to items."""
        return self._catalogue_version if self._writer else self._read_version()

    # ---- users
    def put_users(self, batch: Iterable[User]) -> None:
        """Inserts users or replaces their attributes; consent that is not mentioned stays as it was."""
        rows = records.checked(batch, User)
        self._written(lambda conn: records.put_users(conn, rows), rows=len(rows))

    def bulk_users(self, frame: pl.DataFrame) -> None:
        """As `put_users`, from a frame; columns beyond contract.USERS become attributes, a null consent is one that is not mentioned.

        Raises:
            DataError: no `user_id`, or a value of the wrong kind; nothing is written then.
        """
        rows = records.users_of_frame(frame)
        for start in range(0, len(rows), CHUNK_ROWS):
            part = rows[start : start + CHUNK_ROWS]
            self._written(lambda conn, part=part: records.put_users(conn, part), rows=len(part), wait=True)  # type: ignore[misc]

    def patch_user(self, user: User) -> None:
        """Changes the attributes that are given (None removes one), and consent if mentioned. Makes the user if there is none."""
        rows = records.checked([user], User)
        self._written(lambda conn: records.patch_user(conn, rows[0]))

    def user(self, user_id: str) -> User | None:
        """Someone who registered, or of whom there is an event."""
        with self._reader.connect() as conn:
            return records.read_user(conn, user_id)

    def user_ids(self, limit: int, offset: int = 0) -> list[str]:
        """Ids in the order in which they came."""
        users = schema.users.c
        with self._reader.connect() as conn:
            return list(conn.scalars(sa.select(users.user_id).order_by(users.user_no).limit(limit).offset(offset)))

    # ---- what people say of their profile
    def corrections(self, user_id: str) -> list[Correction]:
        """Oldest first; empty for someone unknown."""
        with self._reader.connect() as conn:
            return corrections.read(conn, user_id)

    def put_corrections(self, user_id: str, said: Iterable[Correction]) -> None:
        """Adds corrections or replaces what the same person said of the same value. Makes the user if there is none.

        Raises:
            UsageError: one is not what its type says, or there would be more than `corrections.MOST`.
        """
        try:
            rows = msgspec.convert(msgspec.to_builtins(list(said)), list[Correction])
        except msgspec.ValidationError as e:
            raise UsageError(f"a correction that cannot be stored: {e}", where="corrections") from e
        self._written(lambda conn: corrections.put(conn, self._intake.users.of(conn, [user_id])[user_id], rows))

    def drop_corrections(self, user_id: str, attribute: str | None = None, value: str | None = None) -> int:
        """Takes back what was said of one value, of one attribute, or everything; how many words that were."""
        return self._written(lambda conn: corrections.drop(conn, user_id, attribute, value))

    # ---- everything
    def counts(self) -> Counts:
        """How much there is."""
        total = sa.select(sa.func.count()).select_from
        live = total(schema.items).where(~schema.items.c.deleted)
        with self._reader.connect() as conn:
            return Counts(*(int(conn.scalar(query) or 0) for query in (total(schema.events), live, total(schema.users))))

    def snapshot(
        self,
        weights: Mapping[str, float],
        *,
        attributes: Attributes = Attributes(),
        max_events_per_user: int = 2000,
        until: int | None = None,
        only_user: str | None = None,
    ) -> Dataset:
        """One moment of the store as a Dataset. Events, items and users keep the order in which they came; those without events are included.

        Args:
            weights: the scenario's weight of each event name.
            attributes: columns of the item and user tables beyond the fixed ones.
            max_events_per_user: only the newest are taken, counted apart for signals and for events of weight 0.
            until: only events before this time (µs).
            only_user: only the events of this user; vocabularies and tables stay whole, so that codes agree.

        Events and attributes of users who refused (consent False) are left out.
        """
        with self._reader.connect() as conn:
            return snapshot(conn, weights, attributes, max_events_per_user=max_events_per_user, until=until, only_user=only_user)

    def backup(self, path: Path | str) -> None:
        """Copies one consistent moment into a new file, while reading and writing go on; replaces `path` only when the copy is on disk."""
        target = Path(path)
        if target.exists() and target.samefile(self._path):
            raise UsageError("a backup cannot replace the store itself", fix="give another path", field="path")
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        copy: sqlite3.Connection | None = None
        try:
            copy = sqlite3.connect(part)
            with self._reader.connect() as conn:
                source: Any = conn.connection.driver_connection
                source.backup(copy)  # all pages in one step: one moment, and no writer waits for it
            copy.execute("PRAGMA journal_mode=DELETE")  # a single file, no log beside it
            copy.close()
            _sync(part)
            part.replace(target)
            _sync(target.parent)
        except (sqlite3.Error, OSError) as e:
            raise StoreError(f"the backup could not be written ({e})", fix="give a path on a disk with room", where=str(target)) from e
        finally:
            if copy:
                copy.close()
            part.unlink(missing_ok=True)

    # ---- privacy
    def export_user(self, user_id: str) -> dict[str, Any]:
        """All rows about a person as plain data: ``{"user": {…} | None, "events": [{…}, …], "corrections": [{…}, …]}``, times in µs UTC."""
        with self._reader.connect() as conn:
            user = records.read_user(conn, user_id)
            return {
                "user": msgspec.to_builtins(user),
                "events": msgspec.to_builtins(intake.read_events(conn, user_id)),
                "corrections": msgspec.to_builtins(corrections.read(conn, user_id)),
            }

    def erase_user(self, user_id: str, *, items: Sequence[str] = ()) -> privacy.Receipt:
        """Deletes every row about a person, empties the log, and reads the files to see that nothing is left. May be repeated.

        Args:
            items: items that are this person (a profile in a social network); they and all events about them go too.
        """
        started = time.monotonic()

        def delete(conn: sa.Connection) -> tuple[int | None, dict[str, int]]:
            self._intake.forget()  # the number must not be used again
            return privacy.delete_rows(conn, user_id, items)

        number, tables = self._catalogue(delete) if items else self._written(delete)
        verified, elsewhere = privacy.sweep(self._writing, self._path, [user_id, *items], number)
        return privacy.Receipt(privacy.digest(user_id), tables["events"], tables, verified, elsewhere, time.monotonic() - started)

    # ---- keys
    def add_key(self, id: str, kind: str, secret_sha256: str, scopes: Iterable[str], origins: Iterable[str], created: int) -> None:
        """
        Raises:
            UsageError: a key of that id exists.
        """
        row = {"id": id, "kind": kind, "secret_sha256": secret_sha256, "scopes": list(scopes), "origins": list(origins), "created": created}
        try:
            self._change_keys(sa.insert(schema.keys).values(row))
        except sa.exc.IntegrityError as e:
            raise UsageError(f"there is a key {id!r} already", fix="choose another id", field="id") from e

    def key(self, id: str) -> Key | None:
        """A key by its id, revoked ones too."""
        return self._all_keys().get(id)

    def keys(self) -> list[Key]:
        """All keys, oldest first."""
        return list(self._all_keys().values())

    def revoke_key(self, id: str) -> bool:
        """Whether there was such a key in force."""
        keys = schema.keys
        change = sa.update(keys).where(keys.c.id == id, keys.c.revoked.is_(None)).values(revoked=time.time_ns() // 1000)
        return self._change_keys(change) > 0

    # ---- inside
    @property
    def _writing(self) -> Writer:
        if self._writer is None:
            raise StoreError("this store was opened for reading", fix="open it without read_only", where=str(self._path))
        return self._writer

    def _written(
        self, work: Callable[[sa.Connection], T], *, rows: int = 1, after: Callable[[T], None] | None = None, alone: bool = False, wait: bool = False
    ) -> T:
        return self._writing.submit(work, rows=rows, after=after, alone=alone, wait=wait).result()

    def _catalogue(self, work: Callable[[sa.Connection], T], *, rows: int = 1, wait: bool = False) -> T:
        """A write to items: counts the version up, and forgets cached items before the caller hears of it."""
        version = schema.meta.c

        def both(conn: sa.Connection) -> tuple[T, int]:
            result = work(conn)
            if not conn.execute(sa.update(schema.meta).where(version.name == "catalogue_version").values(value=version.value + 1)).rowcount:
                conn.execute(sa.insert(schema.meta), {"name": "catalogue_version", "value": 1})
            return result, int(conn.scalar(sa.select(version.value).where(version.name == "catalogue_version")) or 0)

        def after(done: tuple[T, int]) -> None:
            self._item_cache = {}
            self._catalogue_version = done[1]

        return self._written(both, rows=rows, after=after, wait=wait)[0]

    def _read_version(self) -> int:
        with self._reader.connect() as conn:
            return int(conn.scalar(sa.select(schema.meta.c.value).where(schema.meta.c.name == "catalogue_version")) or 0)

    def _change_keys(self, change: Any) -> int:
        """Rows changed."""

        def after(_: int) -> None:
            self._key_cache = {}

        return self._written(lambda conn: conn.execute(change).rowcount, after=after)

    def _all_keys(self) -> dict[str, Key]:
        cache = self._key_cache if self._writer else {}
        if "all" in cache:
            return cache["all"]
        with self._reader.connect() as conn:
            rows = conn.execute(sa.select(schema.keys).order_by(schema.keys.c.created, schema.keys.c.id)).all()
        cache["all"] = {row.id: Key(row.id, row.kind, row.secret_sha256, tuple(row.scopes), tuple(row.origins), row.created, row.revoked) for row in rows}
        return cache["all"]


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
