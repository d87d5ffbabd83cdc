import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from daogou.store import Store

PER_BATCH = 3
SEED = 20261124


class Killer:
    """Starts writing children, kills them, and remembers what they said was acknowledged."""

    def __init__(self, url: str, pipe_in: IO[str], pipe_out: IO[str]) -> None:
        self.url, self._in, self._out = url, pipe_in, pipe_out
        self.acknowledged: set[int] = set()
        self._random = random.Random(SEED)

    def round(self, how: str) -> None:
        """One child: killed at a random moment after its first acknowledgement."""
        first = max(self.acknowledged, default=-1) + 1_000  # whatever the last child wrote unseen lies below
        self._in.write(f"{how} {first}\n")
        self._in.flush()
        pid = seen = 0
        for line in self._out:
            word, *number = line.split()
            if word == "pid":
                pid = int(number[0])
            elif word == "acknowledged":
                self.acknowledged.add(int(number[0]))
                seen += 1
            else:
                return
            if pid and seen:
                time.sleep(self._random.uniform(0, 0.03))
                os.kill(pid, signal.SIGKILL)
                pid = 0

    def batches(self) -> dict[int, int]:
        """Events in the store by batch, read as the next process would."""
        found: dict[int, int] = {}
        with Store.open(self.url) as store:
            for event in (e for n in range(9) for e in store.history(f"u{n}", 10_000_000)):
                found[event.time // PER_BATCH] = found.get(event.time // PER_BATCH, 0) + 1
        return found


@contextmanager
def killer(url: str) -> Iterator[Killer]:
    script = Path(__file__).with_name("killed.py")
    process = subprocess.Popen([sys.executable, script, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        yield Killer(url, process.stdin, process.stdout)
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


@pytest.mark.promise("D1")
def test_kill_9_loses_no_acknowledged_event_in_100_rounds(url: str, database: Path) -> None:
    with killer(url) as kill:
        for _ in range(100):
            kill.round("wait")
        found = kill.batches()
    assert len(kill.acknowledged) >= 100
    assert kill.acknowledged <= found.keys(), f"seed {SEED}"
    assert set(found.values()) == {PER_BATCH}, "a batch is there in part"
    raw = sqlite3.connect(database)
    assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()


@pytest.mark.promise("D1")
def test_control_acknowledging_before_the_commit_is_caught(url: str) -> None:
    with killer(url) as kill:
        for _ in range(10):
            kill.round("early")
            if not kill.acknowledged <= kill.batches().keys():
                return
    pytest.fail("ten kills did not show that events were acknowledged too early: the test above proves nothing")
