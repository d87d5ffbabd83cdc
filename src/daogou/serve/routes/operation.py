"""For those who run it: health, readiness, metrics, and the documents of the API."""

from litestar import Response, Router, get
from sqlalchemy.exc import DBAPIError

from daogou.errors import StoreError
from daogou.serve.openapi import needs
from daogou.serve.services import Given
from daogou.serve.wire import Health

PUBLIC = {"public": True}


@get("/healthz", opt=PUBLIC, summary="Whether the process answers", sync_to_thread=False)
def health(services: Given) -> Health:
    """200 as long as the process lives."""
    return Health(status="ok", release=services.live.release)


@get("/readyz", opt=PUBLIC, summary="Whether questions can be answered")
async def ready(services: Given) -> Response[Health]:
    """200 when the store answers; without a release the newest items are the answer. 503 tells a balancer to ask elsewhere."""
    try:
        counts = await services.desk.run(services.store.counts)
    except (StoreError, DBAPIError):
        return Response(Health(status="store away"), status_code=503, headers={"Retry-After": "1"})
    return Response(Health(status="ready", release=services.live.release, scenario=services.scenario.name, items=counts.items))


@get("/metrics", **needs("admin"), media_type="text/plain; version=0.0.4; charset=utf-8", summary="Counters for Prometheus", sync_to_thread=False)
def metrics(services: Given) -> bytes:
    """The text format of Prometheus."""
    return services.metrics.text()


router = Router("/", route_handlers=[health, ready, metrics], tags=["operation"])
