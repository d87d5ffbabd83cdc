"""What was shown becomes events: without them there is no honest learning.

Answers do not wait for it and never fail by it. Rows gather in memory, at most `most` of them, and go to the store in batches; what does not fit is
dropped and counted. They are not acknowledged to anyone, so a crash may lose the last fraction of a second.
"""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from threading import Event as Signal
from threading import Lock, Thread

import structlog

from daogou.data.rows import Ack, Event
from daogou.errors import DaogouError
from daogou.request import Answer
from daogou.serve.metrics import Metrics
from daogou.serve.wire import now
from daogou.store import Store

log = structlog.get_logger("daogou.serve")

SHOWN = "shown"
LONGEST_ID = 256  # data.rows.Id
FORGET_S = 60.0  # longer than any answer takes
BATCH = 500  # rows of one transaction: as many as the store's writer likes to take at once


class ShownLog:
    """Writes the answers' items as `shown` events, behind the answers.

    Args:
        most: rows held in memory; about 1 kB each.
        every_s: how long a row waits for company.
    """

    def __init__(self, store: Store, metrics: Metrics, *, most: int = 20_000, every_s: float = 0.2) -> None:
        self._store, self._metrics, self._most, self._every_s = store, metrics, most, every_s
        self._rows: list[Event] = []
        self._forgotten: dict[str, float] = {}
        self._lock = Lock()
        self._stop = Signal()
        self._writer = Thread(target=self._run, name="daogou-shown", daemon=True)

    def start(self) -> None:
        self._writer.start()

    def close(self) -> None:
        """Writes what is left and ends."""
        self._stop.set()
        if self._writer.is_alive():
            self._writer.join()
        self.flush()

    def add(self, answer: Answer, user_id: str | None, session_id: str | None, placement: str) -> None:
        """Notes one answer. A guest is known by the session; who has neither cannot be joined to a later click, and is only counted."""
        user_id, session_id = _storable(user_id), _storable(session_id)
        person = user_id or session_id
        if person is None:
            self._metrics.shown.labels("nobody").inc(len(answer.items))
            return
        rows = list(_events(answer, person, session_id, placement))
        with self._lock:
            if self._forgotten.get(person, 0.0) > time.monotonic():
                return
            room = len(self._rows) + len(rows) <= self._most
            if room:
                self._rows += rows
        if not room:
            self._metrics.shown.labels("dropped").inc(len(rows))

    def forget(self, user_id: str) -> None:
        """Drops what was not yet written of one person, who is about to be erased, and what answers still under way would add."""
        until = time.monotonic() + FORGET_S
        with self._lock:
            self._rows = [row for row in self._rows if row.user_id != user_id]
            self._forgotten = {person: end for person, end in self._forgotten.items() if end > time.monotonic()} | {user_id: until}

    def flush(self) -> None:
        """Hands everything gathered to the store and waits until it is there."""
        while True:
            with self._lock:
                batch, self._rows = self._rows[:BATCH], self._rows[BATCH:]
                if not batch:
                    return
                try:
                    # Handed over under the lock: after `forget` has returned, nothing of that person can follow an erasure into the store.
                    written: Future[Ack] = self._store.submit_events(batch)
                except DaogouError as e:
                    self._lost(batch, e)
                    continue
            try:
                written.result(timeout=30)
                self._metrics.shown.labels("stored").inc(len(batch))
            except (DaogouError, TimeoutError) as e:
                self._lost(batch, e)

    def _lost(self, batch: list[Event], cause: Exception) -> None:
        self._metrics.shown.labels("dropped").inc(len(batch))
        log.warning("shown events dropped", rows=len(batch), error=type(cause).__name__)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self.flush()
            except Exception:  # the log of shown items must outlive any surprise of the store
                log.exception("shown log")


def _storable(name: str | None) -> str | None:
    """A name that the store takes. A question may come with any, and one that it refuses would sink the rows of others."""
    return name if name and len(name) <= LONGEST_ID and "\0" not in name else None


def _events(answer: Answer, person: str, session_id: str | None, placement: str) -> Iterator[Event]:
    at = now()
    for position, item in enumerate(answer.items):
        yield Event(
            user_id=person,
            item_id=item.item_id,
            event=SHOWN,
            time=at,
            session_id=session_id,
            request_id=answer.request_id,
            position=position,
            context={"placement": placement, "release": answer.release, "propensity": item.propensity},
            event_id=f"{answer.request_id}:{position}",
        )
