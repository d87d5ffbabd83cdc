"""What the tools answer: the engine's answers with the facts that an agent may pass on, and bounded in length."""

from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import UNSET
from pydantic import Field

from daogou.data.rows import Item
from daogou.guide.dialogue import Reply
from daogou.guide.search import Results
from daogou.request import Answer, Answered

LONGEST = 400
"""Characters of one description or attribute."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One item of the shopper's history that speaks for a recommendation."""

    item_id: str
    weight: Annotated[float, Field(description="How much it added to the score.")]
    how: Annotated[
        str, Field(description="`exact`, `left-out` (change of score without it), or `proposed` (why it was considered; a learned ranker set the order).")
    ]


@dataclass(frozen=True, kw_only=True)
class Good:
    """One item, as the catalogue has it now. What is not known is null."""

    item_id: str
    title: str | None = None
    price: float | None = None
    currency: str | None = None
    available: bool | None = None
    brand: str | None = None
    category: Annotated[str | None, Field(description="Path, most general first: `Shoes > Running`.")] = None
    description: Annotated[str | None, Field(description=f"At most {LONGEST} characters.")] = None
    image: Annotated[str | None, Field(description="Address or path of the photo.")] = None
    attributes: dict[str, Any]
    score: Annotated[float, Field(description="Comparable within one answer only.")]
    reason: Annotated[str, Field(description="Why it is shown, in the shop's words.")] = ""
    causes: list[Cause]


@dataclass(frozen=True, kw_only=True)
class Goods:
    """A list, best first."""

    items: list[Good]
    degraded: Annotated[bool, Field(description="Something that should have spoken could not; a simpler part answered.")]
    release: Annotated[str | None, Field(description="The trained release that answered; null before the first training.")]


@dataclass(frozen=True, kw_only=True)
class Count:
    """One value of the found goods."""

    label: str
    filter: Annotated[str, Field(description="Narrows to it: join it to `filter` with `and`.")]
    items: Annotated[int, Field(description="How many of the found goods have it.")]


@dataclass(frozen=True, kw_only=True)
class Found(Goods):
    """What a search found, best first."""

    total: Annotated[int, Field(description="How many goods match in all.")]
    corrected: Annotated[str | None, Field(description="The words as the catalogue spells them, where they were misspelt.")]
    relaxed: Annotated[list[str], Field(description="Wishes and words that gave way because nothing met all: tell the shopper.")]
    facets: Annotated[dict[str, list[Count]], Field(description="Attribute → how many of the found goods have which value.")]


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One thing that the guide understood."""

    id: Annotated[str, Field(description="Send it under `remove`, and it no longer holds.")]
    label: str
    filter: Annotated[str, Field(description="The same in the filter language; empty where it is no filter.")]


@dataclass(frozen=True, kw_only=True)
class Option:
    """An answer that may be given to the guide's question."""

    label: str
    items: Annotated[int, Field(description="How many goods it leaves.")]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One turn of the guide."""

    conversation_id: Annotated[str, Field(description="Send it with the next turn.")]
    reply: str
    understood: list[Chip]
    relaxed: Annotated[list[Chip], Field(description="What was dropped because nothing met everything: tell the shopper.")]
    question: Annotated[str | None, Field(description="What the guide would like to know; null = nothing.")]
    options: list[Option]
    total: Annotated[int, Field(description="Goods that meet everything that still holds.")]
    items: list[Good]
    degraded: bool


def goods(answer: Answer) -> Goods:
    """An answer of the engine."""
    return Goods(items=[good(one) for one in answer.items], degraded=answer.degraded, release=answer.release)


def found(results: Results) -> Found:
    """The results of a search."""
    return Found(
        items=[good(one) for one in results.items],
        degraded=results.degraded,
        release=results.release,
        total=results.total,
        corrected=results.corrected,
        relaxed=list(results.relaxed),
        facets={facet.attribute: [Count(label=v.label, filter=v.filter, items=v.items) for v in facet.values] for facet in results.facets},
    )


def turn(reply: Reply) -> Turn:
    """A reply of the guide."""
    asked = reply.question
    return Turn(
        conversation_id=reply.conversation_id,
        reply=reply.reply,
        understood=[Chip(id=chip.id, label=chip.label, filter=chip.filter) for chip in reply.understood],
        relaxed=[Chip(id=chip.id, label=chip.label, filter=chip.filter) for chip in reply.relaxed],
        question=asked.text if asked else None,
        options=[Option(label=option.label, items=option.items) for option in asked.options] if asked else [],
        total=reply.total,
        items=[good(one) for one in reply.items],
        degraded=reply.degraded,
    )


def good(one: Answered) -> Good:
    """One item of an answer."""
    row = one.item or Item(item_id=one.item_id)
    facts = {name: _known(getattr(row, name)) for name in ("title", "price", "currency", "available", "brand", "category", "description", "image")}
    return Good(
        item_id=one.item_id,
        attributes={name: _known(value) for name, value in row.attributes.items()},
        score=one.score,
        reason=one.reason,
        causes=[Cause(item_id=cause.item_id, weight=cause.weight, how=cause.how) for cause in one.explanation or ()],
        **facts,
    )


def _known(value: Any) -> Any:
    if value is UNSET:
        return None
    return value if not isinstance(value, str) or len(value) <= LONGEST else value[: LONGEST - 1] + "…"
