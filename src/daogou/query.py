"""A request turned into a Query: the border between the ids of the world and the codes of the models, crossed here and nowhere else."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from daogou.catalogue import Catalogue
from daogou.contract import Codes, Queries
from daogou.data.histories import Histories
from daogou.data.rows import Correction
from daogou.errors import UsageError
from daogou.filters import Known
from daogou.profile import wishes
from daogou.profile.wishes import Wishes
from daogou.request import Request, SessionEvent
from daogou.scenario import Placement, Scenario

Lived = tuple[str, str, int]
"""Item id, event, time (µs)."""


class Person(NamedTuple):
    """What the store knows of someone."""

    past: Sequence[Lived]
    "Their newest events that say something of taste, oldest first."
    had: Collection[str]
    "Items of the events that the placement excludes, however long ago."
    attributes: Mapping[str, Any]
    said: Sequence[Correction] = ()
    "What they say of their profile."


NOBODY = Person((), frozenset(), {})


@dataclass(frozen=True, slots=True)
class Asked:
    """One request in codes."""

    item: list[int]
    time: list[int]
    weight: list[float]
    page: list[int]
    barred: list[int]
    "Items that must not be answered: on the page, excluded, taken back."
    now: int
    attributes: Mapping[str, Any]
    own: int = 0
    "Events of the history that were done, not said."


def ask(request: Request, place: Placement, scenario: Scenario, catalogue: Catalogue, person: Person, now: int, wished: Wishes = wishes.NONE) -> Asked:
    """
    Args:
        now: µs
        wished: what the person, or the request for them, says of their profile.

    Raises:
        UsageError: an item on the page does not exist.
    """
    page = [_existing(catalogue, item_id, f"items[{n}]") for n, item_id in enumerate(request.items)]
    told = lived(request.session, person.past, now)
    wanted = [code for code, _ in wished.items] if place.exclude else []
    barred = {*page, *wanted, *catalogue.items.codes([*request.exclude, *person.had, *_barred(told, place, scenario)]).tolist()}
    if place.about == "items" and page:
        item, time, weight = page, [now] * len(page), [1.0] * len(page)
        own = 0
    else:
        signal = [(catalogue.items.code(i), t, w) for i, e, t in told if (w := scenario.events.get(e, 0.0)) > 0]
        done = [one for one in signal if one[0] >= 0 and not wished.is_wrong(one[0])]
        known, own = _told(done, wished), len(done)
        item, time, weight = [i for i, _, _ in known], [t for _, t, _ in known], [w for _, _, w in known]
    return Asked(item, time, weight, page, sorted(barred - {-1}), now, person.attributes, own)


def _told(done: list[tuple[int, int, float]], wished: Wishes) -> list[tuple[int, int, float]]:
    """The events (item, time, weight) that models are told of: with the items that more is wanted of."""
    there = {code for code, _, _ in done}
    said = [(code, time, wishes.SAID) for code, time in wished.items if code not in there]
    return sorted([*done, *said], key=lambda one: one[1]) if said else done


def _existing(catalogue: Catalogue, item_id: str, field: str) -> int:
    code = catalogue.code(item_id)
    if code < 0:
        raise UsageError(f"no item {item_id!r}", expected="the id of an item that exists", fix="add it to the catalogue first", field=field)
    return code


def lived(session: Sequence[SessionEvent], past: Sequence[Lived], now: int) -> Sequence[Lived]:
    """Everything known, oldest first; what the session repeats of the store counts once."""
    if not session:
        return past
    stored = set(past)
    told = [(s.item_id, s.event, now if s.time is None else s.time) for s in session]
    return sorted([*past, *(row for row in told if row not in stored)], key=lambda row: row[2])


def _barred(told: Sequence[Lived], place: Placement, scenario: Scenario) -> list[str]:
    """Items of this session with an event that the placement excludes, and those whose newest word was a negative one."""
    out, last = [], {}
    for item_id, event, _ in told:
        if event in place.exclude:
            out.append(item_id)
        if weight := scenario.events.get(event, 0.0):
            last[item_id] = weight
    return out + [item_id for item_id, weight in last.items() if weight < 0]


def queries(asked: Sequence[Asked], attributes: Sequence[str]) -> Queries:
    """Several requests as one batch."""
    n = len(asked)
    return Queries(
        history=Histories.of([a.item for a in asked], times=[a.time for a in asked], weights=[a.weight for a in asked]),
        user_B=np.full(n, -1, np.int32),  # nothing in a release knows people by number: taste comes from the history
        now_B=np.array([a.now for a in asked], np.int64),
        context=Histories.of([a.page for a in asked]),
        attributes={name: np.array([*(a.attributes.get(name) for a in asked), None], dtype=object)[:n] for name in attributes},
    )


def known(request: Request, asked: Asked, catalogue: Catalogue) -> Known:
    """What a filter's `$` names stand for."""
    first = catalogue.values(asked.page[0], catalogue.kinds) if asked.page else {}
    return Known(tuple(request.items), asked.attributes, first)


def codes(catalogue: Catalogue, item_ids: Sequence[str], field: str) -> Codes:
    """Codes of items that must exist.

    Raises:
        UsageError: one does not.
    """
    return np.array([_existing(catalogue, item_id, f"{field}[{n}]") for n, item_id in enumerate(item_ids)], np.int32)
