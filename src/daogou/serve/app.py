"""Puts the server together: one store, one live engine, one application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import structlog
from litestar import Litestar, Router
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from daogou.errors import ConfigError
from daogou.guide.assistant import Assistant
from daogou.guide.dialogue import Guide
from daogou.guide.language_model import LanguageModel
from daogou.scenario import Project
from daogou.serve import errors, keys, openapi
from daogou.serve.body import Body
from daogou.serve.edge import Edge
from daogou.serve.guard import Guard, unguarded
from daogou.serve.limits import Buckets, Desk
from daogou.serve.live import Live
from daogou.serve.metrics import Metrics
from daogou.serve.retention import Retention
from daogou.serve.routes import answers, catalogue, guide, intake, operation, people, profile, search
from daogou.serve.routes import keys as key_routes
from daogou.serve.services import Erase, Services
from daogou.serve.shown import ShownLog
from daogou.store import Store

log = structlog.get_logger("daogou.serve")


def create_app(project: Project, *, open_access: bool, erase: Erase | None = None, store: Store | None = None) -> Litestar:
    """The application of one project.

    Args:
        project: says scenario, store and limits.
        open_access: no key is asked for, and the storefront is shown; only for a server on loopback.
        erase: what DELETE /v1/users/{id} calls; without it rows are erased now and the models with the next training.
        store: an open store, which the caller closes; without it the project's own is opened and closed.

    Raises:
        ConfigError, StoreError: the project cannot be served.
    """
    scenario = project.load_scenario()
    metrics, desk, conversations = Metrics(), Desk(), Guide()
    settings = project.language_model
    model = LanguageModel(settings, count=lambda use, outcome: metrics.language_model.labels(use, outcome).inc()) if settings else None
    opened = Store.open(project.store_url) if store is None else store
    services = Services(
        project=project,
        scenario=scenario,
        store=opened,
        live=Live(project, scenario, opened, metrics, prepare=conversations.warm),
        desk=desk,
        shown=ShownLog(opened, metrics),
        metrics=metrics,
        erase=erase,
        guide=conversations,
        assistant=Assistant(conversations, model, desk.run),
    )

    retention = Retention(opened, project.serving.keep_shown_days)

    @asynccontextmanager
    async def life(app: Litestar) -> AsyncIterator[None]:
        if settings is not None:
            log.info("language model", url=settings.url, model=settings.model, read=settings.read, phrase=settings.phrase, sends="what shoppers tell the guide")
        services.live.start()
        services.shown.start()
        retention.start()
        try:
            yield
        finally:
            if model is not None:
                await model.close()
            services.desk.close()
            services.live.close()
            services.shown.close()
            retention.close()
            if store is None:
                opened.close()

    guard = Guard(opened, Buckets(), open_access=open_access)
    api = Router(
        "/v1", route_handlers=[answers.router, guide.router, search.router, intake.router, catalogue.router, people.router, profile.router, key_routes.router]
    )
    app = Litestar(
        route_handlers=[api, operation.router, *_pages(open_access)],
        guards=[guard],
        dependencies={"services": Provide(lambda: services, sync_to_thread=False)},
        dto=Body,
        return_dto=None,
        exception_handlers=errors.HANDLERS,
        lifespan=[life],
        logging_config=None,  # `logs` sets it up for the process that serves; a library must not
        openapi_config=openapi.config(),
        plugins=[openapi.StrictStructs()],
        request_max_body_size=project.serving.max_body_bytes,
    )
    if forgotten := unguarded(app):
        raise ConfigError(f"routes without a scope: {', '.join(forgotten)}", expected="opt scope or public on each")
    app.state.update({"services": services, "project": project, "scenario": scenario, "store": opened, "live": services.live})
    app.asgi_handler = Edge(app.asgi_handler, metrics, partial(keys.origins, opened))
    return app


def _pages(open_access: bool) -> list[ControllerRouterHandler]:
    """The storefront, where it is part of this installation. It shows any shopper's page to anyone, so it belongs to open access only."""
    if not open_access or find_spec("daogou.serve.web") is None:
        return []
    module: Any = import_module("daogou.serve.web")
    return [module.router()] if hasattr(module, "router") else []
