"""Events on their way into the table: checked, given their content's digest, numbered, inserted once.

The digest is blake2b (16 bytes) over what the event says beyond its user and time, or over its `event_id` where it has one:

    item_id NUL event NUL bits of the value as int64 NUL session_id NUL request_id NUL position NUL context (JSON, keys sorted)

Both doors, structs from the API and frames from files, make the same digest of the same event. Ids hold no NUL, so no two events share a text.
"""

import math
import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec
import polars as pl
import sqlalchemy as sa

from daogou.contract import EVENTS
from daogou.data.rows import Ack, Event
from daogou.errors import DataError, UsageError
from daogou.store.driver import cursor
from daogou.store.numbers import Numbers
from daogou.store.schema import event_names, insert, items, users
from daogou.store.schema import events as table

DTYPES = {"text": pl.String, "text*": pl.String, "time*": pl.Int64, "number": pl.Float64, "integer": pl.Int64, "json": pl.String}
LIMITS = {"user_id": (1, 256), "item_id": (1, 256), "event": (1, 64), "session_id": (0, 256), "request_id": (0, 256), "event_id": (1, 256)}
WRITTEN = ("user_no", "item_no", "kind_no", "time", "value", "session_id", "request_id", "position", "context", "event_id", "event_key")

INT64 = 1 << 63

_bits = struct.Struct("<q")
_double = struct.Struct("<d")
_sorted_json = msgspec.json.Encoder(order="deterministic")


