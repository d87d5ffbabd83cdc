"""Learning a ranker nested in time: retrievers see what lies before the label window, labels come from the window, and nothing else does.

    retrievers fitted on  Split.train   (events before the window)
    labels from           Split.validation
    judged on             Split.test, never read here
    places                of what was shown until the end of the window, where they were logged: what was taken from far down counts more

The window also has to say when to stop: the queries are dealt into folds, each fold stops a fit on the others, the last fit takes all of them with the
trees that the folds agree on. The folds' own queries are ranked by the fit that did not see them, which says what the ranker is worth against the blend.

Axes: B queries of a batch, C candidates, F features, N examples, Q queries.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daogou.contract import Codes, Recommender, Run
from daogou.data.dataset import Dataset
from daogou.data.split import Targets
from daogou.errors import TrainingError
from daogou.rank.blend import ROWS
from daogou.rank.examined import Examined
from daogou.rank.facts import Facts
from daogou.rank.ranker import DEPTH, Examples, Ranked, Ranker

FOLDS = 3
MOST_QUERIES = 6000
NEGATIVES = 100  # candidates kept for each query beside those that were taken; all are ranked when a fold is judged
FEW_NEGATIVES, EXAMPLES = 30, 1_000_000  # of many queries fewer candidates are kept: three times the queries gained .009 NDCG@10, with 60 candidates each
FEWEST = 30  # queries with a taken candidate; below, chance would be learned
K = 10


class Learned(NamedTuple):
    """A ranker over retrievers, and what it is worth on queries that it did not learn from: NDCG@10, ranker − blend, with its 95 % interval."""

    ranked: Ranked
    gain: float
    low: float
    high: float
    queries: int

    @property
    def wins(self) -> bool:
        """Whether it is better than the blend by more than chance."""
        return self.low > 0

    def __str__(self) -> str:
        return f"{self.gain:+.4f} NDCG@10 against the blend [{self.low:+.4f}, {self.high:+.4f}] on {self.queries} shoppers of the validation window"


def learn(
    models: Mapping[str, Recommender],
    weights: Mapping[str, float],
    new: Callable[[], Ranker],
    before: Dataset,
    targets: Targets,
    run: Run,
    *,
    repeats: bool,
    request_time: bool,
    depth: int = DEPTH,
    kind: str = "",
    most: int = MOST_QUERIES,
    log: Dataset | None = None,
    later: bool = False,
) -> Learned:
    """Learns to rank what `models` propose.

    Args:
        models: fitted on `before` alone.
        weights: the blend's.
        new: makes an unfitted ranker.
        before: everything before the label window.
        targets: the window's questions and answers.
        request_time: whether features may read when a question is asked: not where the protocol's times give the answer away (leave-one-out).
        kind: the ranker's plugin, by which a release finds it again.
        most: questions that are learned from; of more, so many are drawn.
        log: everything up to the end of the label window, with what was shown at which place; None = places are not known.
        later: whether the gain is that of fits on the earlier half of the labels on the later half: people of one window want the same things in it, so
            that folds of people alone praise a ranker that has learned the window. For windows in time.

    Raises:
        TrainingError: too few questions whose answer was among the candidates.
    """
    rng = np.random.default_rng(run.seed)
    if len(targets) > most:
        targets = targets[np.sort(rng.choice(len(targets), most, replace=False))]
    ranked = Ranked(models, weights, Facts.of(before), None, repeats=repeats, request_time=request_time, depth=depth, kind=kind)
    asked = gather(ranked, targets, Examined.of(log) if log is not None else None)
    found_Q = np.add.reduceat(np.append(asked.examples.gain_N, 0.0), _starts(asked.examples)) > 0 if len(targets) else np.zeros(0, np.bool_)
    if found_Q.sum() < FEWEST:
        raise TrainingError(f"only {int(found_Q.sum())} questions have their answer among the candidates", expected=f"at least {FEWEST}", fix='rank = "blend"')
    taught, judged = _halves(asked, targets) if later else (asked, asked)
    if (late := int((judged.wanted_Q > 0).sum())) < FEWEST:
        raise TrainingError(f"only {late} questions have an answer in the later half of the window", expected=f"at least {FEWEST}", fix='rank = "blend"')
    fits, order_N = _cross_fit(taught.examples, _folds(targets.queries.user_B, rng), new, run, rng)
    gain_Q = (_ndcg(judged, order_N) - _ndcg(judged, asked.blend_N))[judged.wanted_Q > 0]
    ranked.ranker = new().agreed(fits).fit(_thinned(asked.examples, rng), run)
    gain, error = float(gain_Q.mean()), float(gain_Q.std(ddof=1) / np.sqrt(len(gain_Q)))
    return Learned(ranked, gain, gain - 1.96 * error, gain + 1.96 * error, len(gain_Q))


class Gathered(NamedTuple):
    """Examples of Q queries with what the blend says of each, and how many items were wanted."""

    examples: Examples
    blend_N: NDArray[np.float32]
    wanted_Q: NDArray[np.int64]
    time_N: NDArray[np.int64]
    "When each wanted candidate was taken; 0 for the others."


def gather(ranked: Ranked, targets: Targets, examined: Examined | None = None) -> Gathered:
    """The candidates of every question, with features, and which of them were wanted. Memory: 4·N·F bytes."""
    features, gains, sizes, blends, counts, times = [], [], [], [], [], []
    for first in range(0, len(targets), ROWS):
        some = targets[first : first + ROWS]
        queries = some.queries
        parts = [ranked.part(name, queries) for name in ranked.models]
        blend_BI = ranked.blended(parts, len(queries))
        open_BI = ranked.open(queries)
        if some.known_I is not None:
            open_BI &= some.known_I[: open_BI.shape[1]]
        codes = ranked.candidates(parts, blend_BI, open_BI)
        there = codes >= 0
        seen = ranked.features.of(parts, queries, blend_BI, codes)
        key = np.arange(len(codes))[:, None] * np.int64(ranked.n_items) + codes
        wanted_T = some.wanted.row * np.int64(ranked.n_items) + some.wanted.item
        gain = np.isin(key, wanted_T)
        if examined is not None:
            counts.append(_of_wanted(key, gain, wanted_T, examined.weights(some), 1)[there])
        times.append(_of_wanted(key, gain, wanted_T, some.wanted.time, 0)[there])
        features.append(seen[there])
        gains.append(gain[there].astype(np.float32))
        sizes.append(there.sum(axis=1))
        blends.append(np.take_along_axis(blend_BI, np.where(there, codes, 0).astype(np.int64), 1)[there])
    weight_N = np.concatenate(counts) if counts else None
    examples = Examples(np.concatenate(features), np.concatenate(gains), np.concatenate(sizes), ranked.features.names, weight_N)
    return Gathered(examples, np.concatenate(blends), targets.wanted.lengths, np.concatenate(times))


def _of_wanted(key_BC: NDArray[np.int64], gain_BC: NDArray[np.bool_], wanted_T: NDArray[np.int64], value_T: NDArray[Any], other: int) -> NDArray[Any]:
    """[B, C] the value of each wanted candidate, `other` for the rest."""
    out = np.full(key_BC.shape, other, value_T.dtype)
    order = np.argsort(wanted_T)
    out[gain_BC] = value_T[order[np.searchsorted(wanted_T[order], key_BC[gain_BC])]]
    return out


def _halves(asked: Gathered, targets: Targets) -> tuple[Gathered, Gathered]:
    """The same candidates, once with what was taken in the earlier half of the window and once with what was taken in the later one."""
    wanted, examples = targets.wanted, asked.examples
    middle = int(np.median(wanted.time)) if len(wanted.time) else 0

    def only(of_N: NDArray[np.bool_], of_T: NDArray[np.bool_]) -> Gathered:
        gain_N = np.where(of_N, examples.gain_N, 0).astype(np.float32)
        return asked._replace(examples=examples._replace(gain_N=gain_N), wanted_Q=np.bincount(wanted.row[of_T], minlength=len(targets)))

    return only(asked.time_N <= middle, wanted.time <= middle), only(asked.time_N > middle, wanted.time > middle)


def _folds(user_Q: Codes, rng: np.random.Generator) -> NDArray[np.int64]:
    """[Q] the fold of each question; all questions of a person are in one, each guest is one of their own."""
    _, person_Q = np.unique(np.where(user_Q >= 0, user_Q, -1 - np.arange(len(user_Q))), return_inverse=True)
    fold = rng.permutation(int(person_Q.max(initial=-1)) + 1) % FOLDS
    return np.asarray(fold[person_Q])


def _cross_fit(
    examples: Examples, fold_Q: NDArray[np.int64], new: Callable[[], Ranker], run: Run, rng: np.random.Generator
) -> tuple[list[Ranker], NDArray[np.float32]]:
    """A fit for each fold that stopped on it, and every example's score by the fit that did not see its query."""
    fold_N = np.repeat(fold_Q, examples.sizes_Q)
    order_N = np.zeros(len(examples.gain_N), np.float32)
    fits = []
    for fold in range(FOLDS):
        watch = examples.of(np.flatnonzero(fold_Q == fold))
        fit = new().fit(_thinned(examples.of(np.flatnonzero(fold_Q != fold)), rng), run, _thinned(watch, rng))
        order_N[fold_N == fold] = fit.predict(watch.features_NF)
        fits.append(fit)
    return fits, order_N


