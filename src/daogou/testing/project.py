"""A Dataset put into a real store, for tests of what stands on one."""

import polars as pl

from daogou.data.dataset import Dataset
from daogou.store import Store


def events_frame(data: Dataset) -> pl.DataFrame:
    """The events of `data` in the columns of contract.EVENTS, in their order."""
    e = data.events
    return pl.DataFrame(
        {
            "user_id": [data.users.id(code) for code in e.user.tolist()],
            "item_id": [data.items.id(code) for code in e.item.tolist()],
            "event": [data.event_names[kind] for kind in e.kind.tolist()],
            "time": e.time,
            "value": pl.Series(e.value.astype(float), nan_to_null=True),
            "session_id": [None if session < 0 else f"s{session}" for session in e.session.tolist()],
        }
    )


def fill(store: Store, data: Dataset) -> None:
    """Writes items, users and events, in the order of their codes, so that codes of a snapshot are those of `data`."""
    store.bulk_items(data.item_table)
    store.bulk_users(data.user_table)
    store.bulk_events(events_frame(data))
