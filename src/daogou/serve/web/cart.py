"""The cart: lines in the visit's cookie, what goes with them, and taking it all."""

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from litestar import Response, Router, get, post
from litestar.exceptions import NotFoundException
from msgspec.structs import replace

from daogou.data.rows import Item
from daogou.serve.web import fields, roles, shelves
from daogou.serve.web.forms import OPEN, added, fields_of, record
from daogou.serve.web.page import Asked, Page, Shelf, event


@dataclass(frozen=True, slots=True)
class Line:
    """One item in the cart."""

    item: Item
    count: int

    @property
    def amount(self) -> float | None:
        """Price of the line, None where the item has none."""
        price = fields.number_of(self.item.price)
        return None if price is None else price * self.count


def lines(page: Page) -> list[Line]:
    """The cart's lines; items that left the catalogue meanwhile leave the cart too."""
    rows = {row.item_id: row for row in page.services.store.items(list(page.visit.cart))}
    for item_id in [item_id for item_id in page.visit.cart if item_id not in rows]:
        page.visit.put(item_id, 0)
    return [Line(rows[item_id], count) for item_id, count in page.visit.cart.items()]


def total(of: list[Line]) -> float | None:
    """Sum of the amounts that are known, None where none is."""
    amounts = [line.amount for line in of if line.amount is not None]
    return sum(amounts) if amounts else None


@get("/cart", **OPEN)
async def show(page: Asked) -> Response[str]:
    """The cart and what goes with it."""
    _there(page)
    return await page.build(_show)


def _show(page: Page) -> Response[str]:
    mine = lines(page)
    return page.render("cart.html", lines=mine, total=total(mine), rows=_goes_with(page))


def _goes_with(page: Page) -> list[Shelf]:
    """Rows for what lies in the cart; an empty cart has the rows of the first page."""
    if not page.visit.cart:
        return shelves.shelves(page, "home" if page.visit.user else "guest")[:1]
    return shelves.shelves(page, "cart", items=list(page.visit.cart), exclude=page.visit.cart)


@get("/cart/goes-with", **OPEN)
async def goes_with(page: Asked) -> Response[str]:
    """The rows alone, fetched again whenever the cart changed."""
    _there(page)
    return await page.build(lambda page: page.render("_rows.html", rows=_goes_with(page)))


@post("/cart", **OPEN, status_code=200)
async def change(page: Asked) -> Response[str]:
    """One more (`change` = 1), one less (−1), or none (`change` = 0) of an item. Putting in is an event; taking out is none."""
    _there(page)
    form = await fields_of(page.request)
    said = await page.services.desk.run(added, page, page.services.scenario.actions["cart"], form, value=1.0)
    before = page.visit.cart.get(said.item_id, 0)
    after = {"-1": before - 1, "0": 0}.get(form.get("change", "1"), before + 1)
    full = not page.visit.put(said.item_id, after)
    if page.visit.cart.get(said.item_id, 0) > before:
        await record(page, [said])
    if not page.partial:
        return page.back()
    return await page.build(_changed, form.get("view", ""), said.item_id, said.request_id or "", said.position or 0, full)


def _changed(page: Page, view: str, item_id: str, request_id: str, position: int, full: bool) -> Response[str]:
    mine = lines(page)
    template = "_lines.html" if view == "lines" else "_control.html"
    context: dict[str, Any] = {"item_id": item_id, "request_id": request_id, "position": position}
    count = page.visit.cart.get(item_id, 0)
    said = page.speech("cart.full") if full else page.speech("cart.holds", n=count, title=_title(mine, item_id)) if count else page.speech("cart.gone")
    # The page fetches again what depends on the cart, and says aloud what happened. Headers are ASCII, as json.dumps is.
    headers = {"HX-Trigger": json.dumps({"cart-changed": {}, "said": {"text": said}})}
    return page.render(template, headers=headers, lines=mine, total=total(mine), swapped=True, **context)


def _title(mine: list[Line], item_id: str) -> str:
    return next((fields.title(line.item) for line in mine if line.item.item_id == item_id), item_id)


@post("/cart/take", **OPEN, status_code=200)
async def take(page: Asked) -> Response[str]:
    """Everything in the cart is taken: one event a line, all on disk before the cart is emptied."""
    _there(page)
    mine = await page.services.desk.run(lines, page)
    if not mine:
        return page.redirect("/cart")
    name = page.services.scenario.actions["buy"]
    await record(page, [replace(event(page, name, line.item.item_id, value=float(line.count)), event_id=_once(page, line)) for line in mine])
    page.visit.cart, page.visit.taken = {}, page.visit.taken + 1
    return await page.build(_taken, mine)


def _once(page: Page, line: Line) -> str:
    """The same for a form that was sent twice, so that the second changes nothing."""
    return sha256(f"{page.visit.session}/{page.visit.taken}/{line.item.item_id}".encode()).hexdigest()


def _taken(page: Page, mine: list[Line]) -> Response[str]:
    return page.render("taken.html", lines=mine, total=total(mine), rows=shelves.shelves(page, "after"))


def _there(page: Page) -> None:
    if not roles.has_cart(page.services.scenario):
        raise NotFoundException


router = Router("/", route_handlers=[show, goes_with, change, take], include_in_schema=False)
