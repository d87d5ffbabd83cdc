"""Who may ask over HTTP where others than this machine reach the server: those with a key that may read. Keys and scopes are those of the API."""

import asyncio

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send
from sqlalchemy.exc import DBAPIError

from daogou.errors import StoreError
from daogou.serve import keys
from daogou.serve.edge import respond
from daogou.serve.errors import Refused, usage_flaw
from daogou.serve.wire import Problem
from daogou.store import Store

NEEDED: keys.Scope = "recommend:read"


class Gate:
    """Refuses requests without a key, and all that a page in a browser sends: agents have no origin, and a key in a page is for everyone to read.

    So a rebound name is of no use to a hostile page: it has no key, and its origin betrays it.
    """

    def __init__(self, app: ASGIApp, store: Store) -> None:
        self._app, self._store = app, store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            try:
                await asyncio.to_thread(self._check, scope)
            except Refused as e:
                await _answer(send, Problem(status_code=e.status_code, detail=e.found, extra=[usage_flaw(e)]))
                return
            except (StoreError, DBAPIError):
                await _answer(send, Problem(status_code=503, detail="the store cannot answer now"))
                return
        await self._app(scope, receive, send)

    def _check(self, scope: HTTPScope) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if "origin" in headers:
            raise Refused(403, "a request from a page in a browser", expected="an agent's, which has no Origin", fix="let the page ask its own server")
        kind, _, token = headers.get("authorization", "").partition(" ")
        key = keys.find(self._store, token.strip() if kind.lower() == "bearer" else headers.get("x-api-key", ""))
        if key.kind == "browser":
            raise Refused(403, "a key for pages", expected="a server key", fix=f"daogou keys create --kind server --scopes {NEEDED}")
        if not keys.may(key, NEEDED):
            raise Refused(403, "this key may not do this", expected=f"a key with the scope {NEEDED}", fix=f"daogou keys create --scopes {NEEDED}")


async def _answer(send: Send, problem: Problem) -> None:
    headers = [(b"content-type", b"application/json")]
    if problem.status_code == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if problem.status_code == 503:
        headers.append((b"retry-after", b"1"))
    await respond(send, problem.status_code, headers, msgspec.json.encode(problem))
