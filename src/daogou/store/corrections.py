"""What people say of their own profile, between structs and rows: at most one word for each value of an attribute."""

from collections.abc import Iterable

import sqlalchemy as sa

from daogou.data.rows import Correction
from daogou.errors import UsageError
from daogou.store.driver import cursor
from daogou.store.schema import corrections as table
from daogou.store.schema import insert, users

MOST = 200
"""Of one person: every answer reads them all."""

_c = table.c
_OF_USER = (
    sa.select(_c.attribute, _c.value, _c.says, _c.time)
    .where(_c.user_no == sa.select(users.c.user_no).where(users.c.user_id == sa.bindparam("user_id", type_=sa.Text)).scalar_subquery())
    .order_by(_c.time, _c.attribute, _c.value)
)


def read(conn: sa.Connection, user_id: str) -> list[Correction]:
    """A person's corrections, oldest first."""
    return [Correction(attribute=attribute, value=value, says=says, time=time) for attribute, value, says, time in cursor(conn, _OF_USER, user_id=user_id)]


def put(conn: sa.Connection, user_no: int, said: Iterable[Correction]) -> None:
    """Adds or replaces; what says the same as before keeps its time, so that a repetition changes nothing.

    Raises:
        UsageError: more than `MOST` would be kept. Nothing is written then.
    """
    rows = [{"user_no": user_no, "attribute": one.attribute, "value": one.value, "says": one.says, "time": one.time} for one in said]
    if not rows:
        return
    statement = insert(conn.dialect.name, table)
    new = statement.excluded
    conn.execute(
        statement.on_conflict_do_update(
            index_elements=["user_no", "attribute", "value"], set_={"says": new.says, "time": new.time}, where=table.c.says != new.says
        ),
        rows,
    )
    kept = int(conn.scalar(sa.select(sa.func.count()).select_from(table).where(_c.user_no == user_no)) or 0)
    if kept > MOST:
        raise UsageError(f"{kept} corrections of one person", expected=f"{MOST} at most", fix="undo some first", field="value")


def drop(conn: sa.Connection, user_id: str, attribute: str | None = None, value: str | None = None) -> int:
    """Takes back one word, or all of one attribute, or all; how many there were."""
    where = [_c.user_no == sa.select(users.c.user_no).where(users.c.user_id == user_id).scalar_subquery()]
    where += [column == wanted for column, wanted in ((_c.attribute, attribute), (_c.value, value)) if wanted is not None]
    return conn.execute(sa.delete(table).where(*where)).rowcount
