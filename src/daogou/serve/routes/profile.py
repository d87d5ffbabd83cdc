"""The profile of a shopper: what is concluded of them, and what they say of it."""

from typing import Annotated, Literal

from litestar import Router, delete, get, post
from litestar.params import JSONBody
from msgspec import Meta, Struct

from daogou.data.rows import Correction
from daogou.profile.page import Profile
from daogou.serve.openapi import needs
from daogou.serve.routes.people import UserId
from daogou.serve.services import Given, Services
from daogou.serve.wire import now

Says = Literal["wrong", "more", "undo"]
READ, WRITE = needs("users:read"), needs("catalog:write")


class CorrectionBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One word about one value; the last one on a value counts."""

    attribute: Annotated[str, Meta(min_length=1, max_length=64, description="An attribute of the items, or `item_id` for one item.")]
    value: Annotated[str, Meta(min_length=1, max_length=256, description="As the profile or the catalogue writes it.")]
    says: Annotated[
        Says,
        Meta(description="`wrong`: it says nothing of me. `more`: show me more of it. `undo`: as if nothing had been said."),
    ]


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


router = Router("/", route_handlers=[profile, corrections, correct, uncorrect], tags=["people"])
