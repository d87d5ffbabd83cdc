"""Who may be served without a key."""

import asyncio
from typing import Any

import pytest

from daogou.errors import UsageError
from daogou.scenario import Project
from daogou.serve import run


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST", "localhost."])
def test_this_machine(host: str) -> None:
    assert run.is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "192.168.1.5", "localhost.evil.example", "127.0.0.1.evil.example", "2130706433", "0x7f.1", "example.com"]
)
def test_other_machines(host: str) -> None:
    assert not run.is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5"])
def test_open_access_is_refused_where_others_reach_it(trained: Project, host: str) -> None:
    with pytest.raises(UsageError, match="open access"):
        run.serve(trained, host, 0, open_access=True)


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"host": "127.0.0.1:8642"}, True),
        ({"host": "localhost:8642", "origin": "http://localhost:8642"}, True),
        ({"host": "[::1]:8642"}, True),
        ({"host": "evil.example"}, False),  # a name that was rebound to 127.0.0.1
        ({"host": "localhost:8642", "origin": "https://evil.example"}, False),
        ({"host": "localhost:8642", "origin": "null"}, False),
        ({"host": ""}, False),
        ({"host": "localhost:8642", "origin": "http://[bad"}, False),
        ({"host": "[bad"}, False),
    ],
)
def test_open_access_is_for_this_machines_own_pages(headers: dict[str, str], allowed: bool) -> None:
    reached, sent = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {"type": "http", "headers": [(k.encode(), v.encode()) for k, v in headers.items()]}
    asyncio.run(run.LoopbackOnly(app)(scope, None, send))  # type: ignore[arg-type]
    assert bool(reached) == allowed
    assert (not sent) if allowed else sent[0]["status"] == 403
