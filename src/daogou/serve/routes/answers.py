"""Questions: recommendations, ranking, neighbours, search, and which placements there are."""

from collections.abc import Callable
from typing import Annotated

from litestar import Router, get, post
from litestar.params import JSONBody, PathParameter, QueryParameter

from daogou.errors import UnknownName, UsageError
from daogou.guide.names import other_names
from daogou.request import MAX_K, Answer, Request
from daogou.serve.errors import NotFound
from daogou.serve.openapi import needs
from daogou.serve.services import Given, Services
from daogou.serve.wire import PlacementAnswer, RankBody

READ = needs("recommend:read")
ItemId = Annotated[str, PathParameter(max_length=256, description="An item of the catalogue.")]
Neighbours = Annotated[int, QueryParameter(ge=1, le=MAX_K, description="How many items to answer with.")]
Language = Annotated[str, QueryParameter(min_length=2, max_length=16, description="Language of titles and reasons.")]


@post("/recommendations", **READ, status_code=200, summary="What to show in a placement")
async def recommendations(data: JSONBody[Request], services: Given) -> Answer:
    """The items for one placement and one shopper, best first. A shopper that is not known is a guest; `degraded` says that a simpler model answered."""
    answer = _counted(data.placement, await services.desk.run(services.live.engine.recommend, data), services)
    if services.project.serving.log_shown:
        services.shown.add(answer, data.user_id, data.session_id, data.placement)
    return answer


@post("/rank", **READ, status_code=200, summary="Order the caller's own candidates")
async def rank(data: JSONBody[RankBody], services: Given) -> Answer:
    """The given items, personally ordered. Items that are not in the catalogue are an error naming them."""
    answer = await services.desk.run(
        services.live.engine.rank,
        data.user_id,
        data.items,
        session_id=data.session_id,
        session=data.session,
        explain=data.explain,
        locale=data.locale,
        details=data.details,
    )
    return _counted("rank", answer, services)


@get("/items/{item_id:str}/similar", **READ, summary="Items like this one")
async def similar(item_id: ItemId, services: Given, k: Neighbours = 10, locale: Language = "en") -> Answer:
    """What may stand in this item's place."""
    return _counted("similar", await _about(services.live.engine.similar, item_id, k, locale, services), services)


@get("/items/{item_id:str}/bought-together", **READ, summary="Items that go with this one")
async def bought_together(item_id: ItemId, services: Given, k: Neighbours = 10, locale: Language = "en") -> Answer:
    """What people take beside this item."""
    return _counted("bought-together", await _about(services.live.engine.bought_together, item_id, k, locale, services), services)


async def _about(ask: Callable[[str, int, str], Answer], item_id: str, k: int, locale: str, services: Services) -> Answer:
    try:
        return await services.desk.run(ask, item_id, k, locale)
    except UnknownName as e:
        raise NotFound("answer", "path", e.found, fix="name a placement for it under [answers] of the scenario") from e
    except UsageError as e:
        if e.field.startswith("items"):
            raise NotFound("item", "item_id", item_id) from e
        raise


@get("/search", **READ, summary="Items by words")
async def search(
    services: Given,
    q: Annotated[str, QueryParameter(min_length=1, max_length=500, description="Words of titles, brands, categories; any language.")],
    filter: Annotated[str, QueryParameter(max_length=2000, description="What may be found, in the filter language.")] = "",
    k: Neighbours = 10,
    locale: Language = "en",
    user_id: Annotated[str | None, QueryParameter(max_length=256, description="Whose taste orders what the words find alike; nobody's if left out.")] = None,
) -> Answer:
    """Items whose words or meaning match, best first."""
    return _counted("search", await services.desk.run(_found, services, q, filter, k, locale, user_id), services)


def _found(services: Services, q: str, filter: str, k: int, locale: str, user_id: str | None) -> Answer:
    engine = services.live.engine
    return engine.search(q, filter, k, locale=locale, user_id=user_id, alike=other_names(q, services.guide.values(engine)))


@get("/placements", **READ, summary="The placements that exist here", sync_to_thread=False)
def placements(services: Given) -> list[PlacementAnswer]:
    """In the scenario's order."""
    return [
        PlacementAnswer(name=p.name, title=p.title, about=p.about, size=p.size, retrieve=list(p.retrieve), filter=p.filter)
        for p in services.scenario.placements
    ]


def _counted(question: str, answer: Answer, services: Services) -> Answer:
    services.metrics.answers.labels(question).inc()
    if answer.degraded:
        services.metrics.degraded.labels(question).inc()
    return answer


router = Router("/", route_handlers=[recommendations, rank, similar, bought_together, search, placements], tags=["answers"])
