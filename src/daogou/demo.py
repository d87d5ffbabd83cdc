"""The sample shop from nothing to a running server: what a newcomer sees first, and what `--check` proves on a fresh machine."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daogou.contract import Progress
from daogou.errors import DaogouError
from daogou.release import open_current
from daogou.scenario import TUNED, Project, Scenario, load_project
from daogou.store import Store
from daogou.store.importing import import_files
from daogou.train.fit import train

SETTINGS = """# Of 92,331 goods most were bought once or twice in the year: the models of pairs learn from those bought more often,
# which halves time and memory; the other models answer for the rest. A household's order of purchases says little within a
# basket and much over months: one long scale (chosen on validation).
[models.ease]
min_support = 50

[models.transition]
tau = [150.0]
window = [400]
l2 = [1000.0]
horizon = 60
future_tau = 40.0
min_support = 50
"""
START_S = 60.0  # a server that is not ready by then has failed


def prepare(directory: Path, progress: Progress, say: Callable[[str], None]) -> Project:
    """Makes the project, imports the sample and trains, each only if it has not been done."""
    if not (directory / "daogou.toml").exists():
        directory.mkdir(parents=True, exist_ok=True)
        (directory / TUNED).write_text(SETTINGS, "utf-8")
        (directory / "daogou.toml").write_text('scenario = "shop"\nstore = "sqlite:///store.sqlite3"\n', "utf-8")
    project = load_project(directory)
    scenario = project.load_scenario()
    with Store.open(project.store_url) as store:
        if not store.counts().events:
            say(str(import_files(store, scenario, format="completejourney", quarantine=project.quarantine, progress=progress)))
        if open_current(project.releases) is None:
            say(str(train(project, store, scenario, progress=progress)))
    return project


def check(project: Project, say: Callable[[str], None]) -> None:
    """Starts the server, asks every placement once over HTTP, prints the answers, and stops it.

    Raises:
        DaogouError: the server does not start, or a placement has no answer.
    """
    scenario = project.load_scenario()
    with Store.open(project.store_url, read_only=True) as store:
        shopper = _busiest(store)
        bought = [event.item_id for event in store.history(shopper, 3)]
    with _server(project) as url:
        say(f"server ready on {url}; asking every placement for {shopper}")
        for place in scenario.placements:
            items = bought[-1:] if place.about == "items" else []
            answer = _post(f"{url}/v1/recommendations", {"placement": place.name, "user_id": shopper, "items": items, "k": 5})
            if not answer["items"]:
                raise DaogouError(f"placement {place.name!r} has no answer", fix="daogou train --project " + str(project.directory))
            say(f"\n{place.name} (release {answer['release']}{', degraded' if answer['degraded'] else ''})")
            for n, shown in enumerate(answer["items"], 1):
                say(f"  {n}. {_title(shown):<44.44} {shown['reason']}")


def headline(project: Project, scenario: Scenario) -> str:
    """The figures of the live release, as they were measured in training."""
    release = open_current(project.releases)
    if release is None:
        return ""
    split, rows = release.manifest.split, release.manifest.metrics
    lines = [f"quality on the {split.get('protocol', scenario.evaluation.protocol)} split, {next(iter(rows.values()), {}).get('queries', 0)} shoppers:"]
    for name, row in sorted(rows.items(), key=lambda pair: -pair[1].get("ndcg@10", 0.0)):
        low, high = row.get("low", float("nan")), row.get("high", float("nan"))
        lines.append(f"  {name:<12} NDCG@10 {row['ndcg@10']:.4f} [{low:.4f}, {high:.4f}]  recall@10 {row['recall@10']:.4f}  hit@10 {row['hr@10']:.4f}")
    return "\n".join(lines)


def _busiest(store: Store) -> str:
    """Somebody with a history: the first registered shopper who has one."""
    users = store.user_ids(200, 0)
    for user in users:
        if store.history(user, 1):
            return user
    raise DaogouError("nobody in the store has an event", fix="daogou import")


@contextmanager
def _server(project: Project) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "daogou", "serve", "--open", "--host", "127.0.0.1", "--port", str(port), "--project", str(project.directory)]
    log = project.directory / "check.log"
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            _await(f"{url}/readyz", process, log)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise DaogouError(f"the server ended with code {process.returncode}: {log.read_text('utf-8')[-2000:]}", where=str(log))
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise DaogouError(f"the server was not ready within {START_S:.0f} s", fix="daogou serve --open, and read what it says")


def _post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def _title(shown: dict[str, Any]) -> str:
    return f"{shown['item_id']} {(shown.get('item') or {}).get('title') or ''}"
