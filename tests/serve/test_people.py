"""Users: registration, export, erasure."""

from pathlib import Path
from typing import Any

from litestar import Litestar
from litestar.testing import TestClient

from daogou.errors import StoreBusy
from daogou.scenario import Project
from daogou.serve.app import create_app
from daogou.store import Store
from daogou.train.erase import erase

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


def test_export_of_nobody_is_a_404(client: Client) -> None:
    assert client.get("/v1/users/nobody/export").status_code == 404


def test_export_holds_what_was_just_sent_and_shown(client: Client) -> None:
    client.post("/v1/events", json={"user_id": "u3", "item_id": "i7", "event": "cart"})
    client.post("/v1/recommendations", json={"placement": "home.guest", "user_id": "u3", "k": 2})
    export = client.get("/v1/users/u3/export").json()
    kinds = [event["event"] for event in export["events"]]
    assert (kinds.count("cart"), kinds.count("shown"), kinds.count("purchase")) == (1, 2, 10)


def test_erasure_leaves_no_trace_not_even_of_what_was_being_written(client: Client, app: Litestar, trained: Project) -> None:
    for person in ("someone-to-forget", "someone-to-keep"):
        client.post("/v1/events", json={"user_id": person, "item_id": "i1", "event": "purchase"})
        client.post("/v1/recommendations", json={"placement": "home.guest", "user_id": person})
    receipt = client.delete("/v1/users/someone-to-forget")
    assert receipt.status_code == 200, receipt.text
    assert receipt.json()["verified"] is True
    app.state.services.shown.flush()
    files = b"".join(file.read_bytes() for file in Path(trained.directory).rglob("*") if file.is_file())
    assert b"someone-to-keep" in files  # the control: an id that is stored is found this way
    assert b"someone-to-forget" not in files
    assert b"someone-to-forget" not in receipt.content
    assert client.get("/v1/users/someone-to-forget").status_code == 404


def test_erasure_with_the_models_is_live_when_it_is_acknowledged(trained: Project) -> None:
    app = create_app(trained, open_access=True, erase=erase)
    with TestClient(app) as client:
        before = app.state.live.release
        receipt = client.delete("/v1/users/u4").json()
        assert receipt["rows"]["events"] == 10
        assert set(receipt["models"]) == {"popular", "ease", "covisit"}
        assert receipt["release"] == app.state.live.release != before
        assert client.post("/v1/recommendations", json={"placement": "home.discover", "user_id": "u1"}).json()["release"] == receipt["release"]


def test_erasure_that_fails_says_so(trained: Project) -> None:
    def fails(project: Project, store: Store, user_id: str) -> Any:
        raise StoreBusy("the disk is full")

    with TestClient(create_app(trained, open_access=True, erase=fails)) as client:
        assert client.delete("/v1/users/u5").status_code == 503
