"""One writing process a store: a lock file beside the database, which the operating system releases when its holder dies."""

import fcntl
import os
from pathlib import Path

from daogou.errors import StoreError, StoreLocked


class WriterLock:
    """Holds ``<database>.lock``. The file stays behind on purpose: removing it would let two processes lock two files of one name.

    Raises:
        StoreError: the directory cannot be written to.
        StoreLocked: another process (or another Store of this one) holds it.
    """

    def __init__(self, database: Path) -> None:
        path = database.with_name(database.name + ".lock")
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as e:
            raise StoreError(
                f"its lock file cannot be opened ({e.strerror})", fix="make the directory writable, or open with read_only=True", where=str(path)
            ) from e
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            holder = os.read(self._file, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            raise StoreLocked(
                f"another process (pid {holder}) writes to this store",
                expected="one writing process: several would starve each other",
                fix="send writes through the running server's API, stop that process, or open the store with read_only=True",
                where=str(database),
            ) from e
        os.ftruncate(self._file, 0)
        os.write(self._file, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        os.close(self._file)
