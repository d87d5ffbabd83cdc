"""Writes until the size limit on files stops it, then lifts the limit and writes once more. Prints what was acknowledged."""

import resource
import sys

import msgspec

from daogou.data.rows import Event
from daogou.errors import StoreBusy
from daogou.store import Store


def main(url: str) -> None:
    acknowledged: list[int] = []
    busy, cause = 0, ""
    with Store.open(url) as store:

        def add(time: int) -> None:
            store.add_events([Event(user_id="u", item_id="i", event="view", time=time, context={"x": "y" * 5000})])
            acknowledged.append(time)

        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
        for time in range(1, 200):
            try:
                add(time)
            except StoreBusy as e:
                busy += 1
                cause = e.found.split(" (")[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        add(1000)
    sys.stdout.write(msgspec.json.encode({"acknowledged": acknowledged, "busy": busy, "cause": cause}).decode())


main(sys.argv[1])
