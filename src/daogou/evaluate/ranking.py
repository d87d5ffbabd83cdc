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
    best_K = np.empty(k, scores_BI.dtype)
    for b in range(n_rows):
        hidden = hidden_I.copy()
        for e in range(seen_start[b], seen_start[b + 1]):
            if 0 <= seen_item[e] < n_items:
                hidden[seen_item[e]] = True

        # Scores of the wanted candidates in ascending order: each candidate's place among them is found by bisection and counted there.
        first, last = wanted_start[b], wanted_start[b + 1]
        score_W = np.empty(last - first, scores_BI.dtype)
        at_W = np.empty(last - first, np.int64)
        n = 0
        for t in range(first, last):
            i = wanted_item[t]
            if 0 <= i < n_items and not hidden[i]:
                score = scores_BI[b, i]
                score_W[n] = -np.inf if score != score else score
                at_W[n] = t
                n += 1
            else:
                greater_T[t] = -1
        order = np.argsort(score_W[:n])
        edge_W = score_W[:n][order]
        above_W = np.zeros(n + 1, np.int64)  # candidates whose score lies above exactly the first p edges
        tied_W = np.zeros(n, np.int64)  # candidates that share the score of an edge, kept at the first edge of that score

        held = 0
        for i in range(n_items):
            if hidden[i]:
                continue
            candidates_B[b] += 1
            score = scores_BI[b, i]
            if score != score:
                score = -np.inf
            low, high = 0, n
            while low < high:
                middle = (low + high) // 2
                if edge_W[middle] < score:
                    low = middle + 1
                else:
                    high = middle
            above_W[low] += 1
            if low < n and edge_W[low] == score:
                tied_W[low] += 1
            if score > -np.inf and k > 0 and (held < k or score > best_K[held - 1]):
                p = held if held < k else k - 1
                while p > 0 and best_K[p - 1] < score:
                    best_K[p] = best_K[p - 1]
                    lists_BK[b, p] = lists_BK[b, p - 1]
                    p -= 1
                best_K[p] = score
                lists_BK[b, p] = i
                held = min(held + 1, k)

        greater = 0
        for w in range(n - 1, -1, -1):
            greater += above_W[w + 1]
            greater_T[at_W[order[w]]] = greater
        same = 0
        for w in range(n):
            if edge_W[w] != edge_W[same]:
                same = w
            equal_T[at_W[order[w]]] = tied_W[same] - 1  # without itself
