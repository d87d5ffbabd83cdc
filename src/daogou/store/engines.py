"""Connections to SQLite, set up the way the promises need: every commit on disk, deleted content overwritten, one writer, readers that cannot write."""

from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from daogou.errors import UsageError

WRITER = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "foreign_keys=ON", "busy_timeout=5000", "cache_size=-65536", "wal_autocheckpoint=10000")
READER = ("query_only=ON", "busy_timeout=5000")


def database_path(url: str) -> Path:
    """The file that a store URL names.

    Raises:
        UsageError: not a SQLite file.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as e:
        raise UsageError(f"{url!r} is no database URL", expected="sqlite:///path/of/store.sqlite3", field="store") from e
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        found = parsed.render_as_string(hide_password=True)
        raise UsageError(f"a store cannot live in {found!r}", expected="a SQLite file: sqlite:///path/of/store.sqlite3", field="store")
    return Path(parsed.database)


def writer_engine(path: Path) -> sa.Engine:
    """One connection, whose transactions begin as writers (BEGIN IMMEDIATE) so that they never fail half-way on a lock."""
    return _engine(path, WRITER, "BEGIN IMMEDIATE", pool_size=1, max_overflow=0)


def reader_engine(path: Path) -> sa.Engine:
    """Connections for many threads; each transaction sees one moment of the store."""
    return _engine(path, READER, "BEGIN", pool_size=8, max_overflow=56)


def _engine(path: Path, pragmas: tuple[str, ...], begin: str, **pool: int) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=QueuePool,
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        json_deserializer=msgspec.json.decode,
        **pool,
    )

    @sa.event.listens_for(engine, "connect")
    def _connect(dbapi: Any, _record: Any) -> None:
        dbapi.isolation_level = None  # SQLAlchemy opens transactions, not the sqlite3 module
        for pragma in pragmas:  # all but journal_mode belong to the connection, not to the file
            dbapi.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(conn: sa.Connection) -> None:
        conn.exec_driver_sql(begin)

    return engine
