"""What was shown is not kept for ever: once it is older than the project keeps it, it goes, a few rows at a time between other writes."""

import time
from threading import Event as Signal
from threading import Thread

import structlog

from daogou.errors import DaogouError
from daogou.serve.shown import SHOWN
from daogou.serve.wire import now
from daogou.store import Store

log = structlog.get_logger("daogou.serve")

DAY_US = 86_400_000_000
PAUSE_S = 0.05
"""Between two deletions: events that arrive meanwhile go first."""


class Retention:
    """Deletes the server's own `shown` events once they are older than `keep_days`; 0 = never.

    Args:
        first_s: after the start, when the server has more to do.
        every_s: between two looks.
    """

    def __init__(self, store: Store, keep_days: float, *, first_s: float = 60.0, every_s: float = 3600.0) -> None:
        self._store, self._keep_days, self._first_s, self._every_s = store, keep_days, first_s, every_s
        self._after = 0  # rows up to here have been looked at by this process: none of the own ones is left
        self._stop = Signal()
        self._keeper = Thread(target=self._run, name="daogou-retention", daemon=True)

    def start(self) -> None:
        if self._keep_days > 0:
            self._keeper.start()

    def close(self) -> None:
        self._stop.set()
        if self._keeper.is_alive():
            self._keeper.join()

    def look(self) -> int:
        """Deletes what is too old by now; how many rows that were.

        Raises:
            DaogouError: the store cannot write now.
        """
        before, gone = now() - int(self._keep_days * DAY_US), 0
        more = True
        while more and not self._stop.is_set():
            dropped, self._after, more = self._store.drop_noted(SHOWN, before, self._after)
            gone += dropped
            if more:
                time.sleep(PAUSE_S)
        return gone

    def _run(self) -> None:
        wait_s = self._first_s
        while not self._stop.wait(wait_s):
            wait_s = self._every_s
            try:
                if gone := self.look():
                    log.info("shown events deleted", rows=gone, older_than_days=self._keep_days)
            except DaogouError as e:  # a full disk, a queue that is full: the next look tries again
                log.warning("shown events not deleted", error=type(e).__name__, found=e.found)
            except Exception:  # whatever the store does, deleting goes on later
                log.exception("retention of shown events")
