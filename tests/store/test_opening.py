import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daogou.errors import StoreError, StoreLocked, UsageError
from daogou.store import Store


def test_a_second_writer_is_refused_and_told_who_holds_the_lock(store: Store, url: str) -> None:
    with pytest.raises(StoreLocked, match=str(os.getpid())) as caught:
        Store.open(url)
    assert "read_only" in caught.value.fix
    with Store.open(url, read_only=True) as reader:
        assert reader.counts() == (0, 0, 0)


def test_the_lock_is_free_after_closing(url: str) -> None:
    for _ in range(3):
        Store.open(url).close()


def test_the_lock_of_another_process_counts_until_it_ends(url: str) -> None:
    code = f"import sys; from daogou.store import Store; s = Store.open({url!r}); print('open', flush=True); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdin and other.stdout
    try:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StoreLocked, match=f"pid {other.pid}"):
            Store.open(url)
    finally:
        other.kill()
        other.wait()
        other.stdin.close()
        other.stdout.close()
    Store.open(url).close()


def test_a_failed_opening_lets_go_of_the_lock(database: Path, url: str) -> None:
    database.write_bytes(b"this is no database, whatever its name says" * 100)
    for _ in range(2):
        with pytest.raises(StoreError, match="cannot be opened"):
            Store.open(url)
    with pytest.raises(StoreError, match="cannot be read"):
        Store.open(url, read_only=True)


@pytest.mark.parametrize("how", [{"create": False}, {"read_only": True}])
def test_a_store_that_is_not_there_is_not_made_unasked(database: Path, url: str, how: dict[str, bool]) -> None:
    with pytest.raises(StoreError, match="no store"):
        Store.open(url, **how)
    assert not database.exists()


def test_a_lock_file_that_cannot_be_made_is_explained(database: Path, url: str) -> None:
    database.with_name(database.name + ".lock").mkdir()
    with pytest.raises(StoreError, match="lock file cannot be opened"):
        Store.open(url)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="directory does not exist"):
        Store.open(f"sqlite:///{tmp_path / 'nowhere' / 'store.sqlite3'}")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "postgresql+psycopg://me:secret@host/db", "nonsense"])
def test_a_url_that_is_no_sqlite_file_is_refused_without_telling_its_password(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Store.open(url)
    assert "secret" not in str(caught.value)


def test_making_a_store_is_quick(url: str) -> None:
    started = time.process_time()
    Store.open(url).close()
    assert time.process_time() - started < 2
