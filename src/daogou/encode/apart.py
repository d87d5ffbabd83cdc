"""Foreign photos are decoded in processes of their own (`darkroom`): a decoder that is led astray has no file, no network, no memory and no time to do harm.

A few workers are kept, begun when first needed and ended with this process. One that takes too long or dies is replaced, and its photo refused.
"""

import atexit
import os
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from PIL import Image

from daogou.encode import darkroom
from daogou.errors import UsageError

WORKERS = 2
MEMORY_MIB = 512
"""Address space of a worker."""
CPU_S = 5
WALL_S = 15.0
"""Longer than the CPU time, for a machine that has other things to do."""
RETIRED_AFTER = 10_000
"""Photos after which a worker is replaced: memory that a codec loses is lost no longer than that."""


class Darkroom:
    """Workers that decode; may be used from many threads, which then take turns.

    Args:
        workers: at most; each is begun when the others are busy.
    """

    def __init__(self, workers: int = WORKERS, *, memory_mib: int = MEMORY_MIB, cpu_s: int = CPU_S, wall_s: float = WALL_S) -> None:
        self._limits = (memory_mib, cpu_s, wall_s)
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(None)
        self._closed = False

    def developed(self, data: bytes, side: int) -> Image.Image:
        """See `darkroom.developed`.

        Raises:
            UsageError: no photo, too large, damaged, or more than a worker may spend on it.
        """
        try:
            darkroom.format_of(data)  # the cheap refusals need no worker
        except darkroom.Refused as e:
            raise _refused(e.found, e.expected, e.fix) from None
        worker = self._idle.get()
        try:
            if worker is None or worker.done >= RETIRED_AFTER or not worker.alive:
                if worker is not None:
                    worker.end()
                worker = _Worker(*self._limits)
            return worker.developed(data, side)
        except _Lost as e:
            assert worker is not None
            worker.end()
            worker = None
            raise _refused(f"a photo that could not be decoded within the limits ({e})", "an ordinary photo", "save it anew as JPEG, smaller") from e
        finally:
            self._give_back(worker)

    def close(self) -> None:
        """Ends the workers; one that is at work ends after it."""
        self._closed = True
        while True:
            try:
                worker = self._idle.get_nowait()
            except queue.Empty:
                return
            if worker is not None:
                worker.end()

    def _give_back(self, worker: "_Worker | None") -> None:
        if self._closed and worker is not None:
            worker.end()
            worker = None
        self._idle.put(worker)

    def __enter__(self) -> "Darkroom":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Lost(Exception):
    """The worker died, or has to."""


class _Worker:
    """One process."""

    def __init__(self, memory_mib: int, cpu_s: int, wall_s: float) -> None:
        self.done, self._wall_s = 0, wall_s
        program = [sys.executable, "-I", str(Path(darkroom.__file__)), str(memory_mib), str(cpu_s)]
        kept = {name: os.environ[name] for name in ("SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
        self._process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, env=kept, start_new_session=True
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def developed(self, data: bytes, side: int) -> Image.Image:
        """
        Raises:
            UsageError: the worker refused the photo.
            _Lost: it died, took too long or talked nonsense.
        """
        self.done += 1
        clock = threading.Timer(self._wall_s, self._process.kill)  # ends a write as well as a read that waits for it
        clock.daemon = True
        clock.start()
        try:
            return self._exchanged(data, side)
        except OSError as e:
            raise _Lost("more time or memory than one photo may take") from e
        finally:
            clock.cancel()

    def end(self) -> None:
        """Kills it: it holds nothing that could be lost."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _exchanged(self, data: bytes, side: int) -> Image.Image:
        self._write(darkroom.QUESTION.pack(side, len(data)))
        self._write(data)
        refused, width, height = darkroom.ANSWER.unpack(self._read(darkroom.ANSWER.size))
        if refused:
            raise _refused(*self._read(height).decode("utf-8", "replace").split("\0"))
        if not 0 < width * height <= darkroom.MOST_PIXELS:
            raise _Lost("an answer that cannot be right")
        return Image.frombytes("RGB", (width, height), self._read(width * height * 3))

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        left = memoryview(data)
        while left:
            left = left[self._process.stdin.write(left) :]

    def _read(self, n: int) -> bytes:
        assert self._process.stdout is not None
        parts, left = [], n
        while left:
            part = self._process.stdout.read(left)
            if not part:
                raise BrokenPipeError("the worker ended")
            parts.append(part)
            left -= len(part)
        return b"".join(parts)


def _refused(found: str, expected: str = "", fix: str = "") -> UsageError:
    return UsageError(found, expected=expected, fix=fix, field="image")


_rooms: dict[int, Darkroom] = {}
_lock = threading.Lock()


def room() -> Darkroom:
    """The workers of this process. A process that was forked begins its own: two parents on one pipe would read each other's photos."""
    me = os.getpid()
    with _lock:
        if me not in _rooms:
            _rooms.clear()
            _rooms[me] = Darkroom()
        return _rooms[me]


@atexit.register
def _close() -> None:
    for pid, one in _rooms.items():
        if pid == os.getpid():
            one.close()
