"""Starts the server: one process, one port."""

import ipaddress
import os
from urllib.parse import urlsplit

import uvicorn
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from daogou.errors import UsageError
from daogou.scenario import Project
from daogou.serve import logs
from daogou.serve.app import create_app
from daogou.serve.edge import respond
from daogou.serve.services import Erase

CONNECTIONS = 2000
"Above this uvicorn itself refuses; the bounds of `edge` and `limits` are reached long before."
GRACE_S = 10


def serve(project: Project, host: str, port: int, *, open_access: bool = False, erase: Erase | None = None, log_level: str = "info") -> None:
    """Serves a project until it is told to stop (SIGINT, SIGTERM: what was begun is finished).

    Args:
        host: address to listen on.
        port: 0 takes any free one; uvicorn says which.
        open_access: no keys; only on loopback.
        erase: see `create_app`.

    Raises:
        UsageError: open access on an address that others reach.
    """
    if open_access and not is_loopback(host):
        raise UsageError(
            f"open access on {host}", expected="127.0.0.1, ::1 or localhost: without keys everyone who reaches it reads everything", fix="leave out --open"
        )
    logs.configure(log_level)
    # Many requests at once share the cores better than many threads share one product: a single thread is fastest and steadiest.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    threadpool_limits(1)
    app: ASGIApp = create_app(project, open_access=open_access, erase=erase)
    uvicorn.run(
        LoopbackOnly(app) if open_access else app,
        host=host,
        port=port,
        loop="auto",
        http="httptools",
        access_log=False,
        server_header=False,
        date_header=True,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_S,
        log_config=None,
    )


def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine alone."""
    name = host.strip("[]").rstrip(".").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


class LoopbackOnly:
    """For open access: refuses what a web page elsewhere could send through the visitor's browser (a rebound name, a form of another origin)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", []))
        host, origin = headers.get(b"host", b"localhost").decode("latin-1"), headers.get(b"origin", b"").decode("latin-1")
        # An origin of `null` (a sandboxed frame, a local file) names no host and is refused with the others.
        own = is_loopback(_name("//" + host)) and (not origin or is_loopback(_name(origin)))
        if own or scope["type"] not in (ScopeType.HTTP, ScopeType.WEBSOCKET):
            await self._app(scope, receive, send)
        else:
            await respond(
                send, 403, [(b"content-type", b"application/json")], b'{"status_code":403,"detail":"open access is for this machine alone","extra":[]}'
            )
