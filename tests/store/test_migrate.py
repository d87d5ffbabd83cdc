import shutil
import sqlite3
import sys
from pathlib import Path

import alembic.command
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from daogou.data.rows import Correction, Event, Item, User
from daogou.errors import StoreError
from daogou.store import Store, migrate, schema
from daogou.store.engines import writer_engine


def drift(path: Path) -> list[object]:
    engine = writer_engine(path)
    with engine.connect() as conn:
        found = compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True, "compare_server_default": True}), schema.metadata)
    engine.dispose()
    return list(found)


def tables(path: Path) -> dict[str, list[object]]:
    """Columns, indexes and foreign keys as SQLite sees them."""
    raw = sqlite3.connect(path)
    out: dict[str, list[object]] = {}
    for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'alembic_version'").fetchall():
        indexes = [(row[2:], raw.execute(f"PRAGMA index_info({row[1]})").fetchall()) for row in raw.execute(f"PRAGMA index_list({name})").fetchall()]
        out[name] = [raw.execute(f"PRAGMA table_info({name})").fetchall(), sorted(indexes, key=str), sorted(raw.execute(f"PRAGMA foreign_key_list({name})"))]
    raw.close()
    return out


def run(path: Path, command: str, revision: str) -> None:
    engine = writer_engine(path)
    with engine.begin() as conn:
        getattr(alembic.command, command)(migrate.configuration(conn), revision)
    engine.dispose()


def fill(url: str) -> None:
    with Store.open(url) as store:
        store.put_items([Item(item_id="a", title="t")])
        store.put_users([User(user_id="u", consent=True, attributes={"x": 1})])
        store.add_events([Event(user_id="u", item_id="a", event="view", time=n) for n in range(5)])


def check(url: str) -> None:
    with Store.open(url) as store:
        assert store.counts() == (5, 1, 1) and store.user("u") == User(user_id="u", consent=True, attributes={"x": 1})
        assert [e.time for e in store.history("u", 9)] == [0, 1, 2, 3, 4]


@pytest.mark.promise("I2")
def test_a_new_store_has_the_schema_of_the_code(url: str, database: Path) -> None:
    Store.open(url).close()
    assert drift(database) == []


@pytest.mark.promise("I2")
def test_the_migrations_lead_to_the_same_schema_as_a_new_store(url: str, database: Path, tmp_path: Path) -> None:
    Store.open(url).close()
    migrated = tmp_path / "migrated.sqlite3"
    run(migrated, "upgrade", "head")
    assert drift(migrated) == []
    assert tables(migrated) == tables(database)


@pytest.mark.promise("I2")
def test_up_down_up(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite3"
    for command, revision, n_tables in (("upgrade", "head", 7), ("downgrade", "base", 0), ("upgrade", "head", 7)):
        run(path, command, revision)
        assert len(tables(path)) == n_tables
    Store.open(f"sqlite:///{path}").close()


def test_control_drift_is_seen(url: str, database: Path) -> None:
    Store.open(url).close()
    raw = sqlite3.connect(database)
    raw.execute("ALTER TABLE users ADD COLUMN shoe_size INTEGER")
    raw.close()
    assert len(drift(database)) == 1


def test_the_newest_migration_is_the_one_that_the_code_names(url: str) -> None:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as conn:
        assert ScriptDirectory.from_config(migrate.configuration(conn)).get_heads() == [schema.HEAD]
    engine.dispose()


HEAD, LATER = schema.HEAD, f"{int(schema.HEAD) + 1:04}"
NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "{next}"
down_revision = "{head}"


def upgrade():
    with op.batch_alter_table("users", recreate="always") as batch:
        batch.add_column(sa.Column("shoe_size", sa.Integer))
    {more}


def downgrade():
    pass
"""


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A later daogou: one more migration, which rebuilds a parent table."""
    scripts = tmp_path / "migrations"
    shutil.copytree(migrate.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(migrate, "SCRIPTS", scripts)
    monkeypatch.setattr(migrate, "HEAD", LATER)
    monkeypatch.setattr(schema, "HEAD", LATER)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return scripts / "versions" / f"{LATER}_next.py"


@pytest.mark.promise("I2")
def test_an_old_store_is_upgraded_with_its_data(url: str, database: Path, request: pytest.FixtureRequest) -> None:
    fill(url)
    request.getfixturevalue("later").write_text(NEXT.format(head=HEAD, next=LATER, more=""))
    with pytest.raises(StoreError, match=f"its schema is {HEAD}"):
        Store.open(url, read_only=True)
    check(url)
    raw = sqlite3.connect(database)
    assert raw.execute("SELECT shoe_size FROM users").fetchall() == [(None,)]
    assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
    raw.close()


@pytest.mark.promise("I2")
def test_the_store_of_the_first_version_is_upgraded_with_its_data(url: str, database: Path) -> None:
    run(database, "upgrade", "0001")
    raw = sqlite3.connect(database)
    raw.executescript(
        """INSERT INTO users (user_no, user_id, consent, attributes) VALUES (1, 'u', 1, '{"x": 1}');
        INSERT INTO items (item_no, item_id, title) VALUES (1, 'a', 't');
        INSERT INTO event_names (kind_no, name) VALUES (1, 'view');
        INSERT INTO meta (name, value) VALUES ('catalogue_version', 1);"""
    )
    raw.executemany("INSERT INTO events (user_no, item_no, kind_no, time, event_key) VALUES (1, 1, 1, ?, ?)", [(n, bytes([n]) * 16) for n in range(5)])
    raw.commit()
    raw.close()
    check(url)
    with Store.open(url) as store:
        assert store.corrections("u") == []
        store.put_corrections("u", [Correction(attribute="brand", value="X", says="wrong", time=1)])
        assert len(store.corrections("u")) == 1
    assert drift(database) == []


def test_an_upgrade_that_fails_half_way_changes_nothing(url: str, database: Path, request: pytest.FixtureRequest) -> None:
    fill(url)
    before = tables(database)
    request.getfixturevalue("later").write_text(NEXT.format(head=HEAD, next=LATER, more="op.execute('DELETE FROM users')"))
    with pytest.raises(StoreError, match="would break 5 references"):
        Store.open(url)
    assert tables(database) == before
    request.getfixturevalue("later")
    raw = sqlite3.connect(database)
    assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
    raw.close()


def test_a_store_of_a_newer_daogou_is_left_alone(url: str, database: Path) -> None:
    fill(url)
    raw = sqlite3.connect(database, isolation_level=None)
    raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    for how in ({}, {"read_only": True}):
        with pytest.raises(StoreError, match=r"newer daogou|its schema is 9999"):
            Store.open(url, **how)


def test_a_foreign_database_is_left_alone(url: str, database: Path) -> None:
    raw = sqlite3.connect(database)
    raw.execute("CREATE TABLE recipes (x)")
    raw.close()
    for how in ({}, {"read_only": True}):
        with pytest.raises(StoreError, match="not a store"):
            Store.open(url, **how)
    assert list(tables(database)) == ["recipes"]


def test_the_same_tables_can_be_made_in_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    ddl = [str(CreateTable(table).compile(dialect=dialect)) for table in schema.metadata.sorted_tables]
    assert len(ddl) == 7 and any("JSONB" in text for text in ddl) and any("BYTEA" in text for text in ddl)
    (index,) = schema.events.indexes
    assert str(CreateIndex(index).compile(dialect=dialect)).endswith("(event_id) WHERE event_id IS NOT NULL")
