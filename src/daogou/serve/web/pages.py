"""Pages that show: home, one item, search, the choice of a shopper, what is known, and why something is shown."""

from typing import Annotated

from litestar import Response, Router, get, post
from litestar.exceptions import NotFoundException
from litestar.params import PathParameter, QueryParameter
from msgspec import Meta

from daogou.data.rows import Item
from daogou.serve.web import facets, fields, shelves
from daogou.serve.web.categories import Menu, Shared
from daogou.serve.web.forms import OPEN, added, fields_of, is_item, record
from daogou.serve.web.page import Asked, Page
from daogou.serve.web.speech import LOCALES
from daogou.serve.web.visit import GUEST, start

MOST_FOUND = 24
MOST_SUGGESTED = 6
MOST_SHOPPERS = 24
MOST_LISTED = 60

ItemPath = Annotated[str, PathParameter(max_length=1000)]
Place = Annotated[int, QueryParameter(ge=0, le=10_000)]
Price = Annotated[str, QueryParameter(name="max", max_length=20)]
Only = Annotated[list[Annotated[str, Meta(max_length=500)]] | None, QueryParameter(max_items=facets.MOST_CHOSEN)]
Words = Annotated[str, QueryParameter(max_length=200)]
Name = Annotated[str, QueryParameter(max_length=256)]


# ---- home ----------------------------------------------------------------------------------------------------------------------
@get("/", **OPEN)
async def home(page: Asked, menu: Shared) -> Response[str]:
    """Rows for the chosen shopper; a guest who did something already sees rows of their own."""
    return await page.build(_home, menu)


def _home(page: Page, menu: Menu) -> Response[str]:
    past = page.known.events
    said = len(page.services.store.corrections(page.visit.person))
    where = "home" if page.visit.user or past or said else "guest"
    recent = page.services.store.items(list(dict.fromkeys(event.item_id for event in past[:12]))[:4])
    return page.render("home.html", said=said, rows=shelves.shelves(page, where), categories=menu.of(page.services.live.engine.catalogue), recent=recent)


# ---- one item -------------------------------------------------------------------------------------------------------------------
@get("/item/{item_id:path}", **OPEN)
async def item(page: Asked, item_id: ItemPath, r: Name = "", p: Place = 0) -> Response[str]:
    """One item and what goes with it. `r` and `p` say which answer, at which place, led here."""
    return await page.build(_item, item_id.removeprefix("/"), r, p)


def _item(page: Page, item_id: str, request_id: str, position: int) -> Response[str]:
    row = page.services.store.item(item_id) if is_item(item_id) else None
    if row is None:
        raise NotFoundException
    declared = page.services.scenario.attributes.items
    details = {name: row.attributes[name] for name in declared if row.attributes.get(name) not in (None, "", [])}
    rows = shelves.shelves(page, "item", items=[item_id])
    return page.render("item.html", item=row, details=details, rows=rows, request_id=request_id, position=position)


@post("/seen", **OPEN, status_code=204)
async def seen(page: Asked) -> None:
    """The page of an item was looked at. A post of its own, so that no crawler, preloader or foreign link counts as a look."""
    form = await fields_of(page.request)
    if name := page.services.scenario.actions.get("view"):
        await record(page, [await page.services.desk.run(added, page, name, form)])


@post("/like", **OPEN, status_code=200)
async def like(page: Asked) -> Response[str]:
    """One press that says yes."""
    form = await fields_of(page.request)
    name = page.services.scenario.actions.get("like")
    if name is None:
        raise NotFoundException
    said = await page.services.desk.run(added, page, name, form)
    if said.item_id not in page.visit.liked:
        await record(page, [said])
        page.visit.like(said.item_id)
    return page.render("_like.html", item_id=said.item_id, request_id=said.request_id or "", position=said.position or 0) if page.partial else page.back()


@get("/why", **OPEN)
async def why(page: Asked, place: Name, item: Name, of: Annotated[list[str] | None, QueryParameter(max_items=100)] = None) -> Response[str]:
    """What in the history caused a recommendation, and how much."""
    return await page.build(_why, place, item, of or [])


def _why(page: Page, place: str, item_id: str, items: list[str]) -> Response[str]:
    row = page.services.store.item(item_id) if is_item(item_id) else None
    if row is None:
        raise NotFoundException
    shown, causes = shelves.why(page, place, item_id, items)
    return page.render("_why.html" if page.partial else "why.html", item=row, shown=shown, causes=causes, about_page=bool(items))


