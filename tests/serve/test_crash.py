"""An acknowledged event is on disk: the server is killed in the middle of its work and started again."""

import http.client
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from daogou.scenario import Project
from daogou.store import Store

ROUNDS = 3
SEED = 20_261_124
SERVE = """
import sys
from contextlib import closing
from pathlib import Path
from daogou.scenario import Project
from daogou.serve.run import serve
serve(Project(directory=Path(sys.argv[1])), "127.0.0.1", int(sys.argv[2]), open_access=True, log_level="warning")
"""


def start(directory: Path) -> tuple["subprocess.Popen[bytes]", int]:
    """A server of its own process, once it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(directory), str(port)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None and time.monotonic() < deadline, "the server did not start"
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return process, port
        except OSError:
            time.sleep(0.05)


def send(port: int, name: str, acknowledged: list[str], sizes: random.Random) -> None:
    """Sends events in batches until the server is gone; notes what it acknowledged."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    number = 0
    try:
        while True:
            batch = [f"{name}-{number + i}" for i in range(sizes.choice([1, 1, 5, 40]))]
            number += len(batch)
            body = [{"user_id": f"p{name}", "item_id": f"i{len(i) % 7}", "event": "view", "event_id": i} for i in batch]
            connection.request("POST", "/v1/events", json.dumps(body if len(body) > 1 else body[0]), {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status == 200 and json.loads(response.read())["accepted"] == len(batch):
                acknowledged += batch
    except (OSError, http.client.HTTPException):
        connection.close()


@pytest.mark.promise("D1")
def test_kill_9_loses_no_acknowledged_event(trained: Project) -> None:
    chance = random.Random(SEED)
    acknowledged: list[list[str]] = []
    for round_ in range(ROUNDS):
        process, port = start(trained.directory)
        lists: list[list[str]] = [[] for _ in range(3)]
        callers = [threading.Thread(target=send, args=(port, f"{round_}.{n}", lists[n], random.Random(SEED + n))) for n in range(3)]
        for caller in callers:
            caller.start()
        time.sleep(chance.uniform(0.2, 0.8))
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=20)
        for caller in callers:
            caller.join(timeout=20)
        acknowledged += lists
        with Store.open(trained.store_url) as store:
            kept = {e.event_id for name in range(3) for r in range(round_ + 1) for e in store.history(f"p{r}.{name}", 1_000_000)}
        missing = {event_id for one in acknowledged for event_id in one} - kept
        assert not missing, f"seed {SEED}, round {round_}: {len(missing)} acknowledged events are gone"
    assert sum(map(len, acknowledged)) > 50 * ROUNDS
    with closing(sqlite3.connect(trained.directory / "store.sqlite3")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
