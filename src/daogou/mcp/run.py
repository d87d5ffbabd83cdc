"""Starts the tools for one project: reads its store beside the process that writes to it, and follows its releases and its catalogue."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from litestar.types import ASGIApp
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from daogou.guide.assistant import Assistant
from daogou.guide.dialogue import Guide
from daogou.guide.language_model import LanguageModel
from daogou.mcp.follow import Follower
from daogou.mcp.gate import Gate
from daogou.mcp.tools import Tools, server
from daogou.scenario import Project
from daogou.serve import logs
from daogou.serve.edge import Edge
from daogou.serve.limits import Desk
from daogou.serve.live import Live
from daogou.serve.metrics import Metrics
from daogou.serve.routes.guide import LARGEST
from daogou.serve.run import CONNECTIONS, GRACE_S, LoopbackOnly, is_loopback
from daogou.store import Store

log = structlog.get_logger("daogou.mcp")

PATH = "/mcp"


@contextmanager
def opened(project: Project, store: Store) -> Iterator[MCPServer]:
    """The server of one project while its releases and its catalogue are followed.

    Raises:
        ConfigError, StoreError: the project cannot be read.
    """
    scenario, metrics, desk = project.load_scenario(), Metrics(), Desk()
    assistant = Assistant(Guide(), _model(project), desk.run)
    follower = Follower(store, scenario.attributes.items)
    live = Live(project, scenario, store, metrics, prepare=assistant.guide.warm)
    live.start()
    follower.start(live.catalogue_changed)
    try:
        live.engine.meaning  # noqa: B018 (the first look begins to read the texts)
        yield server(Tools(scenario, live, desk, assistant))
    finally:
        desk.close()
        follower.close()
        live.close()


def stdio(project: Project, *, log_level: str = "warning") -> None:
    """Answers on standard output what is asked on standard input, until that ends. Logs go to standard error."""
    _settle(log_level)
    with Store.open(project.store_url, read_only=True) as store, opened(project, store) as mcp:
        mcp.run("stdio")


def http(project: Project, host: str, port: int, *, log_level: str = "info") -> None:
    """Serves streamable HTTP at `PATH` until it is told to stop. Loopback is open to this machine alone; elsewhere a key is asked for.

    Args:
        port: 0 takes any free one; uvicorn says which.
    """
    _settle(log_level)
    with Store.open(project.store_url, read_only=True) as store, opened(project, store) as mcp:
        uvicorn.run(
            application(project, store, mcp, open_access=is_loopback(host)),
            host=host, port=port, loop="auto", http="httptools", access_log=False, server_header=False, limit_concurrency=CONNECTIONS,
            timeout_keep_alive=30, timeout_graceful_shutdown=GRACE_S, log_config=None,
        )  # fmt: skip


def application(project: Project, store: Store, mcp: MCPServer, *, open_access: bool) -> ASGIApp:
    """The whole HTTP application: bounds and headers of the API, then who may ask, then the tools. Nothing is kept between requests but what the guide
    remembers of a conversation, so that any number of agents costs nothing."""
    app = mcp.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=max(LARGEST, project.serving.max_body_bytes),
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # LoopbackOnly and Gate do it
    )
    asked: ASGIApp = LoopbackOnly(app) if open_access else Gate(app, store)  # type: ignore[arg-type]
    return Edge(asked, Metrics(), set[str])


def _model(project: Project) -> LanguageModel | None:
    """The project's language model, where it names one; the log says what became of each call."""
    settings = project.language_model
    if settings is None:
        return None
    log.info("language model", url=settings.url, model=settings.model, read=settings.read, phrase=settings.phrase, sends="what shoppers tell the guide")
    return LanguageModel(settings, count=lambda use, outcome: log.info("language model", use=use, outcome=outcome))


def _settle(log_level: str) -> None:
    logs.configure(log_level)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as `daogou serve`: many questions share the cores better than one product does
    threadpool_limits(1)
