"""Several ways of finding made one list: a weighted sum of their scores (a convex combination; Bruch, Gai, Ingber 2023, arXiv 2210.11934, found it better
than ranks, and so did we: docs/log.md).

Scores can be added once each has a meaning of its own: of words, the share of the question's weight that an item has (`lexical`); of meaning and photos,
the cosine. How much meaning counts depends on the question: where words answer it whole, meaning has nothing to add; where they answer nothing, for they
are of another language, meaning is all there is.

Axes: N items that any of them found.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from daogou.contract import Codes, Scores


class Fused(NamedTuple):
    """One item, its score, and the way of finding that speaks most for it."""

    code: int
    score: float
    source: str


def balance(best_words: float) -> tuple[float, float]:
    """What words and meaning weigh for one question: α and 1 − α, with α the best score of words.

    There is nothing in it to tune. Powers of both and a factor were tried on one half of the items of three catalogues (`benchmarks.guide --half dev`), by the
    mean of MRR@10 over questions in English, in Chinese on English goods, and films' other titles: .5796 at best against .5794 for this.

    Args:
        best_words: 0 where they find nothing.
    """
    alpha = min(max(best_words, 0.0), 1.0)
    return alpha, 1.0 - alpha


def fuse(codes_N: Codes, evidence: Mapping[str, Scores], weights: Mapping[str, float], k: int) -> list[Fused]:
    """The best k, equal ones in order of code. Of what only a way that weighs nothing has found, nothing is known: it is left out.

    Args:
        codes_N: distinct items.
        evidence: score of each of them by way of finding, 0 where it says nothing.
        weights: of the ways; 1 where none is given.
    """
    if not len(codes_N) or not evidence:
        return []
    names = list(evidence)
    share_MN = np.stack([np.float32(weights.get(name, 1.0)) * np.asarray(evidence[name], np.float32) for name in names])
    total_N = share_MN.sum(axis=0)
    order = np.lexsort((codes_N, -total_N))[: min(k, int((total_N > 0).sum()))]
    most_N = share_MN[:, order].argmax(axis=0)
    return [Fused(int(codes_N[n]), float(total_N[n]), names[m]) for n, m in zip(order, most_N, strict=True)]
