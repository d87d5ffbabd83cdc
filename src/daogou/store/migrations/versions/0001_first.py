"""The first schema: users, items, events with their names, keys, meta."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("user_no", NUMBER, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("consent", sa.Boolean),
        sa.Column("attributes", JSON),
        sa.PrimaryKeyConstraint("user_no", name="pk_users"),
        sa.UniqueConstraint("user_id", name="uq_users_user_id"),
    )
    op.create_table(
        "items",
        sa.Column("item_no", NUMBER, nullable=False),
        sa.Column("item_id", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text) for name in ("title", "description", "category", "brand")),
        sa.Column("price", sa.Double),
        sa.Column("currency", sa.Text),
        sa.Column("image", sa.Text),
        sa.Column("available", sa.Boolean),
        sa.Column("created", sa.BigInteger),
        sa.Column("kind", sa.Text),
        sa.Column("attributes", JSON),
        sa.Column("deleted", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("item_no", name="pk_items"),
        sa.UniqueConstraint("item_id", name="uq_items_item_id"),
    )
    op.create_table(
        "event_names",
        sa.Column("kind_no", NUMBER, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("kind_no", name="pk_event_names"),
        sa.UniqueConstraint("name", name="uq_event_names_name"),
    )
    op.create_table(
        "events",
        sa.Column("event_no", NUMBER, nullable=False),
        sa.Column("user_no", NUMBER, nullable=False),
        sa.Column("item_no", NUMBER, nullable=False),
        sa.Column("kind_no", NUMBER, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("session_id", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.Column("position", sa.BigInteger),
        sa.Column("context", JSON),
        sa.Column("event_id", sa.Text),
        sa.Column("event_key", sa.LargeBinary(16), nullable=False),
        sa.PrimaryKeyConstraint("event_no", name="pk_events"),
        sa.UniqueConstraint("user_no", "time", "event_key", name="uq_events_user_no_time_event_key"),
        sa.ForeignKeyConstraint(["user_no"], ["users.user_no"], name="fk_events_user_no_users"),
        sa.ForeignKeyConstraint(["item_no"], ["items.item_no"], name="fk_events_item_no_items"),
        sa.ForeignKeyConstraint(["kind_no"], ["event_names.kind_no"], name="fk_events_kind_no_event_names"),
    )
    given = sa.text("event_id IS NOT NULL")
    op.create_index("ix_events_event_id", "events", ["event_id"], unique=True, sqlite_where=given, postgresql_where=given)
    op.create_table(
        "keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("secret_sha256", sa.Text, nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("origins", JSON, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("revoked", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
    )
    op.create_table(
        "meta",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_meta"),
    )


def downgrade() -> None:
    for table in ("meta", "keys", "events", "event_names", "items", "users"):
        op.drop_table(table)