class Intake:
    """Numbers of users, items and event names, and the insert that uses them. Used by the writer's thread alone."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self.users = Numbers(users.c.user_no, users.c.user_id)
        self.items = Numbers(items.c.item_no, items.c.item_id)
        self.names = Numbers(event_names.c.kind_no, event_names.c.name)
        self._dialect = dialect

    def forget(self) -> None:
        """After a rollback."""
        for numbers in (self.users, self.items, self.names):
            numbers.forget()

    def add(self, conn: sa.Connection, batch: Sequence[Event]) -> Ack:
        """Inserts checked events."""
        users = self.users.of(conn, [e.user_id for e in batch])
        items = self.items.of(conn, [e.item_id for e in batch])
        names = self.names.of(conn, [e.event for e in batch])
        accepted = self._put(conn, [(users[e.user_id], items[e.item_id], names[e.event], *_values(e)) for e in batch], WRITTEN)
        return Ack(accepted=accepted, duplicates=len(batch) - accepted)

    def add_frame(self, conn: sa.Connection, part: pl.DataFrame) -> Ack:
        """Inserts rows of a frame that went through `normalised`."""
        n_rows = part.height
        if part["event_id"].null_count() < n_rows:
            part = part.filter(pl.col("event_id").is_null() | pl.col("event_id").is_first_distinct())  # of one id, the file's first counts, as elsewhere
        # By shopper and time, ties in the order of the file: neighbours on disk are then written together (a third of the time).
        part = part.with_columns(_key_text().cast(pl.Binary)).sort("user_id", "time", maintain_order=True)
        columns: dict[str, Any] = {}
        for number, name, numbers in (("user_no", "user_id", self.users), ("item_no", "item_id", self.items), ("kind_no", "event", self.names)):
            names = part[name].unique(maintain_order=True)
            known = numbers.of(conn, names.to_list())
            columns[number] = part[name].replace_strict(names, [known[name] for name in names], return_dtype=pl.Int64).to_list()
        # sqlite3 takes as long for a null, or for bytes that are no bytearray, as for several numbers: hence no empty columns, and bytearray.
        columns |= {name: part[name].to_list() for name in WRITTEN if name in part.columns and part[name].null_count() < len(part)}
        columns["event_key"] = [bytearray(blake2b(text, digest_size=16).digest()) for text in columns["event_key"]]
        written = tuple(name for name in WRITTEN if name in columns)
        accepted = self._put(conn, list(zip(*(columns[name] for name in written), strict=True)), written)
        return Ack(accepted=accepted, duplicates=n_rows - accepted)

    def _put(self, conn: sa.Connection, rows: list[tuple[Any, ...]], columns: tuple[str, ...]) -> int:
        """How many rows were new; they hold `columns`, which are in the order of `WRITTEN`."""
        return conn.exec_driver_sql(_insertion(self._dialect, columns), rows).rowcount if rows else 0


@lru_cache(maxsize=64)
def _insertion(dialect: sa.Dialect, columns: tuple[str, ...]) -> str:
    """SQL that inserts plain tuples; a conflict with either unique index is a duplicate."""
    statement = insert(dialect.name, table).on_conflict_do_nothing().compile(dialect=dialect, column_keys=list(columns))
    assert tuple(statement.positiontup) == columns
    return str(statement)


# ---- reading
_e = table.c
_OF_USER = (
    sa.select(items.c.item_id, event_names.c.name, _e.time, _e.value, _e.session_id, _e.request_id, _e.position, _e.context, _e.event_id)
    .join(items, items.c.item_no == _e.item_no)
    .join(event_names, event_names.c.kind_no == _e.kind_no)
    .where(_e.user_no == sa.select(users.c.user_no).where(users.c.user_id == sa.bindparam("user_id", type_=sa.Text)).scalar_subquery())
    .order_by(_e.time.desc(), _e.event_no.desc())
)
_NEWEST_OF_USER = _OF_USER.limit(sa.bindparam("newest", type_=sa.Integer))


@lru_cache(maxsize=32)
def _newest_named(names: tuple[str, ...]) -> sa.Select[Any]:
    return _NEWEST_OF_USER.where(sa.or_(*(event_names.c.name == name for name in names)))


def read_events(conn: sa.Connection, user_id: str, newest: int | None = None, names: Collection[str] | None = None) -> list[Event]:
    """A user's events, or the newest of them, oldest first; `names` = of those events alone."""
    if newest is None:
        rows = cursor(conn, _OF_USER, user_id=user_id)
    elif names is None:
        rows = cursor(conn, _NEWEST_OF_USER, user_id=user_id, newest=newest)
    else:
        rows = cursor(conn, _newest_named(tuple(sorted(names))), user_id=user_id, newest=newest) if names else []
    found = [
        Event(
            user_id=user_id,
            item_id=item,
            event=name,
            time=time,
            value=value,
            session_id=session,
            request_id=request,
            position=position,
            context=None if context is None else msgspec.json.decode(context),
            event_id=event_id,
        )
        for item, name, time, value, session, request, position, context, event_id in rows
    ]
    found.reverse()
    return found


@lru_cache(maxsize=32)
def _newest_signals(names: tuple[str, ...]) -> sa.Select[Any]:
    return _newest_named(names).with_only_columns(items.c.item_id, event_names.c.name, _e.time)


def read_signals(conn: sa.Connection, user_id: str, newest: int, names: Collection[str]) -> list[tuple[str, str, int]]:
    """(item, event, time) of a user's newest events of these names, oldest first: a third of the time that whole events take."""
    rows: list[tuple[str, str, int]] = cursor(conn, _newest_signals(tuple(sorted(names))), user_id=user_id, newest=newest).fetchall() if names else []
    rows.reverse()
    return rows


@lru_cache(maxsize=32)
def _items_named(names: tuple[str, ...]) -> sa.Select[Any]:
    return _OF_USER.with_only_columns(items.c.item_id).order_by(None).distinct().where(sa.or_(*(event_names.c.name == name for name in names)))


def read_items_with(conn: sa.Connection, user_id: str, names: Collection[str]) -> set[str]:
    """Ids of the items of which the user has one of these events, however long ago."""
    return {item_id for (item_id,) in cursor(conn, _items_named(tuple(sorted(names))), user_id=user_id)} if names else set()


