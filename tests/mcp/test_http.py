"""The tools over streamable HTTP: who may ask, under which bounds, and a real client's whole conversation."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import httpx2
import pytest
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from daogou.mcp.run import application, opened
from daogou.scenario import Project
from daogou.serve import keys
from daogou.serve.routes.guide import LARGEST
from daogou.store import Store
from daogou.testing.chat_server import ChatServer, completion

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


@contextmanager
def served(project: Project) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`daogou mcp --http` in a process of its own, which is ended; its port."""
    command = [sys.executable, "-m", "daogou", "mcp", "--http", "--port", "0", "--project", str(project.directory)]
    log = project.directory / "mcp.log"
    with log.open("w") as written:
        process = subprocess.Popen(command, stderr=written, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text())):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield process, int(found[1])
    finally:
        process.kill()
        process.wait()


@contextmanager
def keyed(project: Project) -> Iterator[str]:
    """The application as it is where others reach it, behind a real server; its address."""
    with Store.open(project.store_url, read_only=True) as store, opened(project, store) as mcp:
        app = application(project, store, mcp, open_access=False)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", loop="asyncio", http="httptools"))  # type: ignore[arg-type]
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/mcp"
        finally:
            server.should_exit = True
            thread.join(timeout=20)


async def conversation(address: str, headers: dict[str, str]) -> None:
    async with (
        httpx2.AsyncClient(headers=headers) as http,
        Client(streamable_http_client(address, http_client=http), read_timeout_seconds=60) as client,
    ):
        assert {tool.name for tool in (await client.list_tools()).tools} == {"search", "recommend", "similar", "explain", "guide"}
        found = await client.call_tool("search", {"query": "item 7", "k": 2})
        assert found.structured_content["items"][0]["item_id"] == "i7"  # type: ignore[index]
        assert json.loads(found.content[0].text) == found.structured_content  # type: ignore[union-attr]
        wrong = await client.call_tool("similar", {"item_id": "i999"})
        assert wrong.is_error and "no item 'i999'" in wrong.content[0].text  # type: ignore[union-attr]
        first = await client.call_tool("guide", {"text": "something by b1"})
        name = first.structured_content["conversation_id"]  # type: ignore[index]
        second = await client.call_tool("guide", {"text": "under 30", "conversation_id": name})
        assert len(second.structured_content["understood"]) == 2, "the guide remembers across requests"  # type: ignore[index]


def test_a_whole_conversation_on_loopback_which_other_names_and_pages_cannot_reach(project: Project, writer: Store) -> None:
    with served(project) as (process, port):
        address = f"http://127.0.0.1:{port}/mcp"
        asyncio.run(conversation(address, {}))
        asyncio.run(conversation(f"http://localhost:{port}/mcp", {}))
        for headers in ({"host": "evil.example"}, {"host": f"evil.example:{port}"}, {"origin": "https://evil.example"}, {"origin": "null"}):
            assert httpx.post(address, json=LIST, headers=HEADERS | headers).status_code == 403, headers
        assert httpx.post(address, json=LIST, headers=HEADERS).status_code == 200
        large = {**LIST, "params": {"_meta": {"x": "x" * (LARGEST + 1)}}}
        assert httpx.post(address, json=large, headers=HEADERS).status_code == 413
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) in (0, -signal.SIGTERM)


def test_elsewhere_a_key_that_may_read_is_asked_for(project: Project, writer: Store) -> None:
    server, page, blind = (
        keys.create(writer, "server"),
        keys.create(writer, "browser", origins=["https://shop.example"]),
        keys.create(writer, "server", scopes=["events:write"]),
    )
    with keyed(project) as address:

        def status(**headers: str) -> int:
            return httpx.post(address, json=LIST, headers=HEADERS | headers).status_code

        assert status() == 401
        assert status(authorization="Bearer dg_server_x_y") == 401
        assert status(authorization=f"Bearer {blind.token}") == 403
        assert status(authorization=f"Bearer {page.token}", origin="https://shop.example") == 403
        assert status(authorization=f"Bearer {page.token}") == 403
        assert status(authorization=f"Bearer {server.token}", origin="https://shop.example") == 403
        assert status(authorization=f"Bearer {server.token}") == 200
        asyncio.run(conversation(address, {"x-api-key": server.token}))
        keys.revoke(writer, server.id)
        assert status(authorization=f"Bearer {server.token}") == 401


NONSENSE = {
    "nothing": b"",
    "an empty list": b"[]",
    "half": b"{",
    "zeros": b"\0" * 100,
    "no such tool": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"no such tool","arguments":{}}}',
}


@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_the_callers_mistake(project: Project, writer: Store, body: bytes) -> None:
    key = keys.create(writer, "server")
    with keyed(project) as address:
        answer = httpx.post(address, content=body, headers=HEADERS | {"x-api-key": key.token})
        assert answer.status_code < 500
        assert answer.status_code >= 400 or "error" in answer.text.lower()


def test_the_guide_speaks_with_the_projects_language_model(advised: Project, chat: ChatServer) -> None:
    """Over HTTP, too, and the connections end with the server: warnings are errors here."""
    chat.behaviour = lambda _: [(0.0, completion('{"text": "I would take {1}."}'))]

    async def turn(address: str, token: str) -> None:
        async with (
            httpx2.AsyncClient(headers={"x-api-key": token}) as http,
            Client(streamable_http_client(address, http_client=http), read_timeout_seconds=60) as client,
        ):
            for _ in range(2):
                found = await client.call_tool("guide", {"text": "b1", "locale": "en"})
                assert found.structured_content["reply"].startswith("I would take “Item")  # type: ignore[index]

    with Store.open(advised.store_url) as writer:
        key = keys.create(writer, "server")
        with keyed(advised) as address:
            asyncio.run(turn(address, key.token))
    deadline = time.monotonic() + 5
    while chat.ended < chat.connections and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(chat.asked) == 2 and chat.connections == chat.ended == 1
