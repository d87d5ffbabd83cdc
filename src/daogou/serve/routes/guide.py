"""The guide: a conversation in words and photos."""

from typing import Any, cast

from litestar import Request, Router, post
from litestar.params import JSONBody

from daogou.guide.dialogue import MOST_PHOTO, Question, Reply
from daogou.request import Answer
from daogou.serve import stream
from daogou.serve.openapi import needs
from daogou.serve.services import Given

READ = needs("recommend:read")
GUIDE = "guide"
LARGEST = MOST_PHOTO + 2**16
"""Bytes of a body: a photo is larger than what [serving] allows for rows."""


@post("/guide", **READ, status_code=200, request_max_body_size=LARGEST, summary="One turn of a conversation")
async def guide(data: JSONBody[Question], services: Given, request: Request[Any, Any, Any]) -> Reply:
    """What is asked in Chinese or English becomes constraints (`understood`, each of which can be sent back under `remove`) and words. Names, prices and stock
    of the answer are those of the catalogue. `relaxed` names what was dropped because nothing met everything; `question` is asked where its answer would
    halve what is left.

    With `Accept: text/event-stream` the same reply comes as server-sent events, each with one JSON object: `understood` {conversation_id, understood, relaxed};
    `reply` {text}, as often as the text has pieces; `items` {request_id, total, degraded, items}; `question`, where one is asked; `done` {}."""
    reply = await services.assistant.ask(services.live.engine, data)
    services.metrics.answers.labels(GUIDE).inc()
    if reply.degraded:
        services.metrics.degraded.labels(GUIDE).inc()
    if services.project.serving.log_shown and data.user_id:
        shown = Answer(request_id=reply.request_id, release=services.live.release, degraded=reply.degraded, items=reply.items)
        services.shown.add(shown, data.user_id, None, GUIDE)
    if stream.wanted(request.headers.get("accept", "")):
        return cast(Reply, stream.Events(stream.events(reply)))  # the framework sends a response as it is; the document describes the reply
    return reply


router = Router("/", route_handlers=[guide], tags=["answers"])
