"""The guide over HTTP with a language model that misbehaves: always an answer, always from the catalogue, and the counters say why."""

import gzip
import json
import re
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from daogou.errors import ConfigError
from daogou.scenario import LanguageModel, Project
from daogou.serve.app import create_app
from daogou.store import Store
from daogou.testing.chat_server import CLOSE, ChatServer, Script, completion, dripping, reply

Client = TestClient[Litestar]
Made = Callable[..., Client]
BUDGET_S = 1.0


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer().running() as made:
        yield made


@pytest.fixture
def client(project: Project, server: ChatServer) -> Iterator[Client]:
    told = msgspec.structs.replace(project, language_model=LanguageModel(url=server.url, model="m", budget_s=BUDGET_S))
    with Store.open(project.store_url) as store, TestClient(create_app(told, open_access=True, store=store)) as made:
        yield made


def counted(client: Client) -> dict[tuple[str, str], int]:
    """Outcomes by use, from /metrics."""
    found = re.findall(r'^daogou_language_model_total\{outcome="([^"]+)",use="([^"]+)"\} ([\d.]+)$', client.get("/metrics").text, re.MULTILINE)
    return {(use, outcome): int(float(n)) for outcome, use, n in found}


def text(said: str) -> Script:
    return [(0.0, completion(json.dumps({"text": said})))]


LATE = completion('{"text": "late"}')
WRONG: dict[str, tuple[str, Script]] = {
    "an invented product": ("word", text("We have the iPhone for you.")),
    "an invented price": ("number", text("{1} costs 1 CNY.")),
    "another id": ("number", text("i39 is lovely.")),
    "another place": ("item", text("{9} is lovely.")),
    "a link": ("markup", text("[it](http://evil.example)")),
    "wrong JSON": ("schema", [(0.0, completion('{"text": '))]),
    "another JSON": ("schema", [(0.0, completion('{"text": "it", "items": []}'))]),
    "headers late": ("slow", [(9.0, LATE)]),
    "body dripping": ("slow", [(0.0, LATE[:-40]), *dripping(LATE[-40:])]),
    "broken off": ("broken off", [(0.0, LATE[:-9]), (0.0, CLOSE)]),
    "500": ("status", [(0.0, reply(b"{}", status="500 Oops"))]),
    "429": ("status", [(0.0, reply(b"{}", status="429 Slow down"))]),
    "a redirection": ("status", [(0.0, reply(b"", status="302 Found", headers="Location: http://127.0.0.1:9/\r\n"))]),
    "a huge body": ("large", [(0.0, b"HTTP/1.1 200 OK\r\n\r\n"), *[(0.0, b" " * 65536)] * 8]),
    "a bomb": ("encoded", [(0.0, reply(gzip.compress(b" " * 20_000_000), headers="Content-Encoding: gzip\r\n"))]),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.promise("A7")
@pytest.mark.promise("S8")
def test_the_rules_answer(what: str, client: Client, server: ChatServer) -> None:
    reason, script = WRONG[what]
    server.behaviour = lambda _: script
    began = time.monotonic()
    answer = client.post("/v1/guide", json={"text": "brand1", "locale": "en", "k": 3})
    took_s = time.monotonic() - began
    body = answer.json()
    assert answer.status_code == 200 and took_s < 1.5
    assert body["reply"].startswith("10 products match. Here are the best.") and len(body["items"]) == 3
    for one in body["items"]:
        assert one["item"] == client.get(f"/v1/items/{one['item_id']}").json() and one["item"]["brand"] == "brand1"
    assert counted(client) == {("phrase", reason): 1}


def test_an_honest_model_is_heard(client: Client, server: ChatServer) -> None:
    server.behaviour = lambda _: text("I'd take {1}.")
    body = client.post("/v1/guide", json={"text": "brand1", "locale": "en", "k": 1, "user_id": "u1"}).json()
    row = body["items"][0]["item"]
    assert body["reply"].startswith(f"I'd take “{row['title']}” ({row['price']:g}).")
    assert counted(client) == {("phrase", "used"): 1} and '"u1"' not in json.dumps(server.asked)


def test_while_it_stalls_other_answers_do_not_wait(client: Client, server: ChatServer) -> None:
    """The model is waited for beside the few threads that answer."""
    import threading

    server.behaviour = lambda _: [(9.0, b"x")]
    asking = [threading.Thread(target=client.post, args=("/v1/guide",), kwargs={"json": {"text": "brand1"}}) for _ in range(8)]
    for one in asking:
        one.start()
    until = time.monotonic() + 5
    while len(server.asked) < 8 and time.monotonic() < until:
        assert client.get("/v1/placements").status_code == 200
        assert client.post("/v1/recommendations", json={"placement": "home.guest"}).status_code == 200
    for one in asking:
        one.join()
    assert len(server.asked) == 8, "all eight were waiting at once, with fewer threads than that"


def test_without_the_section_nothing_is_asked(project: Project) -> None:
    assert project.language_model is None
    with Store.open(project.store_url) as store, TestClient(create_app(project, open_access=True, store=store)) as client:
        assert client.app.state["services"].assistant.model is None
        assert client.post("/v1/guide", json={"text": "brand1 zzzz"}).status_code == 200 and counted(client) == {}


def test_a_key_that_is_not_there_is_found_at_the_start(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    told = msgspec.structs.replace(project, language_model=LanguageModel(url="http://127.0.0.1:9/v1", model="m", key_env="NO_SUCH_KEY"))
    with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
        create_app(told, open_access=True)
