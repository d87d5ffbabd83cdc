"""Placements over a release: retrieve → filter → blend → arrange → explain → answer. Knows users, items and events; no word of any business, no model by name.

A model that fails is left out, counted in `Engine.failures`, and the answer says `degraded`. What then is missing on the list is filled by the other
models of the release, in the scenario's order, and at last by the newest items. The filter holds at every step.

Axes: B requests of a batch, I items of the catalogue (the release's first), N candidates of one list, K its length.
"""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray

from daogou import filters, query
from daogou.arrange.diversity import diversify
from daogou.arrange.exploration import explore
from daogou.catalogue import Catalogue, item_columns
from daogou.contract import Codes, Due, Encoder, Habits, Mask, Progress, Queries, Reason, Recommender, Scores, StandIn
from daogou.data.histories import Histories
from daogou.data.rows import Correction, Item
from daogou.errors import DaogouError, UnknownName, UsageError
from daogou.families import top_k
from daogou.filters import Filter, Words, path_levels
from daogou.finder import Finder, Sight
from daogou.index.vectors import Meaning
from daogou.profile import wishes
from daogou.profile.newcomers import HANDOVER
from daogou.profile.page import MOST_EVENTS, Profile, Profiles
from daogou.profile.questions import ASKED, OPTIONS, of_catalogue
from daogou.profile.tastes import Lived
from daogou.profile.traits import ITEM, Trait
from daogou.profile.wishes import Wishes
from daogou.query import NOBODY, Asked, Person
from daogou.rank.blend import Blend, Part, evidence, repeats_at, taken
from daogou.rank.normalise import z_scores
from daogou.rank.ranker import Ranked as LearnedOrder
from daogou.release import Release
from daogou.request import MAX_ITEMS, MAX_K, Answer, Answered, Cause, Request, SessionEvent
from daogou.scenario import Placement, Scenario
from daogou.store import Store

__all__ = ["Answer", "Answered", "Cause", "Engine", "Request", "SessionEvent"]

log = structlog.get_logger("daogou.engine")

NEW = 20
"""New items among which exploration draws half of its places: few, so that each is seen often enough to be judged."""
NEW_LOOKED_AT = 1000
CANDIDATES = 200
"""Items of one list that are arranged; exploration draws from those not shown."""
BATCH = 64
NEWEST = "newest"
SEARCH = "search"
RANKER = "ranker"
MORE, ANSWERS = "more", "answers"
PROFILE = "profile"
KEPT_FILTERS = 256
KEPT_ALIKE = 10_000
CAUSES = 5
"""Items of the history named by one explanation."""
RECENT = 50
"""Newest events among which a reason finds the item it names; an explanation looks at all of them."""


class Listed(NamedTuple):
    """One item on its way to the answer: its code, its score, who proposed it, its propensity."""

    code: int
    score: float
    source: str
    propensity: float = 1.0


@dataclass
class Ranked:
    """What the models of one placement say of a batch."""

    total_BI: Scores
    parts: list[Part]
    failed: list[str] = field(default_factory=list)
    new: dict[int, "New"] = field(default_factory=dict)
    "Rows of people of whom little more than their answers is known."
    learned: LearnedOrder | None = None
    "Orders the blend's head, where the placement has a learned ranker and every model it was learned over has spoken."


class New(NamedTuple):
    """The scores of someone new: the models' and what the answers say, by how much is known; and the answers, by their places."""

    scores_I: Scores
    picked: tuple[int, ...]
    mostly: bool
    "Whether the answers say more than the models."


class Row(NamedTuple):
    """One request of a batch, for those who make its list."""

    place: Placement
    ranked: Ranked
    b: int
    questions: Queries
    k: int
    name: str
    "Of the answer: exploration is drawn from it."


