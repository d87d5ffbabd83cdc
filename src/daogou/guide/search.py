"""A search that shows what is there: the best goods, how many there are of each colour, kind and price, what was spelt wrong, and what had to give way.

`filter` always holds. `prefer` are wishes, the most important first: where nothing meets all of them, the last ones give way, and the answer says which.

Axes: I items of the catalogue.
"""

from collections import Counter
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from daogou.contract import Mask
from daogou.engine import Engine, Listed
from daogou.errors import UsageError
from daogou.filters import Numbers, Words
from daogou.finder import FUSED
from daogou.guide.dialogue import MOST_PHOTO, look_at
from daogou.guide.lexicon import attribute_names, shown
from daogou.guide.names import Named, named, names_of
from daogou.guide.questions import steps
from daogou.guide.tokens import is_cjk
from daogou.guide.understand import Constraint, digits
from daogou.guide.values import Values, several
from daogou.request import MAX_K, Answered
from daogou.scenario import Scenario

VALUES = 12
"""Of one attribute that are counted, the most frequent."""
BANDS = 4
"""Of a number, with about as many goods in each."""
REPEATED = 3
"""Times that each of a few numbers must occur on average to be shown as itself."""
SAMPLE = 4096
"""Goods from which the limits between bands are chosen; all are counted."""


class Search(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is looked for. Without words and photo: everything that meets `filter`, in the order of the shopper's taste."""

    text: Annotated[str, Meta(max_length=500)] = ""
    image: Annotated[str, Meta(max_length=MOST_PHOTO)] | None = None
    "A photo: a JPEG, PNG or WebP file in base64. It is looked at and not kept."
    filter: Annotated[str, Meta(max_length=2000)] = ""
    "What may be found, in the filter language; always holds."
    prefer: Annotated[list[Annotated[str, Meta(max_length=500)]], Meta(max_length=12)] = []
    "Wishes in the filter language, the most important first; the last give way where nothing meets all."
    facets: bool | Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=32)] = True
    "Attributes whose values are counted over everything that matches; true = all that tell goods apart."
    user_id: Annotated[str, Meta(max_length=256)] | None = None
    "Whose taste orders what the words find alike."
    locale: Annotated[str, Meta(min_length=2, max_length=16)] | None = None
    "Language of labels and reasons; none = that of the text."
    k: Annotated[int, Meta(ge=1, le=MAX_K)] = 10


class Count(Struct, frozen=True, kw_only=True):
    """One value and how many of the goods that match have it. `filter` narrows to it."""

    label: str
    filter: str
    items: int


class Facet(Struct, frozen=True, kw_only=True):
    """One attribute of what matches."""

    attribute: str
    label: str
    values: list[Count]


class Results(Struct, frozen=True, kw_only=True):
    """What was found."""

    request_id: str
    release: str | None
    degraded: bool
    items: list[Answered]
    total: int
    "Goods that match."
    facets: list[Facet]
    corrected: str | None = None
    "The words as the catalogue spells them, where one was spelt otherwise; they were searched for."
    relaxed: list[str] = []
    "What gave way because nothing met all: wishes of `prefer`, and `text` where nothing matches the words."


def search(engine: Engine, values: Values, asked: Search) -> Results:
    """
    Raises:
        UsageError: a wrong filter, an attribute that does not exist, a photo that is none, or one that cannot be looked at here.
    """
    base_I = engine.matching([asked.filter])
    wishes = [engine.matching([wish]) for wish in asked.prefer]
    photo = None if asked.image is None else look_at(engine, asked.image)
    if asked.image is not None and photo is None and not asked.text.strip():
        raise UsageError("photos cannot be looked at here, or not yet", expected="text", fix="say in words what it shows", field="image")
    chinese = asked.locale.startswith("zh") if asked.locale else is_cjk(asked.text)
    words, said = engine.finder.words, asked.text.strip()
    corrected = words.corrected(said) if said else None
    things = named(corrected or said, values)
    alike = names_of(things)
    relaxed, listed, allowed_I = list[str](), list[Listed](), base_I
    for text in dict.fromkeys([said, ""]):  # words give way last
        for kept in range(len(wishes), -1, -1):
            allowed_I = np.logical_and.reduce([base_I, *wishes[:kept]])
            if allowed_I.any():
                alone = not text and photo is None
                listed = engine.find(text, allowed_I, FUSED, user_id=asked.user_id, photo=photo, alike=alike if text else (), liberal=alone)
            if listed:
                relaxed = [*asked.prefer[kept:], *(["text"] if text != said else [])]
                break
        if listed:
            break
    match_I = _matching(engine, [] if "text" in relaxed else things, allowed_I, listed)
    answer = engine.answer(listed[: asked.k], locale="zh" if chinese else "en")
    return Results(
        request_id=answer.request_id,
        release=answer.release,
        degraded=answer.degraded,
        items=answer.items,
        total=int(match_I.sum()),
        facets=facets(engine, values, match_I, asked.facets, chinese=chinese),
        corrected=corrected,
        relaxed=relaxed,
    )


