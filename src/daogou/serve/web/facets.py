"""What a search may be narrowed to, as links: each value with its count adds its filter to the address, each chip takes one away."""

import re
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlencode

from daogou import filters
from daogou.filters import All, Compare, Node
from daogou.guide.search import Facet
from daogou.guide.understand import digits
from daogou.guide.values import Values
from daogou.serve.web import fields
from daogou.serve.web.page import Page
from daogou.serve.web.shelves import quoted

PATH = "category"
"The attribute with a place of its own in the address."
FIRST = 6
"""Values of one attribute that are seen at once."""
MOST_CHOSEN = 12
_OR = re.compile(r"\bor\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Looked:
    """What an address of the search page says."""

    words: str = ""
    category: str = ""
    at_most: str = ""
    "A price as the filter language writes it; empty = none."
    only: tuple[str, ...] = ()
    "Filters that were chosen from counts."

    @property
    def filter(self) -> str:
        """All of it but the words, in the filter language."""
        terms = [f"category = {quoted(self.category)}"] if self.category else []
        terms += [f"price <= {self.at_most}"] if self.at_most else []
        return " and ".join([*terms, *(f"({one})" if _OR.search(one) else one for one in self.only)])

    @property
    def address(self) -> str:
        """Where it is looked at."""
        named = {"q": self.words, PATH: self.category, "max": self.at_most}
        pairs = [*((name, value) for name, value in named.items() if value), *(("only", one) for one in self.only)]
        return "/search?" + urlencode(pairs) if pairs else "/search"

    def with_only(self, one: str, category: str | None) -> Self:
        """Narrowed to one more value."""
        return replace(self, category=category) if category is not None else replace(self, only=(*self.only, one))


@dataclass(frozen=True, slots=True)
class Choice:
    """A value that may be chosen, or one that was: where the link leads, and how many goods have it."""

    label: str
    href: str
    items: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """The values of one attribute."""

    name: str
    first: tuple[Choice, ...]
    more: tuple[Choice, ...]


class Labels:
    """Reads a filter of the search page aloud."""

    def __init__(self, page: Page, values: Values) -> None:
        self._page, self._values = page, values
        self._kinds = page.services.live.engine.catalogue.kinds
        self._chinese = page.speech.locale == "zh"

    def node(self, filter: str) -> Node | None:
        """The filter as a tree.

        Raises:
            FilterError: it is wrong.
        """
        return filters.compile(filter, self._kinds, users=self._page.services.scenario.attributes.users).node

    def of(self, filter: str) -> str:
        """What it asks for: the value's name, a range; a filter that no count has made, as it is written."""
        node = self.node(filter)
        match node:
            case Compare(name, "=", str(text)):
                return self.value(name, text)
            case Compare(name, "=" | "<" | ">=", float()) if self._kinds[name] == "number":
                return self._range(name, (node,))
            case All((Compare(name, ">=", float()) as low, Compare(other, "<", float()) as high)) if name == other and self._kinds[name] == "number":
                return self._range(name, (low, high))
            case _:
                return filter

    def value(self, name: str, text: str) -> str:
        """What a value is called."""
        known = self._values.value(name, text)
        path = self._kinds[name] == "category"
        short = text.rpartition(">")[2].strip() if path else text
        called = fields.neat(known.label(self._chinese) if known else short)
        return self._page.speech.word(f"category.{short}", called) if path else called

    def _range(self, name: str, ends: tuple[Compare, ...]) -> str:
        edge = {one.op: self.number(name, one.value) for one in ends}
        if "=" in edge:
            return edge["="]
        low, high = edge.get(">=", ""), edge.get("<", "")
        return f"{low} – {high}" if low and high else f"< {high}" if high else f"≥ {low}"

    def number(self, name: str, value: object) -> str:
        """A price as money, another number as it is."""
        assert isinstance(value, float)
        currency = self._page.speech.word("currency", "-").replace("-", "")
        return fields.price(value, currency).removesuffix(".00") if name == "price" else digits(value)


def groups(page: Page, values: Values, found: list[Facet], looked: Looked) -> list[Group]:
    """Counts as links, in the order of the attributes."""
    labels, out = Labels(page, values), []
    for facet in found:
        choices = []
        for one in facet.values:
            node = labels.node(one.filter)
            category = str(node.value) if facet.attribute == PATH and isinstance(node, Compare) else None
            choices.append(Choice(labels.of(one.filter), looked.with_only(one.filter, category).address, one.items))
        first = FIRST if len(choices) > FIRST + 1 else len(choices)  # one alone is not worth a press
        out.append(Group(facet.label.capitalize(), tuple(choices[:first]), tuple(choices[first:])))
    return out


def chips(page: Page, values: Values, looked: Looked) -> list[Choice]:
    """What was chosen, each with the address without it.

    Raises:
        FilterError: a chosen filter is wrong.
    """
    labels = Labels(page, values)
    out = [Choice(labels.value(PATH, looked.category), replace(looked, category="").address)] if looked.category else []
    if looked.at_most:
        out.append(Choice(f"≤ {labels.number('price', float(looked.at_most))}", replace(looked, at_most="").address))
    return out + [Choice(labels.of(one), replace(looked, only=tuple(other for other in looked.only if other != one)).address) for one in looked.only]
