"""The outermost layer: every request passes here, the refused ones and the unknown paths too.

Gives each a request id, bounds how many are under way, answers preflights of browser keys, adds the security headers, counts and logs.
"""

import re
import secrets
import time
from collections.abc import Callable

import msgspec
import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from daogou.serve.metrics import Metrics
from daogou.serve.wire import Problem

log = structlog.get_logger("daogou.access")

# The storefront and the OpenAPI page live on own files alone; an API answer needs nothing at all, and one policy for both is harder to get wrong.
CSP = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
HEADERS = [
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", b"authorization, x-api-key, content-type, x-request-id"),
    (b"access-control-max-age", b"600"),
]
_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


class Edge:
    """ASGI in, ASGI out.

    Args:
        most: requests under way at once; one more is answered 503 before its body is read.
        origins: the origins that browser keys allow now.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, origins: Callable[[], set[str]], *, most: int = 512) -> None:
        self._app, self._metrics, self._origins, self._most = app, metrics, origins, most
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        given = {name: value for name, value in scope["headers"] if name in (b"origin", b"x-request-id", b"access-control-request-method")}
        request_id = given.get(b"x-request-id", b"")
        if not _ID.fullmatch(request_id):
            request_id = secrets.token_hex(8).encode()
        headers = [*HEADERS, (b"x-request-id", request_id), *self._cors(given.get(b"origin"))]
        status = 500

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        self._under_way += 1
        self._metrics.in_flight.set(self._under_way)
        structlog.contextvars.bind_contextvars(request_id=request_id.decode())
        try:
            if scope["method"] == "OPTIONS" and b"access-control-request-method" in given:
                await respond(send_on, 204, PREFLIGHT)
            elif self._under_way > self._most:
                self._metrics.shed.inc()
                body = msgspec.json.encode(Problem(status_code=503, detail="too many requests are under way"))
                await respond(send_on, 503, [(b"content-type", b"application/json"), (b"retry-after", b"1")], body)
            else:
                await self._app(scope, receive, send_on)
        finally:
            self._under_way -= 1
            self._metrics.in_flight.set(self._under_way)
            self._note(scope, status, time.perf_counter() - began)
            structlog.contextvars.clear_contextvars()

    def _cors(self, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        if origin is None:
            return []
        allowed = origin.decode("latin-1") in self._origins()
        return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")] if allowed else [(b"vary", b"Origin")]

    def _note(self, scope: HTTPScope, status: int, seconds: float) -> None:
        # The template, never the path itself: a path may name a person.
        route = str(scope.get("path_template") or "unknown")
        method = scope["method"] if route != "unknown" else "any"
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        log.info("request", method=method, route=route, status=status, ms=round(seconds * 1000, 2))


async def respond(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
    """A whole answer without the framework."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
