"""Takes over what the writing process changes in the catalogue: stock and prices count here within seconds, too.

The store says that items changed, not which. So its rows are compared with the last ones seen, as hashes. What that costs bounds how often it is done.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import polars as pl
import structlog

from daogou.scenario import Kind
from daogou.store import Store

log = structlog.get_logger("daogou.mcp")

REST = 20
"""At least so many times as long as a comparison took nothing is compared again: it costs a twentieth of one core at most."""


class Follower:
    """Made before the engine reads the catalogue, so that nothing that changes in between is missed.

    Args:
        poll_s: how often the store is asked whether something changed, which costs next to nothing.
    """

    def __init__(self, store: Store, attributes: Mapping[str, Kind], *, poll_s: float = 1.0) -> None:
        self._store, self._attributes, self._poll_s = store, dict(attributes), poll_s
        self._version = store.catalogue_version
        self._rows = self._hashes()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, changed: Callable[[Sequence[str]], None]) -> None:
        """Begins to tell `changed` the ids of items that came, changed or went."""
        self._thread = threading.Thread(target=self._run, args=(changed,), name="daogou-follow", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> list[str]:
        """Ids of the items that differ from when it was last asked."""
        version = self._store.catalogue_version
        if version == self._version:
            return []
        rows = self._hashes()
        both = rows.join(self._rows, on="item_id", how="left", suffix="_before")
        self._version, self._rows = version, rows
        return both.filter(pl.col("hash").ne_missing(pl.col("hash_before")))["item_id"].to_list()

    def _hashes(self) -> pl.DataFrame:
        """Every item ever named, for a deleted one stays as one that cannot be had."""
        table = self._store.item_table(self._attributes)
        return table.select("item_id").with_columns(hash=table.hash_rows(seed=0))

    def _run(self, changed: Callable[[Sequence[str]], None]) -> None:
        rest_s = 0.0
        while not self._stop.wait(max(self._poll_s, rest_s)):
            began = time.perf_counter()
            try:
                if item_ids := self.look():
                    changed(item_ids)
            except Exception as e:  # a store that is away for a moment must not end the watching
                log.warning("following the catalogue", error=type(e).__name__)
            rest_s = REST * (time.perf_counter() - began)
