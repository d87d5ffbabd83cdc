"""Bounds: how many calls wait, how long, and how often one address may ask. What is over a bound is refused before it costs anything."""

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from daogou.serve.errors import Overloaded

T = TypeVar("T")


class Buckets:
    """A token bucket per address: `burst` at once, then `per_s` a second. At most `most` addresses are remembered, the latest ones."""

    def __init__(self, *, per_s: float = 20.0, burst: float = 60.0, most: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_s, self.burst, self.most, self.clock = per_s, burst, most, clock
        self._level: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> float:
        """Takes one token; 0 if there was one, else how many seconds until there is."""
        at = self.clock()
        level, since = self._level.pop(address, (self.burst, at))
        level = min(self.burst, level + (at - since) * self.per_s)
        taken = level >= 1
        self._level[address] = (level - 1 if taken else level, at)
        if len(self._level) > self.most:
            self._level.popitem(last=False)
        return 0.0 if taken else (1 - level) / self.per_s


class Desk:
    """Runs blocking calls in a few threads, with a queue bounded by how long its last caller would wait.

    The loop stays free to take events and to refuse. The wait is estimated from the mean time of recent calls; `least` calls may always wait, so
    that one slow call does not close the door.
    """

    def __init__(self, *, threads: int | None = None, longest_wait_s: float = 0.25, least: int = 32) -> None:
        # One core is left to the loop and the store's writer: on two cores a second thread answered no more questions and doubled the wait of events.
        self.threads = threads or max(1, min(4, (os.cpu_count() or 1) - 1))
        self.longest_wait_s, self.least = longest_wait_s, least
        self.mean_s = 0.002
        self.waiting = 0
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="daogou-answer")

    async def run(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """The call's result.

        Raises:
            Overloaded: too many wait already.
        """
        wait_s = self.waiting * self.mean_s / self.threads
        if self.waiting >= self.least and wait_s > self.longest_wait_s:
            raise Overloaded("more questions than can be answered in time", retry_after_s=wait_s)
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._timed, call, args, kwargs)
        finally:
            self.waiting -= 1

    def _timed(self, call: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        began = time.perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            self.mean_s += 0.05 * (time.perf_counter() - began - self.mean_s)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