def read_taken(conn: sa.Connection, weights: Mapping[str, float]) -> dict[str, float]:
    """Item id → Σ weight of all events with it by people who did not refuse."""
    by_kind = {number: weights[name] for number, name in conn.execute(sa.select(event_names.c.kind_no, event_names.c.name)) if name in weights}
    refused = sa.select(users.c.user_no).where(users.c.consent.is_(False))
    counted = (
        sa.select(_e.item_no, _e.kind_no, sa.func.count().label("n"))
        .where(_e.kind_no.in_(by_kind), _e.user_no.not_in(refused))
        .group_by(_e.item_no, _e.kind_no)
        .subquery()
    )
    out: dict[str, float] = {}
    for item_id, kind, n in conn.execute(sa.select(items.c.item_id, counted.c.kind_no, counted.c.n).join(counted, counted.c.item_no == items.c.item_no)):
        out[item_id] = out.get(item_id, 0.0) + by_kind[kind] * n
    return out


# ---- what was noted of answers
NOTED = _e.event_id == _e.request_id + ":" + sa.cast(_e.position, sa.Text)
"""Rows that the server wrote of its own answers. Those that were sent or imported name themselves otherwise."""


def read_noted(conn: sa.Connection, name: str, after: int, most: int) -> list[tuple[int, int]]:
    """(row number, time) of the next rows of this event behind row `after` that the server noted itself, in the order in which they were."""
    kind = sa.select(event_names.c.kind_no).where(event_names.c.name == name).scalar_subquery()
    query = sa.select(_e.event_no, _e.time).where(_e.event_no > after, _e.kind_no == kind, NOTED).order_by(_e.event_no).limit(most)
    return [(number, at) for number, at in conn.execute(query)]


def drop_noted(conn: sa.Connection, numbers: Sequence[int], before: int) -> int:
    """Deletes those of the rows that are older and were noted; how many. A number may have been given anew since it was read."""
    return conn.execute(sa.delete(table).where(_e.event_no.in_(numbers), _e.time < before, NOTED)).rowcount


# ---- structs
def checked(batch: Iterable[Event]) -> list[Event]:
    """The events, if every one is what its type says.

    Raises:
        UsageError: with the position and field of the first that is not.
    """
    batch = list(batch)
    try:
        msgspec.msgpack.decode(msgspec.msgpack.encode(batch), type=list[Event])
        for event in batch:
            _values(event)
    except (msgspec.ValidationError, TypeError, ValueError, OverflowError) as e:
        found, _, path = str(e).partition(" - at `$")
        raise UsageError(f"an event that cannot be stored: {found}", where="events", field=path.rstrip("`")) from e
    for event in batch:
        for name in ("user_id", "item_id", "event", "session_id", "request_id", "event_id"):
            if "\0" in (getattr(event, name) or ""):
                raise UsageError(f"{name} holds a NUL character", expected="text without it", where="events", field=name)
    return batch


def _values(event: Event) -> tuple[Any, ...]:
    """The columns after the three numbers, in the order of `WRITTEN`."""
    value = _finite(event.value)
    if not -INT64 <= event.time < INT64 or (event.position or 0) >= INT64:
        raise ValueError("time or position does not fit 64 bits")
    context = _sorted_json.encode(event.context).decode() if event.context else None
    session, request = event.session_id or None, event.request_id or None
    if event.event_id:
        text = "\0" + event.event_id
    else:
        bits = "" if value is None else str(_bits.unpack(_double.pack(value))[0])
        position = "" if event.position is None else str(event.position)
        text = "\0".join((event.item_id, event.event, bits, session or "", request or "", position, context or ""))
    key = blake2b(text.encode(), digest_size=16).digest()
    return event.time, value, session, request, event.position, context, event.event_id, key


def _finite(value: float | None) -> float | None:
    if value is None or math.isnan(value):
        return None
    if math.isinf(value):
        raise ValueError("value is infinite")
    return value + 0.0  # −0 is 0


