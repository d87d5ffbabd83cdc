"""The guard before each route: its key, its scope, its origin, its rate.

A route says `opt={"scope": …}` or `opt={"public": True}`; one that says neither does not start.
"""

from typing import Any

from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.routes import HTTPRoute

from daogou.serve import keys
from daogou.serve.errors import Overloaded, Refused
from daogou.serve.limits import Buckets
from daogou.store import Store


class Guard:
    """Refuses what a key may not do. With `open_access` everything is allowed, a demo on loopback, except what would outlive it (`opt={"keyed": True}`)."""

    def __init__(self, store: Store, buckets: Buckets, *, open_access: bool) -> None:
        self.store, self.buckets, self.open_access = store, buckets, open_access

    def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        if self.open_access and handler.opt.get("keyed"):
            raise Refused(403, "keys are not made or revoked under open access", expected="a server that asks for keys", fix="start it without --open")
        if self.open_access or handler.opt.get("public"):
            return
        scope: str = handler.opt["scope"]
        key = keys.find(self.store, _token(connection))
        if not keys.may(key, scope):
            raise Refused(403, "this key may not do this", expected=f"a key with the scope {scope}", fix=f"daogou keys create --scopes {scope}")
        if key.kind == "browser":
            self._browser(connection, list(key.origins))

    def _browser(self, connection: ASGIConnection[Any, Any, Any, Any], origins: list[str]) -> None:
        origin = connection.headers.get("origin", "")
        if origin not in origins:
            fix = "daogou keys create --kind browser --origins " + (origin or "…")
            raise Refused(403, "this key is for other pages", expected="one of the key's origins", fix=fix)
        address = connection.client.host if connection.client else ""
        wait_s = self.buckets.take(address)
        if wait_s > 0:
            raise Overloaded("too many requests from this address", retry_after_s=wait_s, status_code=429)


def _token(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return connection.headers.get("x-api-key", "")


def unguarded(app: Litestar) -> list[str]:
    """Routes that name neither a scope nor that they are public."""
    return [
        f"{method} {route.path}"
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method, (handler, _) in route.route_handler_map.items()
        if method != "OPTIONS" and not handler.opt.get("public") and handler.opt.get("scope") not in keys.SCOPES
    ]
