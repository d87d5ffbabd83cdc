"""One row of each table as a typed struct: what crosses the API, the store and the importer."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Id = Annotated[str, Meta(min_length=1, max_length=256)]
"""Text ids as they come from outside."""


class Event(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One thing a person did, or was shown. `time` is int64 µs UTC; `event_id` makes replays harmless (made from the content where absent)."""

    user_id: Id
    item_id: Id
    event: Annotated[str, Meta(min_length=1, max_length=64)]
    time: int
    value: float | None = None
    session_id: Annotated[str, Meta(max_length=256)] | None = None
    request_id: Annotated[str, Meta(max_length=256)] | None = None
    position: Annotated[int, Meta(ge=0)] | None = None
    context: dict[str, Any] | None = None
    event_id: Id | None = None


class Item(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One good, article, person or group. `attributes` holds what the scenario declares beyond the fixed columns."""

    item_id: Id
    title: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    category: str | UnsetType | None = UNSET
    "Path, most general first: `Shoes > Running`."
    brand: str | UnsetType | None = UNSET
    price: Annotated[float, Meta(ge=0)] | UnsetType | None = UNSET
    currency: str | UnsetType | None = UNSET
    image: str | UnsetType | None = UNSET
    available: bool | UnsetType | None = UNSET
    created: int | UnsetType | None = UNSET
    kind: str | UnsetType | None = UNSET
    attributes: dict[str, Any] = {}


class User(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One shopper as registered. `attributes` holds what the scenario declares."""

    user_id: Id
    consent: bool | UnsetType | None = UNSET
    "False: nothing of this person is learned from. None: not asked."
    attributes: dict[str, Any] = {}


class Correction(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What someone says of their own profile. One word for each value of an attribute: a later one takes the earlier one's place."""

    attribute: Annotated[str, Meta(min_length=1, max_length=64)]
    "An attribute of the items; `item_id` = the one item of that id."
    value: Annotated[str, Meta(min_length=1, max_length=256)]
    says: Literal["wrong", "more"]
    "`wrong`: this says nothing of me. `more`: show me more of this."
    time: int
    "µs UTC"


class Ack(Struct, frozen=True):
    """What became of written rows: durable before it is returned."""

    accepted: int = 0
    duplicates: int = 0
