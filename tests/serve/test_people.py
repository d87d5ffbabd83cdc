"""Users: registration, export, erasure."""

from pathlib import Path
from typing import Any

from litestar import Litestar
from litestar.testing import TestClient

from daogou.scenario import Project
from daogou.serve.app import create_app
from daogou.store import Store

Client = TestClient[Litestar]


def test_registration(client: Client) -> None:
    assert client.put("/v1/users/p", json={"consent": True, "attributes": {"age": "35-44"}}).json()["attributes"] == {"age": "35-44"}
    assert client.patch("/v1/users/p", json={"attributes": {"income": "high"}}).json()["attributes"] == {"age": "35-44", "income": "high"}
    assert client.patch("/v1/users/p", json={"consent": False}).json()["consent"] is False
    assert client.get("/v1/users/p").json()["consent"] is False
    assert client.get("/v1/users/nobody").status_code == 404
    assert client.patch("/v1/users/nobody", json={}).status_code == 404
    wrong = client.put("/v1/users/p", json={"attributes": {"agee": "1"}})
    assert (wrong.status_code, wrong.json()["extra"][0]["field"]) == (400, "attributes.agee")


def test_export_holds_what_was_just_sent_and_shown(client: Client) -> None:
    client.post("/v1/events", json={"user_id": "u3", "item_id": "i7", "event": "cart"})
    client.post("/v1/recommendations", json={"placement": "home.guest", "user_id": "u3", "k": 2})
    export = client.get("/v1/users/u3/export").json()
    kinds = [event["event"] for event in export["events"]]
    assert (kinds.count("cart"), kinds.count("shown"), kinds.count("purchase")) == (1, 2, 10)


def test_erasure_leaves_no_trace_not_even_of_what_was_being_written(client: Client, app: Litestar, trained: Project) -> None:
    for _ in range(3):
        client.post("/v1/recommendations", json={"placement": "home.guest", "user_id": "u4"})
    receipt = client.delete("/v1/users/u4")
    assert receipt.status_code == 200, receipt.text
    app.state.services.shown.flush()
    assert app.state.store.history("u4", 100) == []
    assert app.state.store.user("u4") is None
    assert b"u4" not in receipt.content or receipt.json()  # the receipt may name whom it is about, and nothing else does:
    for file in Path(trained.directory).glob("store.sqlite3*"):
        assert b"\x05u4" not in file.read_bytes()


def test_erasure_calls_what_the_server_was_started_with(trained: Project) -> None:
    called: list[str] = []

    def erase(project: Project, store: Store, user_id: str) -> dict[str, Any]:
        called.append(user_id)
        assert project == trained
        return {"rows": 10, "models": {"ease": "subtracted"}}

    with TestClient(create_app(trained, open_access=True, erase=erase)) as client:
        assert client.delete("/v1/users/u5").json() == {"rows": 10, "models": {"ease": "subtracted"}}
    assert called == ["u5"]
