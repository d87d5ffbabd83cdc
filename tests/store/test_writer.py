import threading
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from daogou.data.rows import Ack, Event
from daogou.errors import StoreBusy, StoreError
from daogou.store import Store, schema
from daogou.store.engines import writer_engine
from daogou.store.writer import Writer


def event(time: int) -> Event:
    return Event(user_id="u", item_id="i", event="view", time=time)


@pytest.fixture
def held(store: Store) -> Iterator[threading.Event]:
    """The writer waits in a transaction until the event is set, so that what is queued afterwards shares the next one."""
    release, entered = threading.Event(), threading.Event()

    def work(_: sa.Connection) -> None:
        entered.set()
        assert release.wait(30)

    future = store._writing.submit(work)
    assert entered.wait(30)
    yield release
    release.set()
    future.result()


def test_queued_work_shares_a_transaction(store: Store, held: threading.Event) -> None:
    begun = []
    assert store._write_engine
    sa.event.listen(store._write_engine, "begin", lambda _: begun.append(1))
    futures = [store.submit_events([event(n)]) for n in range(500)]
    held.set()
    assert [f.result() for f in futures] == [Ack(accepted=1)] * 500
    assert len(begun) == 1


def test_a_transaction_takes_no_more_than_a_thousand_rows_and_no_part_of_a_batch(store: Store, held: threading.Event) -> None:
    begun = []
    assert store._write_engine
    sa.event.listen(store._write_engine, "begin", lambda _: begun.append(1))
    futures = [store.submit_events([event(n * 300 + i) for i in range(300)]) for n in range(7)]
    held.set()
    wait(futures)
    assert len(begun) == 3  # 900 + 900 + 300


def test_nothing_is_answered_before_it_is_committed(store: Store, held: threading.Event, url: str) -> None:
    future = store.submit_events([event(1)])
    assert not future.done()
    held.set()
    future.result()
    with Store.open(url, read_only=True) as other:
        assert other.counts().events == 1


def test_one_bad_row_sinks_nobody(store: Store, held: threading.Event) -> None:
    def orphan(conn: sa.Connection) -> None:
        conn.execute(sa.insert(schema.events), {"user_no": 99, "item_no": 99, "kind_no": 99, "time": 0, "event_key": b"x"})

    before, bad, after = store.submit_events([event(1)]), store._writing.submit(orphan), store.submit_events([event(2)])
    held.set()
    with pytest.raises(sa.exc.IntegrityError):
        bad.result()
    assert before.result() == after.result() == Ack(accepted=1)
    assert [e.time for e in store.history("u", 10)] == [1, 2]


def test_numbers_of_a_transaction_that_failed_are_forgotten(store: Store) -> None:
    def fail(conn: sa.Connection) -> None:
        store._intake.add(conn, [event(1)])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store._writing.submit(fail).result()
    assert store.counts() == (0, 0, 0)
    assert store.add_events([event(1)]) == Ack(accepted=1)  # with numbers of the failed one, no user would be there
    assert store.history("u", 1) == [event(1)]


def test_a_full_queue_says_busy_and_takes_again_later(store: Store, held: threading.Event) -> None:
    accepted = [store.submit_events([event(n * 1000 + i) for i in range(1000)]) for n in range(20)]
    with pytest.raises(StoreBusy) as caught:
        store.submit_events([event(-1)])
    assert caught.value.retry_after_s > 0
    held.set()
    wait(accepted)
    assert store.add_events([event(-1)]) == Ack(accepted=1)
    assert store.counts().events == 20_001


def test_an_import_that_waits_its_turn_does_not_make_others_busy(store: Store, held: threading.Event) -> None:
    many = pl.DataFrame({"user_id": ["v"] * 30_000, "item_id": ["i"] * 30_000, "event": ["view"] * 30_000, "time": range(30_000)})
    importing = threading.Thread(target=store.bulk_events, args=(many,))
    importing.start()
    while not store._writer._jobs:  # type: ignore[union-attr]
        pass
    future = store.submit_events([event(1)])
    held.set()
    importing.join()
    assert future.result() == Ack(accepted=1) and store.counts().events == 30_001


def test_a_call_larger_than_the_queue_is_taken_when_nothing_waits(store: Store) -> None:
    assert store.add_events(event(n) for n in range(20_500)) == Ack(accepted=20_500)


def test_closing_finishes_what_is_queued_and_refuses_more(url: str) -> None:
    store = Store.open(url)
    futures = [store.submit_events([event(n)]) for n in range(200)]
    store.close()
    store.close()
    assert all(f.result() == Ack(accepted=1) for f in futures)
    with pytest.raises(StoreError, match="closed"):
        store.submit_events([event(0)])


def test_a_cancelled_caller_does_not_disturb_others(store: Store, held: threading.Event) -> None:
    cancelled, kept = store.submit_events([event(1)]), store.submit_events([event(2)])
    assert cancelled.cancel()
    held.set()
    assert kept.result() == Ack(accepted=1)
    assert store.counts().events == 1


def test_the_connection_keeps_every_promise(database: Path) -> None:
    engine = writer_engine(database)
    with engine.connect() as conn:
        found = {name: conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "secure_delete", "foreign_keys")}
    engine.dispose()
    assert found == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "foreign_keys": 1}


def test_foreign_keys_are_checked_again_after_an_import(store: Store) -> None:
    def keys(conn: sa.Connection) -> int | None:
        return conn.exec_driver_sql("PRAGMA foreign_keys").scalar()

    assert store._writing.submit(keys, alone=True).result() == 0
    assert store._writing.submit(keys).result() == 1


def test_a_failing_after_is_told_to_its_caller_alone(database: Path) -> None:
    engine = writer_engine(database)
    writer = Writer(engine, lambda: None)
    bad = writer.submit(lambda _: 1, after=lambda _: 1 / 0)  # type: ignore[arg-type,return-value]
    with pytest.raises(ZeroDivisionError):
        bad.result()
    assert writer.submit(lambda _: 2).result() == 2
    writer.close()
    engine.dispose()
