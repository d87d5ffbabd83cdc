"""A reply of the guide as server-sent events, always in this order:

    understood   what holds now, and what was relaxed
    reply        a piece of the text; the pieces together are the text
    items        the goods, in order
    question     what is asked back; left out where nothing is
    done         nothing follows

Every event's data is one JSON object on one line.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from litestar.response import Stream
from litestar.response.base import ASGIResponse
from msgspec import json

from daogou.guide.dialogue import Reply

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # a proxy that gathers before it passes on would undo the stream
PIECE = re.compile(r"\s*(?:[^\s\u2e80-\uffff]+|[\u2e80-\uffff]{1,4})\s*")
"""A word with the space around it, or a few characters of a script that knows no spaces."""


class Events(Stream):
    """An answer of server-sent events, whatever the route sends otherwise."""

    def __init__(self, content: Iterable[bytes]) -> None:
        super().__init__(iter(content), headers=HEADERS, media_type=MEDIA_TYPE, status_code=200)

    def to_asgi_response(self, *args: Any, **settings: Any) -> ASGIResponse:
        """With our media type: the framework would take the route's."""
        return super().to_asgi_response(*args, **{**settings, "media_type": MEDIA_TYPE})


def wanted(accept: str) -> bool:
    """Whether an Accept header asks for events."""
    return any(part.partition(";")[0].strip().lower() == MEDIA_TYPE for part in accept.split(","))


def event(name: str, data: Any) -> bytes:
    """One event on the wire."""
    return b"event: " + name.encode() + b"\ndata: " + json.encode(data) + b"\n\n"


def pieces(text: str) -> list[str]:
    """The text cut between words."""
    return PIECE.findall(text) if text.strip() else []


def events(reply: Reply) -> Iterator[bytes]:
    """The whole reply, as `POST /v1/guide` streams it."""
    yield event("understood", {"conversation_id": reply.conversation_id, "understood": reply.understood, "relaxed": reply.relaxed})
    for piece in pieces(reply.reply):
        yield event("reply", {"text": piece})
    yield event("items", {"request_id": reply.request_id, "total": reply.total, "degraded": reply.degraded, "items": reply.items})
    if reply.question is not None:
        yield event("question", reply.question)
    yield event("done", {})
