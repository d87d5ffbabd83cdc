import ctypes
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daogou.store import Store

PER_BATCH = 3
SEED = 4


def program(name: str, *arguments: object) -> Any:
    """What a program beside this file prints, decoded."""
    command = [sys.executable, Path(__file__).with_name(name), *map(str, arguments)]
    out = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert out.returncode == 0, out.stderr
    return msgspec.json.decode(out.stdout)


@pytest.fixture
def replaceable() -> None:
    """SQLite's VFS can be replaced where Python's sqlite3 uses the system's library."""
    try:
        library = ctypes.CDLL("libsqlite3.so.0")
    except OSError:
        pytest.skip("no libsqlite3.so.0 here")
    library.sqlite3_libversion.restype = ctypes.c_char_p
    loaded = Path("/proc/self/maps").read_text() if Path("/proc/self/maps").exists() else ""
    if library.sqlite3_libversion().decode() != sqlite3.sqlite_version or loaded.count("libsqlite3.so") == 0:
        pytest.skip("Python's sqlite3 uses a SQLite of its own")


def stored(path: Path) -> Counter[int]:
    """Events of each batch."""
    raw = sqlite3.connect(path)
    try:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return Counter(time // PER_BATCH for (time,) in raw.execute("SELECT time FROM events"))
    finally:
        raw.close()


def lost(tmp_path: Path, url: str, synchronous: str, cuts: int) -> int:
    """Cuts after which an acknowledged batch is not there."""
    images = tmp_path / "images"
    told = program("faulty_disk.py", "cut", url, synchronous, cuts, SEED, images)
    assert len(told) == cuts and len(set(told)) > cuts // 4
    missing = 0
    for n, acknowledged in enumerate(told):
        found = stored(images / str(n) / "store.sqlite3")
        assert set(found.values()) <= {PER_BATCH}, f"cut {n}: a batch is there in part"
        missing += not set(range(acknowledged)) <= found.keys()
    return missing


@pytest.mark.promise("D2")
def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path, url: str, replaceable: None) -> None:
    assert lost(tmp_path, url, "FULL", 200) == 0


@pytest.mark.promise("D2")
def test_control_without_a_sync_at_each_commit_power_cuts_lose_events(tmp_path: Path, url: str, replaceable: None) -> None:
    assert lost(tmp_path, url, "NORMAL", 20) > 10


@pytest.mark.promise("D4")
def test_a_full_disk_is_busy_and_then_writes_again(url: str) -> None:
    told = program("full_disk.py", url)
    assert told["busy"] >= 1, "the limit was never reached: the test proves nothing"
    assert told["cause"] == "the disk refuses to write"
    with Store.open(url) as store:
        stored = [e.time for e in store.history("u", 100_000)]
    assert stored == told["acknowledged"]  # not one more, not one less
    assert stored[-1] == 1000  # the one after space came back


@pytest.mark.promise("D4")
def test_a_disk_that_fails_now_and_then_loses_doubles_and_halves_nothing(url: str, database: Path, replaceable: None) -> None:
    told = program("faulty_disk.py", "fail", url, 60, SEED)
    assert told["busy"] == 60
    found = stored(database)
    assert found == dict.fromkeys(range(told["batches"]), PER_BATCH)
    assert told["accepted"] <= PER_BATCH * told["batches"]  # a commit whose sync failed may be there all the same; sent again, it is a duplicate
