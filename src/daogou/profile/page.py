"""A whole profile, as it crosses the wire, and where it is put together."""

import threading
import time
from collections.abc import Sequence

import numpy as np
from msgspec import UNSET, Struct

from daogou.catalogue import Catalogue
from daogou.contract import Due, Mask, Scores
from daogou.data.rows import Correction, Item
from daogou.filters import Filter
from daogou.profile import rhythm, tastes
from daogou.profile.tastes import Lived, Taste
from daogou.profile.traits import Traits
from daogou.profile.wishes import Wishes
from daogou.scenario import Scenario
from daogou.store import Store

Row = tuple[str, str, int]
"""Item id, event, time (µs)."""
MOST_EVENTS = 2000
"""Newest events that a profile is made of."""
MOST_DUE = 8
FRESH_S = 3600.0
"""How old the sums over everybody's events may be: 1.5M events take a second or two."""


class Shown(Struct, frozen=True, kw_only=True):
    """An item that stands for a taste."""

    item_id: str
    title: str | None
    times: int


class TasteShown(Struct, frozen=True, kw_only=True):
    """A value that this person takes more often than others do, and what that is read from."""

    attribute: str
    value: str
    "As the catalogue writes it; a band of numbers as `10..25`, its upper edge excluded."
    share: float
    "Of this person's events with items that have the attribute, drawn towards everybody's share where there are few."
    usual: float
    "Everybody's share."
    lift: float
    "share / usual"
    events: dict[str, int]
    "How many events of each name speak for it."
    first: int
    "Time of the oldest of them, µs UTC."
    last: int
    items: list[Shown]
    "The items with most of these events."
    n_items: int
    says: str = ""
    "`more` where this person asked for more of it."


class RhythmShown(Struct, frozen=True, kw_only=True):
    """When and how often. Counts are days on which something was done at that hour or weekday."""

    timezone: str
    hours: list[int]
    "24, from midnight."
    weekdays: list[int]
    "7, from Monday."
    days: int
    gap_days: float | None
    "Median of the days between one such day and the next; null where there are too few."
    first: int
    last: int


class DueShown(Struct, frozen=True, kw_only=True):
    """Something taken again and again, and when it is to be expected next."""

    item_id: str
    title: str | None
    times: int
    gap_days: float
    last: int
    due: int
    "µs UTC"
    chance: float
    "Of being taken again within the horizon of the model that says so."


class Profile(Struct, frozen=True, kw_only=True):
    """What is concluded of one person, with the evidence, and what they say of it. Empty where nothing is known."""

    user_id: str | None
    consent: bool | None
    "False: nothing is concluded."
    events: int
    "How many of the newest events it is made of."
    tastes: list[TasteShown]
    rhythm: RhythmShown | None
    due: list[DueShown]
    corrections: list[Correction]


