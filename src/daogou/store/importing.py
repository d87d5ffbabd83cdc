"""Files into the store."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import polars as pl

from daogou.contract import Progress
from daogou.data.loading import ImportReport, Paths, run
from daogou.data.rows import Ack
from daogou.scenario import Scenario


class Bulk(Protocol):
    """The part of a store that an import needs. Each call returns when its rows are durable."""

    def bulk_events(self, frame: pl.DataFrame, /) -> Ack: ...
    def bulk_items(self, frame: pl.DataFrame, /) -> object: ...
    def bulk_users(self, frame: pl.DataFrame, /) -> object: ...


def import_files(
    store: Bulk,
    scenario: Scenario,
    *,
    events: Paths = (),
    items: Paths = (),
    users: Paths = (),
    format: str | None = None,
    columns: Mapping[str, Mapping[str, str]] | None = None,
    quarantine: Path,
    progress: Progress | None = None,
    now_us: int | None = None,
) -> ImportReport:
    """Loads files into `store`; rows that cannot be used go to a file in `quarantine`, and never stop the import.

    Args:
        events, items, users: files by what they hold. A format that knows its own tables may be given under any of them, or without a file.
        format: name of a reader; None goes by each file's suffix.
        columns: renaming by table, ``{"events": {"column in the file": "daogou column"}}``; comes before the scenario's.
        progress: told the rows done and the (estimated) total after each batch.
        now_us: events later than a day after this are rejected; None = the clock.

    Raises:
        UsageError: nothing to import. DataError: a file as a whole cannot be used. StoreError: the store refused; batches before are safe.
    """

    def sink(table: str, rows: pl.DataFrame) -> Ack:
        if table == "events":
            return store.bulk_events(rows)
        (store.bulk_items if table == "items" else store.bulk_users)(rows)
        return Ack(accepted=rows.height)

    return run(scenario, sink, events=events, items=items, users=users, format=format, columns=columns, quarantine=quarantine, progress=progress, now_us=now_us)
