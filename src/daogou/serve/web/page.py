"""One request for a page: who asks, in which language, and how the answer is rendered."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import quote, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import MediaType, Request, Response
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from litestar.template.base import csrf_token
from msgspec.json import encode

from daogou.data.rows import Event, Item
from daogou.engine import Answer
from daogou.scenario import Placement
from daogou.serve import stream
from daogou.serve.services import Services
from daogou.serve.web import art, fields, photos, roles, visit
from daogou.serve.web.speech import LOCALES, Speech, negotiate
from daogou.serve.web.visit import Visit
from daogou.serve.wire import now

P = ParamSpec("P")
R = TypeVar("R", bound=Response[Any])
PageRequest = Request[Any, Any, Any]
LARGEST_CARD = 200
"Pixels of a place for which the small photo is sharp enough on a dense screen."


@dataclass(frozen=True, slots=True)
class Page:
    """Handed to each handler of the pages. `visit` is changed in place; every answer carries it back to the browser."""

    request: PageRequest
    services: Services
    visit: Visit
    speech: Speech
    secret: bytes
    known: "Known"
    given: str
    "The visit's cookie as it came; empty where there was none that counts."

    @classmethod
    def open(cls, request: PageRequest, services: Services, secret: bytes) -> "Page":
        """The page as the request's cookie and headers want it."""
        given = request.cookies.get(visit.COOKIE, "")
        found = visit.unseal(given, secret)
        mine = found or visit.start()
        locale = mine.locale if mine.locale in LOCALES else negotiate(request.headers.get("accept-language", ""))
        return cls(request, services, mine, Speech(locale, services.scenario), secret, Known(services, mine.person), given if found else "")

    @property
    def partial(self) -> bool:
        """Whether htmx asks for a piece of a page."""
        return self.request.headers.get("hx-request") == "true"

    async def build(self, call: "Callable[Concatenate[Page, P], Response[str]]", *args: P.args, **kwargs: P.kwargs) -> Response[str]:
        """Runs a blocking `call` off the loop, where questions to engine and store belong."""
        return await self.services.desk.run(call, self, *args, **kwargs)

    def render(self, template: str, *, status_code: int = 200, headers: Mapping[str, str] | None = None, **context: Any) -> Response[str]:
        """A page, or a piece of one."""
        return self._with_visit(Response(self.piece(template, **context), media_type=MediaType.HTML, status_code=status_code, headers=dict(headers or {})))

    def photo(self, item: Item, side: int) -> str:
        """Address of the item's photo for a place of so many pixels; "" where it has none."""
        folder = self.services.project.directory / photos.FOLDER
        return photos.address(folder, fields.text_of(item.image), "card" if side <= LARGEST_CARD else "page")

    def piece(self, template: str, **context: Any) -> str:
        """A piece of a page as text."""
        return _environment().get_template(template).render({**self._context(), **context})

    def streamed(self, events: Iterable[bytes]) -> stream.Events:
        """Server-sent events, with the visit as every answer carries it."""
        return self._with_visit(stream.Events(events))

    def redirect(self, to: str) -> Response[str]:
        """To another page of our own after a form was sent; htmx loads it whole."""
        header, status = ("HX-Redirect", 200) if self.partial else ("Location", 303)
        return self._with_visit(Response("", media_type=MediaType.HTML, status_code=status, headers={header: own_path(to)}))

    def back(self) -> Response[str]:
        """To the page from which a form was sent without htmx."""
        came_from = urlsplit(self.request.headers.get("referer", ""))
        return self.redirect(f"{came_from.path}?{came_from.query}" if came_from.query else came_from.path)

    def _with_visit(self, response: R) -> R:
        # Pages are about a person: nothing between here and the browser may keep them.
        response.headers["Cache-Control"] = "no-store"
        response.headers["Vary"] = "Cookie, Accept-Language, HX-Request"
        if (sealed := visit.seal(self.visit, self.secret)) != self.given:
            # Only a change is sent: the answer to a slower question must not bring an older cart back.
            response.set_cookie(visit.COOKIE, sealed, path="/", httponly=True, samesite="lax", secure=self.request.url.scheme == "https")
        return response

    def _path(self) -> str:
        url = self.request.url
        return own_path(f"{url.path}?{url.query}" if url.query else url.path)

    def _context(self) -> dict[str, Any]:
        scenario = self.services.scenario
        return {
            "t": self.speech,
            "locale": self.speech.locale,
            "locales": LOCALES,
            "visit": self.visit,
            "scenario": scenario,
            "kinds": self.services.live.engine.catalogue.kinds,
            "has_cart": roles.has_cart(scenario),
            "action": scenario.actions,
            "partial": self.partial,
            "csrf": csrf_token({"request": self.request}),
            "path": self._path() if self.request.method == "GET" else "/",
            "known": self.known,
            "release": self.services.live.release,
            "photo": self.photo,
        }


