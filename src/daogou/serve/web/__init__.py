"""The storefront: pages from the server, htmx between them, two languages, and nothing from anywhere else.

`router()` is mounted by `serve.app` where access is open, for anyone may look at these pages as any shopper.
"""

import secrets
from importlib import resources
from typing import Annotated

from litestar import Response, Router, get
from litestar.config.csrf import CSRFConfig
from litestar.datastructures import CacheControlHeader
from litestar.di import Provide
from litestar.exceptions import HTTPException, NotFoundException
from litestar.middleware import DefineMiddleware
from litestar.middleware.csrf import CSRFMiddleware
from litestar.params import PathParameter
from litestar.static_files import create_static_files_router

from daogou.errors import DaogouError, UsageError
from daogou.serve.errors import Overloaded
from daogou.serve.openapi import PUBLIC
from daogou.serve.services import Given
from daogou.serve.web import art, cart, guide, pages, photos, taste
from daogou.serve.web.categories import Menu
from daogou.serve.web.forms import OPEN
from daogou.serve.web.page import Page, PageRequest

__all__ = ["router"]

TOKEN = "daogou-csrf"
"Cookie of the token that every form must repeat."
KEPT = CacheControlHeader(max_age=86_400, public=True)
"""Static files carry their version in the address."""


def router(secret: str | None = None) -> Router:
    """Pages under ``/``, their files under ``/static``, pictures under ``/art``, photos under ``/photos``.

    Args:
        secret: signs the visit's cookie and the tokens of forms. Without one it is drawn anew, and visits end when the server does.
    """
    key = (secret or secrets.token_hex(32)).encode()
    menu, turns = Menu(), guide.pace()

    def page(request: PageRequest, services: Given) -> Page:
        return Page.open(request, services, key)

    def failed(request: PageRequest, error: Exception) -> Response[str]:
        return _error_page(Page.open(request, request.app.state.services, key), error)

    shop = Router(
        "/",
        route_handlers=[pages.router, cart.router, guide.router, taste.router],
        dependencies={
            "page": Provide(page, sync_to_thread=False),
            "menu": Provide(lambda: menu, sync_to_thread=False),
            "turns": Provide(lambda: turns, sync_to_thread=False),
        },
        middleware=[DefineMiddleware(CSRFMiddleware, config=CSRFConfig(secret=key.decode(), cookie_name=TOKEN, cookie_httponly=True))],
        exception_handlers={NotFoundException: failed, HTTPException: failed, DaogouError: failed},
    )
    files = create_static_files_router(
        "/static", [str(resources.files(__package__) / "static")], opt=PUBLIC, include_in_schema=False, name="pages", cache_control=KEPT
    )
    return Router("/", route_handlers=[shop, files, picture, photos.photo])


@get("/art/{file:str}", **OPEN, cache_control=KEPT, sync_to_thread=False)
def picture(file: Annotated[str, PathParameter(max_length=100)]) -> Response[str]:
    """One of our own pictures; its address says what is on it."""
    svg = art.draw(file)
    if svg is None:
        raise NotFoundException
    return Response(svg, media_type="image/svg+xml")


def _error_page(page: Page, error: Exception) -> Response[str]:
    """Says in words what went wrong and where to go on; the status is the one that the API would answer."""
    status, headers = 503, {"Retry-After": "1"}
    if isinstance(error, HTTPException):
        status, headers = error.status_code, {}
    elif isinstance(error, Overloaded):
        status = error.status_code
    elif isinstance(error, UsageError):
        status, headers = 400, {}
    kind = {403: "stale", 404: "missing"}.get(status, "wrong" if status < 500 else "busy")
    # The store is not asked for what is known: it may be what failed.
    response = page.render("error.html", status_code=status, headers=headers, kind=kind, known=None)
    if status == 403:
        response.delete_cookie(TOKEN)  # signed by a server that was restarted since: the next page brings a new one
    return response
