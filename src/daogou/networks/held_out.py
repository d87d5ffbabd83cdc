"""What every network keeps out of training in order to know when to stop.

Axes: B histories, I items.
"""

import numpy as np

from daogou.contract import Codes, Mask, Queries, Scores
from daogou.data.histories import Histories


def hold_out(histories: Histories, n_users: int, seed: int, n_items: int) -> tuple[Mask, Codes]:
    """Which events stay in training [E], and the users whose last event does not: up to `n_users`, at most a third of those with three events.

    An item that has no other event stays: nothing would be learned of it.
    """
    able = np.flatnonzero(histories.lengths >= 3)
    last = histories.start[able + 1] - 1
    able = able[np.bincount(histories.item, minlength=n_items)[histories.item[last]] > 1]
    users = np.sort(np.random.default_rng([seed, 1]).choice(able, min(n_users, len(able) // 3), replace=False)) if len(able) else able
    keep: Mask = np.ones(len(histories.item), np.bool_)
    keep[histories.start[users + 1] - 1] = False
    return keep, users.astype(np.int32)


def ndcg(scores_BI: Scores, history: Histories, wanted_B: Codes) -> float:
    """Mean NDCG@10 of one wanted item each, among those that the history does not hold."""
    scores_BI[history.seen(scores_BI.shape[1])] = -np.inf
    own_B = scores_BI[np.arange(len(wanted_B)), wanted_B]
    rank_B = (scores_BI > own_B[:, None]).sum(axis=1)
    return float(np.where((rank_B < 10) & np.isfinite(own_B), 1 / np.log2(rank_B + 2.0), 0).mean())


def guests(history: Histories, users: Codes | None = None) -> Queries:
    """Histories as questions."""
    n = len(history)
    user_B = np.full(n, -1, np.int32) if users is None else users
    return Queries(history=history, user_B=user_B, now_B=np.zeros(n, np.int64), context=Histories.empty(n))
