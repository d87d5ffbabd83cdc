"""Keys while the server runs: its routes, the commands that ask them, and what a command says that cannot write."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from typer.testing import CliRunner

from daogou.cli import app as commands
from daogou.errors import DaogouError, StoreLocked, UsageError
from daogou.scenario import Project
from daogou.serve import keys
from daogou.serve.app import create_app
from daogou.serve.ask_keys import RunningKeys
from daogou.store import Store
from daogou.testing.chat_server import ChatServer, reply

Loopback = Callable[[Litestar], AbstractContextManager[int]]


@pytest.fixture
def running(project: Project, loopback: Loopback) -> Iterator[tuple[str, str, Store]]:
    """Address, admin key and store of a server that asks for keys."""
    with Store.open(project.store_url) as store:
        token = keys.create(store, "admin").token
        with loopback(create_app(project, open_access=False, store=store)) as port:
            yield f"http://127.0.0.1:{port}", token, store


def run(*words: str) -> str:
    result = CliRunner().invoke(commands, list(words))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_a_key_is_made_shown_once_used_and_revoked(project: Project) -> None:
    with Store.open(project.store_url) as store, TestClient(create_app(project, open_access=False, store=store)) as client:
        head = {"X-API-Key": keys.create(store, "admin").token}
        made = client.post("/v1/keys", json={"kind": "server", "scopes": ["recommend:read"]}, headers=head)
        assert made.status_code == 201 and made.json()["scopes"] == ["recommend:read"]
        token, key_id = made.json()["token"], made.json()["id"]
        assert client.get("/v1/placements", headers={"X-API-Key": token}).status_code == 200
        listed = client.get("/v1/keys", headers=head)
        assert key_id in {one["id"] for one in listed.json()} and token.rpartition("_")[2] not in listed.text
        assert client.delete(f"/v1/keys/{key_id}", headers=head).json() == {"id": key_id}
        assert client.get("/v1/placements", headers={"X-API-Key": token}).status_code == 401
        assert client.delete(f"/v1/keys/{key_id}", headers=head).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "master"}, "kind"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"kind": "browser"}, "origins"),
        ({"kind": "browser", "origins": ["*"]}, "origins"),
        ({"kind": "browser", "origins": ["https://shop.example"], "scopes": ["admin"]}, "scopes"),
        ({"id": "mine"}, "id"),
        ({"scopes": ["admin"] * 51}, "scopes"),
    ],
)
def test_keys_that_cannot_be_are_refused(body: dict[str, object], field: str, project: Project) -> None:
    with Store.open(project.store_url) as store, TestClient(create_app(project, open_access=False, store=store)) as client:
        admin = keys.create(store, "admin")
        head = {"X-API-Key": admin.token}
        answer = client.post("/v1/keys", json=body, headers=head)
        assert answer.status_code == 400 and answer.json()["extra"][0]["field"] == field
        assert [one["id"] for one in client.get("/v1/keys", headers=head).json()] == [admin.id]


def test_open_access_makes_no_keys_that_outlive_it(project: Project) -> None:
    with Store.open(project.store_url) as store, TestClient(create_app(project, open_access=True, store=store)) as client:
        mine = keys.create(store, "server")
        for answer in (client.post("/v1/keys", json={"kind": "admin"}), client.delete(f"/v1/keys/{mine.id}")):
            assert answer.status_code == 403 and "--open" in answer.text
        assert [one["id"] for one in client.get("/v1/keys").json()] == [mine.id]


def test_commands_ask_the_server_that_runs(running: tuple[str, str, Store], project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    url, token, store = running
    monkeypatch.setenv("DAOGOU_KEY", token)
    made = json.loads(run("keys", "create", "--kind", "browser", "--origins", "https://shop.example", "--server", url, "--json"))
    assert keys.find(store, made["token"]).origins == ("https://shop.example",)
    assert {one["id"] for one in json.loads(run("keys", "list", "--server", url + "/", "--json"))} == {one.id for one in keys.listing(store)}
    run("keys", "revoke", made["id"], "--server", url)
    assert made["id"] not in {one.id for one in keys.listing(store)}


def test_a_command_that_cannot_write_says_how(running: tuple[str, str, Store], project: Project) -> None:
    (project.directory / "daogou.toml").write_text('scenario = "shop"\n[serving]\nport = 1234\n', "utf-8")
    for command in (["create"], ["revoke", "x"]):
        with pytest.raises(StoreLocked, match=rf"DAOGOU_KEY=.* daogou keys {command[0]} --server http://127.0.0.1:1234"):
            run("keys", *command, "--project", str(project.directory))
    assert json.loads(run("keys", "list", "--project", str(project.directory), "--json"))


def test_what_the_server_refuses_is_said(running: tuple[str, str, Store]) -> None:
    url, token, store = running
    with pytest.raises(DaogouError, match="DAOGOU_KEY"):
        RunningKeys(url, "").listing()
    with pytest.raises(DaogouError, match="DAOGOU_KEY"):
        RunningKeys(url, keys.create(store, "server").token).create("server")
    with pytest.raises(UsageError, match="master"):
        RunningKeys(url, token).create("master")
    with pytest.raises(UsageError, match="none"):
        RunningKeys(url, token).revoke("none")


@pytest.mark.parametrize("url", ["127.0.0.1:8642", "ftp://x", "http://", "http://x?key=1"])
def test_addresses_that_cannot_be(url: str) -> None:
    with pytest.raises(UsageError, match="server"):
        RunningKeys(url, "")


def test_a_token_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="DAOGOU_KEY"):
        RunningKeys("http://127.0.0.1:1", "dg_admin\n")


def test_what_is_no_daogou_and_what_leads_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(DaogouError, match="--server"):
        RunningKeys("http://127.0.0.1:9", "").listing()
    with ChatServer().running() as other, ChatServer().running() as server:
        for answer in (reply(b"<html>"), reply(b"[{}]"), reply(b"\xff"), b"nonsense\r\n\r\n"):
            server.behaviour = lambda _, answer=answer: [(0.0, answer), (0.0, b"")]
            with pytest.raises(DaogouError, match="--server"):
                RunningKeys(f"http://127.0.0.1:{server.port}", "").create("server")
        moved = reply(b"", status="307 Moved", headers=f"Location: http://127.0.0.1:{other.port}/v1/keys\r\n")
        server.behaviour = lambda _: [(0.0, moved), (0.0, b"")]
        with pytest.raises(DaogouError, match="HTTP 307"):
            RunningKeys(f"http://127.0.0.1:{server.port}", "dg_admin_x_y").create("server")
        assert not other.connections
