"""Names that no list has: what the shopper's words mean is compared with the catalogue's own values, in whatever language each is.

Only values without a name in the language of the question are compared, and only a match that is near and clearly nearer than the next counts. With a fifth
of the lexicon hidden, on a fashion catalogue, .89 of such matches are right for kinds and .87 for colours, and .23 and .41 of the hidden names are found so;
without a lead, at .6, two of three are right. What is not sure enough to be a constraint is still searched by meaning.
"""

import re
from collections.abc import Callable, Iterator

import numpy as np

from daogou.contract import Scores
from daogou.guide.tokens import is_cjk
from daogou.guide.values import Value, Values

SURE = ((0.65, 0.2), (0.75, 0.1))
"""Cosine of the nearest value, and what it must be ahead of the next: either."""
MOST = 300
"""Values compared; of more, those with most goods."""
ROLES = ("category", "color", "season", "occasion", "gender")
_RUN = re.compile(r"[\u4e00-\u9fff]{2,8}|[^\W\d_]{3,}(?: [^\W\d_]{3,})?")

Vector = Callable[[str], Scores | None]
"""Of a text; None where there is nothing to read in it."""


class Nearness:
    """Vectors of the values that have no name in one of the languages."""

    def __init__(self, values: Values, vector: Vector) -> None:
        self._vector = vector
        nameless = [value for of in values.of.values() for value in of if value.role in ROLES and _unnamed(value)]
        some = sorted(nameless, key=lambda value: -value.items)[:MOST]
        self._known = [(value, vector_D) for value in some if (vector_D := vector(value.short)) is not None]

    def __len__(self) -> int:
        return len(self._known)

    def match(self, words: str) -> Iterator[tuple[str, list[Value]]]:
        """Runs of words, and the values that they mean: several where one name stands for a value of more than one place."""
        for run in _RUN.findall(words):
            chinese = is_cjk(run)
            there = [(value, vector_D) for value, vector_D in self._known if chinese not in _spoken(value)]
            asked_D = self._vector(run) if there else None
            if asked_D is None:
                continue
            score_V = np.stack([vector_D for _, vector_D in there]) @ asked_D
            best = there[int(score_V.argmax())][0]
            others = [float(score) for (value, _), score in zip(there, score_V, strict=True) if value.short != best.short]
            nearest, lead = float(score_V.max()), float(score_V.max()) - max(others, default=0.0)
            if any(nearest >= near and lead >= ahead for near, ahead in SURE):
                yield run, [value for value, _ in there if value.short == best.short and value.attribute == best.attribute]


def _spoken(value: Value) -> set[bool]:
    """Whether it has a Chinese name (True), one in another script (False)."""
    return {is_cjk(name) for name in value.names}


def _unnamed(value: Value) -> bool:
    return len(_spoken(value)) == 1
