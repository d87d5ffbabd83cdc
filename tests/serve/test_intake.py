"""Events and imports: what is counted, what is kept, what is told about the rest."""

import json
import time
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from daogou.scenario import Project
from daogou.serve.app import create_app
from daogou.store import Store

Client = TestClient[Litestar]
EVENT = {"user_id": "new", "item_id": "i1", "event": "view"}


def stored(app: Litestar, user_id: str) -> list[Any]:
    events: list[Any] = app.state.store.history(user_id, 1000)
    return events


def test_one_event(client: Client, app: Litestar) -> None:
    before = time.time_ns() // 1000
    answer = client.post("/v1/events", json=EVENT)
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 1, "duplicates": 0, "rejected": [], "rejected_count": 0}
    (event,) = stored(app, "new")
    assert (event.item_id, event.event) == ("i1", "view")
    assert before <= event.time <= time.time_ns() // 1000  # a missing time is now


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (1_700_000_000_000_000, 1_700_000_000_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000_000),
        ("2023-11-15T06:13:20+08:00", 1_700_000_000_000_000),
        ("2023-11-14T22:13:20", 1_700_000_000_000_000),
    ],
)
def test_times_come_as_microseconds_or_text(client: Client, app: Litestar, given: Any, kept: int) -> None:
    client.post("/v1/events", json=EVENT | {"time": given})
    assert [event.time for event in stored(app, "new")] == [kept]


def test_replays_are_duplicates(client: Client, app: Litestar) -> None:
    event = EVENT | {"event_id": "order-7-line-1", "time": 1_700_000_000_000_000}
    assert client.post("/v1/events", json=event).json()["accepted"] == 1
    assert client.post("/v1/events", json=[event, event]).json() == {"accepted": 0, "duplicates": 2, "rejected": [], "rejected_count": 0}
    assert len(stored(app, "new")) == 1


def test_a_wrong_row_does_not_sink_the_others(client: Client, app: Litestar) -> None:
    wrong: list[Any] = [EVENT | {"item_id": ""}, 7, EVENT | {"time": -1}, EVENT | {"colour": "red"}, {"user_id": "new"}]
    rows = [EVENT, *wrong, EVENT | {"item_id": "i2"}, EVENT | {"user_id": "a\0b"}]
    answer = client.post("/v1/events", json=rows)
    assert answer.status_code == 200
    report = answer.json()
    assert (report["accepted"], report["duplicates"], report["rejected_count"]) == (2, 0, 6)
    named = {flaw["index"]: flaw["field"] for flaw in report["rejected"]}
    assert named == {1: "item_id", 2: "body", 3: "time", 4: "colour", 5: "item_id", 7: "user_id"}
    assert {event.item_id for event in stored(app, "new")} == {"i1", "i2"}


def test_deep_nesting_is_refused(reading: Client) -> None:
    answer = reading.post("/v1/events", content=json.dumps(EVENT)[:-1].encode() + b', "context": {"a": ' + b"[" * 50_000)
    assert (answer.status_code, answer.json()["extra"][0]["found"]) == (400, "nested too deeply")


@pytest.mark.parametrize("body", [EVENT | {"user_id": 5}, {"user_id": "u"}, [], [EVENT | {"event": ""}], [1, 2], "text", EVENT | {"value": "much"}])
def test_nothing_usable_is_a_400(reading: Client, body: Any) -> None:
    before = reading.app.state.store.counts().events
    answer = reading.post("/v1/events", json=body)
    assert answer.status_code == 400
    assert answer.json()["extra"][0]["found"]
    assert reading.app.state.store.counts().events == before


@pytest.mark.parametrize("value", [10**400, -(10**30), 10**18 + 1])
def test_numbers_beyond_the_store_are_refused(reading: Client, value: int) -> None:
    assert reading.post("/v1/events", content=json.dumps(EVENT | {"time": value})).status_code == 400
    assert reading.post("/v1/events", content=json.dumps(EVENT | {"position": value})).status_code == 400


def test_context_is_kept_as_it_came(client: Client, app: Litestar) -> None:
    context = {"page": "家", "nested": {"list": [1, None, True]}}
    client.post("/v1/events", json=EVENT | {"context": context, "value": 2.5, "session_id": "s", "request_id": "r", "position": 3})
    (event,) = stored(app, "new")
    assert (event.context, event.value, event.session_id, event.request_id, event.position) == (context, 2.5, "s", "r", 3)


def test_import_of_json_lines(client: Client, app: Litestar) -> None:
    lines = [json.dumps(EVENT | {"time": n, "item_id": f"i{n % 40}"}) for n in range(2500)]
    lines[7] = '{"user_id": "new"'
    lines[2000] = json.dumps(EVENT | {"time": "yesterday"})
    answer = client.post("/v1/events:import", content="\n".join(lines) + "\n\n")
    assert answer.status_code == 200
    report = answer.json()
    assert (report["accepted"], report["duplicates"], report["rejected_count"]) == (2498, 0, 2)
    assert [flaw["index"] for flaw in report["rejected"]] == [7, 2000]
    assert app.state.store.counts().events >= 2498


def test_import_of_items_is_in_the_next_answer(client: Client) -> None:
    rows = [{"item_id": f"n{n}", "title": f"Novelty {n}", "price": 1.5, "attributes": {"size": "L"}} for n in range(3)]
    answer = client.post("/v1/items:import", json=[*rows, {"item_id": "bad", "attributes": {"sise": "L"}}, {"item_id": "bad", "price": -1}])
    assert answer.json()["accepted"] == 3
    assert [flaw["field"] for flaw in answer.json()["rejected"]] == ["attributes.sise", "price"]
    found = client.get("/v1/search", params={"q": "novelty"}).json()
    assert {item["item_id"] for item in found["items"]} == {"n0", "n1", "n2"}


def test_import_of_users(client: Client) -> None:
    answer = client.post("/v1/users:import", content=b'{"user_id": "n1", "attributes": {"age": "65+"}}\r\n{"user_id": "n2", "consent": false}')
    assert answer.json()["accepted"] == 2
    assert client.get("/v1/users/n1").json()["attributes"] == {"age": "65+"}
    assert client.get("/v1/users/n2").json()["consent"] is False


@pytest.mark.parametrize("table", ["events", "items", "users"])
@pytest.mark.parametrize("body", [b"", b"\n\n", b"[]", b"[1, 2]", b"not json\nnor this", b"[" + b'{"a": 1},' * 10])
def test_an_import_of_nothing_usable_is_a_400(reading: Client, table: str, body: bytes) -> None:
    answer = reading.post(f"/v1/{table}:import", content=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["extra"]


def test_import_limits_a_line_and_not_the_whole(client: Client) -> None:
    line = json.dumps({"item_id": "i1", "title": "t" * 150_000}).encode()
    assert client.post("/v1/items:import", content=b"\n".join([line] * 4)).json()["accepted"] == 4  # 600 kB, three times the limit of one body
    assert client.post("/v1/items:import", content=json.dumps({"item_id": "i1", "title": "t" * 250_000}).encode()).status_code == 413


def test_what_was_acknowledged_is_there_after_a_restart(trained: Project) -> None:
    with TestClient(create_app(trained, open_access=True)) as client:
        assert client.post("/v1/events", json=EVENT).json()["accepted"] == 1
    with Store.open(trained.store_url) as store:
        assert len(store.history("new", 10)) == 1
