"""What the engine is asked and what it answers, as it crosses the wire."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from daogou.data.rows import Id, Item

MAX_K = 100
MAX_ITEMS = 500
"""Items of one page, session or list of candidates."""

MAX_SAID = 100

MAX_TIME = 253_402_300_799_999_999
"""End of the year 9999, µs: well inside int64."""


class SessionEvent(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something the shopper did that the store may not hold yet. `time` is µs UTC; None = just now."""

    item_id: Id
    event: Annotated[str, Meta(min_length=1, max_length=64)]
    time: Annotated[int, Meta(ge=0, le=MAX_TIME)] | None = None


class Said(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A word about the profile that the store does not hold, for guests: as data.rows.Correction."""

    attribute: Annotated[str, Meta(min_length=1, max_length=64)]
    value: Annotated[str, Meta(min_length=1, max_length=256)]
    says: Literal["wrong", "more"]


class Request(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What should be shown in a placement. Who is not known is a guest."""

    placement: str
    user_id: str | None = None
    session_id: str | None = None
    session: Annotated[list[SessionEvent], Meta(max_length=MAX_ITEMS)] = []
    corrections: Annotated[list[Said], Meta(max_length=MAX_SAID)] = []
    "What is said of the profile beside what the store holds; the newest word on a value counts, and these are the newest."
    items: Annotated[list[Id], Meta(max_length=MAX_ITEMS)] = []
    "The items on the page: the one that is looked at, or those in the cart."
    filter: str = ""
    "Added to the placement's own."
    exclude: Annotated[list[Id], Meta(max_length=MAX_ITEMS)] = []
    k: Annotated[int, Meta(ge=1, le=MAX_K)] | None = None
    "None = the placement's size."
    explain: bool = False
    locale: str = "en"
    details: bool = True
    "Whether the answer carries the items' rows."


class Cause(Struct, frozen=True):
    """One item of the history and how much it added to the score; `how` is `exact` or `left-out` (contract.Reason), or `proposed`: the causes of being
    proposed, where a learned ranker then decided the order."""

    item_id: str
    weight: float
    how: str


class Answered(Struct, frozen=True, kw_only=True):
    """One item of an answer."""

    item_id: str
    score: float
    "Relevance before arrangement: comparable within one answer. 0 where no model spoke."
    propensity: float = 1.0
    "Probability with which this item was on this list; below 1 only where the placement explores."
    reason: str = ""
    "In words of the scenario."
    explanation: list[Cause] | None = None
    item: Item | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """An answer to a Request. `degraded`: something that should have spoken could not, and a simpler part answered."""

    request_id: str
    release: str | None
    degraded: bool
    items: list[Answered]
