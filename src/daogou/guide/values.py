"""What may be asked for in this catalogue: the values of its attributes, learned from the goods, by every name they have in either language.

A value is called by its own text, by the scenario's words for it, and by what the lexicon calls the same concept. Which attribute holds colours is read
off its name or its values; no attribute is known beforehand.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from daogou.catalogue import Catalogue
from daogou.contract import Mask
from daogou.filters import Numbers, Words, path_levels
from daogou.guide.lexicon import attribute_names, shown, topics
from daogou.guide.tokens import Names, is_cjk, key
from daogou.scenario import Scenario

LARGEST = 3000
"""Distinct values of an attribute beyond which it names single goods and no kind of them; brands have no such bound."""
NO_VALUE = frozenset({"", "none", "na", "n/a", "null", "unknown", "other", "others", "misc", "free items", "all"})
COMMON = frozenset(
    {"only", "one", "two", "style", "best", "me", "you", "it", "next", "new", "day", "her", "him", "on", "in", "up", "no", "so", "all", "and", "not", "like"}
)
"""Brands that are everyday words: they count only where the word "brand" stands beside them."""
LEFT_OUT = ("item_id", "currency", "image", "kind", "title", "description")


@dataclass(frozen=True, slots=True)
class Value:
    """One value of one attribute. A category's is a whole path, whose last step names it."""

    attribute: str
    text: str
    role: str
    items: int
    names: tuple[str, ...]

    @property
    def short(self) -> str:
        return self.text.rpartition(">")[2].strip() if self.role == "category" else self.text

    def label(self, chinese: bool) -> str:
        """What it is called in a language; its own text where nothing better is known."""
        return self.short if not chinese and not is_cjk(self.short) else shown(self.names, chinese) or self.short


@dataclass(slots=True)
class Values:
    """The values of a catalogue and what they are called."""

    names: Names[Value] = field(default_factory=Names)
    called: Names[str] = field(default_factory=Names)
    "What attributes are called, each by its role."
    roles: dict[str, str] = field(default_factory=dict)
    "Attribute → role: category, brand, color, gender, season, occasion, size, or its own name."
    of: dict[str, list[Value]] = field(default_factory=dict)
    priced: bool = False
    currency: str = ""
    _by_text: dict[str, dict[str, Value]] = field(default_factory=dict, repr=False)

    def attribute(self, role: str) -> str | None:
        """The attribute that plays a role; the one with most values where several do."""
        playing = [name for name, own in self.roles.items() if own == role]
        return max(playing, key=lambda name: len(self.of.get(name, ())), default=None)

    def value(self, attribute: str, text: str) -> Value | None:
        if attribute not in self._by_text:
            self._by_text[attribute] = {one.text: one for one in self.of.get(attribute, ())}
        return self._by_text[attribute].get(text)


def learn(catalogue: Catalogue, scenario: Scenario) -> Values:
    """Reads the catalogue's columns once."""
    out = Values()
    with catalogue.lock:
        offered_I = catalogue.listed_I
        price = catalogue.column("price")
        assert isinstance(price, Numbers)
        out.priced = bool(np.isfinite(price.values_I[offered_I]).any())
        counts = {name: _counts(column, offered_I) for name, kind in catalogue.kinds.items() if name not in LEFT_OUT and kind in ("tag", "category", "text")
                  if isinstance(column := catalogue.column(name), Words)}  # fmt: skip
        currencies = catalogue.column("currency")
        assert isinstance(currencies, Words)
        money = Counter(currencies.text(n) for n in currencies.codes_I[offered_I].tolist() if n >= 0)
    out.currency = (money.most_common(1)[0][0] if money else scenario.words.get("en", {}).get("currency", "")).upper()
    for name, found in counts.items():
        if found and (len(found) <= LARGEST or name == "brand"):
            role = _role(name, catalogue.kinds[name], found)
            out.roles[name] = role
            out.of[name] = [_value(name, role, text, n, scenario) for text, n in found.items()]
    for value in sorted((v for values in out.of.values() for v in values), key=lambda v: -v.items):
        for name in value.names:
            if value.role != "brand" or (name.lower() not in COMMON and len(name) > 1):
                out.names.add(name, value)
    _cover(out)
    for role, names in attribute_names().items():
        for name in names:
            out.called.add(name, role)
    return out


def _counts(column: Words, listed_I: Mask) -> dict[str, int]:
    """Items under each value: every step of a path, every one of several."""
    out: dict[str, int] = defaultdict(int)
    for text, n in column.counts(np.flatnonzero(listed_I)).items():
        for part in path_levels(text) if ">" in text else several(text):
            if part.lower() not in NO_VALUE:
                out[part] += n
    return dict(out)


@lru_cache(maxsize=10_000)
def several(text: str) -> tuple[str, ...]:
    """The values that a text names; none for words that say that there is none."""
    parts = [text] if ">" in text else [part.strip() for part in text.split("|")]
    return tuple(part for part in parts if part.lower() not in NO_VALUE)


def _role(name: str, kind: str, found: Mapping[str, int]) -> str:
    if name == "brand" or kind == "category":
        return "brand" if name == "brand" else "category"
    spaced = key("".join(f" {sign}" if sign.isupper() else sign for sign in name).replace("_", " "))
    for role, topic in topics().items():
        if spaced in topic.names:
            return role
    if spaced in {("size",), ("尺", "码"), ("规", "格")}:
        return "size"
    share = {role: sum(1 for text in found if topic.concepts.exact(text)) / len(found) for role, topic in topics().items()}
    best = max(share, key=lambda role: share[role])
    return best if share[best] >= 0.6 else name


def _value(attribute: str, role: str, text: str, items: int, scenario: Scenario) -> Value:
    short = text.rpartition(">")[2].strip() if role == "category" else text
    names = [short]
    for locale in scenario.words.values():
        for word in (f"value.{attribute}.{short}", f"category.{short}" if role == "category" else ""):
            names += locale[word].split("|") if word in locale else []
    if topic := topics().get(role):
        for concept in topic.concepts.exact(short):
            names += topic.called[concept]
    return Value(attribute, text, role, items, tuple(dict.fromkeys(names)))


def _cover(values: Values) -> None:
    """Words for several values at once: "kids" finds boys and girls where the catalogue has no kids."""
    for role, topic in topics().items():
        for concept, under in topic.covers.items():
            there = [v for name in (values.attribute(role),) if name for v in values.of[name]]
            if any(concept in topic.concepts.exact(v.text) for v in there):
                continue
            for value in there:
                if any(one in under for one in topic.concepts.exact(value.text)):
                    for name in topic.called[concept]:
                        values.names.add(name, value)


def broadest(found: Sequence[Value]) -> list[Value]:
    """Of values with one name: those of the attribute under which most goods are found, all of that attribute."""
    if not found:
        return []
    total = Counter[str]()
    for value in found:
        total[value.attribute] = max(total[value.attribute], value.items)
    rank = {"category": 2, "color": 1, "gender": 1, "season": 1, "occasion": 1}
    role = {value.attribute: value.role for value in found}
    best = max(total, key=lambda name: (rank.get(role[name], 0), total[name]))
    same = [value for value in found if value.attribute == best]
    if role[best] != "category":
        return same
    texts = {value.text for value in same}  # `Footwear` holds `Footwear > Shoes`
    return [value for value in same if not texts & set(path_levels(value.text)[:-1])]