class Engine:
    """Answers requests from one release, the live catalogue and the store. Every method may be called from many threads.

    Args:
        release: None before the first training: newest items and search.
        history: a shopper's newest events read for one answer; those that teach nothing (shown) do not count.
        text_encoder, image_encoders, encoders (their settings), photos, vectors: see `Finder`; without encoders search goes by words alone.
        request_id: makes the ids of answers.
    """

    def __init__(
        self,
        release: Release | None,
        scenario: Scenario,
        store: Store,
        *,
        history: int = 500,
        request_id: Callable[[], str] = lambda: uuid.uuid4().hex,
        text_encoder: str = "",
        image_encoders: Mapping[str, float] = {},
        encoders: Mapping[str, Mapping[str, Any]] = {},
        photos: Path | None = None,
        vectors: Path | None = None,
    ) -> None:
        self.release, self.scenario = release, scenario
        self.failures: Counter[str] = Counter()
        "How often each model, or the store, failed while answering."
        self._store, self._history, self._request_id = store, history, request_id
        self._signals = tuple(name for name, weight in scenario.events.items() if weight != 0)
        self.catalogue = Catalogue(store.item_table(scenario.attributes.items), scenario.attributes, release.items if release else None)
        self._models: Mapping[str, Recommender] = release.models if release else {}
        self._blends = {place.name: self._blend(place) for place in scenario.placements}
        self._rankers = {
            place.name: release.rankers[place.name]
            for place in scenario.placements
            if release and place.rank not in ("blend", "first") and place.name in release.rankers
        }
        self._missing = {place.name: self._damaged(place) for place in scenario.placements}
        self._filters: dict[str, Filter] = {}
        own = _own_encoders(self._models, image_encoders)
        self.finder = Finder(
            self.catalogue, store, text_encoder=text_encoder, image_encoders=image_encoders, photos=photos, vectors=vectors, settings=encoders, own=own
        )
        self._says_more = any(f"because.{MORE}" in words for words in scenario.words.values())
        self._untried_I = _untried(self._models, len(release.items) if release else 0)
        self._alike: dict[int, tuple[int, ...]] = {}
        self._newcomers = release.newcomers if release else None
        for place in scenario.placements:
            self._filter(place.filter)
        private = self._filter(scenario.profile.private) if scenario.profile.private else None
        self._profiles = Profiles(scenario, store, self.catalogue, private)

    # ---- questions
    def recommend(self, request: Request) -> Answer:
        """
        Raises:
            UsageError: an unknown placement, a wrong filter, an item on the page that does not exist, a wrong k. Everything else is answered.
        """
        return self.recommend_many([request])[0]

    def recommend_many(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers of many requests, equal to those one by one."""
        answers: dict[int, Answer] = {}
        by_place: dict[str, list[int]] = {}
        for n, request in enumerate(requests):
            by_place.setdefault(self.scenario.placement(request.placement).name, []).append(n)
        for name, rows in by_place.items():
            for first in range(0, len(rows), BATCH):
                some = rows[first : first + BATCH]
                answers.update(zip(some, self._batch(self.scenario.placement(name), [requests[n] for n in some]), strict=True))
        return [answers[n] for n in range(len(requests))]

    def rank(
        self,
        user_id: str | None,
        items: Sequence[str],
        *,
        session_id: str | None = None,
        session: Sequence[SessionEvent] = (),
        explain: bool = False,
        locale: str = "en",
        details: bool = True,
    ) -> Answer:
        """The caller's candidates in the order this shopper should see them; those of which no model knows anything come last, in the caller's order.

        Raises:
            UsageError: no item, too many, or one that does not exist.
        """
        if not 0 < len(items) <= MAX_ITEMS:
            raise UsageError(f"{len(items)} items", expected=f"1 to {MAX_ITEMS}", field="items")
        codes = query.codes(self.catalogue, list(dict.fromkeys(items)), "items")
        place = next((p for p in self.scenario.placements if p.about == "shopper"), self.scenario.placements[0])
        request = Request(placement=place.name, user_id=user_id, session_id=session_id, session=list(session), explain=explain, locale=locale, details=details)
        person, broken = self._person(user_id, place)
        wished = self._wishes(person, request)
        asked = query.ask(request, place, self.scenario, self.catalogue, person, _now(), wished)
        questions = query.queries([asked], tuple(self.scenario.attributes.users))
        ranked = self._ranked(place, questions)
        self._meet(place, ranked, [asked], [wished])
        asked_I = np.zeros(len(self.catalogue), np.bool_)
        asked_I[codes] = True
        scores_N = taken(self._scores(ranked, 0, questions, asked_I), codes[None])[0]
        order = np.argsort(-scores_N, kind="stable")
        best = self._sources(ranked, 0, codes)
        listed = [Listed(int(codes[n]), float(scores_N[n]) if np.isfinite(scores_N[n]) else 0.0, best[n] if np.isfinite(scores_N[n]) else "") for n in order]
        if wished:
            by_code = {one.code: one for one in listed}
            listed = [by_code[code] for code in wishes.reordered(list(by_code), wished, place.size)]
        return self._answer(request, listed, ranked, 0, questions, degraded=bool(ranked.failed) or broken)

    def profile(self, user_id: str | None, *, session: Sequence[SessionEvent] = (), corrections: Sequence[Correction] = ()) -> Profile:
        """What is concluded of someone, with the evidence; empty for someone unknown. `session` and `corrections` are added to what the store holds.

        Raises:
            StoreError: the store cannot be read.
        """
        past = self._store.signals(user_id, MOST_EVENTS, self._signals) if user_id is not None else []
        user = self._store.user(user_id) if user_id is not None else None
        said = [*(self._store.corrections(user_id) if user_id is not None else ()), *corrections]
        consent = user.consent if user is not None and isinstance(user.consent, bool) else None
        told = [] if consent is False else query.lived(session, past, _now())
        lived = self._profiles.lived(told, self._said(said))
        return self._profiles.of(user_id, consent, lived, self._due(lived), said)

    def correctable(self, attribute: str, value: str) -> None:
        """Whether something may be said of this value.

        Raises:
            UnknownName: the attribute is not part of profiles.
            UsageError: no item carries the value.
        """
        traits = self._profiles.traits
        if attribute != ITEM and attribute not in traits.kinds:
            raise UnknownName("attribute of profiles", attribute, [ITEM, *traits.kinds], field="attribute")
        if not traits.mask(attribute, value).any():
            raise UsageError(f"no item with {attribute} {value[:80]!r}", expected="a value as the catalogue or the profile writes it", field="value")

    def onboarding(self) -> list[list[Trait]]:
        """Questions for someone of whom nothing is known, each with the options to pick from: items where people have taken things, else values of the
        catalogue; none where there is nothing to tell apart."""
        with self.catalogue.lock:
            open_I = self.catalogue.offered_I & ~self._profiles.private_I()
        if self._newcomers is not None:
            there = [code for code in self._newcomers.options_Q.tolist() if code < len(open_I) and open_I[code]][:ASKED]
            if len(there) >= OPTIONS:
                options = [Trait(ITEM, self.catalogue.items.id(code)) for code in there]
                return [options[n : n + OPTIONS] for n in range(0, len(options) - 1, OPTIONS)]
        return of_catalogue(self._profiles.traits.table(), open_I)

    def forget(self) -> None:
        """Someone was erased: what is counted over everybody's events is counted anew."""
        self._profiles.forget()

    def similar(self, item_id: str, k: int = 10, locale: str = "en") -> Answer:
        """What may stand in this item's place: the placement that the scenario names under `answers`."""
        return self._about_item("similar", item_id, k, locale)

    def bought_together(self, item_id: str, k: int = 10, locale: str = "en") -> Answer:
        """What people take along with this item: the placement that the scenario names under `answers`."""
        return self._about_item("bought_together", item_id, k, locale)

    def search(
        self,
        q: str,
        filter: str = "",
        k: int = 10,
        *,
        locale: str = "en",
        details: bool = True,
        unfinished: bool = False,
        user_id: str | None = None,
        alike: Sequence[str] = (),
    ) -> Answer:
        """Items whose words or meaning match, best first, in the order of the shopper's taste where two match alike.

        Args:
            unfinished: the last word is still being typed: then words alone count.
            alike: other names for what the words ask for.

        Raises:
            FilterError: the filter is wrong.
        """
        _check_k(k)
        allowed_I = self.matching([filter], offered=False)
        found = self.find(q, allowed_I, k, user_id=user_id, alike=alike, unfinished=unfinished)
        return self.answer(found, locale=locale, details=details)

    def matching(self, wanted: Sequence[str], *, offered: bool = True) -> Mask:
        """[I] items that meet every one of these filters, and can be had (`offered`) or at least exist.

        Raises:
            FilterError: one is wrong.
        """
        compiled = [self._filter(one) for one in wanted]
        with self.catalogue.lock:
            allowed_I = self.catalogue.offered_I if offered else self.catalogue.listed_I
            for one in compiled:
                allowed_I = allowed_I & one.mask(self.catalogue)
        return allowed_I

    def find(
        self,
        text: str,
        allowed_I: Mask,
        k: int,
        *,
        user_id: str | None = None,
        photo: Sight | None = None,
        like: Sequence[int] = (),
        alike: Sequence[str] = (),
        unfinished: bool = False,
        liberal: bool = False,
    ) -> list[Listed]:
        """The best k allowed items for some words, a photo and a shopper's taste; see `Finder.find`. Without any of them, what is new."""
        taste = partial(self._by_taste, user_id) if user_id is not None else None
        # Where the filter says what is wanted, words on the profile raise what meets it; where words find it, they only break ties.
        wished = self._said_of(user_id) if user_id is not None and liberal else None
        depth = max(k, CANDIDATES) if wished else k
        found = self.finder.find(text, allowed_I, depth, photo=photo, like=like, taste=taste, alike=alike, unfinished=unfinished, liberal=liberal)
        listed = [Listed(*one) for one in found]
        if wished:
            by_code = {one.code: one for one in listed}
            listed = [by_code[code] for code in wishes.reordered(list(by_code), wished, k)]
        return listed[:k]

    def _said_of(self, user_id: str) -> Wishes | None:
        """What somebody said of the profile; None = nothing."""
        place = next((p for p in self.scenario.placements if p.about == "shopper"), self.scenario.placements[0])
        return self._wishes(self._person(user_id, place)[0], Request(placement=place.name, user_id=user_id))

    def own_reasons(self, user_id: str, codes: Sequence[int], locale: str = "en") -> dict[int, tuple[str, Cause]]:
        """Which of the shopper's own items speaks for each of these, and the scenario's words for it; nothing for those for which none does.

        Of the models that the first placement about shoppers blends, the one that says most for the item and names its cause.
        """
        place = next((p for p in self.scenario.placements if p.about == "shopper"), self.scenario.placements[0])
        person, _ = self._person(user_id, place)
        request = Request(placement=place.name, user_id=user_id, locale=locale)
        questions = query.queries([query.ask(request, place, self.scenario, self.catalogue, person, _now())], tuple(self.scenario.attributes.users))
        ranked = self._ranked(place, questions)
        naming = [part for part in ranked.parts if "{item}" in self._because(part.name, request)]
        known = [code for code in codes if self.release is not None and code < len(self.release.items)]
        if not naming or not known:
            return {}
        ranked.parts = naming
        because: dict[int, tuple[str, Cause]] = {}
        for code, source in zip(known, self._sources(ranked, 0, np.array(known, np.int32)), strict=True):
            causes = self._causes(Listed(code, 1.0, source), ranked, 0, _recent(questions), request)
            if causes:
                named = _cause_to_name(causes, self.catalogue.items.id(code))
                because[code] = (source, next(cause for cause in causes if cause.item_id == named))
        try:
            rows = {item.item_id: item for item in self._store.items(list({cause.item_id for _, cause in because.values()}))} if because else {}
        except Exception as e:
            self._failed("store", e)
            return {}
        return {code: (self._reason(source, cause.item_id, rows, request), cause) for code, (source, cause) in because.items()}

    def mentioning(self, text: str) -> Mask:
        """[I] items whose words hold every word of this text."""
        return self.finder.mentioning(text)

    def answer(self, listed: Sequence[Listed], *, locale: str = "en", details: bool = True) -> Answer:
        """Found items with their rows, as they are now."""
        return self._answer(Request(placement=SEARCH, locale=locale, details=details), listed, None, 0, None, degraded=False)

    @property
    def meaning(self) -> Meaning | None:
        """See `Finder.meaning`."""
        return self.finder.meaning

    def learn_meaning(self, *, photos: bool = True, progress: Progress | None = None) -> None:
        """Reads the goods' texts, and their photos, now instead of in the background.

        Raises:
            DaogouError: an encoder cannot be had.
        """
        self.finder.learn(photos=photos, progress=progress)

    def catalogue_changed(self, item_ids: Sequence[str]) -> None:
        """Takes over what the store now holds of these items: price, stock and words count for the next answer."""
        items = self._store.items(list(item_ids))
        self.catalogue.update(item_ids, items)
        self.finder.changed(item_ids, items)

    def warm(self) -> None:
        """Builds what is otherwise built when first asked for: the index of words and the filters' columns. Before an engine takes the live one's place."""
        self.finder.words  # noqa: B018 (built when first asked for)
        for place in self.scenario.placements:
            with self.catalogue.lock:
                self._filter(place.filter).mask(self.catalogue)
            self.catalogue.column(place.diversity_by)

    # ---- the road
    def _batch(self, place: Placement, requests: Sequence[Request]) -> list[Answer]:
        now = _now()
        asked, broken, wanted, wished = [], [], [], []
        for request in requests:
            _check_k(request.k)
            wanted.append(self._filter(request.filter))
            person, failed = self._person(request.user_id, place)
            wished.append(self._wishes(person, request))
            asked.append(query.ask(request, place, self.scenario, self.catalogue, person, now, wished[-1]))
            broken.append(failed)
        questions = query.queries(asked, tuple(self.scenario.attributes.users))
        ranked = self._ranked(place, questions)
        self._meet(place, ranked, asked, wished)
        out = []
        for b, request in enumerate(requests):
            allowed_I = self._allowed(place, request, asked[b], wanted[b])
            name = self._request_id()
            k = request.k or place.size
            one = Row(place, ranked, b, questions, k, name)
            listed, failed = self._wished(one, allowed_I, wished[b]) if wished[b] else self._listed(one, allowed_I)
            degraded = bool(ranked.failed) or broken[b] or failed
            out.append(self._answer(request, listed, ranked, b, questions[b : b + 1], degraded=degraded, name=name))
        return out

    def _listed(self, one: "Row", allowed_I: Mask) -> tuple[list[Listed], bool]:
        """One row's list, arranged and filled; and whether a model failed that should have filled it."""
        place, ranked, b, questions, k, name = one
        listed = self._arranged(place, self._candidates(ranked, b, questions, allowed_I), allowed_I, k, name)
        failed = len(listed) < k and self._fill(place, listed, questions[b : b + 1], allowed_I, k)
        return listed, failed

    def _wished(self, one: "Row", allowed_I: Mask, wished: Wishes) -> tuple[list[Listed], bool]:
        """One row's list as the person wants it (see `profile.wishes`): what is wrong stands behind everything else, what more is wanted of is raised."""
        wrong_I = wishes.within(wished.wrong_I, len(allowed_I))
        listed, failed = self._listed(one, allowed_I & ~wrong_I)
        if wished.more:
            listed = self._raised(one, listed, allowed_I & ~wrong_I, wished)
        if len(listed) < one.k and (allowed_I & wrong_I).any():
            last, broken = self._listed(one, allowed_I & wrong_I)
            self._append(one.place, listed, last, one.k)
            failed |= broken
        return listed, failed

    def _raised(self, one: "Row", listed: list[Listed], allowed_I: Mask, wished: Wishes) -> list[Listed]:
        """The list with more of what is wanted, the best of it that is allowed; where a placement is about items, of what stands close behind its list."""
        place, ranked, b, questions, k, _ = one
        near = self._candidates(ranked, b, questions, allowed_I)[: wishes.NEAR * k] if place.about == "items" else None
        pools = []
        for more_I in wished.more[-wishes.MOST_RAISED :]:
            only_I = allowed_I & wishes.within(more_I, len(allowed_I))
            found = self._candidates(ranked, b, questions, only_I) if near is None else [each for each in near if only_I[each.code]]
            if near is None and len(found) < k:
                only_I[[each.code for each in found]] = False
                found += [Listed(int(code), 0.0, NEWEST) for code in self.catalogue.newest(only_I, k - len(found))]
            pools.append(found)
        by_code = {each.code: each._replace(source=MORE) if self._says_more else each for pool in reversed(pools) for each in pool}
        by_code |= {each.code: each for each in listed}
        order = [each.code for each in listed]
        others = wishes.in_turn([[each.code for each in pool] for pool in pools], order)
        out: list[Listed] = []
        self._append(place, out, [by_code[code] for code in wishes.raised(order, wished.wanted(order), others, k)], k)
        return out

    def _person(self, user_id: str | None, place: Placement) -> tuple[Person, bool]:
        """What the store knows of someone, and whether it failed: then everyone is a guest."""
        if user_id is None:
            return NOBODY, False
        try:
            past = self._store.signals(user_id, self._history, self._signals)
            had = self._store.items_with(user_id, place.exclude) if place.exclude else frozenset()
            user = self._store.user(user_id)
            said = self._store.corrections(user_id)
        except Exception as e:
            self._failed("store", e)
            return NOBODY, True
        return Person(past, had, user.attributes if user else {}, said), False

    # ---- what people say of their profile
    def _wishes(self, person: Person, request: Request) -> Wishes:
        """The words of the store and of the request, the newest on each value, in codes."""
        if not person.said and not request.corrections:
            return wishes.NONE
        now = _now()
        told = [Correction(attribute=one.attribute, value=one.value, says=one.says, time=now) for one in request.corrections]
        return self._said([*person.said, *told])

    def _said(self, said: Sequence[Correction]) -> Wishes:
        newest = {(one.attribute, one.value): one for one in said}
        return wishes.wishes(newest.values(), self._profiles.traits, self._like) if newest else wishes.NONE

    def _like(self, code: int) -> tuple[int, ...]:
        """The items most like one, by the first model that can say so of those that answer what is similar."""
        if code not in self._alike:
            place = self.scenario.answers.get("similar")
            names = self.scenario.placement(place).retrieve if place else tuple(self.scenario.models)
            found: list[int] = []
            for name in names:
                if not found and name in self._models:
                    try:
                        found = [int(c) for c in self._models[name].similar(np.array([code], np.int32), wishes.LIKE).codes_BK[0] if c >= 0]
                    except Exception as e:
                        self._failed(name, e)
            if len(self._alike) >= KEPT_ALIKE:
                self._alike.clear()
            self._alike[code] = tuple(found)
        return self._alike[code]

    def _meet(self, place: Placement, ranked: Ranked, asked: Sequence[Asked], wished: Sequence[Wishes]) -> None:
        """Mixes what their answers say into the rows of people who answered the questions: alone while they did nothing, ever less with each event."""
        if self._newcomers is None or place.about != "shopper":
            return
        for b, (one, wish) in enumerate(zip(asked, wished, strict=True)):
            picked = self._newcomers.picked([code for code, _ in wish.items])
            if not picked:
                continue
            trust = one.own / (one.own + HANDOVER)
            said_I = self._newcomers.scores(picked)
            scores_I = ((1 - trust) * (said_I - said_I.mean()) / max(float(said_I.std()), 1e-12)).astype(np.float32)
            total_I = ranked.total_BI[b]
            spoken = np.isfinite(total_I)
            scores_I[: len(total_I)] += trust * np.where(spoken, total_I, total_I[spoken].min() if spoken.any() else 0.0)
            ranked.new[b] = New(scores_I, tuple(picked), trust < 0.5)

    def _due(self, lived: Lived) -> list[Due]:
        """What is due again, from the first model that knows habits."""
        known: list[object] = [self._models.get(name) for name in self.scenario.models]
        habits = [model for model in known if isinstance(model, Habits)]
        if not habits or not len(lived.item_E):
            return []
        history = Histories(np.array([0, len(lived.item_E)]), lived.item_E, lived.time_E, lived.weight_E)
        nobody = query.Asked([], [], [], [], [], _now(), {})
        try:
            return habits[0].due(replace(query.queries([nobody], tuple(self.scenario.attributes.users)), history=history))
        except Exception as e:
            self._failed(PROFILE, e)
            return []

    def _allowed(self, place: Placement, request: Request, asked: Asked, wanted: Filter) -> Mask:
        """[I] what may be shown for this request."""
        own = self._filter(place.filter)
        known = query.known(request, asked, self.catalogue) if not (own.fixed and wanted.fixed) else filters.NOTHING_KNOWN
        with self.catalogue.lock:
            allowed_I = self.catalogue.offered_I & own.mask(self.catalogue, known) & wanted.mask(self.catalogue, known)
        allowed_I[[code for code in asked.barred if code < len(allowed_I)]] = False
        return allowed_I

    def _ranked(self, place: Placement, questions: Queries) -> Ranked:
        """The blend of every retriever that answers; `first` takes the best one that does."""
        blend, learned = self._blends[place.name], self._rankers.get(place.name)
        asked = learned or blend
        out = Ranked(np.zeros((len(questions), 0), np.float32), [], list(self._missing[place.name]))
        for name in asked.models:
            try:
                part = asked.part(name, questions)
            except Exception as e:
                out.failed.append(name)
                self._failed(name, e)
                continue
            out.parts.append(part)
            if place.rank == "first":
                break
        out.total_BI = blend.total([part for part in out.parts if part.weight > 0], len(questions))
        out.learned = None if out.failed else learned
        return out

    def _scores(self, ranked: Ranked, b: int, questions: Queries, allowed_I: Mask) -> Scores:
        """[1, n] one row's scores: in the learned order, or in the blend's where there is none or it fails; of new people, with what their answers say."""
        if b in ranked.new:
            return ranked.new[b].scores_I[None]
        if ranked.learned is not None:
            parts = [part.row(b) for part in ranked.parts]
            try:
                return ranked.learned.ordered(parts, questions[b : b + 1], allowed_I[None, : ranked.learned.n_items])
            except Exception as e:
                ranked.learned = None
                ranked.failed.append(RANKER)
                self._failed(RANKER, e)
        return ranked.total_BI[b : b + 1]

    def _candidates(self, ranked: Ranked, b: int, questions: Queries, allowed_I: Mask) -> list[Listed]:
        """The best allowed items of one row, each with the model that speaks most for it."""
        scores_1I = self._scores(ranked, b, questions, allowed_I)
        best = top_k(scores_1I, CANDIDATES, allowed_I[: scores_1I.shape[1]])
        codes = best.codes_BK[0][best.codes_BK[0] >= 0]
        sources = self._sources(ranked, b, codes)
        return [Listed(int(code), float(score), source) for code, score, source in zip(codes, best.scores_BK[0], sources, strict=False)]

    def _sources(self, ranked: Ranked, b: int, codes: Codes) -> list[str]:
        """The model with the largest share of each item's score."""
        if b in ranked.new and ranked.new[b].mostly:
            return [ANSWERS] * len(codes)
        if not ranked.parts or not len(codes):
            return [""] * len(codes)
        shares_MN = np.stack([part.weight * _z(part, b, codes) for part in ranked.parts])
        return [ranked.parts[m].name for m in np.argmax(shares_MN, axis=0)]

    def _arranged(self, place: Placement, candidates: list[Listed], allowed_I: Mask, k: int, name: str) -> list[Listed]:
        """Diversity, then exploration among the candidates that are left and new items that no model knows."""
        if not candidates:
            return []
        ordered = candidates
        if place.diversity > 0 or place.cap:
            column = self.catalogue.column(place.diversity_by)
            labels = self._labels(column, [c.code for c in candidates])
            order = diversify(np.array([c.score for c in candidates]), labels, k, share=place.diversity, cap=place.cap)
            ordered = [candidates[n] for n in order]
        if place.explore == 0:
            return ordered[:k]
        ranked = ordered[:k]
        shown = {c.code for c in ranked}
        new = [Listed(code, 0.0, NEWEST) for code in self._new(candidates, allowed_I) if code not in shown]
        taken_by_new = shown | {c.code for c in new}
        pool = new + [c for c in candidates if c.code not in taken_by_new]
        if place.cap:
            pool = self._once(place, pool, ranked)
        head = min(NEW, len(pool)) if new else 0  # filled up with the next best, so that the only new item is not on every list
        drawn = explore(len(ranked), len(pool), k, place.explore, np.random.default_rng(list(name.encode())), head)
        return [(ranked[at] if at >= 0 else pool[-1 - at])._replace(propensity=p) for at, p in zip(drawn.places, drawn.propensity, strict=True)]

    def _new(self, candidates: Sequence[Listed], allowed_I: Mask) -> list[int]:
        """Allowed items that nobody has taken yet, those first whose category is wanted: by the share of the candidates in the steps of its path, then newest.

        A category's prior: of what nothing is known but its kind, its kind's place on this shopper's list is the best guess (for guests, what is popular).
        """
        untried_I = allowed_I.copy()
        known = len(self.release.items) if self.release else 0
        untried_I[:known] &= self._untried_I[:known]
        codes = self.catalogue.newest(untried_I, NEW_LOOKED_AT)
        column = self.catalogue.column("category")
        steps = Counter(step for label in self._labels(column, [one.code for one in candidates]) if label for step in path_levels(label))
        labels = self._labels(column, codes.tolist())
        prior = [sum(steps[step] for step in path_levels(label or "")) for label in labels]
        return [int(codes[n]) for n in sorted(range(len(codes)), key=lambda n: -prior[n])[:NEW]]

    def _once(self, place: Placement, pool: Sequence[Listed], ranked: Sequence[Listed]) -> list[Listed]:
        """Those of the pool that no draw can take over the cap: labels that are not on the list, each once."""
        column = self.catalogue.column(place.diversity_by)
        used = set(self._labels(column, [one.code for one in ranked])) - {None}
        out = []
        for one, label in zip(pool, self._labels(column, [one.code for one in pool]), strict=True):
            if label is None or label not in used:
                out.append(one)
                used.add(label)
        return out

    @staticmethod
    def _labels(column: filters.Column, codes: Sequence[int]) -> list[str | None]:
        if isinstance(column, Words):
            return [column.text(number) if (number := int(column.codes_I[code])) >= 0 else None for code in codes]
        return [f"{value:g}" if (value := float(column.values_I[code])) == value else None for code in codes]

    def _fill(self, place: Placement, listed: list[Listed], questions: Queries, allowed_I: Mask, k: int) -> bool:
        """Adds to `listed` what is missing: from the other models in the scenario's order, then the newest. Whether a model failed."""
        failed = False
        left_I = allowed_I.copy()
        asked = self._blends[place.name].models if place.rank != "first" else {}
        for name in [*place.retrieve, *self.scenario.models, NEWEST]:
            if len(listed) >= k or name in asked or (name != NEWEST and name not in self._models):
                failed |= len(listed) < k and self.release is not None and name in self.release.damaged
                continue
            left_I[[one.code for one in listed]] = False
            try:
                found = self.catalogue.newest(left_I, CANDIDATES).tolist() if name == NEWEST else self._evident(self._models[name], questions, left_I)
            except Exception as e:
                self._failed(name, e)
                failed = True
                continue
            self._append(place, listed, [Listed(code, 0.0, name) for code in found], k)
        return failed

    def _append(self, place: Placement, listed: list[Listed], found: Sequence[Listed], k: int) -> None:
        """Adds items up to a list of k, as many of each label as the placement's cap leaves room for."""
        column = self.catalogue.column(place.diversity_by) if place.cap else None
        used = Counter(self._labels(column, [one.code for one in listed])) if column else Counter()
        for one in found:
            label = self._labels(column, [one.code])[0] if column else None
            if len(listed) < k and (label is None or used[label] < place.cap):
                listed.append(one)
                used[label] += 1

    @staticmethod
    def _evident(model: Recommender, questions: Queries, left_I: Mask) -> list[int]:
        """What one model recommends, without the arbitrary order of a row in which it says nothing."""
        part = Blend({"": model}, {"": 1.0}, repeats=True).part("", questions)
        said_I = evidence(model, part)[0]
        best = top_k(part.scores_BI, CANDIDATES, said_I & left_I[: len(said_I)])
        return [int(code) for code in best.codes_BK[0] if code >= 0]

    # ---- words and evidence
    def _answer(
        self, request: Request, listed: Sequence[Listed], ranked: Ranked | None, b: int, questions: Queries | None, *, degraded: bool, name: str | None = None
    ) -> Answer:
        if questions is not None and not request.explain:
            questions = _recent(questions)
        causes = [self._causes(one, ranked, b, questions, request) for one in listed]
        ids = [self.catalogue.items.id(one.code) for one in listed]
        because = [_cause_to_name(why, item_id) for why, item_id in zip(causes, ids, strict=True)]
        named = {cause for cause in because if cause is not None}
        try:
            rows = {item.item_id: item for item in self._store.items(list({*ids, *named} if request.details else named))} if request.details or named else {}
        except Exception as e:
            self._failed("store", e)
            rows, degraded = {}, True
        items = [
            Answered(
                item_id=item_id,
                score=round(one.score, 6),
                propensity=one.propensity,
                reason=self._reason(one.source, cause, rows, request),
                explanation=why if request.explain else None,
                item=rows.get(item_id) if request.details else None,
            )
            for item_id, one, why, cause in zip(ids, listed, causes, because, strict=True)
        ]
        return Answer(request_id=name or self._request_id(), release=self.release.id if self.release else None, degraded=degraded, items=items)

    def _causes(self, one: Listed, ranked: Ranked | None, b: int, questions: Queries | None, request: Request) -> list[Cause]:
        """Which items of the history speak for this one: all parts of the blend where an explanation was asked for, else the leading model alone."""
        if questions is None or (not request.explain and "{item}" not in self._because(one.source, request)):
            return []
        if one.source == ANSWERS and ranked is not None and self._newcomers is not None:
            return self._answers_for(one.code, ranked.new[b].picked)
        speakers = [(p.name, p.weight * float(p.moments.inverse_B[b])) for p in ranked.parts if request.explain or p.name == one.source] if ranked else []
        if one.score == 0.0 and one.source in self._models:
            speakers = [(one.source, 1.0)]
        weights: dict[int, float] = {}
        exact = True
        for name, scale in speakers:
            for reason in self._explained(name, questions, one.code):
                weights[reason.item] = weights.get(reason.item, 0.0) + scale * reason.weight
                exact &= reason.how == "exact"
        strongest = sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))[:CAUSES]
        # Under a learned order these are causes of having been proposed; the place on the list has more reasons than the history.
        how = "proposed" if ranked and ranked.learned else "exact" if exact else "left-out"
        return [Cause(self.catalogue.items.id(item), round(weight, 6), how) for item, weight in strongest if weight > 0]

    def _answers_for(self, code: int, picked: Sequence[int]) -> list[Cause]:
        """The answers that speak for an item, strongest first."""
        assert self._newcomers is not None
        effects = [(float(self._newcomers.effect_QI[q, code]), int(self._newcomers.options_Q[q])) for q in picked]
        strongest = sorted((pair for pair in effects if pair[0] > 0), key=lambda pair: (-pair[0], pair[1]))[:CAUSES]
        return [Cause(self.catalogue.items.id(item), round(weight, 6), "exact") for weight, item in strongest]

    def _explained(self, name: str, questions: Queries, code: int) -> list[Reason]:
        try:
            return self._models[name].explain(questions, code)
        except Exception as e:
            self._failed(name, e)
            return []

    def _because(self, source: str, request: Request) -> str:
        """The scenario's words for this source. What is on the page was not done by anyone: `because.MODEL.items` speaks of it, where there is one.
        What was searched for has matched, however it was found, unless the scenario has other words for that."""
        if not source:
            return ""
        matched = self.scenario.word(f"because.{SEARCH}", request.locale, " ") if request.placement == SEARCH else " "
        plain = self.scenario.word(f"because.{source}", request.locale, matched)
        about_items = request.placement != SEARCH and self.scenario.placement(request.placement).about == "items"
        return (self.scenario.word(f"because.{source}.items", request.locale, plain) if about_items else plain).strip()

    def _reason(self, source: str, cause: str | None, rows: Mapping[str, Item], request: Request) -> str:
        """The words for this source; nothing where they would name an item and there is none to name."""
        words = self._because(source, request)
        if "{item}" not in words:
            return words
        if cause is None:
            return ""
        title = rows[cause].title if cause in rows else None
        return words.replace("{item}", title if isinstance(title, str) else cause)

    # ---- small parts
    def _blend(self, place: Placement) -> Blend:
        """The learned weights of the placement; equal ones where none were learned, the first retrievers alone for `first`."""
        there = {name: self._models[name] for name in place.retrieve if name in self._models}
        learned = self.release.blends.get(place.name, {}) if self.release else {}
        weights = dict.fromkeys(there, 1.0) if place.rank == "first" else {name: learned.get(name, 0.0) for name in there}
        if not any(weights.values()):
            weights = dict.fromkeys(there, 1.0)
        return Blend(there, weights, repeats=repeats_at(place, self.scenario.evaluation))

    def _damaged(self, place: Placement) -> list[str]:
        """Models that should speak at this placement and could not be loaded."""
        if self.release is None:
            return []
        learned = self.release.blends.get(place.name, {})
        speaking = place.retrieve[:1] if place.rank == "first" else [name for name in place.retrieve if learned.get(name, 1.0) > 0]
        ranker = f"rankers/{self.release.manifest.rankers.get(place.name)}"
        return [name for name in (*speaking, ranker) if name in self.release.damaged]

    def _filter(self, text: str) -> Filter:
        found = self._filters.get(text)
        if found is None:
            found = filters.compile(text, item_columns(self.scenario.attributes), users=self.scenario.attributes.users)
            if len(self._filters) < KEPT_FILTERS:
                self._filters[text] = found
        return found

    def _by_taste(self, user_id: str | None, allowed_I: Mask, depth: int) -> list[int]:
        """Allowed items in the order that the first placement about shoppers would give them; what no model knows comes last, newest first."""
        place = next((p for p in self.scenario.placements if p.about == "shopper"), self.scenario.placements[0])
        person, _ = self._person(user_id, place)
        request = Request(placement=place.name, user_id=user_id)
        wished = self._wishes(person, request)
        asked = query.ask(request, place, self.scenario, self.catalogue, person, _now(), wished)
        questions = query.queries([asked], tuple(self.scenario.attributes.users))
        ranked = self._ranked(place, questions)
        self._meet(place, ranked, [asked], [wished])
        known = [one.code for one in self._candidates(ranked, 0, questions, allowed_I)][:depth] if self.release else []
        left_I = allowed_I.copy()
        left_I[known] = False
        order = [*known, *self.catalogue.newest(left_I, depth - len(known)).tolist()]
        return wishes.reordered(order, wished, place.size) if wished else order

    def _about_item(self, question: str, item_id: str, k: int, locale: str) -> Answer:
        place = self.scenario.answers.get(question)
        if place is None:
            raise UnknownName("answer", question, self.scenario.answers, where="[answers] of the scenario")
        return self.recommend(Request(placement=place, items=[item_id], k=k, locale=locale))

    def _failed(self, part: str, error: Exception) -> None:
        self.failures[part] += 1
        log.warning("degraded", part=part, error=type(error).__name__, found=str(error)[:300] if isinstance(error, DaogouError) else "")


