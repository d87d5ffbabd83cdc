"""What the shown lists are like, whether or not they hit: novelty, popularity, diversity, coverage and how evenly items are shown.

Axes: B lists, K places, I items, U users, F features of an item.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numba import njit
from numpy.typing import NDArray

from daogou.contract import Codes, Mask
from daogou.data.dataset import Dataset
from daogou.evaluate.metrics import PerQuery


@dataclass(frozen=True)
class Catalogue:
    """What is known of the items from the training part."""

    users_I: NDArray[np.int64]
    "Distinct users with an event of positive weight."
    n_users: int
    "Users with any such event."
    cousers_IU: sp.csr_matrix
    "Rows of unit length: who has the item. Their cosine says how alike two items are without any vector of a model."
    features_IF: sp.csr_matrix | None
    "Rows of unit length: the item's categories and every category above them; None where no item has one."

    @classmethod
    def of(cls, data: Dataset, by: str = "category") -> "Catalogue":
        """From a training part; `by` names the item attribute by which lists are called diverse: a path ``A > B``, or several ``A > B|C``."""
        had_UI = data.histories.matrix(data.n_items)
        had_UI.data[:] = 1
        users_I = np.bincount(had_UI.indices, minlength=data.n_items)
        return cls(users_I, int((np.diff(had_UI.indptr) > 0).sum()), _unit(had_UI.T.tocsr()), _paths(data, by))


def per_list(lists_BK: Codes, catalogue: Catalogue, ks: Sequence[int]) -> PerQuery:
    """[B] of each metric at each k; NaN for an empty list.

    novelty@k: mean self-information −log2 of the (smoothed) share of users who have the item (Vargas and Castells 2011), bits
    popularity@k: mean share of users who have the item
    diversity@k: 1 − mean cosine of the items' users over all pairs of the list (intra-list diversity); category_diversity@k: of their category paths
    """
    shown_BK = lists_BK >= 0
    share_I = catalogue.users_I / max(catalogue.n_users, 1)
    bits_I = -np.log2((catalogue.users_I + 1) / (catalogue.n_users + 1))
    out: PerQuery = {}
    for k in ks:
        shown, lists = shown_BK[:, :k], lists_BK[:, :k]
        with np.errstate(invalid="ignore"):
            length_B = shown.sum(axis=1)
            out[f"novelty@{k}"] = (bits_I[lists] * shown).sum(axis=1) / length_B
            out[f"popularity@{k}"] = (share_I[lists] * shown).sum(axis=1) / length_B
    for name, rows in (("diversity", catalogue.cousers_IU), ("category_diversity", catalogue.features_IF)):
        if rows is not None:
            out |= {f"{name}@{k}": values for k, values in zip(ks, intra_list_diversity(lists_BK, rows, ks), strict=True)}
    return out


def intra_list_diversity(lists_BK: Codes, rows_IF: sp.csr_matrix, ks: Sequence[int]) -> list[NDArray[np.float64]]:
    """For each k, [B] 1 − mean cosine over all pairs of the first k; items without features are left out; NaN below two items.

    Exact without forming a pair: of unit vectors, Σ over pairs of their products = (|Σ v|² − m) / 2, and |Σ v|² grows item by item.
    """
    square_BK, count_BK = np.zeros(lists_BK.shape), np.zeros(lists_BK.shape, np.int64)
    _grow(lists_BK, rows_IF.indptr, rows_IF.indices, rows_IF.data, rows_IF.shape[1], square_BK, count_BK)
    out = []
    for k in ks:
        square_B, m_B = square_BK[:, k - 1], count_BK[:, k - 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            out.append(np.where(m_B > 1, 1 - (square_B - m_B) / (m_B * (m_B - 1.0)), np.nan))
    return out


@njit(cache=True, nogil=True)
def _grow(lists_BK, start, feature, value, n_features, square_BK, count_BK):  # type: ignore[no-untyped-def]  # pragma: no cover (compiled)
    sum_F = np.zeros(n_features)
    for b in range(lists_BK.shape[0]):
        square, count = 0.0, 0
        for p in range(lists_BK.shape[1]):
            i = lists_BK[b, p]
            if i >= 0 and start[i + 1] > start[i]:
                count += 1
                for e in range(start[i], start[i + 1]):
                    square += value[e] * (2 * sum_F[feature[e]] + value[e])
                    sum_F[feature[e]] += value[e]
            square_BK[b, p], count_BK[b, p] = square, count
        for p in range(lists_BK.shape[1]):
            i = lists_BK[b, p]
            if i >= 0:
                for e in range(start[i], start[i + 1]):
                    sum_F[feature[e]] = 0.0


def together(lists_BK: Codes, candidates_I: Mask, ks: Sequence[int]) -> dict[str, float]:
    """coverage@k: share of the candidates that appear in any list; gini@k: inequality of how often each candidate is shown (0 = equally)."""
    out = {}
    for k in ks:
        shown = lists_BK[:, :k]
        exposure_I = np.bincount(shown[shown >= 0], minlength=len(candidates_I))[candidates_I.nonzero()[0]]
        out[f"coverage@{k}"] = float((exposure_I > 0).mean()) if len(exposure_I) else 0.0
        out[f"gini@{k}"] = gini(exposure_I)
    return out


def gini(amounts: NDArray[np.int64] | NDArray[np.float64]) -> float:
    """Gini coefficient: 0 when all are equal, (n − 1)/n when one has everything, 0 when nobody has anything."""
    n, total = len(amounts), float(amounts.sum())
    if not n or total == 0:
        return 0.0
    ordered = np.sort(amounts)
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total))


def _unit(rows: sp.csr_matrix) -> sp.csr_matrix:
    norm = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    scaled = rows.astype(np.float32)
    scaled.data /= np.repeat(norm, np.diff(rows.indptr)).astype(np.float32)
    return scaled


def _paths(data: Dataset, by: str) -> sp.csr_matrix | None:
    if by not in data.item_table.columns:
        return None
    names: dict[str, int] = {}
    item, feature = [], []
    for code, value in enumerate(data.item_table[by].to_list()):
        for path in str(value).split("|") if value is not None else ():
            steps = [step.strip() for step in path.split(">") if step.strip()]
            for depth in range(1, len(steps) + 1):
                item.append(code)
                feature.append(names.setdefault(" > ".join(steps[:depth]), len(names)))
    if not names:
        return None
    return _unit(sp.csr_matrix((np.ones(len(item), np.float32), (item, feature)), shape=(data.n_items, len(names))))
