"""One model against one set of targets: full ranking over the catalogue, nothing sampled.

Axes: B queries of a block, Q all queries, I items, K list length.
"""

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from daogou.contract import Mask, Queries, Scores
from daogou.data.split import Targets
from daogou.errors import UsageError
from daogou.evaluate.lists import Catalogue, per_list, together
from daogou.evaluate.metrics import ranking_metrics
from daogou.evaluate.ranking import Ranked, rank
from daogou.evaluate.result import Result

KS = (5, 10, 20)


class Scorer(Protocol):
    """Anything that scores the whole catalogue: every recommender does, and so does a blend."""

    def score(self, queries: Queries, /) -> Scores: ...


def evaluate(
    scorer: Scorer,
    targets: Targets,
    *,
    repeats: bool = False,
    known_I: Mask | None = None,
    block: int = 512,
    ks: Sequence[int] = KS,
    catalogue: Catalogue | None = None,
) -> Result:
    """Ranks every candidate for every query and says where the wanted items came out.

    Args:
        scorer: its `score(queries)` gives [B, I]; NaN and −inf mean that the item is not retrieved.
        repeats: whether items of the history stay candidates. Then `parts` tells repeat and explore targets apart.
        known_I: the candidates; default those of `targets`, and with neither the whole catalogue. A wanted item that is no candidate is a miss.
        block: queries scored at once; memory is 4 · block · I bytes beside what the scorer needs.
        ks: lengths of the list at which metrics are taken.
        catalogue: what novelty, popularity and diversity need to know of the items; without it these are left out.

    Raises:
        UsageError: there is no query, a length or the block is below 1, or the scorer answers in the wrong shape.
    """
    if not len(targets):
        raise UsageError("there is no query to evaluate", expected="targets with at least one row", fix="choose another protocol or window")
    if not ks or min(ks) < 1 or block < 1:
        raise UsageError(f"ks is {tuple(ks)} and block is {block}", expected="lengths of at least 1, and a block of at least 1", field="ks")
    start_s, score_s = time.perf_counter(), 0.0
    known_I = targets.known_I if known_I is None else known_I
    ranked, catalogue_size = [], 0
    for first in range(0, len(targets), block):
        part = targets[first : first + block]
        scored_s = time.perf_counter()
        scores_BI = np.asarray(scorer.score(part.queries), np.float32)
        score_s += time.perf_counter() - scored_s
        if scores_BI.ndim != 2 or len(scores_BI) != len(part):
            raise UsageError(f"the scorer answered {len(part)} queries with an array of shape {scores_BI.shape}", expected=f"({len(part)}, number of items)")
        catalogue_size = scores_BI.shape[1]
        ranked.append(rank(scores_BI, part.wanted, None if repeats else part.queries.history, known_I, max(ks)))
    whole = Ranked(*(np.concatenate(columns) for columns in zip(*ranked, strict=True)))
    values = ranking_metrics(whole, targets.wanted, ks)
    if catalogue is not None:
        values |= per_list(whole.lists_BK, catalogue, ks)
    candidates_I = np.ones(catalogue_size, np.bool_) if known_I is None else known_I
    totals = together(whole.lists_BK, candidates_I, ks)
    parts = _repeat_and_explore(whole, targets, ks) if repeats else {}
    return Result(values, totals, targets.queries.user_B, whole.lists_BK, parts, score_s, time.perf_counter() - start_s)


def _repeat_and_explore(whole: Ranked, targets: Targets, ks: Sequence[int]) -> dict[str, Result]:
    """The same lists, judged once by wanted items of the history and once by the others; queries without such an item take no part."""
    wanted, history = targets.wanted, targets.queries.history
    size = int(max(wanted.item.max(initial=0), history.item.max(initial=0))) + 1
    had_T = np.isin(wanted.row * size + wanted.item, history.row * size + history.item)
    out = {}
    for name, keep_T in (("repeat", had_T), ("explore", ~had_T)):
        some = wanted.keep(keep_T)
        of_kind = Ranked(whole.rank_T[keep_T], whole.middle_T[keep_T], whole.candidates_B, whole.lists_BK)
        rows = some.lengths > 0
        if rows.any():
            values = {metric: value[rows] for metric, value in ranking_metrics(of_kind, some, ks).items()}
            out[name] = Result(values, {}, targets.queries.user_B[rows], whole.lists_BK[rows])
    return out
