"""The store at one moment, straight into the columns that models learn from.

Codes are positions in the order of the store's numbers: a shop that grows only appends, so codes of earlier snapshots stay what they were
(erasing a user closes the gap; an item's number is never given up). Memory: about 100 bytes an event while reading, 30 afterwards.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
import sqlalchemy as sa
from numpy.typing import NDArray

from daogou.contract import Mask
from daogou.data.dataset import Dataset, Events
from daogou.data.vocab import Vocabulary
from daogou.scenario import Attributes
from daogou.store.driver import cursor
from daogou.store.records import attribute_columns, item_frame
from daogou.store.schema import event_names, items, users
from daogou.store.schema import events as table

ROW = np.dtype([("user", "i8"), ("item", "i8"), ("kind", "i8"), ("time", "i8"), ("value", "f4"), ("session", "i4"), ("position", "i4")])
LAST = 2**31 - 1  # positions beyond are no places of a list


def snapshot(
    conn: sa.Connection, weights: Mapping[str, float], attributes: Attributes, *, max_events_per_user: int, until: int | None, only_user: str | None
) -> Dataset:
    """See `Store.snapshot`."""
    people = conn.execute(sa.select(users.c.user_no, users.c.user_id, users.c.consent, users.c.attributes).order_by(users.c.user_no)).all()
    names = conn.execute(sa.select(event_names.c.kind_no, event_names.c.name).order_by(event_names.c.kind_no)).all()
    item_nos = conn.scalars(sa.select(items.c.item_no).order_by(items.c.item_no)).all()
    item_table = item_frame(conn, attributes.items)
    rows = _rows(conn, until, only_user)
    user = _codes([p.user_no for p in people])[rows["user"]]
    agreed = np.array([p.consent is not False for p in people], np.bool_)
    if not agreed.all():
        kept = agreed[user]
        rows, user = rows[kept], user[kept]
    events = Events.sort(
        user,
        _codes(item_nos)[rows["item"]],
        _codes([n.kind_no for n in names])[rows["kind"]].astype(np.int16),
        np.ascontiguousarray(rows["time"]),
        np.ascontiguousarray(rows["value"]),
        np.ascontiguousarray(rows["session"]),
        np.ascontiguousarray(rows["position"]),
    )
    data = Dataset(
        users=Vocabulary(p.user_id for p in people),
        items=Vocabulary(item_table["item_id"].to_list()),
        events=events,
        event_names=tuple(n.name for n in names),
        weights=dict(weights),
        item_table=item_table,
        user_table=_user_table(people, attributes),
        item_kinds=dict(attributes.items),
    )
    newest = _newest(events.user, data.weight_E != 0, max_events_per_user)
    return data if newest.all() else data.where(newest)


def _rows(conn: sa.Connection, until: int | None, only_user: str | None) -> NDArray[Any]:
    """Events in the order in which they came."""
    c = table.c
    query = sa.select(c.user_no, c.item_no, c.kind_no, c.time, c.value, c.session_id, c.position).order_by(c.event_no)
    if until is not None:
        query = query.where(c.time < until)
    if only_user is not None:
        query = query.where(c.user_no.in_(sa.select(users.c.user_no).where(users.c.user_id == only_user)))
    return np.fromiter(_numbered_sessions(cursor(conn, query)), ROW)


def _numbered_sessions(rows: Any) -> Iterator[tuple[int, int, int, int, float, int, int]]:
    numbers: dict[str | None, int] = {None: -1}
    number, nan = numbers.setdefault, math.nan
    for user, item, kind, time, value, session, position in rows:
        place = -1 if position is None else min(position, LAST)
        yield user, item, kind, time, nan if value is None else value, number(session, len(numbers) - 1), place


def _codes(numbers: Any) -> NDArray[np.int32]:
    """Table from a store's number to its position among `numbers` (ascending)."""
    numbers = np.asarray(numbers, np.int64)
    codes = np.full(int(numbers[-1]) + 1 if len(numbers) else 0, -1, np.int32)
    codes[numbers] = np.arange(len(numbers), dtype=np.int32)
    return codes


def _newest(user: NDArray[np.int32], signal: Mask, limit: int) -> Mask:
    """[E] the newest `limit` events of each user, counted apart for signals and for what teaches no taste (shown), so that neither crowds out the other."""
    keep = np.ones(len(user), np.bool_)
    for group in (signal, ~signal):
        where = np.flatnonzero(group)
        of_user = user[where]
        after = np.searchsorted(of_user, of_user, side="right")  # `user` ascends
        keep[where[after - np.arange(len(where)) > limit]] = False
    return keep


def _user_table(people: Any, attributes: Attributes) -> pl.DataFrame:
    """Ids and declared attributes; of those who refused, the id alone."""
    ids = pl.Series("user_id", [p.user_id for p in people], dtype=pl.String)
    known = [None if p.consent is False else p.attributes for p in people]
    return pl.DataFrame([ids, *attribute_columns(known, {n: k for n, k in attributes.users.items() if n != "user_id"})])
