"""Brings a database to this version's schema: makes a new one, upgrades an old one with its data, refuses what it does not know."""

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from daogou.errors import StoreError
from daogou.store.schema import HEAD, metadata

SCRIPTS = Path(__file__).parent / "migrations"

_version = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))


def prepare(engine: sa.Engine, path: Path) -> None:
    """Creates or upgrades.

    Raises:
        StoreError: a file that is no store, or a store of a newer daogou.
    """
    with engine.begin() as conn:
        if not sa.inspect(conn).get_table_names():
            create(conn)
            return
    if revision(engine, path) != HEAD:
        upgrade(engine, path)


def create(conn: sa.Connection) -> None:
    """All tables of an empty database, marked with this version."""
    metadata.create_all(conn)
    _version.create(conn)
    conn.execute(sa.insert(_version), {"version_num": HEAD})


def revision(engine: sa.Engine, path: Path) -> str:
    """The schema version of a store.

    Raises:
        StoreError: it has none.
    """
    try:
        with engine.connect() as conn:
            found = conn.scalar(sa.select(_version.c.version_num)) if sa.inspect(conn).has_table("alembic_version") else None
    except (sa.exc.DatabaseError, sqlite3.Error) as e:
        raise StoreError(f"it cannot be read ({e})", expected="a SQLite database of daogou", fix="restore a backup", where=str(path)) from e
    if found is None:
        raise StoreError("this database is not a store", expected="a database made by daogou", fix="give another path", where=str(path))
    return str(found)


def upgrade(engine: sa.Engine, path: Path) -> None:
    """Runs the migrations that are due, in one transaction.

    Foreign keys are off meanwhile: batch mode rebuilds tables, and dropping a parent would take its children along. They are checked at the end.
    """
    import alembic.command  # here, because it costs a third of a second and is rarely needed
    import alembic.util

    with engine.connect() as conn:
        driver: Any = conn.connection.driver_connection
        driver.execute("PRAGMA foreign_keys=OFF")
        try:
            with conn.begin():
                alembic.command.upgrade(configuration(conn), "head")
                if broken := conn.exec_driver_sql("PRAGMA foreign_key_check").all():
                    raise StoreError(f"the upgrade would break {len(broken)} references", fix="restore a backup and report this", where=str(path))
        except alembic.util.CommandError as e:
            raise StoreError(f"its schema is unknown here ({e})", fix="use the newer daogou that made it, or restore a backup", where=str(path)) from e
        finally:
            driver.execute("PRAGMA foreign_keys=ON")


def configuration(conn: sa.Connection) -> Any:
    """What Alembic's commands need to work on this connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = conn
    return config
