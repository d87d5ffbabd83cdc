"""The pages about the visitor's own profile: what is concluded, with a way to say that it is wrong or that more is wanted; and the questions for new people."""

import json
from dataclasses import dataclass

from litestar import Response, Router, get, post
from litestar.exceptions import NotFoundException

from daogou.data.rows import Item
from daogou.errors import UsageError
from daogou.profile.page import Profile, TasteShown
from daogou.profile.traits import ITEM
from daogou.serve.routes import profile as api
from daogou.serve.web.forms import OPEN, fields_of
from daogou.serve.web.page import Asked, Page

WORDS = ("title", "description")
MOST_OF_ONE = 5
"""Tastes of one attribute that a page shows."""
WORD_OF = {"wrong": "profile.said.wrong", "more": "profile.said.more", "undo": "profile.said.undo"}


@dataclass(frozen=True, slots=True)
class Group:
    """The tastes of one attribute, or of all that are words."""

    name: str
    tastes: tuple[TasteShown, ...]
    most: float
    "The largest share, to which bars are drawn."


@get("/profile", **OPEN)
async def profile(page: Asked) -> Response[str]:
    """What is concluded of the person who asks."""
    return await page.build(_profile)


@post("/profile/say", **OPEN, status_code=200)
async def say(page: Asked) -> Response[str]:
    """One word about one value; the page answers with what follows from it."""
    form = await fields_of(page.request)
    return await page.build(_say, form.get("attribute", ""), form.get("value", ""), form.get("says", ""))


@post("/profile/forget", **OPEN, status_code=200)
async def forget(page: Asked) -> Response[str]:
    """Takes back everything that was said."""
    await fields_of(page.request)
    return await page.build(_forget)


@get("/welcome", **OPEN)
async def welcome(page: Asked) -> Response[str]:
    """Three questions; any number of options may be picked."""
    return await page.build(_welcome)


@post("/welcome", **OPEN, status_code=200)
async def answer(page: Asked) -> Response[str]:
    """The picks count from the next page on."""
    form = await page.request.form()
    return await page.build(_answer, [value for value in form.getall("pick", []) if isinstance(value, str)])


# ---- work
def _profile(page: Page) -> Response[str]:
    return _shown(page, page.services.live.engine.profile(page.visit.person))


def _shown(page: Page, found: Profile, said: str = "") -> Response[str]:
    ids = {one.item_id for taste in found.tastes for one in taste.items} | {one.item_id for one in found.due}
    ids |= {one.value for one in found.corrections if one.attribute == ITEM}
    items: dict[str, Item] = {item.item_id: item for item in page.services.store.items(sorted(ids))}
    headers = {"HX-Trigger": json.dumps({"said": {"text": said}})} if said else {}
    template = "_profile.html" if page.partial else "profile.html"
    return page.render(template, headers=headers, profile=found, groups=groups(found), items=items, words=WORDS)


def _say(page: Page, attribute: str, value: str, says: str) -> Response[str]:
    known: dict[str, api.Says] = {"wrong": "wrong", "more": "more", "undo": "undo"}
    if says not in known:
        raise NotFoundException
    api.say(page.services, page.visit.person, attribute, value, known[says])
    return _profile_or_back(page, page.speech(WORD_OF[says]))


def _forget(page: Page) -> Response[str]:
    page.services.store.drop_corrections(page.visit.person)
    return _profile_or_back(page, page.speech("profile.said.undo"))


def _profile_or_back(page: Page, said: str) -> Response[str]:
    return _shown(page, page.services.live.engine.profile(page.visit.person), said) if page.partial else page.redirect("/profile")


def _welcome(page: Page) -> Response[str]:
    return page.render("welcome.html", questions=api.questions(page.services), words=WORDS)


def _answer(page: Page, picks: list[str]) -> Response[str]:
    """
    Raises:
        UsageError: a pick that was not offered.
    """
    offered = {f"{one.attribute}={one.value}": (one.attribute, one.value) for asked in api.questions(page.services) for one in asked.options}
    if unknown := [pick for pick in picks if pick not in offered]:
        raise UsageError(f"no option {unknown[0][:80]!r}", expected="one that the page offers", fix="load the page again", field="pick")
    api.welcome(page.services, page.visit.person, list(dict.fromkeys(offered[pick] for pick in picks)))
    return page.redirect("/")


def groups(found: Profile) -> list[Group]:
    """Tastes by attribute, in the order of the profile; words of titles and descriptions are one group, each word once."""
    by_name: dict[str, list[TasteShown]] = {}
    seen: set[str] = set()
    for taste in found.tastes:
        name = "words" if taste.attribute in WORDS else taste.attribute
        if name == "words" and taste.value in seen:
            continue
        seen |= {taste.value} if name == "words" else set()
        by_name.setdefault(name, []).append(taste)
    return [Group(name, tuple(some[:MOST_OF_ONE]), max(one.share for one in some[:MOST_OF_ONE])) for name, some in by_name.items()]


router = Router("/", route_handlers=[profile, say, forget, welcome, answer], include_in_schema=False)
