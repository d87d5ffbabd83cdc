"""Time and peak memory of one step, and what is said when there was too little."""

import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from daogou.errors import DaogouError

LESS = "lower its dimensions or what it is fitted on at a time, raise min_support where it has one, or give the machine more"
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """Wall seconds and the highest resident memory of the process, MiB, between entering and leaving.

    Linux can begin the high-water mark anew; elsewhere the mark is that of the process so far.
    """

    def __init__(self) -> None:
        self.seconds = self.mib = 0.0

    def __enter__(self) -> Self:
        with suppress(OSError):  # no such file on this system, or not allowed: the older mark is an upper bound
            _CLEAR.write_text("5", "ascii")
        self._started = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.seconds = time.perf_counter() - self._started
        self.mib = _peak_mib()


def why(error: Exception) -> str:
    """An error of a model in words for people: what daogou raised speaks for itself, others are named, and a lack of memory says what helps."""
    if isinstance(error, MemoryError):
        return f"out of memory{f' ({error})' if str(error) else ''}; {LESS}"
    return str(error) if isinstance(error, DaogouError) else f"{type(error).__name__}: {error}"


def _peak_mib() -> float:
    with suppress(OSError):
        for line in _STATUS.read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