def _thinned(examples: Examples, rng: np.random.Generator) -> Examples:
    """Candidates of each query that were not taken, drawn evenly, and all that were."""
    negatives = int(np.clip(EXAMPLES // max(len(examples.sizes_Q), 1), FEW_NEGATIVES, NEGATIVES))
    row_N = np.repeat(np.arange(len(examples.sizes_Q)), examples.sizes_Q)
    chance = np.where(examples.gain_N > 0, -1.0, rng.random(len(row_N)))
    order = np.lexsort((chance, row_N))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - _starts(examples)[row_N]
    taken_Q = np.bincount(row_N, examples.gain_N > 0, len(examples.sizes_Q))
    keep = place < taken_Q[row_N] + negatives
    sizes = np.bincount(row_N[keep], minlength=len(examples.sizes_Q))
    weight_N = None if examples.weight_N is None else examples.weight_N[keep]
    return Examples(examples.features_NF[keep], examples.gain_N[keep], sizes, examples.names, weight_N)


def _ndcg(asked: Gathered, order_N: NDArray[np.float32]) -> NDArray[np.float64]:
    """[Q] NDCG@10 of the candidates in that order."""
    sizes, gain = asked.examples.sizes_Q, asked.examples.gain_N
    row_N = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((-order_N, row_N))
    place_N = np.arange(len(order)) - _starts(asked.examples)[row_N]
    top = place_N < K
    dcg = np.bincount(row_N[top], gain[order][top] / np.log2(place_N[top] + 2.0), len(sizes))
    ideal = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(K) + 2.0))])
    return np.asarray(dcg / np.maximum(ideal[np.minimum(asked.wanted_Q, K)], 1e-12))


def _starts(examples: Examples) -> NDArray[np.int64]:
    return np.cumsum(examples.sizes_Q) - examples.sizes_Q
