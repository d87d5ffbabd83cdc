"""The conversation: what holds so far, what was shown, what was asked; one turn after another.

A turn reads the words (understand.py), changes the state, finds goods by filter and fused ranks, relaxes where nothing is left, and asks one question where an
answer would halve what is left. Everything about a product comes from the store's record of it.

Axes: I items.
"""

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple
from weakref import WeakKeyDictionary

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from daogou.contract import Mask
from daogou.engine import Engine, Listed
from daogou.errors import UsageError
from daogou.filters import Numbers, Words
from daogou.finder import Sight
from daogou.guide.messages import WORDS, say
from daogou.guide.money import Price
from daogou.guide.names import other_names
from daogou.guide.nearness import Nearness, Vector
from daogou.guide.questions import Choice, best_question
from daogou.guide.understand import Constraint, Understood, bounds, conflict, denial, digits, understand, wanted
from daogou.guide.values import Value, Values, learn
from daogou.request import MAX_K, Answer, Answered, Cause, Request

CONVERSATIONS = 10_000
"""Remembered at once; the one not heard of for longest is forgotten first."""
TTL_S = 3600.0
SHOWN = 200
"""Items shown in one conversation that are remembered."""
IN_A_ROW = 2
"""Questions asked one after the other, at most."""
MOST_PHOTO = 14_000_000
"""Characters of a photo in base64; what it may be is said in encode/darkroom.py."""
SIZE = 8
LARGE = 10_000
"""Goods from which the values of a changed catalogue are learned beside the answers instead of before one."""
AGAIN_S = 60.0
FEW = 3
IMPORTANCE = ("season", "occasion", "", "size", "color", "brand", "gender", "category", "price")
"""What is relaxed first stands first; "" = any other attribute. What the shopper ruled out is never relaxed, a price only where nothing at all has it."""


