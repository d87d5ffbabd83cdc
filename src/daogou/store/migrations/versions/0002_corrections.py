"""What people say of their own profile."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "corrections",
        sa.Column("user_no", NUMBER, nullable=False),
        sa.Column("attribute", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("says", sa.Text, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("user_no", "attribute", "value", name="pk_corrections"),
        sa.ForeignKeyConstraint(["user_no"], ["users.user_no"], name="fk_corrections_user_no_users"),
    )


def downgrade() -> None:
    op.drop_table("corrections")
