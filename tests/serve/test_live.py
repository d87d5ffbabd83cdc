"""Releases come and go under the requests."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from daogou.data.rows import Item
from daogou.engine import Engine
from daogou.release import CURRENT, list_releases
from daogou.scenario import Project
from daogou.serve.app import create_app
from daogou.serve.live import Live
from daogou.serve.metrics import Metrics
from daogou.store import Store
from daogou.train import release as releases

Retrain = Callable[[Project, Store, float], str]
ASK = {"placement": "home.discover", "user_id": "u1", "k": 5}


def live_of(project: Project, store: Store) -> Live:
    return Live(project, project.load_scenario(), store, Metrics(), poll_s=0.02)


def ask_until(stop: threading.Event, port: int, seen: list[tuple[int, str]]) -> None:
    """One caller on one connection, as fast as it is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while not stop.is_set():
        connection.request("POST", "/v1/recommendations", json.dumps(ASK), {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = json.loads(response.read())
        seen.append((response.status, body.get("release", "")))
    connection.close()


@pytest.mark.promise("A2")
def test_swaps_under_load_fail_no_request(trained: Project, retrain: Retrain, loopback: Callable[[Litestar], AbstractContextManager[int]]) -> None:
    with Store.open(trained.store_url) as store:
        app = create_app(trained, open_access=True, store=store)
        app.state.live._poll_s = 0.02
        published = [releases.current_id(trained.releases)]
        seen: list[list[tuple[int, str]]] = [[] for _ in range(4)]
        stop = threading.Event()
        with loopback(app) as port:
            callers = [threading.Thread(target=ask_until, args=(stop, port, one)) for one in seen]
            for caller in callers:
                caller.start()
            for swap in range(6):
                published.append(retrain(trained, store, 20.0 + swap))
                deadline = time.monotonic() + 20
                while app.state.live.release != published[-1]:
                    assert time.monotonic() < deadline, "the release did not become live"
                    time.sleep(0.01)
            time.sleep(0.1)
            stop.set()
            for caller in callers:
                caller.join(timeout=30)
    answers = [answer for one in seen for answer in one]
    assert {status for status, _ in answers} == {200}
    assert {release for _, release in answers} <= set(published)
    assert published[-1] in {release for _, release in answers}
    for one in seen:  # nobody is sent back to a release that was already replaced
        order = [published.index(release) for _, release in one]
        assert order == sorted(order)


def test_a_damaged_release_is_not_taken_and_the_live_one_answers_on(trained: Project, retrain: Retrain) -> None:
    with Store.open(trained.store_url) as store:
        live = live_of(trained, store)
        assert live.look()
        first, engine = live.release, live.engine
        bad = retrain(trained, store, 77.0)
        damage(trained.releases / bad / "models/ease")
        assert not live.look()
        assert (live.release, live.engine) == (first, engine)
        good = retrain(trained, store, 78.0)
        assert live.look()
        assert live.release == good


def damage(directory: Path) -> None:
    """Cuts every file of a model in half."""
    for file in directory.iterdir():
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("current", ["", "no-such-release", "../elsewhere", "\0", "x" * 500])
def test_a_wrong_pointer_changes_nothing(trained: Project, current: str) -> None:
    with Store.open(trained.store_url) as store:
        live = live_of(trained, store)
        assert live.look()
        engine = live.engine
        (trained.releases / CURRENT).write_text(current)
        assert not live.look()
        assert live.engine is engine


@pytest.mark.promise("A1")
def test_a_server_starts_with_what_is_left(trained: Project, retrain: Retrain) -> None:
    """Damaged model → the others, and says so; damaged release → the one before; nothing left → newest items."""
    with Store.open(trained.store_url) as store:
        newest = retrain(trained, store, 50.0)
    older = next(m.id for m in list_releases(trained.releases) if m.id != newest)
    damage(trained.releases / newest / "models/ease")
    with TestClient(create_app(trained, open_access=True)) as client:
        answer = client.post("/v1/recommendations", json=ASK).json()
        assert (answer["release"], answer["degraded"], len(answer["items"])) == (newest, True, 5)
    (trained.releases / newest / "items.json").write_text("[")
    with TestClient(create_app(trained, open_access=True)) as client:
        answer = client.post("/v1/recommendations", json=ASK).json()
        assert (answer["release"], answer["degraded"]) == (older, False)
    (trained.releases / older / "manifest.json").unlink()
    with TestClient(create_app(trained, open_access=True)) as client:
        answer = client.post("/v1/recommendations", json=ASK).json()
        assert (answer["release"], len(answer["items"])) == (None, 5)


def test_what_changes_while_a_release_is_loaded_reaches_it(trained: Project, retrain: Retrain, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(trained.store_url) as store:
        live = live_of(trained, store)
        live.look()
        retrain(trained, store, 33.0)
        built = live._built

        def slowly(release: Any) -> Engine:
            engine = built(release)  # has read the catalogue; now it changes
            store.patch_item(Item(item_id="i1", available=False))
            live.catalogue_changed(["i1"])
            return engine

        monkeypatch.setattr(live, "_built", slowly)
        before = live.engine
        assert live.look()
        for engine in (before, live.engine):
            assert not engine.catalogue.offered_I[engine.catalogue.items.code("i1")]
