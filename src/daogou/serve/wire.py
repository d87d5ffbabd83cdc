"""What crosses the wire and is not already a row of `data.rows` or an answer of the engine.

Every body refuses unknown fields; every list and number has a bound. Times are int64 µs UTC; where a client sends RFC 3339 text it is
read as such, UTC where it names no zone.
"""

import time as clock
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from daogou.data.rows import Event, Id, Item, User
from daogou.request import MAX_ITEMS, MAX_TIME, SessionEvent
from daogou.scenario import Kind

LARGEST_INT = 2**63 - 1

Time = Annotated[int, Meta(ge=0, le=MAX_TIME)]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
ShortText = Annotated[str, Meta(max_length=256)]


def now() -> int:
    """Time of the wall clock, µs UTC."""
    return clock.time_ns() // 1000


class RankBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The caller's own candidates, to be ordered for this shopper."""

    items: Annotated[list[Id], Meta(min_length=1, max_length=MAX_ITEMS)]
    user_id: Id | None = None
    session_id: ShortText | None = None
    session: Annotated[list[SessionEvent], Meta(max_length=MAX_ITEMS)] = []
    explain: bool = False
    locale: Annotated[str, Meta(min_length=2, max_length=16, description="Language of titles and reasons, such as `en` or `zh`.")] = "en"
    details: bool = True


class EventBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One event as it is sent. Without `time` it happened now; with `event_id` a replay changes nothing."""

    user_id: Id
    item_id: Id
    event: Name
    time: Annotated[Time | datetime | None, Meta(description="µs since 1970 UTC, or RFC 3339 text; absent = now.")] = None
    value: Annotated[float | None, Meta(description="Rating, quantity or price paid.")] = None
    session_id: ShortText | None = None
    request_id: Annotated[ShortText | None, Meta(description="The `request_id` of the answer that led here.")] = None
    position: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    context: dict[str, Any] | None = None
    event_id: Id | None = None

    def row(self, received: int) -> Event:
        """The event as it is stored; `received` (µs) stands in for a missing time."""
        return Event(
            user_id=self.user_id,
            item_id=self.item_id,
            event=self.event,
            time=microseconds(self.time, received),
            value=self.value,
            session_id=self.session_id,
            request_id=self.request_id,
            position=self.position,
            context=self.context,
            event_id=self.event_id,
        )


def microseconds(time: int | datetime | None, missing: int) -> int:
    """A time as it came in, as µs UTC; `missing` where there is none. Dates before 1970 become 0."""
    if time is None:
        return missing
    if isinstance(time, datetime):
        aware = time if time.tzinfo else time.replace(tzinfo=UTC)
        return max(0, int(aware.timestamp() * 1_000_000))
    return time


class Flaw(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong with a request: a small manual."""

    field: str
    found: str
    expected: str = ""
    fix: str = ""
    index: int | None = None
    "Which row of a batch, counted from 0."


class Problem(Struct, frozen=True, kw_only=True):
    """The body of every answer that is not a success."""

    status_code: int
    detail: str
    extra: list[Flaw] = []


class Loaded(Struct, frozen=True, kw_only=True):
    """What became of the rows of one request. Accepted rows are on disk."""

    accepted: int
    duplicates: int = 0
    rejected: list[Flaw] = []
    "What was wrong, with the row's index; the first 100."
    rejected_count: int = 0


class PlacementAnswer(Struct, frozen=True, kw_only=True):
    """A placement that exists here."""

    name: str
    title: dict[str, str]
    about: str
    size: int
    retrieve: list[str]
    filter: str


class Deleted(Struct, frozen=True, kw_only=True):
    """An item that is no longer in the catalogue; its events stay."""

    item_id: str
    deleted: bool


class Health(Struct, frozen=True, kw_only=True):
    """Whether this process answers, and with what."""

    status: str
    release: str | None = None
    scenario: str = ""
    items: int | None = None


_FITS: dict[Kind, tuple[type | tuple[type, ...], str]] = {
    "number": ((int, float), "a number"),
    "flag": (bool, "true or false"),
    "time": (int, "a time in µs since 1970"),
    "tag": (str, "text"),
    "category": (str, "text, most general first: `A > B`"),
    "text": (str, "text"),
    "image": (str, "the address or path of an image"),
}


def item_flaws(item: Item, declared: Mapping[str, Kind]) -> list[Flaw]:
    """What is wrong with an item beyond its types: numbers that the store cannot hold, attributes that the scenario does not declare."""
    flaws = attribute_flaws(item.attributes, declared)
    if isinstance(item.created, int) and not 0 <= item.created <= MAX_TIME:
        flaws.append(Flaw(field="created", found=shown(item.created), expected="a time in µs since 1970"))
    return flaws


def user_flaws(user: User, declared: Mapping[str, Kind]) -> list[Flaw]:
    """As `item_flaws`."""
    return attribute_flaws(user.attributes, declared)


def attribute_flaws(attributes: Mapping[str, Any], declared: Mapping[str, Kind]) -> list[Flaw]:
    """What is wrong with attributes, seen from the scenario's declaration; null takes a value back and is never wrong."""
    flaws = []
    for name, value in attributes.items():
        field = f"attributes.{name}"
        if name not in declared:
            known = ", ".join(sorted(declared)) or "none is declared"
            flaws.append(
                Flaw(field=field, found=f"no attribute named {name!r}", expected=f"one of {known}", fix="declare it under [attributes] of the scenario")
            )
            continue
        kind, expected = _FITS[declared[name]]
        wrong_bool = isinstance(value, bool) and kind is not bool
        if value is not None and (wrong_bool or not isinstance(value, kind)):
            flaws.append(Flaw(field=field, found=shown(value), expected=expected))
        elif isinstance(value, int) and abs(value) > LARGEST_INT:
            flaws.append(Flaw(field=field, found="a number beyond 64 bits", expected=expected))
    return flaws


def shown(value: Any, longest: int = 80) -> str:
    """A value as JSON, cut where it is long."""
    text = msgspec.json.encode(value).decode("utf-8", "replace")
    return text if len(text) <= longest else text[: longest - 1] + "…"
