"""The client of a chat server that lies, stalls and breaks off: no answer rather than a wrong or a late one, and each reason counted."""

import asyncio
import gzip
import json
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from daogou.breaker import Breaker
from daogou.errors import ConfigError
from daogou.guide.language_model import AT_ONCE, MOST_BYTES, LanguageModel
from daogou.scenario import LanguageModel as Settings
from daogou.testing.chat_server import CLOSE, ChatServer, Script, completion, dripping, reply

BUDGET_S = 0.8
SCHEMA = {"type": "object"}


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer().running() as made:
        yield made


class Asking:
    """A client whose outcomes are counted."""

    def __init__(self, url: str, *, breaker: Breaker | None = None, **settings: object) -> None:
        self.counted = Counter[str]()
        self.model = LanguageModel(Settings(url=url, model="m", **settings), count=lambda _, outcome: self.counted.update([outcome]), breaker=breaker)  # type: ignore[arg-type]

    async def one(self, budget_s: float = BUDGET_S) -> str | None:
        return await self.model.ask("phrase", "our words", {"asked": "红色 “x”"}, SCHEMA, time.monotonic() + budget_s)

    def times(self, n: int, budget_s: float = BUDGET_S) -> list[str | None]:
        async def all_of_them() -> list[str | None]:
            try:
                return [await self.one(budget_s) for _ in range(n)]
            finally:
                await self.model.close()

        return asyncio.run(all_of_them())


