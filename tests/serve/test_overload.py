"""More than can be answered is refused at once, in words that say when to come back; then everything is as before."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from sqlalchemy.exc import OperationalError

from daogou.data.rows import Ack
from daogou.errors import StoreBusy
from daogou.scenario import Project
from daogou.serve.app import create_app

EVENT = {"user_id": "u", "item_id": "i1", "event": "view"}


@pytest.mark.promise("A6")
def test_a_flood_of_questions_is_shed_and_passes(trained: Project, loopback: Callable[[Litestar], AbstractContextManager[int]]) -> None:
    """Answers are made slow, so that ten times the capacity is a load that any machine can send."""
    app = create_app(trained, open_access=True)
    recommend, slow_s = app.state.live.engine.recommend, 0.02

    async def flood(port: int) -> tuple[list[int], list[str]]:
        statuses, retry = [], []
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=httpx.Limits(max_connections=200), timeout=60) as client:

            async def one() -> None:
                response = await client.post("/v1/recommendations", json={"placement": "home.guest", "k": 1})
                statuses.append(response.status_code)
                if response.status_code != 200:
                    retry.append(response.headers["retry-after"])

            for _ in range(3):
                await asyncio.gather(*(one() for _ in range(100)))
            health = await client.get("/healthz")
            assert health.status_code == 200
        return statuses, retry

    with loopback(app) as port:
        engine = app.state.live.engine
        engine.recommend = lambda question: (time.sleep(slow_s), recommend(question))[1]
        app.state.services.desk.mean_s = slow_s
        statuses, retry = asyncio.run(flood(port))
        engine.recommend = recommend
        assert set(statuses) == {200, 503}
        assert statuses.count(200) >= 3 * 16  # those that may always wait were answered
        assert all(int(seconds) >= 1 for seconds in retry)
        assert app.state.services.desk.waiting == 0
        for _ in range(5):
            assert httpx.post(f"http://127.0.0.1:{port}/v1/recommendations", json={"placement": "home.guest"}).status_code == 200


class FullQueue:
    """Refuses as the store does when its queue is full."""

    def __init__(self, store: Any) -> None:
        self.store, self.full = store, True

    def __call__(self, batch: Any) -> "Future[Ack]":
        if self.full:
            raise StoreBusy("20,000 rows are waiting", retry_after_s=2.5)
        future: Future[Ack] = type(self.store).submit_events(self.store, batch)
        return future


@pytest.mark.promise("D4")
def test_a_full_queue_or_disk_is_a_503_and_nothing_was_written(trained: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(trained, open_access=True)
    queue = FullQueue(app.state.store)
    monkeypatch.setattr(app.state.store, "submit_events", queue)
    with TestClient(app) as client:
        before = app.state.store.counts().events
        for path, body in (("/v1/events", EVENT), ("/v1/events", [EVENT, EVENT]), ("/v1/events:import", [EVENT])):
            refused = client.post(path, json=body)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "3")
        assert app.state.store.counts().events == before
        assert client.post("/v1/recommendations", json={"placement": "home.guest", "user_id": "u"}).status_code == 200
        queue.full = False
        assert client.post("/v1/events", json=EVENT).json()["accepted"] == 1


@pytest.mark.promise("A1")
def test_a_store_that_is_away_degrades_answers_and_refuses_the_rest(trained: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(trained, open_access=True)
    with TestClient(app) as client:
        monkeypatch.setattr(app.state.store._reader, "connect", _away)
        monkeypatch.setattr(app.state.store, "_item_cache", {})
        answer = client.post("/v1/recommendations", json={"placement": "home.guest", "user_id": "u1"}).json()
        assert (len(answer["items"]), answer["degraded"]) == (12, True)
        for path in ("/readyz", "/v1/items/i1", "/v1/users/u1", "/v1/users/u1/export"):
            refused = client.get(path)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1"), path
        assert client.get("/healthz").status_code == 200


def _away() -> None:
    raise OperationalError("SELECT", {}, sqlite3.OperationalError("disk I/O error"))


def test_a_slow_store_does_not_stop_other_routes(trained: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(trained, open_access=True)
    gate = threading.Event()
    with TestClient(app) as client:
        monkeypatch.setattr(app.state.store, "export_user", lambda _: (gate.wait(10), {})[1])
        exporting = threading.Thread(target=client.get, args=("/v1/users/u1/export",))
        exporting.start()
        assert client.get("/healthz").status_code == 200
        assert client.post("/v1/recommendations", json={"placement": "home.guest"}).status_code == 200
        gate.set()
        exporting.join(timeout=10)
