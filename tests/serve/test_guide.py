"""The guide over HTTP: turns, chips, limits, and what an erasure leaves of a conversation."""

import json
import re
import time
from collections.abc import Callable, Iterator

import pytest
from httpx import Response
from litestar import Litestar
from litestar.testing import TestClient

from daogou.catalogue import Catalogue
from daogou.guide import dialogue
from daogou.guide.values import Values
from daogou.scenario import Project, Scenario
from daogou.serve.app import create_app
from daogou.store import Store

Client = TestClient[Litestar]


@pytest.fixture
def client(project: Project) -> Iterator[Client]:
    with Store.open(project.store_url) as store, TestClient(create_app(project, open_access=True, store=store)) as made:
        yield made


def ask(client: Client, **body: object) -> Response:
    return client.post("/v1/guide", json=body)


def test_a_conversation(client: Client) -> None:
    first = ask(client, text="brand1 的，20元以内").json()
    assert {chip["id"] for chip in first["understood"]} == {"brand=brand1", "price<=20"} and first["items"]
    assert all(one["item"]["brand"] == "brand1" and one["item"]["price"] <= 20 for one in first["items"])
    second = ask(client, text="换个牌子", conversation_id=first["conversation_id"]).json()
    assert second["conversation_id"] == first["conversation_id"]
    assert all(one["item"]["brand"] != "brand1" and one["item"]["price"] <= 20 for one in second["items"])
    third = ask(client, remove=["price<=20"], conversation_id=first["conversation_id"]).json()
    assert [chip["id"] for chip in third["understood"]] == ["brand!=brand1"] and third["total"] > second["total"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "text"),
        ({"text": "x" * 10_001}, "text"),
        ({"text": "a", "k": 0}, "k"),
        ({"text": "a", "words": 1}, "words"),
        ({"text": "a", "filter": "prize < 3"}, "filter"),
        ({"text": 5}, "text"),
        ({"image": ""}, "image"),
        ({"text": "shoes", "image": "bm8gcGhvdG8="}, "image"),
        ({"image": "iVBORw0KGgoAAAANSUhEUgAA"}, "image"),
        ({"image": "%%%"}, "image"),
    ],
)
def test_what_is_wrong_is_named(client: Client, body: dict[str, object], field: str) -> None:
    answer = ask(client, **body)
    assert answer.status_code == 400 and answer.json()["extra"][0]["field"] == field


@pytest.mark.parametrize("text", ["😀" * 100, "'; DROP TABLE items; --", "\u0000", "不要" * 5000, "{x}", "第三个"])
def test_bad_input_is_answered(client: Client, text: str) -> None:
    answer = ask(client, text=text)
    assert answer.status_code == 200 and answer.json()["reply"]


def test_an_erased_shopper_leaves_no_conversation(client: Client) -> None:
    name = ask(client, text="brand1", user_id="u1").json()["conversation_id"]
    assert client.delete("/v1/users/u1").status_code == 200
    assert ask(client, text="brand2", user_id="u1", conversation_id=name).json()["conversation_id"] != name


def test_who_asks_for_events_gets_the_same_reply_as_events(client: Client) -> None:
    whole = ask(client, text="brand1 的").json()
    answer = client.post("/v1/guide", json={"text": "brand1 的"}, headers={"accept": "text/event-stream"})
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
    events = [(name, json.loads(data)) for name, data in re.findall(r"^event: (\w+)\ndata: (.*)\n$", answer.text, re.MULTILINE)]
    said = dict(events)
    assert "".join(data["text"] for name, data in events if name == "reply") == whole["reply"]
    assert said["understood"]["understood"] == whole["understood"] and [name for name, _ in events][-1] == "done"
    assert [one["item_id"] for one in said["items"]["items"]] == [one["item_id"] for one in whole["items"]]
    wrong = client.post("/v1/guide", json={}, headers={"accept": "text/event-stream"})
    assert wrong.status_code == 400 and wrong.json()["extra"][0]["field"] == "text"  # before anything streams, an error is an error


def test_the_values_are_learned_before_the_first_turn_of_each_release(
    project: Project, retrain: Callable[[Project, Store, float], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no release, with the first, and with the next: whoever asks first waits no longer than others."""
    learned: list[int] = []
    learn = dialogue.learn

    def counted(catalogue: Catalogue, scenario: Scenario) -> Values:
        learned.append(len(catalogue))
        return learn(catalogue, scenario)

    monkeypatch.setattr(dialogue, "learn", counted)
    with Store.open(project.store_url) as store:
        app = create_app(project, open_access=True, store=store)
        assert learned == []
        with TestClient(app) as client:
            for times in (1, 2, 3):
                assert len(learned) == times
                assert ask(client, text="brand1").status_code == 200
                assert len(learned) == times
                live = app.state.live.release
                retrain(project, store, 10.0 * times)
                until = time.monotonic() + 20
                while app.state.live.release == live and time.monotonic() < until:
                    time.sleep(0.02)
                assert app.state.live.release != live
