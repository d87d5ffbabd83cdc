"""The tables of a store, once, for every database: SQLAlchemy Core, integer keys beside the text ids, times int64 µs UTC.

An event is unique by what it says: `event_key` is a 16-byte digest (see events.py) and (user, time, key) may occur once, so delivering
the same event again changes nothing. An `event_id` that the sender chose is unique in the whole store besides. The same unique index is
the one that reads a shopper's history, and it grows at one end per shopper, which keeps imports fast.

An item's row is never removed: deleting empties it (`deleted`), so item numbers, and with them codes, never move.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

HEAD = "0002"
"Revision of this schema; the newest file under migrations/versions has the same."

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = sa.MetaData(naming_convention=NAMES)

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # only INTEGER names SQLite's own row number
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

users = sa.Table(
    "users",
    metadata,
    sa.Column("user_no", Number, primary_key=True),
    sa.Column("user_id", sa.Text, nullable=False, unique=True),
    sa.Column("consent", sa.Boolean),
    sa.Column("attributes", Json),
)

items = sa.Table(
    "items",
    metadata,
    sa.Column("item_no", Number, primary_key=True),
    sa.Column("item_id", sa.Text, nullable=False, unique=True),
    sa.Column("title", sa.Text),
    sa.Column("description", sa.Text),
    sa.Column("category", sa.Text),
    sa.Column("brand", sa.Text),
    sa.Column("price", sa.Double),
    sa.Column("currency", sa.Text),
    sa.Column("image", sa.Text),
    sa.Column("available", sa.Boolean),
    sa.Column("created", sa.BigInteger),
    sa.Column("kind", sa.Text),
    sa.Column("attributes", Json),
    sa.Column("deleted", sa.Boolean, nullable=False, server_default=sa.false()),
)

event_names = sa.Table(
    "event_names",
    metadata,
    sa.Column("kind_no", Number, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("event_no", Number, primary_key=True),
    sa.Column("user_no", Number, sa.ForeignKey("users.user_no"), nullable=False),
    sa.Column("item_no", Number, sa.ForeignKey("items.item_no"), nullable=False),
    sa.Column("kind_no", Number, sa.ForeignKey("event_names.kind_no"), nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("session_id", sa.Text),
    sa.Column("request_id", sa.Text),
    sa.Column("position", sa.BigInteger),
    sa.Column("context", Json),
    sa.Column("event_id", sa.Text),
    sa.Column("event_key", sa.LargeBinary(16), nullable=False),
    sa.UniqueConstraint("user_no", "time", "event_key"),
)
sa.Index(None, events.c.event_id, unique=True, sqlite_where=events.c.event_id.is_not(None), postgresql_where=events.c.event_id.is_not(None))

corrections = sa.Table(
    "corrections",
    metadata,
    sa.Column("user_no", Number, sa.ForeignKey("users.user_no"), primary_key=True),
    sa.Column("attribute", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("says", sa.Text, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("secret_sha256", sa.Text, nullable=False),
    sa.Column("scopes", Json, nullable=False),
    sa.Column("origins", Json, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("revoked", sa.BigInteger),
)

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def insert(dialect: str, table: sa.Table) -> Any:
    """An INSERT of that database that can take `on_conflict_do_…`."""
    return _INSERTS[dialect](table)
