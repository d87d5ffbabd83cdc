"""Serves test_kill.py: for each line of input, a child that writes batches and prints what was acknowledged, until it is killed.

Forked from here, because a new interpreter for each of a hundred rounds would take a second each. Input: `wait` (print once the store has
acknowledged) or `early` (print once it is queued: the broken control), then the number of the first batch.
"""

import os
import sys

from daogou.data.rows import Event
from daogou.store import Store

PER_BATCH = 3


def write(url: str, how: str, first: int) -> None:
    with Store.open(url) as store:
        for batch in range(first, first + 100_000):
            future = store.submit_events([Event(user_id=f"u{batch % 9}", item_id=f"i{k}", event="view", time=batch * PER_BATCH + k) for k in range(PER_BATCH)])
            if how == "wait":
                future.result()
            os.write(1, f"acknowledged {batch}\n".encode())


def main(url: str) -> None:
    for line in sys.stdin:
        how, first = line.split()
        if not (pid := os.fork()):
            write(url, how, int(first))
            os._exit(0)
        os.write(1, f"pid {pid}\n".encode())
        os.waitpid(pid, 0)
        os.write(1, b"dead\n")


main(sys.argv[1])
