"""The one thread that writes: callers queue work, it commits many callers' work in one transaction, and only then answers them.

A future resolves after its commit is on disk. When a shared transaction fails, everything in it is rolled back and each piece is tried
alone, so that one bad row sinks nobody else's; when the disk fails, everyone is told `StoreBusy` and nothing is half-written.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa

from daogou.errors import StoreBusy, StoreError

T = TypeVar("T")

QUEUE_ROWS = 20_000
BATCH_ROWS = 1_000
# Conditions of the disk or of locks, which pass, told from mistakes, which do not.
PASSING = {
    getattr(sqlite3, f"SQLITE_{name}")
    for name in ("BUSY", "LOCKED", "NOMEM", "READONLY", "IOERR", "FULL", "CANTOPEN")
}  # fmt: skip


@dataclass(eq=False)
class _Job:
    work: Callable[[Any], Any]
    rows: int
    after: Callable[[Any], None] | None
    alone: bool  # a transaction of its own, foreign keys not checked: imports, whose numbers come from this same transaction
    maintenance: bool  # no transaction at all, the bare sqlite3 connection: checkpoints, VACUUM
    future: "Future[Any]" = field(default_factory=Future)


class Writer:
    """Owns the writing connection. `forget` is called after a rollback: numbers given in it were never given."""

    def __init__(self, engine: sa.Engine, forget: Callable[[], None], *, queue_rows: int = QUEUE_ROWS, batch_rows: int = BATCH_ROWS) -> None:
        self._engine, self._forget = engine, forget
        self._queue_rows, self._batch_rows = queue_rows, batch_rows
        self._jobs: deque[_Job] = deque()
        self._waiting_rows = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="daogou-writer", daemon=True)
        self._thread.start()

    # ---- for callers, from any thread
    def submit(
        self, work: Callable[[sa.Connection], T], *, rows: int = 1, after: Callable[[T], None] | None = None, alone: bool = False, wait: bool = False
    ) -> "Future[T]":
        """Queues `work`; its result comes through the future once it is durable. `after` runs just before that, in the writer's thread.

        Raises:
            StoreBusy: the queue is full (with `wait`, waits for room instead).
            StoreError: the store is closed.
        """
        if wait:  # the caller holds one piece at a time: bound enough, and others need not be refused while a large one waits its turn
            rows = min(rows, self._batch_rows)
        return self._enqueue(_Job(work, rows, after, alone, False), wait)

    def maintain(self, work: Callable[[sqlite3.Connection], T]) -> "Future[T]":
        """Queues work on the bare connection, outside any transaction."""
        return self._enqueue(_Job(work, 0, None, True, True), True)

    def close(self) -> None:
        """Finishes what is queued, then ends."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _enqueue(self, job: _Job, wait: bool) -> "Future[Any]":
        with self._changed:
            while self._waiting_rows and self._waiting_rows + job.rows > self._queue_rows and not self._closed:
                if not wait:
                    raise StoreBusy(f"{self._waiting_rows} rows wait to be written, which is as many as may wait")
                self._changed.wait()
            if self._closed:
                raise StoreError("the store is closed", fix="open it again")
            self._jobs.append(job)
            self._waiting_rows += job.rows
            self._changed.notify_all()
        return job.future

    # ---- the thread
    def _run(self) -> None:
        while batch := self._take():
            self._write([job for job in batch if job.future.set_running_or_notify_cancel()])

    def _take(self) -> list[_Job]:
        """The next jobs that share a transaction; empty when closed and drained."""
        with self._changed:
            while not self._jobs and not self._closed:
                self._changed.wait()
            batch: list[_Job] = []
            rows = 0
            while self._jobs:
                job = self._jobs[0]
                if batch and (job.alone or batch[0].alone or rows + job.rows > self._batch_rows):
                    break
                batch.append(self._jobs.popleft())
                rows += job.rows
            self._waiting_rows -= rows
            self._changed.notify_all()
            return batch

    def _write(self, batch: list[_Job]) -> None:
        if not batch:
            return
        try:
            results = self._maintain(batch[0]) if batch[0].maintenance else self._commit(batch)
        except Exception as e:
            self._forget()
            if passing(e):
                self._engine.dispose()  # whatever state the connection is in, the next transaction starts from a new one
                error = StoreBusy(f"the disk refuses to write ({_cause(e)})", retry_after_s=5.0, fix="free space or mend the disk; nothing was half-written")
                for job in batch:
                    _fail(job, error, e)
            elif len(batch) == 1:
                _fail(batch[0], e)
            else:
                for job in batch:
                    self._write([job])
            return
        for job, result in zip(batch, results, strict=True):
            try:
                if job.after:
                    job.after(result)
            except Exception as e:
                _fail(job, e)
            else:
                job.future.set_result(result)

    def _commit(self, batch: list[_Job]) -> list[Any]:
        with self._engine.connect() as conn, _unchecked(conn, batch[0].alone), conn.begin():
            return [job.work(conn) for job in batch]

    def _maintain(self, job: _Job) -> list[Any]:
        raw = self._engine.raw_connection()
        try:
            return [job.work(raw.driver_connection)]
        finally:
            raw.close()


@contextmanager
def _unchecked(conn: sa.Connection, unchecked: bool) -> Iterator[None]:
    """Foreign keys off around a transaction (inside one, the pragma does nothing): a quarter of an import's time."""
    if not unchecked:
        yield
        return
    driver: Any = conn.connection.driver_connection
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


def passing(error: BaseException) -> bool:
    """Whether the same write may succeed later (disk full, I/O error, locked)."""
    cause = _cause(error)
    code = getattr(cause, "sqlite_errorcode", None)
    return isinstance(cause, sqlite3.Error) and code is not None and (code & 0xFF) in PASSING


def _cause(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig is not None else error


def _fail(job: _Job, error: Exception, cause: Exception | None = None) -> None:
    if cause is not None:
        error.__cause__ = cause
    job.future.set_exception(error)
