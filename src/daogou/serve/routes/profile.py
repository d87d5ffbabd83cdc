"""The profile of a shopper: what is concluded of them, and what they say of it."""

from collections.abc import Sequence
from typing import Annotated, Literal

from litestar import Router, delete, get, post
from litestar.params import JSONBody
from msgspec import Meta, Struct

from daogou.data.rows import Correction, Id, Item
from daogou.profile.page import Profile
from daogou.profile.traits import ITEM
from daogou.serve.openapi import needs
from daogou.serve.routes.people import UserId
from daogou.serve.services import Given, Services
from daogou.serve.wire import now

Says = Literal["wrong", "more", "undo"]
MOST_PICKED = 100
READ, WRITE = needs("users:read"), needs("catalog:write")


class CorrectionBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One word about one value; the last one on a value counts."""

    attribute: Annotated[str, Meta(min_length=1, max_length=64, description="An attribute of the items, or `item_id` for one item.")]
    value: Annotated[str, Meta(min_length=1, max_length=256, description="As the profile or the catalogue writes it.")]
    says: Annotated[
        Says,
        Meta(description="`wrong`: it says nothing of me. `more`: show me more of it. `undo`: as if nothing had been said."),
    ]


class Picked(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An option that was picked."""

    attribute: Annotated[str, Meta(min_length=1, max_length=64)]
    value: Annotated[str, Meta(min_length=1, max_length=256)]


class AnswersBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What someone new picked. Nothing picked is an answer too, which changes nothing."""

    user_id: Id
    picked: Annotated[list[Picked], Meta(max_length=MOST_PICKED)]


class OptionShown(Struct, frozen=True, kw_only=True):
    """Something to pick: an item (`attribute` is `item_id`), or a value of an attribute."""

    attribute: str
    value: str
    item: Item | None = None


class QuestionShown(Struct, frozen=True, kw_only=True):
    """Any number of the options may be picked, also none."""

    options: list[OptionShown]


class Onboarding(Struct, frozen=True, kw_only=True):
    """Questions for someone of whom nothing is known; none where there is nothing to tell apart."""

    release: str | None
    questions: list[QuestionShown]


class Noted(Struct, frozen=True, kw_only=True):
    """What became of the answers. They are on disk before this is returned."""

    user_id: str
    picked: int


@get("/onboarding", **needs("recommend:read"), summary="Questions that tell tastes apart")
async def onboarding(services: Given) -> Onboarding:
    """Chosen from what people took: the items whose answers say most of everything else. Of a catalogue without events, values that split it."""
    return Onboarding(release=services.live.release, questions=await services.desk.run(questions, services))


@post("/onboarding", **needs("events:write"), status_code=200, summary="The answers of someone new")
async def answer(data: JSONBody[AnswersBody], services: Given) -> Noted:
    """Each picked option counts as "more of this", which can be taken back as any such word; the next answer is already personal."""
    picked = list(dict.fromkeys((one.attribute, one.value) for one in data.picked))
    await services.desk.run(welcome, services, data.user_id, picked)
    return Noted(user_id=data.user_id, picked=len(picked))


def questions(services: Services) -> list[QuestionShown]:
    """The questions with their items as they are now."""
    asked = services.live.engine.onboarding()
    ids = [one.value for options in asked for one in options if one.attribute == ITEM]
    rows = {item.item_id: item for item in services.store.items(ids)}
    return [
        QuestionShown(
            options=[OptionShown(attribute=one.attribute, value=one.value, item=rows.get(one.value) if one.attribute == ITEM else None) for one in options]
        )
        for options in asked
    ]


def welcome(services: Services, user_id: str, picked: Sequence[tuple[str, str]]) -> None:
    """Stores what someone new picked.

    Raises:
        UsageError: an option that does not exist.
    """
    for attribute, value in picked:
        services.live.engine.correctable(attribute, value)
    if not picked:
        return
    moment = now()
    services.store.put_corrections(user_id, [Correction(attribute=attribute, value=value, says="more", time=moment) for attribute, value in picked])


@get("/users/{user_id:str}/profile", **READ, summary="What is concluded of a user, and why")
async def profile(user_id: UserId, services: Given) -> Profile:
    """Tastes by every attribute that describes, each with the events behind it; when and how often; what is due again; and what the person said of it.
    Nothing is concluded of someone unknown or who refused, and nothing from what the scenario calls sensitive or private."""
    return await services.desk.run(services.live.engine.profile, user_id)


@get("/users/{user_id:str}/profile/corrections", **READ, summary="What a user said of their profile")
async def corrections(user_id: UserId, services: Given) -> list[Correction]:
    """Oldest first."""
    return await services.desk.run(services.store.corrections, user_id)


@post("/users/{user_id:str}/profile/corrections", **WRITE, status_code=200, summary="Say that a value is wrong, or that more of it is wanted")
async def correct(user_id: UserId, data: JSONBody[CorrectionBody], services: Given) -> list[Correction]:
    """On disk when answered, and in the next answer of every placement; saying it again changes nothing. Answers with all that is in force."""
    return await services.desk.run(say, services, user_id, data.attribute, data.value, data.says)


@delete("/users/{user_id:str}/profile/corrections", **WRITE, status_code=200, summary="Take back everything that a user said")
async def uncorrect(user_id: UserId, services: Given) -> list[Correction]:
    """Afterwards answers are those from before."""
    await services.desk.run(services.store.drop_corrections, user_id)
    return []


def say(services: Services, user_id: str, attribute: str, value: str, says: Says) -> list[Correction]:
    """Stores one word or takes it back; what is in force then.

    Raises:
        UsageError: nothing can be said of this attribute or value, or there are too many words already.
    """
    if says == "undo":
        services.store.drop_corrections(user_id, attribute, value)
        return services.store.corrections(user_id)
    services.live.engine.correctable(attribute, value)
    services.store.put_corrections(user_id, [Correction(attribute=attribute, value=value, says=says, time=now())])
    return services.store.corrections(user_id)


router = Router("/", route_handlers=[onboarding, answer, profile, corrections, correct, uncorrect], tags=["people"])
