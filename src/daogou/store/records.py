"""Items and users between structs, frames and rows.

Putting replaces a row as a whole; patching changes what is given and nothing else (an attribute set to null is removed). One exception:
a put that does not mention `consent` leaves it as it was, because a nightly import of customers must not undo someone's refusal.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeVar

import msgspec
import polars as pl
import sqlalchemy as sa
from msgspec import UNSET

from daogou.contract import ITEMS, USERS
from daogou.data.rows import Item, User
from daogou.errors import DataError, UsageError
from daogou.scenario import Kind
from daogou.store.schema import insert, items, users

FACTS = tuple(name for name in ITEMS if name != "item_id")
DTYPES: dict[str, Any] = {"number": pl.Float64, "time": pl.Int64, "flag": pl.Boolean}  # every other kind is text
LOOKED_UP = 500
INT64 = 1 << 63

Row = TypeVar("Row", Item, User)


def checked(rows: Iterable[Row], kind: type[Row]) -> list[Row]:
    """The rows, if every one is what its type says.

    Raises:
        UsageError: with the position and field of the first that is not.
    """
    rows = list(rows)
    try:
        msgspec.json.decode(msgspec.json.encode(rows), type=list[kind])  # type: ignore[valid-type]
    except (msgspec.ValidationError, TypeError, ValueError, OverflowError) as e:
        found, _, path = str(e).partition(" - at `$")
        raise UsageError(f"a row that cannot be stored: {found}", where=kind.__name__.lower() + "s", field=path.rstrip("`")) from e
    _check(rows)
    return rows


def _check(rows: Sequence[Item | User]) -> None:
    """What types do not say."""
    for n, row in enumerate(rows):
        key = "item_id" if isinstance(row, Item) else "user_id"
        if "\0" in getattr(row, key):
            raise UsageError(f"{key} holds a NUL character", expected="text without it", field=f"[{n}].{key}")
        if isinstance(row, Item):
            if row.price and math.isinf(row.price):
                raise UsageError("price is infinite", expected="a number, or null", field=f"[{n}].price")
            if row.created and not -INT64 <= row.created < INT64:
                raise UsageError("created does not fit 64 bits", expected="microseconds since 1970, UTC", field=f"[{n}].created")


# ---- items
def put_items(conn: sa.Connection, batch: Sequence[Item]) -> None:
    """Inserts or replaces; a deleted item comes back under its old number."""
    rows = [
        {"item_id": item.item_id, **{n: _given(getattr(item, n)) for n in FACTS}, "attributes": item.attributes or None, "deleted": False} for item in batch
    ]
    statement = insert(conn.dialect.name, items)
    changes = {name: statement.excluded[name] for name in (*FACTS, "attributes", "deleted")}
    if rows:
        conn.execute(statement.on_conflict_do_update(index_elements=["item_id"], set_=changes), rows)


def patch_item(conn: sa.Connection, patch: Item) -> None:
    """Changes what is given; an item that does not exist is made."""
    old = read_items(conn, [patch.item_id]).get(patch.item_id) or Item(item_id=patch.item_id)
    given = {name: value for name in FACTS if (value := getattr(patch, name)) is not UNSET}
    put_items(conn, [msgspec.structs.replace(old, **given, attributes=_merged(old.attributes, patch.attributes))])


def delete_item(conn: sa.Connection, item_id: str) -> bool:
    """Empties the row and marks it; whether there was such an item."""
    nothing = dict.fromkeys((*FACTS, "attributes"))
    return conn.execute(sa.update(items).where(items.c.item_id == item_id, ~items.c.deleted).values(**nothing, deleted=True)).rowcount > 0


def read_items(conn: sa.Connection, ids: Sequence[str]) -> dict[str, Item]:
    """Those that exist; facts not known are None."""
    out: dict[str, Item] = {}
    columns = [items.c[name] for name in ("item_id", *FACTS, "attributes")]
    for start in range(0, len(ids), LOOKED_UP):
        for row in conn.execute(sa.select(*columns).where(items.c.item_id.in_(ids[start : start + LOOKED_UP]), ~items.c.deleted)):
            fields = dict(zip(("item_id", *FACTS), row, strict=False))
            out[row.item_id] = Item(**fields, attributes=row.attributes or {})
    return out


def item_frame(conn: sa.Connection, attributes: Mapping[str, Kind]) -> pl.DataFrame:
    """Every item ever named, in order of its number: fixed columns, then the declared attributes. A deleted one is not available."""
    columns = [items.c[name] for name in ("item_id", *FACTS, "attributes", "deleted")]
    rows = conn.execute(sa.select(*columns).order_by(items.c.item_no)).all()
    by_column = dict(zip((c.name for c in columns), zip(*rows, strict=True) if rows else [()] * len(columns), strict=True))
    series = [pl.Series(name, by_column[name], dtype=DTYPES.get(ITEMS[name].rstrip("*"), pl.String)) for name in ("item_id", *FACTS)]
    frame = pl.DataFrame(series)
    deleted = pl.Series(by_column["deleted"], dtype=pl.Boolean)
    frame = frame.with_columns(available=pl.col("available").fill_null(True) & ~deleted)
    return frame.with_columns(attribute_columns(by_column["attributes"], {n: k for n, k in attributes.items() if n not in ITEMS}))


def items_of_frame(frame: pl.DataFrame) -> list[Item]:
    """
    Raises:
        DataError: no column `item_id`, or a value of the wrong kind.
    """
    return _structs(frame, Item, ITEMS)


# ---- users
def put_users(conn: sa.Connection, batch: Sequence[User]) -> None:
    """Inserts or replaces; consent that is not mentioned stays."""
    statement = insert(conn.dialect.name, users)
    for mentioned, group in groupby(batch, lambda user: user.consent is not UNSET):  # in order: the last of one user wins
        rows = [{"user_id": user.user_id, "consent": _given(user.consent), "attributes": user.attributes or None} for user in group]
        changes = {name: statement.excluded[name] for name in (("consent", "attributes") if mentioned else ("attributes",))}
        conn.execute(statement.on_conflict_do_update(index_elements=["user_id"], set_=changes), rows)


def patch_user(conn: sa.Connection, patch: User) -> None:
    """Changes what is given; a user who does not exist is made."""
    old = read_user(conn, patch.user_id)
    put_users(conn, [msgspec.structs.replace(patch, attributes=_merged(old.attributes if old else {}, patch.attributes))])


def read_user(conn: sa.Connection, user_id: str) -> User | None:
    """A user who registered or of whom there is an event."""
    row = conn.execute(sa.select(users.c.consent, users.c.attributes).where(users.c.user_id == user_id)).one_or_none()
    return None if row is None else User(user_id=user_id, consent=row.consent, attributes=row.attributes or {})


def users_of_frame(frame: pl.DataFrame) -> list[User]:
    """A null consent is one that is not mentioned.

    Raises:
        DataError: no column `user_id`, or a value of the wrong kind.
    """
    return _structs(frame, User, USERS)


# ---- attributes
def attribute_columns(rows: Sequence[dict[str, Any] | None], declared: Mapping[str, Kind]) -> list[pl.Series]:
    """One column for each declared attribute; what does not fit its kind is null."""
    return [pl.Series(name, [_fit((row or {}).get(name), kind) for row in rows], dtype=DTYPES.get(kind, pl.String)) for name, kind in declared.items()]


def _fit(value: Any, kind: Kind) -> Any:
    if value is None:
        return None
    if kind == "flag":
        return value if isinstance(value, bool) else {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())
    if kind in ("number", "time"):
        try:
            return float(value) if kind == "number" else int(value)
        except (TypeError, ValueError, OverflowError):
            return None
    return "|".join(map(str, value)) if isinstance(value, list) else str(value)


def _merged(old: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**old, **patch}.items() if value is not None}


def _given(value: Any) -> Any:
    return None if value is UNSET else value


def _structs(frame: pl.DataFrame, kind: type[Row], fixed: Mapping[str, str]) -> list[Row]:
    key = next(iter(fixed))
    if key not in frame.columns:
        raise DataError(f"the table lacks the column {key!r}", fix="rename a column under [columns] of the scenario", field=key)
    frame = frame.with_columns(pl.col(pl.Date, pl.Datetime).cast(pl.Datetime("us")).cast(pl.Int64), pl.col(pl.Categorical).cast(pl.String))
    frame = frame.with_columns(
        pl.col(name).cast(pl.String) for name in frame.columns if fixed.get(name, "").rstrip("*") in ("text", "tag", "category", "image")
    )
    out = []
    for row in frame.iter_rows(named=True):
        given = {name: value for name, value in row.items() if value is not None}
        facts = {name: given.pop(name) for name in fixed if name in given}
        out.append({**facts, "attributes": given})
    try:
        rows = msgspec.convert(out, list[kind])  # type: ignore[valid-type]
        _check(rows)
        return rows
    except (msgspec.ValidationError, UsageError) as e:
        found, _, path = (e.found, "", e.field) if isinstance(e, UsageError) else str(e).partition(" - at `$")
        raise DataError(f"a row that cannot be stored: {found}", where=f"row {path.rstrip('`')}", fix="leave such rows out") from e