class Profiles:
    """Puts profiles together. Every method may be called from any thread.

    Args:
        private: the items that leave no trace in a profile; None = every item may.

    Raises:
        ConfigError: the scenario names a time zone that does not exist.
    """

    def __init__(self, scenario: Scenario, store: Store, catalogue: Catalogue, private: Filter | None) -> None:
        self._scenario, self._store, self._catalogue, self._private = scenario, store, catalogue, private
        self.traits = Traits(catalogue, scenario.profile.sensitive)
        self._zone = rhythm.zone(scenario.profile.timezone)
        self._lock = threading.Lock()
        self._taken: tuple[Scores, float] | None = None

    def private_I(self) -> Mask:
        """[I] items that leave no trace in a profile."""
        with self._catalogue.lock:
            return np.zeros(len(self._catalogue), np.bool_) if self._private is None else self._private.mask(self._catalogue)

    def lived(self, rows: Sequence[Row], said: Wishes) -> Lived:
        """The events that a profile counts: of positive weight, with items whose newest word was not a negative one, that are not private, and not wrong."""
        weights = self._scenario.events
        word = {item_id: weight for item_id, event, _ in rows if (weight := weights.get(event, 0.0))}
        private_I = self.private_I()
        kept = []
        for item_id, event, moment in rows:
            code = self._catalogue.items.code(item_id)
            weight = weights.get(event, 0.0)
            if weight > 0 and word[item_id] > 0 and 0 <= code < len(private_I) and not private_I[code] and not said.is_wrong(code):
                kept.append((code, moment, weight, event))
        columns = list(zip(*kept, strict=True)) if kept else [(), (), (), ()]
        return Lived(np.array(columns[0], np.int32), np.array(columns[1], np.int64), np.array(columns[2], np.float32), columns[3])

    def of(self, user_id: str | None, consent: bool | None, lived: Lived, due: Sequence[Due], corrections: Sequence[Correction]) -> Profile:
        """The profile of these events; `due` names items by code."""
        table = self.traits.table()
        found = tastes.tastes(table, tastes.usual_shares(table, self._taken_I()), lived)
        last = dict(zip(lived.item_E.tolist(), lived.time_E.tolist(), strict=True))
        again = [one for one in due if one.item in last and one.times > 1][:MOST_DUE]
        ids = self._catalogue.items
        wanted = {ids.id(code) for taste in found for code, _ in taste.items} | {ids.id(one.item) for one in again}
        rows = {item.item_id: item for item in self._store.items(sorted(wanted))}
        says = {(one.attribute, one.value): one.says for one in corrections}
        return Profile(
            user_id=user_id,
            consent=consent,
            events=len(lived.item_E),
            tastes=[self._taste(taste, rows, says.get(taste.trait, "")) for taste in found],
            rhythm=_rhythm(rhythm.rhythm(lived.time_E, self._zone), self._scenario.profile.timezone),
            due=[self._due(one, last[one.item], rows) for one in again],
            corrections=list(corrections),
        )

    def forget(self) -> None:
        """Counts everybody's events anew when they are next needed: someone was erased."""
        with self._lock:
            self._taken = None

    def _taken_I(self) -> Scores:
        """[I] weight of everybody's events by item, counted less than `FRESH_S` ago."""
        with self._lock:
            kept = self._taken
        if kept is not None and time.monotonic() < kept[1]:
            return kept[0]
        weights = {name: weight for name, weight in self._scenario.events.items() if weight > 0}
        taken_I = np.zeros(len(self._catalogue), np.float32)
        for item_id, weight in self._store.taken(weights).items():
            if 0 <= (code := self._catalogue.items.code(item_id)) < len(taken_I):
                taken_I[code] = weight
        with self._lock:
            self._taken = taken_I, time.monotonic() + FRESH_S
        return taken_I

    def _taste(self, taste: Taste, rows: dict[str, Item], says: str) -> TasteShown:
        name = self._catalogue.items.id
        return TasteShown(
            attribute=taste.trait.attribute,
            value=taste.trait.value,
            share=round(taste.share, 4),
            usual=round(taste.usual, 6),
            lift=round(taste.lift, 2),
            events=taste.events,
            first=taste.first,
            last=taste.last,
            items=[Shown(item_id=name(code), title=_title(rows.get(name(code))), times=times) for code, times in taste.items],
            n_items=taste.n_items,
            says=says,
        )

    def _due(self, one: Due, last: int, rows: dict[str, Item]) -> DueShown:
        item_id = self._catalogue.items.id(one.item)
        return DueShown(
            item_id=item_id,
            title=_title(rows.get(item_id)),
            times=one.times,
            gap_days=round(one.gap_days, 1),
            last=last,
            due=last + int(one.gap_days * rhythm.DAY_US),
            chance=round(one.chance, 4),
        )


def _title(item: Item | None) -> str | None:
    return None if item is None or item.title is UNSET else item.title


def _rhythm(found: rhythm.Rhythm | None, timezone: str) -> RhythmShown | None:
    if found is None:
        return None
    hours, weekdays = list(found.hours), list(found.weekdays)
    return RhythmShown(timezone=timezone, hours=hours, weekdays=weekdays, days=found.days, gap_days=found.gap_days, first=found.first, last=found.last)