# ---- search ---------------------------------------------------------------------------------------------------------------------
@get("/search", **OPEN)
async def search(page: Asked, q: Words = "", category: Name = "", at_most: Price = "", only: Only = None) -> Response[str]:
    """Words, a category, a price and values chosen from the counts; each may be missing."""
    limit = fields.plain(fields.amount(at_most))
    return await page.build(_search, facets.Looked(q.strip(), category, limit, tuple(dict.fromkeys(only or ()))))


def _search(page: Page, looked: facets.Looked) -> Response[str]:
    values = page.services.guide.values(page.services.live.engine)
    chips = facets.chips(page, values, looked)
    found = shelves.found(page, values, looked.words, looked.filter, MOST_FOUND)
    else_where = shelves.shelves(page, "home" if page.visit.user else "guest")[:1] if not found.answer.items else []
    return page.render(
        "search.html",
        q=looked.words,
        looked=looked,
        found=found,
        answer=found.answer,
        most=MOST_FOUND,
        priced=values.priced or bool(looked.at_most),
        chips=chips,
        groups=facets.groups(page, values, found.facets, looked),
        rows=else_where,
    )


@get("/search/suggest", **OPEN)
async def suggest(page: Asked, menu: Shared, q: Words = "") -> Response[str]:
    """A few items and categories while words are being typed."""
    return await page.build(_suggest, menu, q.strip())


def _suggest(page: Page, menu: Menu, words: str) -> Response[str]:
    answer = page.services.live.engine.search(words, "", MOST_SUGGESTED, locale=page.speech.locale, unfinished=True) if words else None
    near = [name for name in menu.of(page.services.live.engine.catalogue) if words and words.lower() in name.lower()][:2]
    return page.render("_suggest.html", q=words, answer=answer, categories=near)


# ---- who is asking ---------------------------------------------------------------------------------------------------------------
@get("/shoppers", **OPEN)
async def shoppers(page: Asked, q: Name = "", after: Annotated[int, QueryParameter(ge=0, le=10_000_000)] = 0) -> Response[str]:
    """The registered shoppers, to look at the pages as one of them. Only where access is open."""
    return await page.build(_shoppers, q.strip(), after)


def _shoppers(page: Page, wanted: str, after: int) -> Response[str]:
    store = page.services.store
    ids = [wanted] if wanted else store.user_ids(MOST_SHOPPERS + 1, after)
    users = [(user_id, store.user(user_id)) for user_id in ids[:MOST_SHOPPERS] if wanted or not user_id.startswith(GUEST)]
    unknown = bool(wanted) and users[0][1] is None and not store.history(wanted, 1)
    return page.render("shoppers.html", users=[] if unknown else users, wanted=wanted, after=after, size=MOST_SHOPPERS, more=len(ids) > MOST_SHOPPERS)


@post("/shopper", **OPEN, status_code=200)
async def choose(page: Asked) -> Response[str]:
    """From now on the pages are this shopper's. The cart is not taken along: it was someone else's."""
    form = await fields_of(page.request)
    mine = page.visit
    mine.user = form.get("user", "")[:256]
    mine.session, mine.cart, mine.liked, mine.chat = start().session, {}, [], ""
    return page.redirect("/")


@post("/language", **OPEN, status_code=200)
async def language(page: Asked) -> Response[str]:
    """The pages speak this language from now on."""
    form = await fields_of(page.request)
    if form.get("to") in LOCALES:
        page.visit.locale = form["to"]
    return page.redirect(form.get("next", "/"))


@get("/known", **OPEN)
async def known(page: Asked) -> Response[str]:
    """What is stored of the person who asks, newest first."""
    return await page.build(_known)


def _known(page: Page) -> Response[str]:
    events = page.known.events[:MOST_LISTED]
    rows: dict[str, Item] = {row.item_id: row for row in page.services.store.items(list({e.item_id for e in events}))}
    user = page.services.store.user(page.visit.user) if page.visit.user else None
    return page.render("known.html", events=events, items=rows, user=user)


router = Router("/", route_handlers=[home, item, seen, like, why, search, suggest, shoppers, choose, language, known], include_in_schema=False)