# ---- frames
def normalised(frame: pl.DataFrame) -> pl.DataFrame:
    """Every column of contract.EVENTS with its type; absent optional columns are null.

    Raises:
        DataError: a required column is missing, a column is unknown, or a value cannot be stored (with its row).
    """
    for name in frame.columns:
        if name not in EVENTS:
            raise DataError(f"events have no column {name!r}", expected="of " + ", ".join(EVENTS), fix="put further facts into `context` as JSON", field=name)
    columns = []
    for name, kind in EVENTS.items():
        if name in frame.columns:
            columns.append(_cast(frame[name], kind))
        elif kind.endswith("*"):
            raise DataError(f"events lack the column {name!r}", fix="rename a column under [columns.events] of the scenario", field=name)
        else:
            columns.append(pl.Series(name, [None], dtype=DTYPES[kind]).new_from_index(0, frame.height))
    out = pl.DataFrame(columns).with_columns(
        pl.col("session_id", "request_id", "event_id").replace("", None),
        pl.col("value").fill_nan(None).replace(0.0, 0.0),  # −0 is 0 (polars takes `+ 0.0` for nothing to do)
    )
    _check(out)
    return out


def _cast(column: pl.Series, kind: str) -> pl.Series:
    if kind == "json":
        return (
            pl.Series(column.name, [_context(row) for row in column.to_list()], dtype=pl.String)
            if column.null_count() < len(column)
            else column.cast(pl.String)
        )
    if kind == "time*" and column.dtype.is_temporal():
        return column.cast(pl.Datetime("us")).cast(pl.Int64)
    if kind == "time*" and not column.dtype.is_integer():
        raise DataError(f"times are {column.dtype}", expected="whole microseconds since 1970, UTC", field=column.name)
    try:
        return column.cast(DTYPES[kind])
    except pl.exceptions.PolarsError as e:
        raise DataError(f"{column.name} is {column.dtype}: {e}", expected=kind.rstrip("*"), field=column.name) from e


def _context(row: Any) -> str | None:
    if row is None:
        return None
    try:
        value = msgspec.json.decode(row) if isinstance(row, str) else row
    except msgspec.DecodeError as e:
        raise DataError(f"context {row[:40]!r} is no JSON ({e})", expected="a JSON object", field="context") from e
    if not isinstance(value, dict):
        raise DataError(f"context {str(row)[:40]!r} is no JSON object", expected='something like {"page": "home"}', field="context")
    return _sorted_json.encode(value).decode() if value else None


def _check(frame: pl.DataFrame) -> None:
    wrong: dict[str, pl.Expr] = {
        **{f"{name} is missing": pl.col(name).is_null() for name, kind in EVENTS.items() if kind.endswith("*")},
        **{f"{name} has not {low} to {high} characters": ~pl.col(name).str.len_chars().is_between(low, high) for name, (low, high) in LIMITS.items()},
        **{f"{name} holds a NUL character": pl.col(name).str.contains("\0", literal=True) for name in LIMITS},
        "value is infinite": pl.col("value").is_infinite(),
        "position is negative": pl.col("position") < 0,
    }
    counts = frame.select(**{what: rule.sum() for what, rule in wrong.items()}).row(0, named=True)
    for what, rule in wrong.items():
        if count := counts[what]:
            row = frame.select(rule.fill_null(False).arg_max()).item()
            raise DataError(f"{what} in {count} of {frame.height} rows, first in row {row}", fix="leave such rows out (an import puts them into quarantine)")


def _key_text() -> pl.Expr:
    numbers = {"value": pl.col("value").reinterpret(dtype=pl.Int64), "position": pl.col("position")}
    parts = ("item_id", "event", "value", "session_id", "request_id", "position", "context")
    content = pl.concat_str([numbers.get(part, pl.col(part)).cast(pl.String).fill_null("") for part in parts], separator="\0")
    return pl.when(pl.col("event_id").is_null()).then(content).otherwise(pl.lit("\0") + pl.col("event_id")).alias("event_key")
