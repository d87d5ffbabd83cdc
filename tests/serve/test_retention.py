"""What the server noted of its answers goes after its time, and nothing else does."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from litestar.testing import TestClient
from structlog.testing import capture_logs

from daogou.data.rows import Event
from daogou.errors import StoreBusy
from daogou.request import Answer, Answered
from daogou.scenario import Project, Serving
from daogou.serve.app import create_app
from daogou.serve.metrics import Metrics
from daogou.serve.retention import DAY_US, Retention
from daogou.serve.shown import ShownLog
from daogou.store import Store, store


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'store.sqlite3'}") as made:
        yield made


def note(into: Store, days_ago: float, request_id: str, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of then, noted as the server does."""
    at = time.time_ns() // 1000 - int(days_ago * DAY_US)
    with monkeypatch.context() as patch:
        patch.setattr("daogou.serve.shown.now", lambda: at)
        log = ShownLog(into, Metrics())
        log.add(
            Answer(request_id=request_id, release=None, degraded=False, items=[Answered(item_id=f"i{i}", score=1.0, propensity=1.0) for i in range(n)]),
            "u",
            None,
            "home",
        )
        log.flush()


def kept(of: Store, user_id: str = "u") -> list[str]:
    return [str(event.event_id) for event in of.history(user_id, 10_000)]


def test_only_what_the_server_noted_and_is_old_goes(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    old = time.time_ns() // 1000 - 300 * DAY_US
    sent = [
        Event(user_id="u", item_id="i1", event="shown", time=old, request_id="q", position=0, event_id="mine"),
        Event(user_id="u", item_id="i1", event="shown", time=old + 1, request_id="q", position=0),
        Event(user_id="u", item_id="i1", event="shown", time=old + 2),
        Event(user_id="u", item_id="i1", event="purchase", time=old + 3, request_id="r", position=0, event_id="r:0"),
    ]
    opened.add_events(sent)
    note(opened, 200, "a", 3, monkeypatch)
    note(opened, 181, "b", 2, monkeypatch)
    note(opened, 179, "c", 2, monkeypatch)
    keeper = Retention(opened, 180)
    assert keeper.look() == 5
    assert kept(opened) == ["mine", "None", "None", "r:0", "c:0", "c:1"]
    assert keeper.look() == 0
    note(opened, 200, "late", 1, monkeypatch)  # a clock that was set back: a new process looks at everything again
    assert Retention(opened, 178).look() == 3


def test_many_go_in_pieces(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "NOTED_ROWS", 4)
    for n in range(5):
        note(opened, 20 - n, f"r{n}", 3, monkeypatch)
    assert Retention(opened, 17.5).look() == 9 and kept(opened) == [f"r{n}:{i}" for n in (3, 4) for i in range(3)]


def test_the_server_does_it_by_itself(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retention.__init__, "__kwdefaults__", {"first_s": 0.0, "every_s": 0.05})
    told = msgspec.structs.replace(project, serving=Serving(keep_shown_days=30))
    with Store.open(project.store_url) as made:
        note(made, 40, "old", 2, monkeypatch)
        note(made, 20, "new", 2, monkeypatch)
        with TestClient(create_app(told, open_access=True, store=made)):
            deadline = time.monotonic() + 10
            while len(kept(made)) > 2:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        assert kept(made) == ["new:0", "new:1"]
        for_ever = msgspec.structs.replace(project, serving=Serving(keep_shown_days=0))
        note(made, 1000, "ancient", 1, monkeypatch)
        with TestClient(create_app(for_ever, open_access=True, store=made)):
            time.sleep(0.3)
        assert "ancient:0" in kept(made)


def test_a_disk_that_refuses_is_tried_again_later(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    note(opened, 40, "old", 2, monkeypatch)
    real, refused = opened.drop_noted, list[int]()

    def full(*args: object) -> tuple[int, int, bool]:
        if len(refused) < 2:
            refused.append(1)
            raise StoreBusy("the disk refuses to write")
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(opened, "drop_noted", full)
    keeper = Retention(opened, 30, first_s=0.0, every_s=0.02)
    with capture_logs() as logs:
        keeper.start()
        deadline = time.monotonic() + 10
        while kept(opened):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        keeper.close()
    assert [one["event"] for one in logs] == ["shown events not deleted"] * 2 + ["shown events deleted"]
