"""A disk that loses what was not synced, or refuses to write, under the SQLite that Python's own sqlite3 uses.

Two functions of SQLite's default VFS are replaced in this process (https://sqlite.org/vfs.html): every xSync keeps a copy of the file as
it then is, which is all that a power cut would leave; xWrite and xSync fail when told to. Run as a program by test_disk.py:

    python faulty_disk.py cut URL SYNCHRONOUS CUTS SEED DIRECTORY      writes, keeps the images of random moments, prints what was acknowledged by then
    python faulty_disk.py fail URL FAILURES SEED                       writes while random writes and syncs fail, retries, prints what became of it
"""

import ctypes
import random
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from daogou.data.rows import Event
from daogou.errors import StoreBusy
from daogou.store import Store

PER_BATCH = 3
IOERR_WRITE, IOERR_FSYNC, FULL = 10 | 3 << 8, 10 | 4 << 8, 13

Open = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
Sync = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
Write = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong)


class Vfs(ctypes.Structure):
    _fields_ = [("version", ctypes.c_int), ("file_size", ctypes.c_int), ("longest_path", ctypes.c_int), ("next", ctypes.c_void_p),
                ("name", ctypes.c_char_p), ("data", ctypes.c_void_p), ("open", Open)]  # fmt: skip


class Methods(ctypes.Structure):
    _fields_ = [("version", ctypes.c_int), ("close", ctypes.c_void_p), ("read", ctypes.c_void_p), ("write", Write),
                ("truncate", ctypes.c_void_p), ("sync", Sync), ("others", ctypes.c_void_p * 13)]  # fmt: skip


class Disk:
    """Files of one directory, as SQLite writes them."""

    def __init__(self, directory: Path) -> None:
        self.durable: dict[str, bytes] = {}
        self.before_sync: Callable[[], None] = lambda: None
        self.failure: Callable[[str], int] = lambda _: 0
        self._alive: list[Any] = []  # ctypes callbacks must outlive their use
        library = ctypes.CDLL("libsqlite3.so.0")
        library.sqlite3_vfs_find.restype = ctypes.POINTER(Vfs)
        vfs = library.sqlite3_vfs_find(None).contents
        real_open = Open(ctypes.cast(vfs.open, ctypes.c_void_p).value or 0)  # the field itself would change with the structure

        def open_(vfs_: int, name: int | None, file: int, flags: int, out: int) -> int:
            code = int(real_open(vfs_, name, file, flags, out))
            if code == 0 and name and Path(path := ctypes.string_at(name).decode()).parent == directory:
                self._watch(file, path)
            return code

        self._alive += [vfs, real_open, hook := Open(open_)]
        vfs.open = hook

    def _watch(self, file: int, name: str) -> None:
        slot = ctypes.cast(file, ctypes.POINTER(ctypes.POINTER(Methods)))  # a file begins with the pointer to its methods
        real = slot.contents.contents
        methods = Methods.from_buffer_copy(real)

        def write(file_: int, data: int, size: int, offset: int) -> int:
            return self.failure("write") or int(real.write(file_, data, size, offset))

        def sync(file_: int, _flags: int) -> int:
            self.before_sync()
            if code := self.failure("sync"):
                return code
            self.durable[name] = Path(name).read_bytes()
            return 0

        methods.write, methods.sync = Write(write), Sync(sync)
        self._alive += [real, methods, methods.write, methods.sync]
        slot[0] = ctypes.pointer(methods)


def batch(number: int) -> list[Event]:
    return [Event(user_id=f"u{number % 5}", item_id=f"i{k}", event="view", time=number * PER_BATCH + k) for k in range(PER_BATCH)]


def cut(disk: Disk, url: str, synchronous: str, cuts: int, seed: int, directory: Path) -> None:
    """Image n of a power cut, written to `directory`/n, goes with the number of batches acknowledged before it."""
    chance = random.Random(seed)
    acknowledged: list[int] = []
    told: list[int] = []

    def perhaps() -> None:
        if acknowledged and len(told) < cuts and chance.random() < 0.5:
            target = directory / str(len(told))
            target.mkdir(parents=True)
            for name, content in disk.durable.items():
                if Path(name).exists():  # removals count at once
                    (target / Path(name).name).write_bytes(content)
            told.append(len(acknowledged))

    disk.before_sync = perhaps
    with Store.open(url) as store:

        def prepare(raw: sqlite3.Connection) -> None:
            raw.execute(f"PRAGMA synchronous={synchronous}")
            raw.execute("PRAGMA wal_autocheckpoint=40").fetchone()  # small, so that checkpoints are cut too

        store._writing.maintain(prepare).result()
        number = 0
        while len(told) < cuts:
            store.add_events(batch(number))
            acknowledged.append(number)
            perhaps()
            number += 1
        disk.before_sync = lambda: None
    sys.stdout.write(msgspec.json.encode(told).decode())


def fail(disk: Disk, url: str, failures: int, seed: int) -> None:
    """Sends each batch until it is taken."""
    chance = random.Random(seed)
    busy = number = 0

    def failure(what: str) -> int:
        return chance.choice((IOERR_WRITE, FULL) if what == "write" else (IOERR_FSYNC,)) if chance.random() < 0.05 else 0

    accepted = 0
    with Store.open(url) as store:
        disk.failure = failure
        while busy < failures:
            try:
                accepted += store.add_events(batch(number)).accepted
                number += 1
            except StoreBusy:
                busy += 1
        disk.failure = lambda _: 0
        accepted += store.add_events(batch(number)).accepted
    sys.stdout.write(msgspec.json.encode({"batches": number + 1, "busy": busy, "accepted": accepted}).decode())


if __name__ == "__main__":
    what, url = sys.argv[1:3]
    disk = Disk(Path(url.removeprefix("sqlite:///")).parent)
    if what == "cut":
        cut(disk, url, sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), Path(sys.argv[6]))
    else:
        fail(disk, url, int(sys.argv[3]), int(sys.argv[4]))
