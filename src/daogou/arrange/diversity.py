"""Maximal marginal relevance: relevant, and unlike what is already on the list (Carbonell and Goldstein 1998, eq. 1).

    next = argmax_i  (1 − d)·rel_i − d·max_{j chosen} sim(i, j)

Axes: N candidates, K chosen, L levels of a path.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from daogou.filters import path_levels


def diversify(scores_N: NDArray[np.floating], labels: Sequence[str | None], k: int, *, share: float, cap: int = 0) -> NDArray[np.int64]:
    """Positions of at most k candidates, in the order to show them.

    Args:
        scores_N: relevance; scaled to 0 … 1 here.
        labels: what must differ, a value or a path (``A > B``); items are alike by the share of leading levels in common, unknown ones like nothing.
        share: d; 0 keeps the order of the scores.
        cap: at most so many of one label; 0 = no cap.
    """
    levels_NL = _levels(labels)
    low, high = (float(scores_N.min()), float(scores_N.max())) if len(scores_N) else (0.0, 0.0)
    relevance_N = (1 - share) * (scores_N - low) / max(high - low, 1e-12)
    nearest_N = np.zeros(len(scores_N))
    open_N = np.ones(len(scores_N), np.bool_)
    chosen: list[int] = []
    used: dict[str, int] = {}
    while len(chosen) < k and open_N.any():
        best = int(np.argmax(np.where(open_N, relevance_N - share * nearest_N, -np.inf)))
        open_N[best] = False
        chosen.append(best)
        nearest_N = np.maximum(nearest_N, _alike(levels_NL, best))
        label = labels[best]
        if cap and label is not None:
            used[label] = used.get(label, 0) + 1
            if used[label] >= cap:
                open_N &= np.array([other != label for other in labels])
    return np.array(chosen, np.int64)


def _levels(labels: Sequence[str | None]) -> NDArray[np.int64]:
    """[N, L] the number of each path's prefix at each level; −1 below its end."""
    distinct = {label: n for n, label in enumerate(dict.fromkeys(labels))}
    paths = [path_levels(label) if label else () for label in distinct]
    number: dict[str, int] = {}
    out = np.full((len(paths), max(map(len, paths), default=0)), -1, np.int64)
    for n, path in enumerate(paths):
        out[n, : len(path)] = [number.setdefault(prefix, len(number)) for prefix in path]
    return out[[distinct[label] for label in labels]] if labels else out


def _alike(levels_NL: NDArray[np.int64], j: int) -> NDArray[np.float64]:
    """[N] share of the longer path's levels that are common with candidate j."""
    depth_N = (levels_NL >= 0).sum(axis=1)
    common_N = ((levels_NL == levels_NL[j]) & (levels_NL >= 0)).sum(axis=1)
    return np.asarray(common_N / np.maximum(np.maximum(depth_N, depth_N[j]), 1), np.float64)