def _untried(models: Mapping[str, Recommender], n_items: int) -> Mask:
    """[I] items of the release without an event, as far as a model counts them."""
    for model in models.values():
        if isinstance(model, StandIn):
            return np.asarray(model.trust_I[:n_items] == 0)
    return np.zeros(n_items, np.bool_)


def _own_encoders(models: Mapping[str, Recommender], wanted: Mapping[str, float]) -> dict[str, Encoder]:
    """The encoders among `wanted` that a model of the release brings, because the shop's own goods taught them."""
    out: dict[str, Encoder] = {}
    for name, model in models.items():
        try:
            out |= {key: one for key, one in getattr(model, "encoders", {}).items() if key in wanted}
        except DaogouError as e:
            log.warning("encoders of the release cannot be used", model=name, why=str(e))
    return out


def _z(part: Part, b: int, codes: Codes) -> NDArray[np.float32]:
    """[N] z-scores of some items in one row."""
    row = part.row(b)
    return np.asarray(z_scores(taken(row.scores_BI, codes[None]), row.moments)[0])


def _recent(questions: Queries) -> Queries:
    history = questions.history.tail(RECENT)
    return Queries(history=history, user_B=questions.user_B, now_B=questions.now_B, context=questions.context, attributes=questions.attributes)


def _cause_to_name(causes: Sequence[Cause], item_id: str) -> str | None:
    """The strongest cause, but rather another item than the recommended one itself (which people may take again)."""
    others = [cause.item_id for cause in causes if cause.item_id != item_id]
    return others[0] if others else item_id if causes else None


def _check_k(k: int | None) -> None:
    if k is not None and not 1 <= k <= MAX_K:
        raise UsageError(f"k = {k}", expected=f"1 to {MAX_K}", field="k")


def _now() -> int:
    return time.time_ns() // 1000