def _matching(engine: Engine, things: list[Named], allowed_I: Mask, listed: list[Listed]) -> Mask:
    """[I] what has every thing that was asked for, under any of its names; where nothing has, what was found and is at least half as good as the best."""
    out_I = allowed_I.copy()
    for thing in things:
        masks = [*(engine.matching([one]) for one in thing.filters), *(engine.mentioning(name) for name in (thing.said, *thing.names[:4]))]
        shortest = min(len(out_I), *map(len, masks))  # the catalogue may grow meanwhile
        out_I[shortest:] = False
        out_I[:shortest] &= np.logical_or.reduce([mask[:shortest] for mask in masks])
    if not out_I.any() and listed:
        out_I[[one.code for one in listed if one.score >= listed[0].score / 2]] = True
    return out_I


# ---- facets
def facets(engine: Engine, values: Values, match_I: Mask, wanted: bool | list[str], *, chinese: bool) -> list[Facet]:
    """Counts of values over some items, for each attribute that tells at least two kinds of them apart.

    Raises:
        UsageError: an attribute that does not exist, or that cannot be counted.
    """
    if wanted is False:
        return []
    countable = [*values.roles, *(name for name, kind in engine.catalogue.kinds.items() if kind == "number")]
    for name in wanted if isinstance(wanted, list) else ():
        if name not in countable:
            raise UsageError(f"no attribute {name!r} to count", expected="some of " + ", ".join(countable), field="facets")
    out, rows_N = [], np.flatnonzero(match_I)
    for name in countable if wanted is True else wanted:
        column = engine.catalogue.column(name)
        counts = _bands(name, column, rows_N) if isinstance(column, Numbers) else _values(name, column, values, rows_N, chinese)
        if len(counts) > 1 or (counts and isinstance(wanted, list)):
            out.append(Facet(attribute=name, label=called(engine.scenario, name, values.roles.get(name, name), chinese=chinese), values=counts))
    return out


def called(scenario: Scenario, name: str, role: str, *, chinese: bool) -> str:
    """What an attribute is called: by the scenario, else by the lexicon, else its own name."""
    return scenario.word(f"attribute.{name}", "zh" if chinese else "en", shown(attribute_names().get(role, ()), chinese) or name)


def _values(name: str, column: Words, values: Values, rows_N: NDArray[np.int64], chinese: bool) -> list[Count]:
    count = Counter[str]()
    for text, n in column.counts(rows_N).items():
        for part in several(text):
            count[part] += n
    role = values.roles[name]
    if role == "category":
        count = steps(count)
    best = sorted(count.items(), key=lambda pair: (-pair[1], pair[0]))[:VALUES]
    return [Count(label=_label(values, name, text, chinese), filter=Constraint(name, "=", (text,), role).filter, items=n) for text, n in best]


def _label(values: Values, name: str, text: str, chinese: bool) -> str:
    value = values.value(name, text)
    return value.label(chinese) if value else text


def _bands(name: str, column: Numbers, rows_N: NDArray[np.int64]) -> list[Count]:
    """Numbers between round limits; a few whole numbers as themselves."""
    values_I = column.values_I
    there = values_I[rows_N[: np.searchsorted(rows_N, len(values_I))]]
    there = there[np.isfinite(there)]
    if not len(there):
        return []
    if few := _few(there):
        return [Count(label=digits(value), filter=Constraint(name, "=", (value,), name).filter, items=items) for value, items in few]
    limits = sorted({_round(float(q)) for q in np.quantile(there[:: len(there) // SAMPLE + 1], np.arange(1, BANDS) / BANDS)})
    limits = [limit for limit in limits if there.min() < limit <= there.max()]
    below = [*(int(np.count_nonzero(there < limit)) for limit in limits), len(there)]
    out = []
    for n, items in enumerate(np.diff(below, prepend=0).tolist()):
        parts: list[tuple[Literal[">=", "<"], float]] = [(">=", limits[n - 1])] if n else []
        parts += [("<", limits[n])] if n < len(limits) else []
        if items:
            both = " and ".join(Constraint(name, op, (limit,), name).filter for op, limit in parts)
            label = " - ".join([digits(limits[n - 1]) if n else "", digits(limits[n]) if n < len(limits) else ""]).strip()
            out.append(Count(label=label, filter=both, items=items))
    return out


def _few(there_N: NDArray[np.float64]) -> list[tuple[float, int]]:
    """Whole numbers that are a few kinds rather than a measure, such as years: each with its count, the largest number first; else nothing."""
    kinds = np.unique(there_N[:: len(there_N) // SAMPLE + 1])
    if len(kinds) > VALUES or len(there_N) < REPEATED * len(kinds) or (kinds % 1).any():
        return []
    counts = [(float(kind), int(np.count_nonzero(there_N == kind))) for kind in kinds[::-1]]
    return counts if sum(n for _, n in counts) == len(there_N) else []


def _round(value: float) -> float:
    """To two digits, the second 0 or 5: 137 → 150, 0.82 → 0.8."""
    if value == 0:
        return 0.0
    unit = 10 ** (np.floor(np.log10(abs(value))) - 1) * 5
    return float(np.round(np.round(value / unit) * unit, 6))
