"""Bounds: the bucket of an address, the queue of questions."""

import asyncio
import threading
import time

import pytest

from daogou.serve.errors import Overloaded
from daogou.serve.limits import Buckets, Desk


def test_a_bucket_empties_and_fills_again() -> None:
    at = 0.0
    buckets = Buckets(per_s=2, burst=3, clock=lambda: at)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b") == 0  # another address has its own
    at = 0.25
    assert buckets.take("a") == pytest.approx(0.25)
    at = 0.5
    assert buckets.take("a") == 0
    at = 100.0
    assert [buckets.take("a") > 0 for _ in range(4)] == [False, False, False, True]


def test_buckets_remember_a_bounded_number_of_addresses() -> None:
    buckets = Buckets(most=100)
    for n in range(1000):
        buckets.take(f"address {n}")
    assert len(buckets._level) == 100


def test_the_desk_refuses_what_would_wait_too_long_and_recovers() -> None:
    async def story() -> tuple[int, int, int]:
        desk = Desk(threads=1, longest_wait_s=0.05, least=4)
        desk.mean_s = 0.02
        gate = threading.Event()
        calls = [asyncio.ensure_future(desk.run(gate.wait, 5)) for _ in range(20)]
        await asyncio.sleep(0.05)
        gate.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        refused = [r for r in results if isinstance(r, Overloaded)]
        assert all(r.retry_after_s > 0 for r in refused)
        waiting = desk.waiting
        later = await desk.run(lambda: 7)
        desk.close()
        return len(refused), waiting, later

    refused, waiting, later = asyncio.run(story())
    assert refused == 16  # four may always wait; with 20 ms each the fifth would wait longer than 50 ms
    assert (waiting, later) == (0, 7)


def test_the_desk_lets_many_quick_calls_wait() -> None:
    async def story() -> int:
        desk = Desk(threads=2, longest_wait_s=0.1, least=4)
        desk.mean_s = 0.0001
        results = await asyncio.gather(*(desk.run(time.sleep, 0.0001) for _ in range(200)), return_exceptions=True)
        desk.close()
        return sum(isinstance(r, Overloaded) for r in results)

    assert asyncio.run(story()) == 0


def test_an_error_of_a_call_is_the_callers() -> None:
    async def story() -> int:
        desk = Desk(threads=1)
        with pytest.raises(ZeroDivisionError):
            await desk.run(lambda: 1 // 0)
        desk.close()
        return desk.waiting

    assert asyncio.run(story()) == 0
