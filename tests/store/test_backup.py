import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from daogou.data.rows import Event
from daogou.errors import StoreError, UsageError
from daogou.store import Store


def event(n: int) -> Event:
    return Event(user_id="u", item_id=f"i{n % 5}", event="view", time=n)


def times(path: Path) -> list[int]:
    with Store.open(f"sqlite:///{path}", read_only=True) as copy:
        return [e.time for e in copy.history("u", 1_000_000)]


@pytest.mark.promise("D5")
def test_a_backup_under_load_is_a_prefix_of_what_was_acknowledged(store: Store, tmp_path: Path) -> None:
    acknowledged: list[int] = []
    stop = threading.Event()

    def ingest() -> None:
        n = 0
        while not stop.is_set():
            store.add_events([event(n), event(n + 1), event(n + 2)])
            acknowledged.append(n + 3)
            n += 3

    writer = threading.Thread(target=ingest)
    writer.start()
    try:
        for n in range(4):
            while len(acknowledged) < 20 * (n + 1):
                pass
            before = acknowledged[-1]
            store.backup(tmp_path / f"{n}.sqlite3")
            found = times(tmp_path / f"{n}.sqlite3")
            assert found == list(range(len(found))) and len(found) >= before and len(found) % 3 == 0
    finally:
        stop.set()
        writer.join()
    with sqlite3.connect(tmp_path / "0.sqlite3") as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()


def test_control_a_copy_of_the_file_without_its_log_lacks_acknowledged_events(store: Store, database: Path, tmp_path: Path) -> None:
    store.add_events([event(n) for n in range(50)])
    shutil.copy(database, tmp_path / "copy.sqlite3")
    with pytest.raises((StoreError, AssertionError)):
        assert times(tmp_path / "copy.sqlite3") == list(range(50))


def test_a_backup_opens_as_a_store_and_goes_on(store: Store, tmp_path: Path) -> None:
    store.add_events([event(1)])
    store.backup(tmp_path / "b.sqlite3")
    assert sorted(p.name for p in tmp_path.glob("*b.sqlite3*")) == ["b.sqlite3"]
    store.add_events([event(2)])
    with Store.open(f"sqlite:///{tmp_path / 'b.sqlite3'}") as copy:
        copy.add_events([event(3)])
        assert [e.time for e in copy.history("u", 9)] == [1, 3]
    assert [e.time for e in store.history("u", 9)] == [1, 2]


def test_a_backup_replaces_an_older_one_but_never_the_store(store: Store, database: Path, tmp_path: Path) -> None:
    for n in range(2):
        store.add_events([event(n)])
        store.backup(str(tmp_path / "b.sqlite3"))
    assert times(tmp_path / "b.sqlite3") == [0, 1]
    with pytest.raises(UsageError):
        store.backup(database)


def test_a_backup_that_cannot_be_written_says_so_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="could not be written"):
        store.backup(tmp_path / "nowhere" / "b.sqlite3")
    assert not (tmp_path / "nowhere").exists()
