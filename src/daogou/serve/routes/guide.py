"""The guide: a conversation in words."""

from litestar import Router, post
from litestar.params import JSONBody

from daogou.guide.dialogue import Question, Reply
from daogou.request import Answer
from daogou.serve.openapi import needs
from daogou.serve.services import Given

READ = needs("recommend:read")
GUIDE = "guide"


@post("/guide", **READ, status_code=200, summary="One turn of a conversation")
async def guide(data: JSONBody[Question], services: Given) -> Reply:
    """What is asked in Chinese or English becomes constraints (`understood`, each of which can be sent back under `remove`) and words. Names, prices and stock
    of the answer are those of the catalogue. `relaxed` names what was dropped because nothing met everything; `question` is asked where its answer would
    halve what is left."""
    reply = await services.assistant.ask(services.live.engine, data)
    services.metrics.answers.labels(GUIDE).inc()
    if reply.degraded:
        services.metrics.degraded.labels(GUIDE).inc()
    if services.project.serving.log_shown and data.user_id:
        shown = Answer(request_id=reply.request_id, release=services.live.release, degraded=reply.degraded, items=reply.items)
        services.shown.add(shown, data.user_id, None, GUIDE)
    return reply


router = Router("/", route_handlers=[guide], tags=["answers"])
