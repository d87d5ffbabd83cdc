"""Requests a second of a served shop: all placements mixed, known shoppers and guests, while events arrive. Needs Debian's `wrk`.

    python -m benchmarks.serve_load [--project DIR] [--seconds 10] [--connections 4 16] [--events 50] [--json]

Without --project the sample shop is imported and trained first (minutes). Everything stays on loopback. The load generator and the writer run on
the same cores as the server, so the figures are those of the whole machine.
"""

import argparse
import json
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daogou.scenario import Project, load_project
from daogou.store import Store

QUESTIONS = 2000  # distinct bodies, sent in turn
GUESTS = 0.2  # share of the questions

LUA = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local at = 0
request = function()
  at = at %% #bodies + 1
  return wrk.format("POST", "/v1/recommendations", {["Content-Type"] = "application/json"}, bodies[at])
end
"""


def questions(project: Project, seed: int = 0) -> list[bytes]:
    """Bodies for every placement in turn: what shoppers of the store would ask, the page's item being one that they had."""
    chance = random.Random(seed)
    bodies = []
    with Store.open(project.store_url, read_only=True) as store:
        shoppers = chance.sample(ids, min(400, len(ids))) if (ids := store.user_ids(100_000)) else []
        items = {shopper: [event.item_id for event in store.history(shopper, 50)] for shopper in shoppers}
        everything = sorted({item for some in items.values() for item in some})
        shown = {item.item_id for item in store.items(everything)}
    places = project.load_scenario().placements
    for n in range(QUESTIONS):
        place, shopper = places[n % len(places)], chance.choice(shoppers)
        page = [item for item in items[shopper] if item in shown] or sorted(shown)[:1]
        body: dict[str, Any] = {"placement": place.name, "items": [chance.choice(page)] if place.about == "items" else []}
        if chance.random() > GUESTS:
            body["user_id"] = shopper
        bodies.append(json.dumps(body).encode())
    return bodies


@contextmanager
def served(project: Project) -> Iterator[tuple[int, int]]:
    """A server in a process of its own: (port, pid)."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "daogou", "serve", "--open", "--port", str(port), "--project", str(project.directory)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit(f"the server ended with code {process.returncode}") from None
                time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


class Writer(threading.Thread):
    """Sends events one by one at a steady pace, as pages do."""

    def __init__(self, port: int, per_s: float, shoppers: list[str], items: list[str]) -> None:
        super().__init__(daemon=True)
        self.url, self.per_s, self.shoppers, self.items = f"http://127.0.0.1:{port}/v1/events", per_s, shoppers, items
        self.stop, self.waits_s, self.failed = threading.Event(), list[float](), 0

    def run(self) -> None:
        chance, began, sent = random.Random(1), time.monotonic(), 0
        while not self.stop.is_set():
            body = {"user_id": chance.choice(self.shoppers), "item_id": chance.choice(self.items), "event": "view"}
            request = urllib.request.Request(self.url, json.dumps(body).encode(), {"Content-Type": "application/json"})
            at = time.monotonic()
            try:
                urllib.request.urlopen(request, timeout=10).close()
                self.waits_s.append(time.monotonic() - at)
            except OSError:
                self.failed += 1
            sent += 1
            self.stop.wait(max(0.0, began + sent / self.per_s - time.monotonic()))


def load(port: int, script: Path, connections: int, seconds: int) -> dict[str, float]:
    """One run of wrk: requests/s, latencies in ms, answers that were not 2xx."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), f"http://127.0.0.1:{port}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
    unit = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    latency = {p: float(n) * unit[u] for p, n, u in re.findall(r"(50|90|99)%\s+([\d.]+)(us|ms|s)", text)}
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    return {
        "connections": connections,
        "requests_per_s": float(rate[1]) if rate else 0.0,
        "p50_ms": latency.get("50", 0.0),
        "p99_ms": latency.get("99", 0.0),
        "not_2xx": float(refused[1]) if refused else 0.0,
        "socket_errors": errors,
    }


def resident_mib(pid: int) -> float:
    """Memory of the process, MiB."""
    return next(int(line.split()[1]) / 1024 for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))


def measure(project: Project, *, seconds: int, connections: list[int], events_per_s: float) -> dict[str, Any]:
    """Serves the project and measures it at each number of connections."""
    bodies = questions(project)
    shoppers = sorted({json.loads(body).get("user_id") for body in bodies} - {None})
    items = sorted({item for body in bodies for item in json.loads(body)["items"]})
    with tempfile.TemporaryDirectory() as directory, served(project) as (port, pid):
        (Path(directory) / "bodies").write_bytes(b"\n".join(bodies) + b"\n")
        script = Path(directory) / "load.lua"
        script.write_text(LUA % (Path(directory) / "bodies"))
        load(port, script, 2, 2)  # warm: caches are filled, kernels compiled
        before = resident_mib(pid)
        writer = Writer(port, events_per_s, shoppers, items)
        writer.start()
        runs = [load(port, script, n, seconds) for n in connections]
        writer.stop.set()
        writer.join()
        waits = sorted(writer.waits_s)
        metrics = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
        return {
            "runs": runs,
            "events": {"sent": len(waits), "failed": writer.failed, "p50_ms": 1000 * waits[len(waits) // 2], "p99_ms": 1000 * waits[int(len(waits) * 0.99)]},
            "resident_mib": {"before": before, "after": resident_mib(pid)},
            "shown": {outcome: float(n) for outcome, n in re.findall(r'daogou_shown_total\{outcome="(\w+)"\} ([\d.e+]+)', metrics)},
            "degraded": sum(float(n) for n in re.findall(r"daogou_degraded_total\{[^}]*\} ([\d.e+]+)", metrics)),
        }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--project", type=Path, default=None)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--events", type=float, default=50.0, help="events a second that arrive meanwhile")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    result = measure(_project(given.project), seconds=given.seconds, connections=given.connections, events_per_s=given.events)
    if given.json:
        print(json.dumps(result, indent=1))
        return
    print("connections  requests/s  p50 ms  p99 ms  not 2xx  socket errors")
    for run in result["runs"]:
        row = (run["connections"], run["requests_per_s"], run["p50_ms"], run["p99_ms"], run["not_2xx"], run["socket_errors"])
        print("{:>11}  {:>10.0f}  {:>6.1f}  {:>6.1f}  {:>7.0f}  {:>13.0f}".format(*row))
    events, memory = result["events"], result["resident_mib"]
    print(f"events meanwhile: {events['sent']} acknowledged, {events['failed']} failed, p50 {events['p50_ms']:.1f} ms, p99 {events['p99_ms']:.1f} ms")
    print(f"memory: {memory['before']:.0f} MiB before, {memory['after']:.0f} MiB after; shown: {result['shown']}; degraded answers: {result['degraded']:.0f}")


def _project(directory: Path | None) -> Project:
    if directory is not None:
        return load_project(directory)
    from daogou.demo import prepare

    return prepare(Path("bench-out/shop"), lambda step, done, total: None, lambda text: print(text, file=sys.stderr))


if __name__ == "__main__":
    main()
