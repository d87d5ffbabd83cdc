"""Search with everything a page of results needs: counts by attribute, spelling, wishes that may give way."""

from litestar import Router, post
from litestar.params import JSONBody

from daogou.guide.search import Results, Search, search
from daogou.request import Answer
from daogou.serve.openapi import needs
from daogou.serve.routes.guide import LARGEST
from daogou.serve.services import Given, Services

READ = needs("recommend:read")
SEARCH = "search"


@post("/search", **READ, status_code=200, request_max_body_size=LARGEST, summary="Items by words or a photo, with counts")
async def search_items(data: JSONBody[Search], services: Given) -> Results:
    """The best matches, counts of values over all of them (`facets`, each with the filter that narrows to it), the words as the catalogue spells them
    (`corrected`). `filter` always holds; of `prefer` the last wishes give way where nothing meets all, then the words, and `relaxed` says which."""
    results = await services.desk.run(_found, data, services)
    services.metrics.answers.labels(SEARCH).inc()
    if results.degraded:
        services.metrics.degraded.labels(SEARCH).inc()
    if services.project.serving.log_shown and data.user_id:
        shown = Answer(request_id=results.request_id, release=results.release, degraded=results.degraded, items=results.items)
        services.shown.add(shown, data.user_id, None, SEARCH)
    return results


def _found(data: Search, services: Services) -> Results:
    engine = services.live.engine
    return search(engine, services.guide.values(engine), data)


router = Router("/", route_handlers=[search_items], tags=["answers"])
