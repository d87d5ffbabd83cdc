"""Scores → ranks of the wanted items and the list that would be shown. One pass over the scores, no sorting: a rank needs only counting.

Axes: B queries, I items, K list length, T wanted items of all queries together (row after row).
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from daogou.contract import Codes, Mask, Scores
from daogou.data.histories import Histories


class Ranked(NamedTuple):
    """Where the wanted items came out."""

    rank_T: NDArray[np.float64]
    "0-based, equal scores count half; inf where the item was not retrieved at all (NaN or −inf score, or no candidate)."
    middle_T: NDArray[np.float64]
    "As `rank_T`, but −inf and NaN are scores like any other (for AUC); NaN where the item is no candidate."
    candidates_B: NDArray[np.int64]
    lists_BK: Codes
    "The best candidates, best first, equal scores in order of code; −1 where nothing was left."


def rank(scores_BI: Scores, wanted: Histories, seen: Histories | None, known_I: Mask | None, k: int) -> Ranked:
    """Ranks every wanted item among the candidates: all known items, less those of `seen` (None = nothing is masked).

    Scores are not changed. Memory: that of the scores, and the answer.
    """
    n_rows, n_items = scores_BI.shape
    hidden_I = np.full(n_items, known_I is not None)
    if known_I is not None:
        hidden_I[: len(known_I)] = ~known_I[:n_items]
    seen = Histories.empty(n_rows) if seen is None else seen
    greater_T, equal_T = np.zeros(len(wanted.item), np.int64), np.zeros(len(wanted.item), np.int64)
    candidates_B, lists_BK = np.zeros(n_rows, np.int64), np.full((n_rows, k), -1, np.int32)
    _count(np.ascontiguousarray(scores_BI), hidden_I, seen.start, seen.item, wanted.start, wanted.item, greater_T, equal_T, candidates_B, lists_BK)

    row_T = wanted.row
    ok = greater_T >= 0
    middle_T = np.where(ok, greater_T + equal_T / 2, np.nan)
    scored = np.zeros(len(ok), np.bool_)
    scored[ok] = scores_BI[row_T[ok], wanted.item[ok]] > -np.inf  # false for NaN too
    return Ranked(np.where(scored, middle_T, np.inf), middle_T, candidates_B, lists_BK)


@njit(cache=True, nogil=True)
def _count(  # type: ignore[no-untyped-def]
    scores_BI, hidden_I, seen_start, seen_item, wanted_start, wanted_item, greater_T, equal_T, candidates_B, lists_BK
):  # pragma: no cover (compiled)
    n_rows, n_items = scores_BI.shape
    k = lists_BK.shape[1]
    row_I = np.empty(n_items, np.float32)
    best_K = np.empty(k, np.float32)
    for b in range(n_rows):
        # NaN now means "no candidate": it is neither above nor equal to anything, so the loops below need no mask.
        candidates = 0
        for i in range(n_items):
            score = scores_BI[b, i]
            row_I[i] = np.nan if hidden_I[i] else (-np.inf if score != score else score)
        for e in range(seen_start[b], seen_start[b + 1]):
            if 0 <= seen_item[e] < n_items:
                row_I[seen_item[e]] = np.nan
        for i in range(n_items):
            candidates += row_I[i] == row_I[i]
        candidates_B[b] = candidates

        # Plain comparing of everything with everything runs in vector registers and beats sorting or bisection up to hundreds of wanted items.
        for t in range(wanted_start[b], wanted_start[b + 1]):
            wanted = wanted_item[t]
            edge = row_I[wanted] if 0 <= wanted < n_items else np.float32(np.nan)
            greater, equal = np.int32(0), np.int32(0)
            for i in range(n_items):
                greater += np.int32(row_I[i] > edge)
                equal += np.int32(row_I[i] == edge)
            greater_T[t] = greater if edge == edge else -1
            equal_T[t] = equal - 1  # without itself

        held, floor = 0, np.float32(-np.inf)  # only scores above the floor enter the list
        for i in range(n_items):
            score = row_I[i]
            if score > floor:
                p = held if held < k else k - 1
                while p > 0 and best_K[p - 1] < score:
                    best_K[p] = best_K[p - 1]
                    lists_BK[b, p] = lists_BK[b, p - 1]
                    p -= 1
                best_K[p] = score
                lists_BK[b, p] = i
                held = min(held + 1, k)
                if held == k:
                    floor = best_K[k - 1]
