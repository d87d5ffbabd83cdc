"""Which question to ask: the attribute whose answer tells most about what is left, counted in bits over the goods that still match."""

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from daogou.catalogue import Catalogue
from daogou.contract import Mask
from daogou.filters import Words, path_levels
from daogou.guide.values import NO_VALUE, Values

OPTIONS = 6
"""Answers that are offered; the other values count as one more answer."""
HALF = 0.5
"""Share of the goods that an answer may leave, as expected."""
KNOWN = 0.5
"""Share of the goods that must have the attribute at all."""
ROLES = ("category", "gender", "color", "occasion", "season", "brand")


class Choice(NamedTuple):
    """A question: its attribute and the answers with the goods each leaves, most first."""

    attribute: str
    options: tuple[tuple[str, int], ...]
    bits: float


def best_question(catalogue: Catalogue, values: Values, allowed_I: Mask, leave: Collection[str]) -> Choice | None:
    """The question with most information among those that are expected to halve what is left; None where none would.

    Args:
        leave: attributes that are settled.
    """
    found = [choice for name, role in values.roles.items() if role in ROLES and name not in leave and (choice := _choice(catalogue, name, role, allowed_I))]
    return max(found, key=lambda choice: choice.bits, default=None)


def _choice(catalogue: Catalogue, name: str, role: str, allowed_I: Mask) -> Choice | None:
    column = catalogue.column(name)
    if not isinstance(column, Words):
        return None
    rows = np.flatnonzero(allowed_I)
    held = column.counts(rows)
    total = sum(held.values())
    if not len(rows) or total < KNOWN * len(rows):
        return None
    count = Counter({text: n for text, n in held.items() if text.lower() not in NO_VALUE})
    if role == "category":
        count = steps(count)
    best = sorted(count.items(), key=lambda pair: (-pair[1], pair[0]))[:OPTIONS]
    left = total - sum(n for _, n in best)
    shares = np.array([n for _, n in best] + ([left] if left > 0 else [])) / max(total, 1)
    if len(best) < 2 or float((shares**2).sum()) > HALF:
        return None
    return Choice(name, tuple(best), float(-(shares * np.log2(shares)).sum()))


def steps(count: Counter[str]) -> Counter[str]:
    """Goods by the first step of their paths at which they differ."""
    paths = [path_levels(text) for text in count]
    depth = next((n for n in range(max(map(len, paths), default=0)) if len({path[min(n, len(path) - 1)] for path in paths}) > 1), 0)
    out = Counter[str]()
    for text, n in count.items():
        levels = path_levels(text)
        out[levels[min(depth, len(levels) - 1)]] += n
    return out
