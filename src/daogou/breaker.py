"""Whether to call a server that has failed: not for a while, then once to see whether it is back."""

import threading
import time
from collections.abc import Callable

FAILURES = 3
REST_S = 20.0


class Breaker:
    """After `failures` in a row nobody calls for `rest_s`; then one does, and its outcome decides. May be asked from many threads."""

    def __init__(self, failures: int = FAILURES, rest_s: float = REST_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._rest_s, self._clock = failures, rest_s, clock
        self._failed, self._opened, self._trying = 0, 0.0, False
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Whether a call may be made now; if so, `settle` follows."""
        with self._lock:
            if self._failed < self._most:
                return True
            if self._trying or self._clock() - self._opened < self._rest_s:
                return False
            self._trying = True
            return True

    def settle(self, well: bool | None) -> None:
        """How the call went; None = it was given up by the one who asked, which says nothing."""
        with self._lock:
            self._trying = False
            if well:
                self._failed = 0
            elif well is not None:
                self._failed += 1
                self._opened = self._clock()
