"""Users: registration, export, and erasure with a receipt."""

import asyncio
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Router, delete, get, patch, put
from litestar.params import JSONBody, PathParameter

from daogou.data.rows import User
from daogou.serve.body import RowBody
from daogou.serve.errors import BadRequest, NotFound
from daogou.serve.openapi import needs
from daogou.serve.services import Given, Services
from daogou.serve.wire import user_flaws

WRITE, READ, ERASE = needs("catalog:write"), needs("users:read"), needs("users:erase")
UserId = Annotated[str, PathParameter(max_length=256, description="The shopper's id, as the shop's own systems call it.")]


class UserBody(RowBody):
    """A User whose id may be left out: the path has it."""

    key: ClassVar[str] = "user_id"
    row: ClassVar[type[msgspec.Struct]] = User
    wire: ClassVar[Any] = RowBody.without_key(User, "user_id")


def checked(user: User, services: Services) -> User:
    """The user, or `BadRequest` where the attributes are not what the scenario declares."""
    if flaws := user_flaws(user, services.scenario.attributes.users):
        raise BadRequest("the user does not fit the scenario", flaws)
    return user


@put("/users/{user_id:str}", **WRITE, dto=UserBody, return_dto=None, summary="Register a user")
async def put_user(user_id: UserId, data: JSONBody[User], services: Given) -> User:
    """Replaces the whole row; fields that are left out are empty afterwards."""
    await services.desk.run(services.store.put_users, [checked(data, services)])
    return await _existing(user_id, services)


@patch("/users/{user_id:str}", **WRITE, dto=UserBody, return_dto=None, summary="Change fields of a user")
async def patch_user(user_id: UserId, data: JSONBody[User], services: Given) -> User:
    """Only the fields that are sent change; null empties one."""
    await _existing(user_id, services)
    await services.desk.run(services.store.patch_user, checked(data, services))
    return await _existing(user_id, services)


@get("/users/{user_id:str}", **READ, summary="One user as registered")
async def get_user(user_id: UserId, services: Given) -> User:
    """As it is stored."""
    return await _existing(user_id, services)


@get("/users/{user_id:str}/export", **READ, summary="Everything that is stored of a user")
async def export_user(user_id: UserId, services: Given) -> dict[str, Any]:
    """For the person it is about: registration, events, what was shown."""
    await asyncio.to_thread(services.shown.flush)
    export = await asyncio.to_thread(services.store.export_user, user_id)
    if not any(export.values()):
        raise NotFound("user", "user_id", user_id)
    return export


@delete("/users/{user_id:str}", **ERASE, status_code=200, summary="Erase a user")
async def erase_user(user_id: UserId, services: Given) -> dict[str, Any]:
    """Rows, write-ahead log and, where the server was started with it, the models. The receipt says what was done and what was verified."""
    built: dict[str, Any] = msgspec.to_builtins(await asyncio.to_thread(_erase, user_id, services))
    return built


def _erase(user_id: str, services: Services) -> Any:
    """Ends when neither the store nor the release that answers knows the person."""
    services.shown.forget(user_id)
    services.guide.forget(user_id)
    services.chats.forget(user_id)
    with services.erasing:
        if services.erase is None:
            rows = services.store.erase_user(user_id)
            services.live.engine.forget()
            return rows
        receipt = services.erase(services.project, services.store, user_id)
        services.live.look()
        services.live.engine.forget()
        return receipt


async def _existing(user_id: str, services: Services) -> User:
    user = await services.desk.run(services.store.user, user_id)
    if user is None:
        raise NotFound("user", "user_id", user_id)
    return user


router = Router("/", route_handlers=[put_user, patch_user, get_user, export_user, erase_user], tags=["people"])
