"""The conversation with the guide: a page, a panel that every page can open, and the turns, which stream where scripts run."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

from litestar import Response, Router, get, post
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from daogou.data.rows import Item
from daogou.errors import UsageError
from daogou.guide.dialogue import Question, Reply
from daogou.request import Answer
from daogou.serve import stream
from daogou.serve.chats import Turn
from daogou.serve.errors import Overloaded
from daogou.serve.limits import Buckets
from daogou.serve.web import fields, photos, shelves
from daogou.serve.web.categories import Menu, Shared
from daogou.serve.web.forms import OPEN
from daogou.serve.web.page import Asked, Page

GUIDE = "guide"
SIZE = 6
"""Goods of one answer."""
EXAMPLES = 4
LONGEST = 2_000
"""Characters of one turn; the guide itself reads more, but nobody types more here."""
PHOTO_BYTES = 10 * 2**20
FORM_BYTES = PHOTO_BYTES + 2**16
PER_S, BURST = 1.0, 40.0
"""Turns of one address."""

Pace = NamedDependency[SkipValidation[Buckets]]


def pace() -> Buckets:
    """How often one address may ask."""
    return Buckets(per_s=PER_S, burst=BURST)


@dataclass(frozen=True, slots=True)
class Said:
    """One turn as the form brought it."""

    text: str
    photo: bytes
    remove: tuple[str, ...]
    anew: bool

    @property
    def empty(self) -> bool:
        return not (self.text or self.photo or self.remove)


@get("/guide", **OPEN)
async def show(page: Asked, menu: Shared) -> Response[str]:
    """What was said so far and the form that goes on; without the rest of the page where htmx asks."""
    return await page.build(_show, menu)


def _show(page: Page, menu: Menu, *, failed: str = "", said: str = "", status_code: int = 200, headers: dict[str, str] | None = None) -> Response[str]:
    turns = page.services.chats.of(page.visit.chat, page.visit.person) if page.visit.chat else []
    items = _rows(page, [turn.reply for turn in turns])
    template = "_chat.html" if page.partial else "guide.html"
    return page.render(
        template,
        status_code=status_code,
        headers=headers,
        turns=turns,
        items=items,
        any_item=next(iter(items.values()), None),
        examples=menu.of(page.services.live.engine.catalogue)[:EXAMPLES],
        sees=photos.readable() and page.services.live.engine.finder.sighted,
        failed=failed,
        draft=said,
    )


@post("/guide", **OPEN, status_code=200, request_max_body_size=FORM_BYTES)
async def say(page: Asked, menu: Shared, turns: Pace) -> Response[Any]:
    """One turn. The answer streams where the browser asks for events; else the page is shown again, with the answer at its end."""
    streams = stream.wanted(page.request.headers.get("accept", ""))
    said = Said("", b"", (), anew=False)
    try:
        said = await _said(page)
        if said.anew:
            page.visit.chat = ""
            return await page.build(_show, menu) if page.partial else page.redirect("/guide")
        if said.empty and not streams:
            return page.redirect("/guide")
        if said.empty:
            raise UsageError("an empty question", fix="say what is looked for", field="text")
        wait_s = turns.take(page.request.client.host if page.request.client else "")
        if wait_s > 0:
            raise Overloaded("too many turns from this address", retry_after_s=wait_s, status_code=429)
        turn = await _turn(page, said)
    except (UsageError, Overloaded) as error:
        return await _refused(page, menu, error, said, streams)
    if not streams:
        return page.redirect("/guide#latest")
    return page.streamed(await page.services.desk.run(lambda: list(_events(page, turn))))


async def _said(page: Page) -> Said:
    """
    Raises:
        UsageError: more text or a larger photo than is read.
    """
    form = await page.request.form()
    files = [value for value in form.getall("photo", []) if isinstance(value, UploadFile)]
    sent = [data for file in files if (data := await file.read(PHOTO_BYTES + 1)) or file.filename]  # an empty file has a name, an empty field none
    text = str(form.get("text", "")).strip()
    if len(text) > LONGEST:
        raise UsageError(f"a text of {len(text)} characters", expected=f"at most {LONGEST}", fix="say it shorter", field="length")
    if sent and not 0 < len(sent[0]) <= PHOTO_BYTES:
        raise UsageError("an empty photo" if not sent[0] else "a photo that is too large", expected=f"at most {PHOTO_BYTES} bytes", field="image")
    remove = tuple(value for value in form.getall("remove", []) if isinstance(value, str) and len(value) <= 500)
    return Said(text, sent[0] if sent else b"", remove[:100], anew="anew" in form)


async def _turn(page: Page, said: Said) -> Turn:
    """Asks the guide and keeps what was said."""
    services, person = page.services, page.visit.person
    before = services.chats.of(page.visit.chat, person)
    labels = {chip.id: chip.label for chip in before[-1].reply.understood} if before else {}
    reply = await services.assistant.ask(services.live.engine, _question(page, said, ongoing=bool(before)))
    turn = Turn(said=said.text, photo=bool(said.photo), dropped=tuple(labels[one] for one in said.remove if one in labels), reply=reply)
    services.chats.add(person, turn)
    page.visit.chat = reply.conversation_id
    answer = Answer(request_id=reply.request_id, release=services.live.release, degraded=reply.degraded, items=reply.items)
    shelves.noted(page, answer, GUIDE)
    return turn


def _question(page: Page, said: Said, *, ongoing: bool) -> Question:
    # The page's language, unless the words are Chinese or there are none: then the guide goes on in the language of the conversation.
    own = any("\u3400" <= char <= "\u9fff" for char in said.text) or (ongoing and not said.text)
    return Question(
        text=said.text,
        image=base64.b64encode(said.photo).decode() if said.photo else None,
        user_id=page.visit.person,
        conversation_id=page.visit.chat or None,
        locale=None if own else page.speech.locale,
        remove=list(said.remove),
        k=SIZE,
    )


def _events(page: Page, turn: Turn) -> Iterator[bytes]:
    """As `stream.events`, with what is shown as HTML; `question` comes always, for an earlier one no longer holds."""
    reply = turn.reply
    items = _rows(page, [reply])
    context: dict[str, Any] = {"turn": turn, "items": items, "any_item": next(iter(items.values()), None)}
    yield stream.event("understood", {"html": page.piece("_chips.html", **context)})
    for text in stream.pieces(fields.spoken(reply, context["any_item"]) or (page.speech("guide.closest") if reply.items else "")):
        yield stream.event("reply", {"text": text})
    yield stream.event("items", {"html": page.piece("_offers.html", **context)})
    yield stream.event("question", {"html": page.piece("_question.html", **context)})
    yield stream.event("done", {})


async def _refused(page: Page, menu: Menu, error: UsageError | Overloaded, said: Said, streams: bool) -> Response[Any]:
    """Says in the conversation what was wrong, with the status that the API would answer."""
    t = page.speech
    if isinstance(error, Overloaded):
        status, headers = error.status_code, {"Retry-After": str(max(1, ceil(error.retry_after_s)))}
        text = t("guide.failed.busy")
    else:
        status, headers = 400, {}
        text = t("guide.failed.photo") if error.field == "image" else t("guide.failed.text") if error.field == "length" else t("guide.failed.words")
    if streams:
        return Response({"text": text}, status_code=status, headers={**headers, "Cache-Control": "no-store"}, media_type="application/json")
    return await page.services.desk.run(_show, page, menu, failed=text, said=said.text, status_code=status, headers=headers)


def _rows(page: Page, replies: list[Reply]) -> dict[str, Item]:
    """The records of what was shown, by id: names and prices are those of now."""
    ids = list(dict.fromkeys(one.item_id for reply in replies for one in reply.items))
    return {row.item_id: row for row in page.services.store.items(ids)}


router = Router("/", route_handlers=[show, say], include_in_schema=False)
