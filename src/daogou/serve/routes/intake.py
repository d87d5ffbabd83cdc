"""Events, and many rows at once. An acknowledged row is on disk."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

import msgspec
from litestar import Request, Router, post
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema

from daogou.data.rows import Ack, Event, Item, User
from daogou.serve.body import Body, decode, flaw
from daogou.serve.errors import BadRequest
from daogou.serve.imports import IMPORT_BYTES, rows
from daogou.serve.openapi import needs
from daogou.serve.services import Services
from daogou.serve.wire import EventBody, Flaw, Loaded, item_flaws, now, user_flaws

MOST_EVENTS = 10_000  # of one request to /v1/events; more go through :import
BATCH = 1000  # rows of an import written at once
MOST_FLAWS = 100  # named in one answer; the rest is counted

T = TypeVar("T", bound=msgspec.Struct)


class Events(NamedTuple):
    """A decoded body of /v1/events."""

    rows: list[Event]
    flaws: list[Flaw]


class EventsBody(Body):
    """One event, or an array of them in which a wrong one does not sink the others."""

    wire: ClassVar[Any] = EventBody | list[EventBody]

    def decode_bytes(self, value: bytes) -> Events:
        received = now()
        if not value.lstrip().startswith(b"["):
            return Events([decode(value, EventBody).row(received)], [])
        raws = decode(value, list[msgspec.Raw])
        if not 0 < len(raws) <= MOST_EVENTS:
            raise BadRequest("the number of events is wrong", [Flaw(field="body", found=f"{len(raws)} events", expected=f"1 to {MOST_EVENTS}")])
        try:
            return Events([body.row(received) for body in decode(value, list[EventBody])], [])
        except BadRequest:
            return _one_by_one(raws, received)


def _one_by_one(raws: Sequence[msgspec.Raw], received: int) -> Events:
    events = Events([], [])
    for index, raw in enumerate(raws):
        try:
            events.rows.append(msgspec.json.decode(raw, type=EventBody).row(received))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            events.flaws.append(flaw(e, bytes(raw), EventBody, index))
    return events


@post("/events", **needs("events:write"), dto=EventsBody, return_dto=None, status_code=200, summary="What people did")
async def events(data: Events, services: Services) -> Loaded:
    """One event or an array. What is counted as accepted is on disk and known to the next answer; events sent again are duplicates and change nothing.
    Where every row is wrong the answer is 400."""
    if not data.rows:
        raise BadRequest("every event is wrong", data.flaws[:MOST_FLAWS])
    ack = await asyncio.wrap_future(services.store.submit_events(data.rows))
    return loaded("events", ack, data.flaws, len(data.flaws), services)


@dataclass
class ImportOperation(Operation):
    """The body of an import in the OpenAPI document: the handlers read it as a stream."""

    def __post_init__(self) -> None:
        line = OpenAPIMediaType(schema=Schema(type="string", description="One JSON object a line."))  # type: ignore[arg-type]
        array = OpenAPIMediaType(schema=Schema(type="array", items=Schema(type="object")))  # type: ignore[arg-type]
        self.request_body = RequestBody({"application/x-ndjson": line, "application/json": array}, required=True)


@post("/events:import", **needs("events:write"), status_code=200, summary="Many events", operation_class=ImportOperation, request_max_body_size=IMPORT_BYTES)
async def import_events(request: Request[Any, Any, Any], services: Services) -> Loaded:
    """JSON Lines (or one array) of events. Wrong rows are named and left out; the others are stored as they come in."""
    received = now()

    async def write(batch: list[EventBody]) -> Ack:
        return await asyncio.wrap_future(services.store.submit_events([body.row(received) for body in batch]))

    return await _import("events", request, services, EventBody, lambda _: [], write)


@post("/items:import", **needs("catalog:write"), status_code=200, summary="Many items", operation_class=ImportOperation, request_max_body_size=IMPORT_BYTES)
async def import_items(request: Request[Any, Any, Any], services: Services) -> Loaded:
    """JSON Lines (or one array) of items, each replacing the row of its id."""

    async def write(batch: list[Item]) -> Ack:
        await asyncio.to_thread(services.store.put_items, batch)
        await asyncio.to_thread(services.live.catalogue_changed, [item.item_id for item in batch])
        return Ack(accepted=len(batch))

    return await _import("items", request, services, Item, lambda item: item_flaws(item, services.scenario.attributes.items), write)


@post("/users:import", **needs("catalog:write"), status_code=200, summary="Many users", operation_class=ImportOperation, request_max_body_size=IMPORT_BYTES)
async def import_users(request: Request[Any, Any, Any], services: Services) -> Loaded:
    """JSON Lines (or one array) of users, each replacing the row of its id."""

    async def write(batch: list[User]) -> Ack:
        await asyncio.to_thread(services.store.put_users, batch)
        return Ack(accepted=len(batch))

    return await _import("users", request, services, User, lambda user: user_flaws(user, services.scenario.attributes.users), write)


async def _import(
    table: str, request: Request[Any, Any, Any], services: Services, kind: type[T], check: Callable[[T], list[Flaw]], write: Callable[[list[T]], Awaitable[Ack]]
) -> Loaded:
    """Reads, checks and writes batch by batch, so that memory holds one batch; each is on disk before the next is read."""
    total, rejected, index = Ack(), 0, 0
    flaws: list[Flaw] = []
    async for raws in rows(request.stream(), services.project.serving.max_body_bytes):
        for start in range(0, len(raws), BATCH):
            good: list[T] = []
            for raw in raws[start : start + BATCH]:
                found = _row(raw, kind, check, index, good)
                rejected += bool(found)
                flaws += found if len(flaws) < MOST_FLAWS else []
                index += 1
            if good:
                ack = await write(good)
                total = Ack(total.accepted + ack.accepted, total.duplicates + ack.duplicates)
    if not index:
        raise BadRequest("no rows", [Flaw(field="body", found="nothing", expected="one JSON object a line, or an array of them")])
    if rejected == index:
        raise BadRequest("every row is wrong", flaws[:MOST_FLAWS])
    return loaded(table, total, flaws, rejected, services)


def _row(raw: bytes, kind: type[T], check: Callable[[T], list[Flaw]], index: int, good: list[T]) -> list[Flaw]:
    """Appends the row to `good`, or says what is wrong with it."""
    try:
        row = msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        return [flaw(e, raw, kind, index)]
    if found := check(row):
        return [msgspec.structs.replace(f, index=index) for f in found]
    good.append(row)
    return []


def loaded(table: str, ack: Ack, flaws: list[Flaw], rejected: int, services: Services) -> Loaded:
    """The answer, counted."""
    for outcome, count in (("accepted", ack.accepted), ("duplicate", ack.duplicates), ("rejected", rejected)):
        if count:
            services.metrics.rows.labels(table, outcome).inc(count)
    return Loaded(accepted=ack.accepted, duplicates=ack.duplicates, rejected=flaws[:MOST_FLAWS], rejected_count=rejected)


router = Router("/", route_handlers=[events, import_events, import_items, import_users], tags=["intake"])