Asked = NamedDependency[SkipValidation[Page]]
"""Annotation of a handler's argument `page`."""


class Known:
    """What is known of one person; looked up when a page wants it, and once."""

    def __init__(self, services: Services, person: str) -> None:
        self._services, self._person = services, person
        self._events: list[Event] | None = None
        self.most = services.project.serving.history
        "Events read for one answer."

    @property
    def events(self) -> list[Event]:
        """The person's stored events that say something, newest first; what was merely shown is left out."""
        if self._events is None:
            telling = [name for name, weight in self._services.scenario.events.items() if weight]
            self._events = self._services.store.history(self._person, self.most, events=telling)[::-1]
        return self._events


@dataclass(frozen=True, slots=True)
class Shelf:
    """A row of items: one placement, answered."""

    place: Placement
    answer: Answer
    items: tuple[str, ...] = ()
    "The items that the placement is about."


def own_path(path: str) -> str:
    """`path` where it leads to a page of our own, else the first page (``//host`` and ``/\\host`` lead elsewhere)."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() else "/"


def event(page: Page, name: str, item_id: str, *, value: float | None = None, request_id: str = "", position: int | None = None) -> Event:
    """Something this person does now."""
    return Event(
        user_id=page.visit.person,
        item_id=item_id,
        event=name,
        time=now(),
        value=value,
        session_id=page.visit.session,
        request_id=request_id or None,
        position=position,
    )


@cache
def version() -> str:
    """Changes with any static file, so that browsers may keep them for long."""
    digest = sha256()
    for name in ("app.css", "app.js", "guide.css", "guide.js", "taste.css", "icons.svg", "vendor/htmx.min.js"):
        digest.update((resources.files(__package__) / "static" / name).read_bytes())
    return digest.hexdigest()[:12]


@cache
def _environment() -> Environment:
    env = Environment(loader=PackageLoader(__package__, "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    env.filters |= {
        "neat": fields.neat,
        "text": fields.text_of,
        "price": fields.price,
        "fact": fields.fact,
        "id": lambda item_id: quote(item_id, safe=""),
        "json": _json,
        "day": _day,
        "iso": lambda time: _date(time).isoformat(),
    }
    env.globals |= {
        "asset": lambda name: f"/static/{name}?v={version()}",
        "picture": _picture,
        "category_picture": lambda category: "/art/" + quote(art.category_picture(category)),
        "portrait": lambda name: "/art/" + quote(art.cover(name[-2:], name)),
        "levels": fields.levels,
        "number": fields.number_of,
        "title": fields.title,
        "reason": fields.reason,
        "label": fields.label,
        "spoken": fields.spoken,
    }
    return env


def _picture(item: Item) -> str:
    return "/art/" + quote(art.picture(item))


def _date(time: int) -> date:
    return datetime.fromtimestamp(time / 1e6, UTC).date()


def _day(time: int, speech: Speech) -> str:
    at = _date(time)
    return speech("date", day=at.day, month=speech("months").split()[at.month - 1], year=at.year)


def _json(value: object) -> str:
    """JSON for an attribute; autoescape makes it safe there."""
    return encode(value).decode()
