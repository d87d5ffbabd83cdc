"""What was shown is stored behind the answers, and never in their way."""

import time
from concurrent.futures import Future
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from daogou.data.rows import Ack, Event
from daogou.errors import StoreBusy
from daogou.request import Answer, Answered
from daogou.scenario import Project, Serving
from daogou.serve.app import create_app
from daogou.serve.metrics import Metrics
from daogou.serve.shown import ShownLog

Client = TestClient[Litestar]


class Memory:
    """Stands for the store: keeps what it is given, or refuses it."""

    def __init__(self, *, busy: bool = False) -> None:
        self.busy, self.rows = busy, list[Event]()

    def submit_events(self, batch: list[Event]) -> "Future[Ack]":
        if self.busy:
            raise StoreBusy("the queue is full")
        self.rows += batch
        done: Future[Ack] = Future()
        done.set_result(Ack(accepted=len(batch)))
        return done


def answered(n: int, request_id: str = "r") -> Answer:
    return Answer(request_id=request_id, release="one", degraded=False, items=[Answered(item_id=f"i{i}", score=1.0, propensity=0.5) for i in range(n)])


def log_over(memory: Any, **options: Any) -> tuple[ShownLog, Metrics]:
    metrics = Metrics()
    return ShownLog(memory, metrics, **options), metrics


def counted(metrics: Metrics, outcome: str) -> float:
    return metrics.registry.get_sample_value("daogou_shown_total", {"outcome": outcome}) or 0.0


def test_each_item_becomes_an_event_with_its_place_and_propensity(client: Client, app: Litestar) -> None:
    answer = client.post("/v1/recommendations", json={"placement": "home.guest", "user_id": "new", "session_id": "s1", "k": 3}).json()
    app.state.services.shown.flush()
    events = app.state.store.history("new", 10)
    assert [(e.event, e.item_id, e.position) for e in events] == [("shown", item["item_id"], n) for n, item in enumerate(answer["items"])]
    assert {(e.request_id, e.session_id) for e in events} == {(answer["request_id"], "s1")}
    assert events[0].context == {"placement": "home.guest", "propensity": 1.0, "release": answer["release"]}


def test_they_arrive_without_being_asked_for(client: Client, app: Litestar) -> None:
    client.post("/v1/recommendations", json={"placement": "home.guest", "session_id": "visit-1", "k": 2})
    deadline = time.monotonic() + 10
    while len(app.state.store.history("visit-1", 10)) < 2:  # a guest is known by the session
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_was_shown_does_not_push_what_was_done_out_of_sight(client: Client, app: Litestar) -> None:
    """A shopper is read back to a bounded number of events; a few pages of recommendations must not fill it."""
    question = {"placement": "home.for_you", "user_id": "u1", "k": 10, "details": False}
    before = [item["item_id"] for item in client.post("/v1/recommendations", json=question).json()["items"]]
    for _ in range(60):
        client.post("/v1/recommendations", json=question)
    app.state.services.shown.flush()
    assert len(app.state.store.history("u1", 1000)) > 500
    assert [item["item_id"] for item in client.post("/v1/recommendations", json=question).json()["items"]] == before


def test_a_project_may_leave_it_out(trained: Project) -> None:
    quiet = Project(directory=trained.directory, serving=Serving(log_shown=False))
    app = create_app(quiet, open_access=True)
    with TestClient(app) as client:
        client.post("/v1/recommendations", json={"placement": "home.guest", "user_id": "new"})
        app.state.services.shown.flush()
        assert app.state.store.history("new", 10) == []


def test_memory_is_bounded_and_what_is_dropped_is_counted() -> None:
    memory = Memory()
    log, metrics = log_over(memory, most=50)
    for n in range(10):
        log.add(answered(10, f"r{n}"), "u", None, "place")
    assert counted(metrics, "dropped") == 50
    log.flush()
    assert len(memory.rows) == counted(metrics, "stored") == 50


def test_a_busy_store_costs_rows_and_not_answers() -> None:
    log, metrics = log_over(Memory(busy=True))
    log.add(answered(5), "u", None, "place")
    log.flush()
    assert (counted(metrics, "stored"), counted(metrics, "dropped")) == (0, 5)


def test_nobody_is_counted_and_not_stored() -> None:
    memory = Memory()
    log, metrics = log_over(memory)
    log.add(answered(5), None, None, "place")
    log.flush()
    assert (memory.rows, counted(metrics, "nobody")) == ([], 5)


@pytest.mark.parametrize("name", ["", "x" * 257, "a\0b"])
def test_a_name_that_the_store_refuses_does_not_sink_the_rows_of_others(client: Client, app: Litestar, name: str) -> None:
    for person in ("before", name, "after"):
        answer = client.post("/v1/recommendations", json={"placement": "home.guest", "user_id": person, "k": 2})
        assert answer.status_code == 200
    app.state.services.shown.flush()
    assert [len(app.state.store.history(person, 10)) for person in ("before", "after")] == [2, 2]


def test_forgetting_holds_for_answers_still_under_way() -> None:
    memory = Memory()
    log, _ = log_over(memory)
    log.add(answered(5), "gone", None, "place")
    log.add(answered(2), "here", None, "place")
    log.forget("gone")
    log.add(answered(5), "gone", None, "place")
    log.flush()
    assert {event.user_id for event in memory.rows} == {"here"}
