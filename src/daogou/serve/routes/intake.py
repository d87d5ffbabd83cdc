"""Events, and many rows at once. An acknowledged row is on disk."""

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import msgspec
from litestar import Request, Router, post
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.params import JSONBody

from daogou.data.rows import Ack, Item, User
from daogou.serve.body import Body, decode
from daogou.serve.errors import BadRequest
from daogou.serve.imports import IMPORT_BYTES, Intake, rows
from daogou.serve.openapi import needs
from daogou.serve.services import Given, Services
from daogou.serve.wire import EventBody, Flaw, Loaded, item_flaws, now, user_flaws

MOST_EVENTS = 10_000  # of one request to /v1/events; more go through :import

T = TypeVar("T", bound=msgspec.Struct)


class EventsBody(Body):
    """One event, or an array of them that are not decoded yet: a wrong one must not sink the others."""

    wire: ClassVar[Any] = EventBody | list[EventBody]

    def decode_bytes(self, value: bytes) -> "EventBody | list[msgspec.Raw]":
        if not value.lstrip().startswith(b"["):
            return decode(value, EventBody)
        raws = decode(value, list[msgspec.Raw])
        if len(raws) > MOST_EVENTS:
            raise BadRequest(
                "too many events", [Flaw(field="body", found=f"{len(raws)} events", expected=f"at most {MOST_EVENTS}", fix="use /v1/events:import")]
            )
        return raws


def events_intake(services: Services) -> Intake[EventBody]:
    """Into the store's queue; a missing time is now."""
    received = now()

    async def write(batch: list[EventBody]) -> Ack:
        return await asyncio.wrap_future(services.store.submit_events([body.row(received) for body in batch]))

    return Intake(EventBody, lambda _: [], write)


def items_intake(services: Services) -> Intake[Item]:
    """Into the store and the live catalogue."""

    async def write(batch: list[Item]) -> Ack:
        await asyncio.to_thread(services.store.put_items, batch)
        await asyncio.to_thread(services.live.catalogue_changed, [item.item_id for item in batch])
        return Ack(accepted=len(batch))

    return Intake(Item, lambda item: item_flaws(item, services.scenario.attributes.items), write)


def users_intake(services: Services) -> Intake[User]:
    """Into the store."""

    async def write(batch: list[User]) -> Ack:
        await asyncio.to_thread(services.store.put_users, batch)
        return Ack(accepted=len(batch))

    return Intake(User, lambda user: user_flaws(user, services.scenario.attributes.users), write)


@post("/events", **needs("events:write"), dto=EventsBody, return_dto=None, status_code=200, summary="What people did")
async def events(data: JSONBody[EventBody | list[msgspec.Raw]], services: Given) -> Loaded:
    """One event or an array. What is counted as accepted is on disk and known to the next answer; events sent again are duplicates and change nothing.
    Where every row is wrong the answer is 400."""
    if isinstance(data, EventBody):
        ack = await asyncio.wrap_future(services.store.submit_events([data.row(now())]))
        return _counted("events", Loaded(accepted=ack.accepted, duplicates=ack.duplicates), services)
    intake = events_intake(services)
    await intake.take(data)
    return _counted("events", intake.result(), services)


@dataclass
class ImportOperation(Operation):
    """The body of an import in the OpenAPI document: the handlers read it as a stream."""

    def __post_init__(self) -> None:
        line = OpenAPIMediaType(schema=Schema(type="string", description="One JSON object a line."))  # type: ignore[arg-type]
        array = OpenAPIMediaType(schema=Schema(type="array", items=Schema(type="object")))  # type: ignore[arg-type]
        self.request_body = RequestBody({"application/x-ndjson": line, "application/json": array}, required=True)


IMPORT: dict[str, Any] = {"status_code": 200, "operation_class": ImportOperation, "request_max_body_size": IMPORT_BYTES}


@post("/events:import", **needs("events:write"), **IMPORT, summary="Many events")
async def import_events(request: Request[Any, Any, Any], services: Given) -> Loaded:
    """JSON Lines (or one array) of events. Wrong rows are named and left out; the others are stored as they come in."""
    return await _import("events", request, services, events_intake(services))


@post("/items:import", **needs("catalog:write"), **IMPORT, summary="Many items")
async def import_items(request: Request[Any, Any, Any], services: Given) -> Loaded:
    """JSON Lines (or one array) of items, each replacing the row of its id."""
    return await _import("items", request, services, items_intake(services))


@post("/users:import", **needs("catalog:write"), **IMPORT, summary="Many users")
async def import_users(request: Request[Any, Any, Any], services: Given) -> Loaded:
    """JSON Lines (or one array) of users, each replacing the row of its id."""
    return await _import("users", request, services, users_intake(services))


async def _import(table: str, request: Request[Any, Any, Any], services: Services, intake: Intake[T]) -> Loaded:
    """Each batch is on disk before the next is read, so that memory holds one."""
    async for some in rows(request.stream(), services.project.serving.max_body_bytes):
        await intake.take(some)
    return _counted(table, intake.result(), services)


def _counted(table: str, result: Loaded, services: Services) -> Loaded:
    for outcome, count in (("accepted", result.accepted), ("duplicate", result.duplicates), ("rejected", result.rejected_count)):
        if count:
            services.metrics.rows.labels(table, outcome).inc(count)
    return result


router = Router("/", route_handlers=[events, import_events, import_items, import_users], tags=["intake"])