def test_what_is_sent_and_what_comes_back(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_KEY", "secret")
    server.behaviour = lambda _: [(0.0, completion("说"))]
    assert Asking(server.url + "/", key_env="CHAT_KEY").times(1) == ["说"]
    (sent,), (headers,) = server.asked, server.headers
    assert headers["authorization"] == "Bearer secret" and headers["accept-encoding"] == "identity"
    assert sent["model"] == "m" and sent["stream"] is False and sent["temperature"] == 0
    assert [m["role"] for m in sent["messages"]] == ["system", "user"] and json.loads(sent["messages"][1]["content"]) == {"asked": "红色 “x”"}
    assert sent["response_format"]["json_schema"]["schema"] == SCHEMA


def test_a_server_without_schemas_is_not_sent_one(server: ChatServer) -> None:
    Asking(server.url, json_schema=False, options={"max_completion_tokens": 5}).times(1)
    assert "response_format" not in server.asked[0] and "temperature" not in server.asked[0] and server.asked[0]["max_completion_tokens"] == 5


def test_connections_are_kept_and_then_closed(server: ChatServer) -> None:
    server.behaviour = lambda _: [(0.0, completion("x"))]
    assert Asking(server.url).times(5) == ["x"] * 5
    assert server.connections == 1
    until = time.monotonic() + 5
    while not server.ended and time.monotonic() < until:
        time.sleep(0.01)
    assert server.ended == 1


WHOLE = completion("late")
BOMB = gzip.compress(b" " * 30_000_000)
DEEP = b"[" * 50_000 + b"]" * 50_000
WRONG: dict[str, tuple[str, Script]] = {
    "headers late": ("slow", [(5.0, WHOLE)]),
    "headers dripping": ("slow", dripping(WHOLE)),
    "body late": ("slow", [(0.0, WHOLE[:-10]), (5.0, WHOLE[-10:])]),
    "body dripping": ("slow", [(0.0, WHOLE[:-50]), *dripping(WHOLE[-50:])]),
    "body that never ends": ("slow", [(0.0, b"HTTP/1.1 200 OK\r\n\r\n"), *[(0.01, b" ")] * 1000]),
    "closed at once": ("broken off", [(0.0, CLOSE)]),
    "closed within the headers": ("broken off", [(0.0, WHOLE[:30]), (0.0, CLOSE)]),
    "closed within the body": ("broken off", [(0.0, WHOLE[:-10]), (0.0, CLOSE)]),
    "no HTTP": ("broken off", [(0.0, b"\x15\x03\x01\x00\x02\x02\x16 nonsense\r\n\r\n")]),
    "endless headers": ("broken off", [(0.0, b"HTTP/1.1 200 OK\r\n"), *[(0.0, b"X-Y: " + b"z" * 50_000 + b"\r\n")] * 10]),
    "500": ("status", [(0.0, reply(b"oops", status="500 Internal Server Error"))]),
    "429": ("status", [(0.0, reply(b"{}", status="429 Too Many Requests", headers="Retry-After: 1\r\n"))]),
    "401": ("status", [(0.0, reply(WHOLE, status="401 Unauthorized"))]),
    "204": ("status", [(0.0, b"HTTP/1.1 204 No Content\r\n\r\n")]),
    "huge": ("large", [(0.0, reply(b" " * (MOST_BYTES + 1)))]),
    "huge without a length": ("large", [(0.0, b"HTTP/1.1 200 OK\r\n\r\n"), *[(0.0, b" " * 65536)] * 6]),
    "gzip bomb": ("encoded", [(0.0, reply(BOMB, headers="Content-Encoding: gzip\r\n"))]),
    "HTML": ("no completion", [(0.0, reply(b"<html>"))]),
    "nothing": ("no completion", [(0.0, reply(b""))]),
    "another shape": ("no completion", [(0.0, reply(b'{"choices": "x"}'))]),
    "no choice": ("no completion", [(0.0, reply(b'{"choices": []}'))]),
    "no content": ("no completion", [(0.0, reply(b'{"choices": [{"message": {"content": null}}]}'))]),
    "deep nesting": ("no completion", [(0.0, reply(DEEP))]),
    "no UTF-8": ("no completion", [(0.0, reply(b'{"choices": [{"message": {"content": "\xff"}}]}'))]),
    "half a character": ("no completion", [(0.0, reply(b'{"choices": [{"message": {"content": "\\ud800"}}]}'))]),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.promise("A7")
def test_whatever_it_does_there_is_an_end(what: str, server: ChatServer) -> None:
    reason, script = WRONG[what]
    server.behaviour = lambda _: script
    asking = Asking(server.url)
    began = time.monotonic()
    assert asking.times(1) == [None]
    assert time.monotonic() - began < 1.5
    assert asking.counted == {reason: 1}


def test_nobody_there(server: ChatServer) -> None:
    asking = Asking("http://127.0.0.1:9/v1")
    assert asking.times(1) == [None] and asking.counted == {"away": 1}


def test_a_redirection_does_not_take_the_key_elsewhere(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_KEY", "secret")
    with ChatServer().running() as other:
        server.behaviour = lambda _: [(0.0, reply(b"", status="307 Temporary Redirect", headers=f"Location: {other.url}/chat/completions\r\n"))]
        asking = Asking(server.url, key_env="CHAT_KEY")
        assert asking.times(1) == [None] and asking.counted == {"status": 1}
        assert not other.connections


def test_the_environment_sends_it_nowhere_else(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with ChatServer().running() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        server.behaviour = lambda _: [(0.0, completion("x"))]
        assert Asking(server.url).times(1) == ["x"] and not proxy.connections


def test_no_time_left_is_no_call(server: ChatServer) -> None:
    asking = Asking(server.url)
    assert asking.times(1, budget_s=0.01) == [None]
    assert asking.counted == {"late": 1} and not server.connections


def test_calls_under_way_are_bounded(server: ChatServer) -> None:
    server.behaviour = lambda _: [(0.2, completion("x"))]
    asking = Asking(server.url)

    async def many() -> list[str | None]:
        found = await asyncio.gather(*(asking.one(5.0) for _ in range(AT_ONCE + 5)))
        await asking.model.close()
        return list(found)

    assert Counter(asyncio.run(many())) == {"x": AT_ONCE, None: 5} and asking.counted == {"busy": 5}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.promise("A7")
def test_after_failures_in_a_row_nobody_asks_for_a_while_and_then_one_tries(server: ChatServer) -> None:
    clock = Clock()
    asking = Asking(server.url, breaker=Breaker(failures=3, rest_s=10, clock=clock))
    server.behaviour = lambda _: [(0.0, reply(b"", status="500 Oops"))]

    async def course() -> None:
        for _ in range(5):
            assert await asking.one() is None
        assert len(server.asked) == 3 and asking.counted == {"status": 3, "resting": 2}
        clock.now = 11.0
        assert await asking.one() is None and await asking.one() is None
        assert len(server.asked) == 4, "one tries, and its failure rests again"
        clock.now = 22.0
        server.behaviour = lambda _: [(0.0, completion("x"))]
        assert [await asking.one() for _ in range(3)] == ["x"] * 3
        await asking.model.close()

    asyncio.run(course())


def test_a_single_failure_among_successes_changes_nothing() -> None:
    breaker = Breaker(failures=2)
    for well in (False, True, False, True, False):
        assert breaker.take()
        breaker.settle(well)
    assert breaker.take()


def test_while_one_tries_the_others_wait_and_a_try_given_up_says_nothing() -> None:
    clock = Clock()
    breaker = Breaker(failures=1, rest_s=10, clock=clock)
    assert breaker.take()
    breaker.settle(False)
    clock.now = 10.0
    assert breaker.take() and not breaker.take()
    breaker.settle(None)
    assert breaker.take() and not breaker.take()
    breaker.settle(True)
    assert breaker.take() and breaker.take()


def test_one_who_gives_up_frees_the_place(server: ChatServer) -> None:
    server.behaviour = lambda _: [(5.0, b"x")]
    asking = Asking(server.url, breaker=Breaker(failures=1))

    async def course() -> None:
        task = asyncio.create_task(asking.one(5.0))
        while not server.asked:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.behaviour = lambda _: [(0.0, completion("x"))]
        assert await asking.one() == "x"
        await asking.model.close()

    asyncio.run(course())
    assert not asking.counted


@pytest.mark.parametrize("url", ["ftp://x/v1", "localhost:8080", "http://", "http://me:pw@x/v1", "http://x/v1?key=1", ""])
def test_addresses_that_cannot_be(url: str) -> None:
    with pytest.raises(ConfigError, match="no address"):
        LanguageModel(Settings(url=url, model="m"))


@pytest.mark.parametrize("key", [None, "", " ", "schlüssel", "a\nb"])
def test_keys_that_cannot_be(key: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAT_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("CHAT_KEY", key)
    with pytest.raises(ConfigError, match="CHAT_KEY"):
        LanguageModel(Settings(url="http://x/v1", model="m", key_env="CHAT_KEY"))
