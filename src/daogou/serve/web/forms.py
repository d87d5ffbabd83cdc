"""Forms that the pages send: read, checked, and turned into events that are on disk before the answer."""

import asyncio
from typing import Any

from litestar.exceptions import NotFoundException

from daogou.data.rows import Event
from daogou.serve.openapi import PUBLIC
from daogou.serve.web.page import Page, PageRequest, event

OPEN: dict[str, Any] = {"opt": PUBLIC, "include_in_schema": False}
"""Arguments of every page's route: they need no key, for they are only there where access is open."""
MOST_POSITIONS = 10_000


async def fields_of(request: PageRequest) -> dict[str, str]:
    """The texts of a form; files and repeated fields are left out."""
    form = await request.form()
    return {name: value for name, value in form.items() if isinstance(value, str)}


def is_item(item_id: str) -> bool:
    """Whether this can be an id at all."""
    return 0 < len(item_id) <= 256


def added(page: Page, name: str, form: dict[str, str], *, value: float | None = None) -> Event:
    """The event of a form about one item, with the answer (`r`) and place (`p`) that led to it.

    Raises:
        NotFoundException: there is no such item.
    """
    item_id = form.get("item", "")
    if not is_item(item_id) or page.services.store.item(item_id) is None:
        raise NotFoundException
    place = form.get("p", "")
    position = min(int(place), MOST_POSITIONS) if place.isascii() and place.isdecimal() and len(place) < 10 else None
    request_id = form.get("r", "")[:256]
    return event(page, name, item_id, value=value, request_id=request_id, position=position if request_id else None)


async def record(page: Page, events: list[Event]) -> None:
    """Returns when the events are on disk."""
    await asyncio.wrap_future(page.services.store.submit_events(events))
