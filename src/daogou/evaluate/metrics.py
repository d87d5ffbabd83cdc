"""Ranks → metrics. Everything here is one value per query; means and intervals come later.

Axes: B queries, T wanted items of all queries (row after row), K list length. With r the 0-based rank of a wanted item (equal scores count
half), n the wanted items of the query, C its candidates and hits the number of wanted items with r < k:

    hr@k            1 if hits > 0                            recall@k          hits / n (as LightGCN and trec_eval)
    precision@k     hits / k                                 recall_capped@k   hits / min(n, k) (as Mult-VAE and EASE)
    f1@k            2·P·R / (P + R), R = recall@k            mrr@k             1 / (r + 1) of the best wanted item, 0 beyond k
    ndcg@k          Σ 1/log2(r + 2) over hits, divided by the same sum of a perfect list of min(n, k)
    map@k           Σ over hits of (wanted items up to r) / (r + 1), divided by n (as trec_eval); map_capped@k divides by min(n, k)
    accuracy@k      share of the candidates on the right side when the list is called wanted and the rest unwanted; near 1 for any large catalogue
    auc             share of pairs (wanted, unwanted) in the right order, pairs of equal scores counting half

Half ranks let more than k tied items have r < k: hits are capped at min(n, k), and sums at those of a perfect list.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from daogou.data.histories import Histories
from daogou.evaluate.ranking import Ranked

PerQuery = dict[str, NDArray[np.float64]]


def ranking_metrics(ranked: Ranked, wanted: Histories, ks: Sequence[int]) -> PerQuery:
    """[B] of every metric above at every k; NaN in rows without a wanted item."""
    row_T, n_B = wanted.row, wanted.lengths
    rows = len(wanted)
    order = np.lexsort((ranked.rank_T, row_T))
    rank_T, ordinal_T = ranked.rank_T[order], np.arange(len(order)) - wanted.start[:-1][row_T]  # rows stay where they were: row_T is sorted

    def total(values_T: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(row_T, values_T, rows).astype(np.float64)  # integers where there is no row

    some_B = np.where(n_B > 0, n_B, np.nan)
    out: PerQuery = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        gain_T = 1 / np.log2(rank_T + 2)  # 0 for rank inf
        precise_T = np.minimum((ordinal_T + 1) / (rank_T + 1), 1)
        ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, max(ks) + 2)))])
        best_B = np.full(rows, np.inf)
        best_B[n_B > 0] = rank_T[wanted.start[:-1][n_B > 0]]
        for k in ks:
            hit_T = (rank_T < k).astype(np.float64)
            most_B = np.minimum(some_B, k)
            hits_B = np.minimum(total(hit_T), most_B)
            precision, recall = hits_B / k, hits_B / some_B
            perfect_B = ideal[np.minimum(n_B, k)]
            summed_B = total(hit_T * precise_T)
            out[f"ndcg@{k}"] = np.minimum(total(hit_T * gain_T), perfect_B) / np.where(n_B > 0, perfect_B, np.nan)
            out[f"hr@{k}"] = (hits_B > 0) + 0 * some_B
            out[f"recall@{k}"], out[f"recall_capped@{k}"] = recall, hits_B / most_B
            out[f"precision@{k}"] = precision
            out[f"f1@{k}"] = np.where(hits_B > 0, 2 * precision * recall / (precision + recall), 0.0) + 0 * some_B
            out[f"mrr@{k}"] = np.where(best_B < k, 1 / (best_B + 1), 0.0) + 0 * some_B
            out[f"map@{k}"], out[f"map_capped@{k}"] = np.minimum(summed_B, most_B) / some_B, np.minimum(summed_B, most_B) / most_B
            out[f"accuracy@{k}"] = _accuracy(hits_B, some_B, ranked.candidates_B, k)
        out["auc"] = _auc(ranked, wanted)
    return out


def _accuracy(hits_B: NDArray[np.float64], n_B: NDArray[np.float64], candidates_B: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    shown_B = np.minimum(k, candidates_B)
    wrong_B = (shown_B - hits_B) + (n_B - hits_B)
    return np.clip(1 - wrong_B / candidates_B, 0, 1)


def _auc(ranked: Ranked, wanted: Histories) -> NDArray[np.float64]:
    """Mann–Whitney: the pairs lost are the sum of ranks less the pairs of wanted items among themselves."""
    ok_T = ~np.isnan(ranked.middle_T)
    n_B = np.bincount(wanted.row[ok_T], minlength=len(wanted))
    lost_B = np.bincount(wanted.row[ok_T], ranked.middle_T[ok_T], len(wanted)) - n_B * (n_B - 1) / 2
    pairs_B = n_B * (ranked.candidates_B - n_B)
    return np.where(pairs_B > 0, 1 - lost_B / pairs_B, np.nan)