class Question(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One turn of a shopper. `remove` names chips that no longer hold."""

    text: Annotated[str, Meta(max_length=10_000)] = ""
    image: Annotated[str, Meta(max_length=MOST_PHOTO)] | None = None
    "A photo as the question: a JPEG, PNG or WebP file in base64. It is looked at and not kept."
    user_id: Annotated[str, Meta(max_length=256)] | None = None
    conversation_id: Annotated[str, Meta(max_length=64)] | None = None
    locale: Annotated[str, Meta(max_length=16)] | None = None
    "None = the language of the text."
    remove: Annotated[list[Annotated[str, Meta(max_length=500)]], Meta(max_length=100)] = []
    filter: Annotated[str, Meta(max_length=2000)] = ""
    "What may be shown in any case, in the filter language; never relaxed."
    k: Annotated[int, Meta(ge=1, le=MAX_K)] = SIZE


class Chip(Struct, frozen=True, kw_only=True):
    """One thing that was understood: send its `id` under `remove` and it no longer holds."""

    id: str
    attribute: str
    filter: str
    "In the filter language; empty where it is no filter (words that the goods must not have)."
    label: str
    labels: dict[str, str]
    "By language."
    said: str
    "The words it came from."


class Option(Struct, frozen=True, kw_only=True):
    """An answer that may be given, and how many goods it leaves."""

    value: str
    label: str
    items: int


class Asked(Struct, frozen=True, kw_only=True):
    """One question back."""

    attribute: str
    text: str
    options: list[Option]


class Reply(Struct, frozen=True, kw_only=True):
    """One turn of the guide."""

    conversation_id: str
    request_id: str
    "Names this list: events that come of it may carry it."
    reply: str
    understood: list[Chip]
    question: Asked | None = None
    relaxed: list[Chip] = []
    "Chips that were dropped because nothing met all of them."
    total: int
    "Goods that meet everything that still holds."
    items: list[Answered]
    degraded: bool = False
    "Something that should have spoken could not."


@dataclass(slots=True)
class State:
    """What one conversation remembers."""

    user_id: str | None = None
    constraints: list[Constraint] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    "The last list, in order."
    seen: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    "Items that the shopper does not want to see again."
    like: str | None = None
    photo: Sight | None = None
    "What was seen in the photo that is asked about; the photo itself is not kept."
    order: str = ""
    "`cheapest` or `dearest`: which come first; empty = the best."
    loose: bool = False
    "Whether some of the words are no constraint: then the order is that of what they find."
    settled: set[str] = field(default_factory=set)
    "Attributes not to be asked for (again)."
    in_a_row: int = 0
    chinese: bool = False
    heard: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Turned(NamedTuple):
    """A turn's reply, and whether it says no more than that these goods are what was asked for: nothing refused, relaxed or remarked."""

    reply: Reply
    plain: bool


class Guide:
    """Answers turns; may be called from many threads. Holds at most `conversations`, each for `ttl_s` after its last turn."""

    def __init__(self, *, conversations: int = CONVERSATIONS, ttl_s: float = TTL_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._ttl_s, self._clock = conversations, ttl_s, clock
        self._states: OrderedDict[str, State] = OrderedDict()
        self._lock = threading.Lock()
        self._learning = threading.Lock()
        self._learned: WeakKeyDictionary[Engine, tuple[int, float, Values]] = WeakKeyDictionary()
        "Version of the catalogue, when, and what; of each engine, for while one takes another's place both answer."
        self._near: WeakKeyDictionary[Engine, tuple[Values, Nearness | None]] = WeakKeyDictionary()
        "None = being worked out."

    def __len__(self) -> int:
        return len(self._states)

    def forget(self, user_id: str) -> None:
        """Drops the conversations of a person."""
        with self._lock:
            for name in [name for name, state in self._states.items() if state.user_id == user_id]:
                del self._states[name]

    def warm(self, engine: Engine) -> None:
        """Learns the values, and reads the lexicon, before the first turn needs them; begins to look at the photos."""
        values = self.values(engine)
        engine.finder.looks  # noqa: B018 (begun when first asked for)
        understand("hello", values)
        if (meaning := engine.finder.meaning) is not None:
            self._compare(engine, values, meaning.vector)

    def ask(self, engine: Engine, question: Question) -> Reply:
        """
        Raises:
            UsageError: neither text, photo, chip to remove nor conversation to go on with; a wrong filter; a photo that is none.
        """
        return self.turn(engine, question).reply

    def turn(self, engine: Engine, question: Question, read: Understood | None = None) -> Turned:
        """As `ask`, for one who reads or phrases too.

        Args:
            read: the text as it was taken apart already; None = the rules take it apart.

        Raises:
            UsageError: as `ask`.
        """
        if not (question.text.strip() or question.image is not None or question.remove or question.conversation_id):
            raise UsageError("an empty question", expected="text, image, remove or conversation_id", fix="say what is looked for", field="text")
        fixed_I = engine.matching([question.filter])
        seen = None if question.image is None else look_at(engine, question.image)
        name, state = self._state(question)
        with state.lock:
            values = self.values(engine)
            if read is None:
                read = understand(question.text, values)
                if read.rest and (near := self._nearness(engine, values)) is not None:
                    read = _with(read, near)
            turn = _Turn(engine, values, question, name, state, fixed_I, read, seen)
            reply = turn.reply()
            return Turned(reply, turn.plain)

    def _state(self, question: Question) -> tuple[str, State]:
        """The conversation that goes on, or a new one: an id that is not known (any more), or another person's, begins anew under an id of ours."""
        now = self._clock()
        with self._lock:
            while self._states and (len(self._states) > self._most or now - next(iter(self._states.values())).heard > self._ttl_s):
                self._states.popitem(last=False)
            name = question.conversation_id or ""
            state = self._states.get(name)
            if state is None or (state.user_id is not None and state.user_id != question.user_id):
                name, state = uuid.uuid4().hex, State()
                self._states[name] = state
                if len(self._states) > self._most:
                    self._states.popitem(last=False)
            state.heard = now
            state.user_id = question.user_id
            self._states.move_to_end(name)
            return name, state

    def values(self, engine: Engine) -> Values:
        """Learned once a catalogue; a large one that changed is read again at most once a minute, beside the answers."""
        known, version = self._learned.get(engine), engine.catalogue.version
        if known is None:
            return self._learn(engine)
        learned_of, at, values = known
        if learned_of == version or (len(engine.catalogue) > LARGE and self._clock() - at < AGAIN_S):
            return values
        if len(engine.catalogue) <= LARGE:
            return self._learn(engine)
        if self._learning.acquire(blocking=False):
            self._learning.release()
            threading.Thread(target=self._learn, args=(engine,), name="daogou-values", daemon=True).start()
        return values

    def _learn(self, engine: Engine) -> Values:
        with self._learning:
            known, version = self._learned.get(engine), engine.catalogue.version
            if known is None or known[0] != version:
                known = self._learned[engine] = (version, self._clock(), learn(engine.catalogue, engine.scenario))
            return known[2]

    def _nearness(self, engine: Engine, values: Values) -> Nearness | None:
        """What words of no list may mean; worked out beside the answers when first asked for, and again when the values changed."""
        meaning = engine.finder.meaning
        known = self._near.get(engine)
        if meaning is None or (known is not None and known[0] is values):
            return None if known is None or meaning is None else known[1]
        self._near[engine] = (values, None)
        threading.Thread(target=self._compare, args=(engine, values, meaning.vector), name="daogou-nearness", daemon=True).start()
        return None

    def _compare(self, engine: Engine, values: Values, vector: Vector) -> None:
        self._near[engine] = (values, Nearness(values, vector))


class _Turn:
    """One turn while it is worked out."""

    def __init__(
        self, engine: Engine, values: Values, question: Question, name: str, state: State, fixed_I: Mask, read: Understood, seen: Sight | None
    ) -> None:
        self.engine, self.values, self.question, self.name, self.state = engine, values, question, name, state
        self.fixed_I, self.seen = fixed_I, seen
        self.read = read
        if question.locale:
            state.chinese = question.locale.lower().startswith("zh")
        elif self.read.text:
            state.chinese = self.read.chinese
        self.chinese = state.chinese
        self.locale = question.locale or ("zh" if self.chinese else "en")
        self.notes: list[str] = []
        self.relaxed: list[Constraint] = []
        self.excluded: list[str] = []
        self.plain = False
        self.beside = ""
        "The item that the goods shall go with."
        self.sources: dict[str, str] = {}
        self.own: dict[str, tuple[str, Cause]] = {}

    def reply(self) -> Reply:
        state, read = self.state, self.read
        for name, what in read.notes:
            self._note(name, what)
        for said, names in read.lacking:
            if not any(self.engine.mentioning(name).any() for name in names):
                self.notes.append(self._say("lacking", what=said))
        self._removed()
        if "reset" in read.moves:
            self._restart()
            self.notes.append(self._say("reset"))
        self._referred()
        self._merged()
        self._looked()
        self._moved()
        allowed_I = self._allowed()
        beside, listed, honest = self._together(), list[Listed](), True
        if beside is None:
            listed, honest = self._found(allowed_I)
        question = self._question(allowed_I) if listed else None
        total = int(allowed_I.sum()) if beside is None else len(beside.items)
        answer = self.engine.answer(listed, locale=self.locale) if beside is None else beside
        self.own = self._own(listed)
        self.sources = {self.engine.catalogue.items.id(one.code): one.source for one in listed}
        state.shown = [one.item_id for one in answer.items]
        state.seen = list(dict.fromkeys([*state.seen, *state.shown]))[-SHOWN:]
        return Reply(
            conversation_id=self.name,
            request_id=answer.request_id,
            reply=self._reply(total, bool(answer.items), honest, question),
            understood=[self._chip(one) for one in state.constraints] + [self._without(word) for word in state.without] + self._ordered(),
            question=question,
            relaxed=[self._chip(one) for one in self.relaxed],
            total=total,
            items=[self._because(one, honest) for one in answer.items] if beside is None else answer.items,
            degraded=answer.degraded,
        )

    # ---- the state
    def _restart(self) -> None:
        state = self.state
        state.constraints, state.words, state.without, state.shown, state.seen = [], [], [], [], []
        state.like, state.photo, state.settled, state.in_a_row, state.order, state.loose = None, None, set(), 0, "", False
        state.refused = []

    def _removed(self) -> None:
        gone = set(self.question.remove)
        state = self.state
        state.settled |= {one.attribute for one in state.constraints if one.id in gone}
        for one in state.constraints:
            if one.id in gone:  # its words would otherwise still be searched for
                state.words = [" ".join(words.replace(one.said, " ").split()) for words in state.words]
        state.constraints = [one for one in state.constraints if one.id not in gone]
        state.without = [word for word in state.without if f"without {word}" not in gone]
        if f"order {state.order}" in gone:
            state.order = ""

    def _referred(self) -> None:
        """ "like the second one but black": what that one is, save what is said to differ."""
        state, about = self.state, self.read.about
        if about is None and "goes" in self.read.moves and state.shown:
            about = 0
        if about == 0 and self.question.image is not None:
            return  # "something like this, but red": what the photo shows
        if about is None:
            return
        if not state.shown or about >= len(state.shown):
            self.notes.append(self._say("no such" if state.shown else "no shown"))
            return
        anchor = state.shown[about]
        if self.read.unliked:
            state.refused = [*state.refused, anchor][-SHOWN:]
            return
        state.like, state.photo = anchor, None
        self.excluded.append(anchor)
        if self.read.moves & {"cheaper", "dearer"}:
            return
        if "goes" in self.read.moves:
            state.constraints, state.words, state.without = [one for one in state.constraints if one.role in ("price", "gender")], [], []
            return
        own = self._of(anchor)
        said = {one.attribute for one in self.read.constraints}
        keep = [one for one in state.constraints if one.role == "price" or not one.wanted]
        state.words = []
        state.constraints = keep + [one for one in own if one.attribute not in said and self._names_it(one)]

    def _names_it(self, one: Constraint) -> bool:
        """Whether it says what an item is and for whom; of several attributes about kinds the finest."""
        return one.role == "gender" or (one.role == "category" and one.attribute == self.values.attribute("category"))

    def _of(self, item_id: str) -> list[Constraint]:
        """What an item is, as constraints."""
        code = self.engine.catalogue.items.code(item_id)
        out = []
        for attribute in self.values.roles:
            column = self.engine.catalogue.column(attribute)
            if isinstance(column, Words) and (number := int(column.codes_I[code])) >= 0:
                value = self.values.value(attribute, column.text(number))
                if value is not None:
                    out.append(_wanted(value))
        return out

    def _merged(self) -> None:
        """What is said now holds against what was said before."""
        state, new = self.state, self.read.constraints
        kinds = {one.values for one in new if one.role == "category" and one.wanted}
        before = {one.values for one in state.constraints if one.role == "category" and one.wanted}
        if kinds and before and not kinds & before and not _within(before, kinds):
            state.constraints = [one for one in state.constraints if one.role in ("gender", "price") or not one.wanted]
            state.words, state.without, state.like, state.photo, state.order, state.loose = [], [], None, None, "", False
        for one in new:
            state.constraints = [old for old in state.constraints if not _replaced(old, one)]
            state.constraints.append(one)
        if (self.read.words and self.read.about is None) or self.read.rest:
            words = self.read.words if not new or self.read.rest else " ".join(one.said for one in new if one.wanted and one.role not in ("price", "size"))
            state.words = [*state.words, words][-3:]
            state.loose |= bool(self.read.rest)
        state.without = list(dict.fromkeys([*state.without, *self.read.without]))[-5:]

    def _looked(self) -> None:
        """A photo begins a search of its own: what words said of another thing before does not hold for what it shows."""
        if self.question.image is None:
            return
        state = self.state
        if self.seen is None:
            self.notes.append(self._say("photo later" if self.engine.finder.sighted else "no photo"))
            return
        new = {one.id for one in self.read.constraints}
        if self.read.about is None:
            state.constraints = [one for one in state.constraints if one.id in new or one.role in ("gender", "price") or not one.wanted]
            state.words, state.like = [self.read.words] if self.read.rest else [], None
        state.photo = self.seen

    def _moved(self) -> None:
        """Critiques of what was shown."""
        state, moves = self.state, self.read.moves
        for move in sorted(moves):
            what, _, role = move.partition(":")
            if what == "any":
                gone = {one.attribute for one in state.constraints if one.role == role and one.wanted} if role else set()
                state.constraints = [one for one in state.constraints if one.attribute not in gone]
                state.settled |= gone | ({attribute} if role and (attribute := self.values.attribute(role)) else set())
            elif what == "other":
                self._other(role)
            elif what == "more":
                self.excluded += state.seen
            elif what in ("cheaper", "dearer"):
                self._priced(cheaper=what == "cheaper")
            elif what in ("cheapest", "dearest") and self.values.priced:
                state.order = what
            elif what in ("cheapest", "dearest"):
                self.notes.append(self._say("no prices", what=self.read.text[:100]))
            elif what in ("service", "who"):
                self.notes.append(self._say(what))

    def _other(self, role: str) -> None:
        """换个牌子: not the one that was asked for; else none of those that were shown."""
        state = self.state
        attribute = self.values.attribute(role)
        if attribute is None:
            return
        asked = [one for one in state.constraints if one.attribute == attribute and one.wanted]
        now = {one.id for one in self.read.constraints}
        if any(one.id in now for one in asked):
            return  # "another brand, Puma": that one is wanted
        state.constraints = [one for one in state.constraints if one not in asked]
        for one in asked:
            state.constraints.append(denial(one))
            state.words = [" ".join(words.replace(one.said, " ").split()) for words in state.words]
        if asked:
            return
        shown = [self._value(attribute, item_id) for item_id in ([state.like] if self.read.about is not None and state.like else state.shown)]
        for text in dict.fromkeys(text for text in shown if text):
            value = self.values.value(attribute, text)
            if value is not None:
                state.constraints.append(denial(_wanted(value)))

    def _priced(self, *, cheaper: bool) -> None:
        """Cheaper than what was shown: than all of it where something is left there, else than half of it; than one item where it was named."""
        state = self.state
        column = self.engine.catalogue.column("price")
        assert isinstance(column, Numbers)
        ids = [state.like] if self.read.about is not None and state.like else state.shown
        codes = [code for item_id in ids if (code := self.engine.catalogue.items.code(item_id)) >= 0]
        shown = [price for code in codes if (price := float(column.values_I[code])) == price]
        state.constraints = [one for one in state.constraints if one.role != "price" or (one.op in ("<", "<=")) != cheaper]
        if not shown:
            mask_I = self.fixed_I
            for one in sorted(state.constraints, key=_importance, reverse=True):  # of what can be met together
                narrower_I = _all([mask_I, self.engine.matching([one.filter])])
                mask_I = narrower_I if narrower_I.any() else mask_I
            prices = column.values_I[: len(mask_I)][mask_I]
            prices = prices[~np.isnan(prices)]
            if not len(prices):
                self.notes.append(self._say("no prices", what=self.read.text))
                return
            shown = [float(np.quantile(prices, 0.33 if cheaper else 0.67))]
        for limit in (min(shown) if cheaper else max(shown), float(np.median(shown))):
            wanted = Price(None, limit, False, True, "", 0, 0) if cheaper else Price(limit, None, True, False, "", 0, 0)
            (one,) = bounds(wanted, self.read.text[:100], self.values.currency)
            kept = [old for old in state.constraints if not conflict(old, one)]
            if int(_all([self.engine.matching([c.filter for c in [*kept, one]]), self.fixed_I]).sum()) >= FEW:
                break
        state.constraints = [*kept, one]

    # ---- the goods
    def _together(self) -> Answer | None:
        """What goes with an item that was shown, as the scenario's placement for it says; None where that was not asked, or there is nothing."""
        state, place = self.state, self.engine.scenario.answers.get("bought_together")
        anchor = state.like
        if "goes" not in self.read.moves or anchor is None or place is None:
            return None
        holds = [one.filter for one in [*self.read.constraints, *(old for old in state.constraints if old.role == "price")] if one.role != "gender"]
        held = " and ".join(f"({one})" for one in [self.question.filter, *dict.fromkeys(holds)] if one.strip())
        asked = Request(placement=place, items=[anchor], k=self.question.k, user_id=self.question.user_id, locale=self.locale, filter=held)
        answer = self.engine.recommend(asked)
        answer = msgspec.structs.replace(answer, items=[one for one in answer.items if one.score])  # what no model speaks for goes with nothing
        if not answer.items:
            if not self.read.constraints:
                self.notes.append(self._say("goes nothing", what=self._title(anchor)))
            return None
        self.beside = anchor
        return answer

    def _allowed(self) -> Mask:
        """[I] what meets everything; where nothing does, the most important ones are kept that can be met together."""
        state = self.state
        base_I = self.fixed_I.copy()
        for word in state.without:
            base_I = _all([base_I, ~self.engine.mentioning(word)])
        codes = [code for item_id in [*self.excluded, *state.refused] if 0 <= (code := self.engine.catalogue.items.code(item_id)) < len(base_I)]
        base_I[codes] = False
        masks = {one.id: self.engine.matching([one.filter]) for one in state.constraints}

        def meeting(kept: Sequence[Constraint]) -> Mask:
            return _all([base_I, *(masks[one.id] for one in kept)])

        whole_I = meeting(state.constraints)
        if whole_I.any():
            return whole_I
        kept = [one for one in state.constraints if one.op == "!="]
        for one in sorted((one for one in state.constraints if one.op != "!="), key=_importance, reverse=True):
            if meeting([*kept, one]).any():
                kept.append(one)
            else:
                self.relaxed.append(one)
                state.words = [" ".join(words.replace(one.said, " ").split()) for words in state.words] if one.said else state.words
        state.constraints = [one for one in state.constraints if one in kept]
        return meeting(kept)

    def _found(self, allowed_I: Mask) -> tuple[list[Listed], bool]:
        """The list, and whether it is what was asked for rather than something instead."""
        state = self.state
        if not allowed_I.any():
            return [], True
        codes = [code for code in [self.engine.catalogue.items.code(state.like)] if code >= 0] if state.like else []
        text = " ".join(words for words in dict.fromkeys(state.words) if words).strip()
        firm = any(one.wanted for one in state.constraints) or bool(codes) or not text or state.photo is not None
        alike = [] if not text or any(one.wanted for one in state.constraints) else other_names(text, self.values)
        if state.order and not (state.loose or codes or state.photo is not None):
            return self._by_price(np.flatnonzero(allowed_I)), True
        k = MAX_K if state.order else self.question.k
        listed = self.engine.find(text, allowed_I, k, user_id=self.question.user_id, photo=state.photo, like=codes, alike=alike, liberal=firm)
        if state.order:
            listed = self._by_price(np.array([one.code for one in listed], np.int64))
        if prices := [one for one in self.relaxed if one.role == "price"]:
            listed = self._nearest(listed, allowed_I, float(prices[0].values[0]))
        if listed or not text:
            return listed, True
        return self.engine.find("", allowed_I, self.question.k, user_id=self.question.user_id, liberal=True), False

    def _by_price(self, codes: NDArray[np.int64]) -> list[Listed]:
        """The cheapest or dearest of these; what has no price comes last."""
        column = self.engine.catalogue.column("price")
        assert isinstance(column, Numbers)
        price = column.values_I[codes] * (1 if self.state.order == "cheapest" else -1)
        return [Listed(int(codes[n]), 0.0, "search") for n in np.argsort(price, kind="stable")[: self.question.k]]

    def _nearest(self, listed: list[Listed], allowed_I: Mask, wanted: float) -> list[Listed]:
        """What comes nearest to a price that nothing has."""
        column = self.engine.catalogue.column("price")
        assert isinstance(column, Numbers)
        codes = np.flatnonzero(allowed_I)
        away = np.abs(column.values_I[codes] - wanted)
        order = np.lexsort((codes, np.nan_to_num(away, nan=np.inf)))[: len(listed)]
        return [Listed(int(codes[n]), 0.0, one.source) for n, one in zip(order, listed, strict=True)]

    def _question(self, allowed_I: Mask) -> Asked | None:
        """The one whose answer tells most, where it would halve what is left."""
        state = self.state
        fixed = {one.attribute for one in state.constraints if one.wanted and one.role != "category"}
        roles = {one.role for one in state.constraints if one.wanted}
        if state.in_a_row >= IN_A_ROW or int(allowed_I.sum()) <= self.question.k:
            state.in_a_row = 0
            return None
        leave = fixed | state.settled | {name for name, role in self.values.roles.items() if role in roles}
        choice = best_question(self.engine.catalogue, self.values, allowed_I, leave)
        if choice is None:
            state.in_a_row = 0
            return None
        state.in_a_row += 1
        state.settled.add(choice.attribute)
        return self._asked(choice)

    def _asked(self, choice: Choice) -> Asked:
        role = self.values.roles[choice.attribute]
        labels = [(self._label(choice.attribute, text), text, n) for text, n in choice.options]
        same: dict[str, tuple[str, str, int]] = {}
        for label, text, n in labels:  # FILA and Fila are one answer: what the shopper says finds both
            first = same.get(label.casefold(), (label, text, 0))
            same[label.casefold()] = (first[0], first[1], first[2] + n)
        options = [Option(value=text, label=label, items=n) for label, text, n in same.values()]
        what = self.engine.scenario.word(f"attribute.{choice.attribute}", self.locale, choice.attribute)
        return Asked(attribute=choice.attribute, text=self._say(role) if role in WORDS else self._say("which", what=what), options=options)

    # ---- words
    def _because(self, one: Answered, honest: bool) -> Answered:
        """Which of the constraints the item meets, in the words of its own record."""
        met = [c.label(self.locale) for c in self.state.constraints if c.role != "price"]
        price = next((c for c in self.state.constraints if c.role == "price"), None)
        if price is not None and one.item is not None and isinstance(one.item.price, float | int):
            met.append(f"{digits(float(one.item.price))} {one.item.currency if isinstance(one.item.currency, str) else self.values.currency}".strip())
        looks = self._say("photo") if self.sources.get(one.item_id) == "photo" else ""
        if met:
            fits = self._say("because", what=("、" if self.chinese else ", ").join(met))
        elif self.state.like:
            fits = self._say("alike", what=self._title(self.state.like))
        else:
            fits = self._say("close") if honest and self.state.words and not looks else ""
        own, cause = self.own.get(one.item_id, ("", None))
        reason = ("；" if self.chinese else "; ").join(part for part in (looks, fits, own) if part)
        why = None if cause is None else [cause]
        return Answered(item_id=one.item_id, score=one.score, propensity=one.propensity, reason=reason, explanation=why, item=one.item)

    def _own(self, listed: Sequence[Listed]) -> dict[str, tuple[str, Cause]]:
        """What of the shopper's own history speaks for each pick."""
        if self.question.user_id is None:
            return {}
        found = self.engine.own_reasons(self.question.user_id, [one.code for one in listed], self.locale)
        return {self.engine.catalogue.items.id(code): said for code, said in found.items()}

    def _title(self, item_id: str) -> str:
        rows = self.engine.answer([Listed(self.engine.catalogue.items.code(item_id), 0.0, "search")]).items
        title = rows[0].item.title if rows and rows[0].item else None
        return title if isinstance(title, str) else item_id

    def _reply(self, total: int, found: bool, honest: bool, question: Asked | None) -> str:
        state, out = self.state, []
        self.plain = found and honest and not self.notes and not self.relaxed
        if "hello" in self.read.moves:
            out.append(self._say("hello"))
        if "thanks" in self.read.moves:
            out.append(self._say("thanks"))
        out += self.notes
        if self.relaxed:
            out.append(self._say("relaxed", what=("、" if self.chinese else ", ").join(one.label(self.locale) for one in self.relaxed)))
        if not found:
            out.append(self._say("none"))
        elif self.beside:
            out.append(self._say("goes", what=self._title(self.beside)))
        elif not honest:
            out.append(self._say("nothing", text=self.read.text[:60]))
        elif state.photo is not None and self.question.image is not None:
            out.append(self._say("seen"))
        elif not state.constraints and not state.words and not state.like and not state.photo:
            out.append(self._say("popular"))
        elif state.constraints:
            out.append(self._say("found few" if total <= self.question.k else "found", n=str(total), es="es" if total == 1 else ""))
        else:
            out.append(self._say("near"))
        if question is not None:
            out.append(question.text)
        return " ".join(out) if not self.chinese else "".join(out)

    def _note(self, name: str, what: str) -> None:
        parts = what.split("|")
        if name == "contradiction":
            a, b = (parts[1], parts[3]) if self.chinese else (parts[0], parts[2])
            self.notes.append(self._say(name, a=a, b=b))
        elif name == "currency":
            self.notes.append(self._say(name, other=parts[0], own=parts[1]))
        else:
            self.notes.append(self._say(name, what=what))

    def _say(self, name: str, **what: str) -> str:
        word = self.engine.scenario.word
        n = what.get("n")
        thing, things = word("item", self.locale, "item"), word("items", self.locale, "items")
        return say(name, self.chinese, **{"thing": thing, "things": thing if n == "1" else things, **what})

    def _chip(self, one: Constraint) -> Chip:
        return Chip(id=one.id, attribute=one.attribute, filter=one.filter, label=one.label(self.locale), labels={"en": one.en, "zh": one.zh}, said=one.said)

    def _ordered(self) -> list[Chip]:
        if not (order := self.state.order):
            return []
        labels = {"en": WORDS[order]["en"], "zh": WORDS[order]["zh"]}
        return [Chip(id=f"order {order}", attribute="price", filter="", label=labels["zh" if self.chinese else "en"], labels=labels, said="")]

    def _without(self, word: str) -> Chip:
        labels = {"en": f"without “{word}”", "zh": f"不含“{word}”"}
        return Chip(id=f"without {word}", attribute="", filter="", label=labels["zh" if self.chinese else "en"], labels=labels, said=word)

    def _label(self, attribute: str, text: str) -> str:
        value = self.values.value(attribute, text)
        return value.label(self.chinese) if value else text

    def _value(self, attribute: str, item_id: str) -> str | None:
        column = self.engine.catalogue.column(attribute)
        code = self.engine.catalogue.items.code(item_id)
        return column.text(number) if code >= 0 and isinstance(column, Words) and (number := int(column.codes_I[code])) >= 0 else None


def _with(read: Understood, near: Nearness) -> Understood:
    """The same, with what words of no list mean; what names an attribute itself goes before."""
    taken = {one.attribute for one in read.constraints}
    for run, values in near.match(read.rest):
        if values[0].attribute not in taken:
            taken.add(values[0].attribute)
            read.constraints.append(wanted(values, run, read.text))
            read.rest = " ".join(read.rest.replace(run, " ").split())
    return read


def look_at(engine: Engine, image: str) -> Sight | None:
    """What the photo shows; None where photos cannot be looked at here, or not yet.

    Raises:
        UsageError: it is no photo, too large or damaged.
    """
    try:
        from daogou.encode.photos import sent
    except ModuleNotFoundError:  # the part that reads photos is not installed
        return None
    return engine.finder.see(sent(image))


def _all(masks: Sequence[Mask]) -> Mask:
    """[I] of the shortest: the catalogue may grow while a turn is worked out."""
    shortest = min(map(len, masks))
    out_I = np.ones(shortest, np.bool_)
    for mask_I in masks:
        out_I &= mask_I[:shortest]
    return out_I


def _wanted(value: Value) -> Constraint:
    return Constraint(value.attribute, "=", (value.text,), value.role, "", 0, 0, value.label(False), value.label(True))


def _within(before: set[tuple[str | float, ...]], now: set[tuple[str | float, ...]]) -> bool:
    """Whether what is asked for now lies under what was asked for before: "shoes", then "sports shoes"."""
    return any(str(new).startswith(f"{old} >") for group in now for new in group for many in before for old in many)


def _replaced(old: Constraint, new: Constraint) -> bool:
    """Whether `old` no longer holds once `new` was said."""
    if old.id == new.id:
        return True
    if old.attribute != new.attribute:
        return False
    if old.role == "price":
        return conflict(old, new) or (old.op in ("<", "<=")) == (new.op in ("<", "<="))
    if old.wanted and new.wanted:
        return True
    return old.wanted != new.wanted and bool(set(old.values) & set(new.values))


def _importance(one: Constraint) -> int:
    return IMPORTANCE.index(one.role) if one.role in IMPORTANCE else IMPORTANCE.index("")
