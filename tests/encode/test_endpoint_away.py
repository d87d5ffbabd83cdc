"""An embeddings server that is slow, wrong or away while someone waits: search goes by words, in time."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from daogou.breaker import Breaker
from daogou.data.rows import Item
from daogou.encode import endpoint as module
from daogou.encode.endpoint import HANGING, Endpoint
from daogou.engine import Engine
from daogou.errors import DaogouError
from daogou.guide.dialogue import Guide, Question
from daogou.scenario import load_scenario
from daogou.store import Store
from daogou.testing.chat_server import CLOSE, Asked, ChatServer, Script, dripping, reply

QUESTION_S = 0.3


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer().running() as made:
        made.behaviour = well
        yield made


def well(asked: Asked) -> Script:
    rows = [{"index": n, "embedding": [float("lamp" in text), 1.0, 0.0]} for n, text in enumerate(asked["input"])]
    return [(0.0, reply(json.dumps({"data": rows}).encode(), headers="Connection: close\r\n")), (0.0, CLOSE)]


def one_of(server: ChatServer, question_s: float = QUESTION_S) -> Endpoint:
    return Endpoint(server.url, "m", 3, question_s=question_s)


WHOLE = well({"input": ["lamp"]})[0][1]
WRONG: dict[str, Script] = {
    "headers late": [(9.0, WHOLE)],
    "headers dripping": dripping(WHOLE),
    "body dripping": [(0.0, WHOLE[:-40]), *dripping(WHOLE[-40:])],
    "broken off": [(0.0, WHOLE[:-9]), (0.0, CLOSE)],
    "closed": [(0.0, CLOSE)],
    "no HTTP": [(0.0, b"nonsense\r\n\r\n"), (0.0, CLOSE)],
    "500": [(0.0, reply(b"{}", status="500 Oops")), (0.0, CLOSE)],
    "another shape": [(0.0, reply(b'{"data": [{"index": 0, "embedding": [1]}]}')), (0.0, CLOSE)],
    "deep nesting": [(0.0, reply(b"[" * 100_000)), (0.0, CLOSE)],
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.promise("A7")
def test_a_question_has_an_end(what: str, server: ChatServer) -> None:
    server.behaviour = lambda _: WRONG[what]
    began = time.monotonic()
    with pytest.raises(DaogouError, match="check the embeddings server"):
        one_of(server).question(["lamp"])
    assert time.monotonic() - began < 1.5


def test_a_question_is_encoded_as_goods_are(server: ChatServer) -> None:
    one = one_of(server, 5.0)
    for asked, told in zip(one.question(["a lamp"]), one.encode(["a lamp"]), strict=True):
        np.testing.assert_array_equal(asked, told)


def test_after_failures_in_a_row_it_is_left_alone(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module, "Breaker", lambda: Breaker(clock=lambda: now[0]))
    one = one_of(server, 5.0)
    server.behaviour = lambda _: WRONG["500"]
    for _ in range(6):
        with pytest.raises(DaogouError):
            one.question(["lamp"])
    assert len(server.asked) == 3
    now[0], server.behaviour = 60.0, well
    assert one.question(["lamp"])[1].all() and one.question(["lamp"])[1].all()


def test_questions_that_hang_are_bounded(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Breaker", lambda: Breaker(failures=10_000))
    server.behaviour = lambda _: [(0.01, b"x") for _ in range(1000)]
    one = one_of(server, 0.1)
    for _ in range(HANGING + 5):
        with pytest.raises(DaogouError):
            one.question(["lamp"])
    assert server.connections <= HANGING


@pytest.mark.promise("A7")
def test_search_and_guide_go_on_by_words(server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from daogou import finder

    monkeypatch.setattr(finder, "text_encoder", lambda name: one_of(server))
    scenario = load_scenario("shop")
    with Store.open(f"sqlite:///{tmp_path}/s.sqlite3") as store:
        store.put_items([Item(item_id=f"i{n}", title=f"{'lamp' if n % 2 else 'table'} {n}") for n in range(8)])
        engine = Engine(None, scenario, store, text_encoder="away")
        engine.learn_meaning()
        assert {one.item_id for one in engine.search("lamp").items[:4]} == {"i1", "i3", "i5", "i7"}
        server.behaviour = lambda _: WRONG["body dripping"]
        for n in range(5):
            began = time.monotonic()
            assert [one.item_id for one in engine.search(f"table {2 * (n % 4)}").items[:1]] == [f"i{2 * (n % 4)}"]
            assert Guide().ask(engine, Question(text=f"lamp {n}", k=2)).items
            assert time.monotonic() - began < 1.5
        assert len(server.asked) <= 6
