"""Several rankings made one: reciprocal rank fusion (Cormack, Clarke, Buettcher 2009), score = Σ weight / (60 + rank).

Words find names and numbers, meaning finds what is called otherwise, taste orders what both find alike. None of their scores are comparable; ranks are.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

K = 60
"""The constant of the paper: how little the first ranks differ."""


class Fused(NamedTuple):
    """One item, its score, and the ranking that speaks most for it."""

    code: int
    score: float
    source: str


def fuse(rankings: Mapping[str, Sequence[int]], weights: Mapping[str, float] | None = None) -> list[Fused]:
    """Every item of any ranking, best first, equal ones in order of code.

    Args:
        rankings: by name, codes best first.
        weights: of rankings; 1 where none is given.
    """
    score: dict[int, float] = {}
    most: dict[int, tuple[float, str]] = {}
    for name, codes in rankings.items():
        weight = 1.0 if weights is None else weights.get(name, 1.0)
        for rank, code in enumerate(codes, 1):
            share = weight / (K + rank)
            score[code] = score.get(code, 0.0) + share
            if code not in most or share > most[code][0]:
                most[code] = (share, name)
    return [Fused(code, score[code], most[code][1]) for code in sorted(score, key=lambda code: (-score[code], code))]
