"""A reply as events: their order, their form on the wire, and nothing of the text lost."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daogou.guide.dialogue import Asked, Chip, Option, Reply
from daogou.request import Answered
from daogou.serve import stream


def reply(**changed: Any) -> Reply:
    chip = Chip(id="color = Red", attribute="color", filter='color = "Red"', label="Red", labels={"en": "Red", "zh": "红色"}, said="red")
    one = Answered(item_id="a", score=1.0, propensity=1.0, reason="Meets: Red", explanation=None, item=None)
    asked = Asked(attribute="gender", text="Who is it for?", options=[Option(value="Men", label="Men", items=3)])
    whole = Reply(
        conversation_id="c", request_id="r", reply="3 things match.\nWho is it for?", understood=[chip], question=asked, relaxed=[chip], total=3, items=[one]
    )
    return msgspec.structs.replace(whole, **changed)


def parsed(chunks: list[bytes]) -> list[tuple[str, Any]]:
    """Events as a browser reads them."""
    blocks = b"".join(chunks).decode().split("\n\n")
    assert blocks.pop() == ""
    out = []
    for block in blocks:
        name, data = block.split("\n")  # a newline within the data would be a third line
        out.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return out


def test_events_come_in_order_and_together_are_the_reply() -> None:
    whole = reply()
    events = parsed(list(stream.events(whole)))
    names = [name for name, _ in events]
    assert names[0] == "understood" and names[-3:] == ["items", "question", "done"] and set(names[1:-3]) == {"reply"} and len(names) > 6
    assert "".join(data["text"] for name, data in events if name == "reply") == whole.reply
    data = dict(events)
    rebuilt = {**data["understood"], **data["items"], "question": data["question"], "reply": whole.reply}
    assert msgspec.convert(rebuilt, Reply) == whole


def test_nothing_is_asked_where_nothing_is_asked() -> None:
    names = [name for name, _ in parsed(list(stream.events(reply(question=None, reply=""))))]
    assert names == ["understood", "items", "done"]


@given(st.text(max_size=300))
def test_pieces_together_are_the_text(text: str) -> None:
    pieces = stream.pieces(text)
    assert "".join(pieces) == (text if text.strip() else "")
    assert all(piece.strip() for piece in pieces)


def test_chinese_comes_in_pieces_too() -> None:
    assert len(stream.pieces("有12件商品符合，为你挑了这些。")) >= 4


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [("text/event-stream", True), ("application/json, Text/Event-Stream;q=0.5", True), ("*/*", False), ("", False), ("text/event-streams", False)],
)
def test_events_are_sent_to_those_who_ask_for_them(accept: str, wanted: bool) -> None:
    assert stream.wanted(accept) is wanted
