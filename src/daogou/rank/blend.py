"""Blend: several models' scores as one, with non-negative weights learned on a validation window.

    score_i = Σ_m w_m · z_m(i),    z_m = the model's scores standardised per query (rank/normalise.py),   w_m ≥ 0, Σ w = 1

The weights maximise NDCG@10 (Järvelin and Kekäläinen 2002) by coordinate ascent (Metzler and Croft 2007, section 4). The order of two items depends
on neither the filter nor the list's length, so that a filter never reorders.

Where a model is there that needs no events (contract.StandIn), it speaks for the others on items that have few: with n events of the item,

    z_m(i) ← h z_m(i) + (1 − h) z_stand-in(i),    h = n / (n + κ)

Where a model is there that reads no history (contract.NewcomerStandIn), it speaks for all others on people who have little of one; it has no weight to learn:

    score_i ← h Σ_m w_m · z_m(i) + (1 − h) Σ_m w_m · z_newcomers(i),    h = n / (n + κ) with n the shopper's events

Axes: B queries, C candidates, I items, M models.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import structlog
from numba import njit
from numpy.typing import NDArray

from daogou.contract import Codes, Mask, NewcomerStandIn, Queries, Recommender, Scores, StandIn
from daogou.data.histories import Histories
from daogou.data.split import Targets
from daogou.errors import TrainingError
from daogou.families import top_k
from daogou.rank.normalise import Moments, moments, z_scores
from daogou.scenario import Evaluation, Placement
from daogou.selection import best

log = structlog.get_logger("daogou.rank")

K = 10
DEPTH = 150  # items of each model among which the ascent looks
SWEEPS = 6
STEPS = (0.0, 0.25, 0.5, 0.7, 0.85, 1.2, 1.45, 2.0, 4.0)  # factors tried on one weight
FIRST = 0.1  # what a weight of 0 is tried at, relative to the largest
ROWS = 64  # queries whose dense scores are held at once
TRUSTED = 0.95  # from there on the events of an item, or of a shopper, say enough


def repeats_at(place: Placement, evaluation: Evaluation) -> bool:
    """Whether items of the history are candidates: where people take things again, but not where a placement wants new ones or what goes with a page."""
    return evaluation.repeats and place.about == "shopper" and not place.exclude


class Part(NamedTuple):
    """What one model says of a batch: its raw scores [B, n], and how they become z-scores."""

    name: str
    weight: float
    scores_BI: Scores
    moments: Moments

    def row(self, b: int) -> "Part":
        """What the model says of one query."""
        return self._replace(scores_BI=self.scores_BI[b : b + 1], moments=Moments(*(values[b : b + 1] for values in self.moments)))


class Blend:
    """A scorer over several recommenders.

    Args:
        models: by name; those without a weight are not asked, except that stand-ins named in `weights` speak for the others whatever their own weight.
        weights: name → weight ≥ 0.
        repeats: whether items of the history are candidates; if not, they do not count in mean and deviation.
    """

    def __init__(self, models: Mapping[str, Recommender], weights: Mapping[str, float], *, repeats: bool) -> None:
        self._host = next((name for name, model in models.items() if name in weights and isinstance(model, NewcomerStandIn)), None)
        self.models = {name: model for name, model in models.items() if weights.get(name, 0.0) > 0 or name == self._host}
        self.weights = {name: float(weights[name]) for name in self.models}
        if self._host is not None:  # for people without a history it weighs as much as all others do for the rest
            self.weights[self._host] = sum(weight for name, weight in self.weights.items() if name != self._host) or 1.0
        self.repeats = repeats
        self._stand_in = next((model for name, model in models.items() if name in weights and isinstance(model, StandIn)), None)
        self._spoken: tuple[Queries, Part] | None = None

    @property
    def n_items(self) -> int:
        return max((model.n_items for model in self.models.values()), default=0)

    def part(self, name: str, queries: Queries) -> Part:
        """What one model says; a failing model raises here and nowhere else."""
        model = self.models[name]
        trust_B = self._trust(queries)
        if name == self._host and trust_B is not None and (trust_B == 1).all():
            nothing = Moments(*(np.zeros(len(queries)) for _ in Moments._fields))
            return Part(name, self.weights[name], np.zeros((len(queries), model.n_items), np.float32), nothing)
        part = self._asked(name, self.weights[name], model, queries)
        if self._stand_in is not None and getattr(model, "needs_events", True):
            part = self._supported(part, self._stand_in, queries)
        if trust_B is None:
            return part
        say_B = 1 - trust_B if name == self._host else trust_B
        return part._replace(moments=part.moments._replace(inverse_B=part.moments.inverse_B * say_B, floor_B=part.moments.floor_B * say_B))

    def _trust(self, queries: Queries) -> NDArray[np.float64] | None:
        """[B] what share of the say the models have that read histories; None where there is no one else."""
        host = self.models.get(self._host or "")
        if not isinstance(host, NewcomerStandIn) or len(self.models) == 1:
            return None
        trust_B = np.asarray(host.trust_B(queries), np.float64)
        return np.where(trust_B >= TRUSTED, 1.0, trust_B)

    def _asked(self, name: str, weight: float, model: Recommender, queries: Queries) -> Part:
        scores_BI = model.score(queries)
        return Part(name, weight, scores_BI, moments(scores_BI, None if self.repeats else queries.history))

    def _supported(self, part: Part, stand_in: "StandIn", queries: Queries) -> Part:
        """`part` with the stand-in's z-scores mixed in, in the scale of its own scores, on items that have few events."""
        said = self._spoken
        if said is None or said[0] is not queries:
            try:
                said = queries, self._asked("", 0.0, stand_in, queries)
            except Exception as e:  # it is counted where it is asked in its own name; here the others speak for themselves
                log.warning("degraded", part="stand-in", error=type(e).__name__)
                return part
            self._spoken = said
        spoken = said[1]
        young = np.flatnonzero(stand_in.trust_I[: part.scores_BI.shape[1]] < TRUSTED)
        if not len(young):
            return part
        own_BN, other_BN = (np.take(p.scores_BI, young, axis=1) for p in (part, spoken))
        inverse_B, mean_B = part.moments.inverse_B[:, None], part.moments.mean_B[:, None]
        as_own_BN = mean_B + z_scores(other_BN, spoken.moments) * np.divide(1.0, inverse_B, out=np.zeros_like(inverse_B), where=inverse_B > 0)
        own_BN = np.where(np.isfinite(own_BN), own_BN, mean_B + part.moments.floor_B[:, None] / np.where(inverse_B > 0, inverse_B, 1.0))
        trust_N = stand_in.trust_I[young]
        mixed_BN = trust_N * own_BN + (1 - trust_N) * as_own_BN
        says_BN = np.isfinite(other_BN) & (inverse_B > 0) & (spoken.moments.inverse_B[:, None] > 0)
        scores_BI = part.scores_BI.copy()
        scores_BI[:, young] = np.where(says_BN, mixed_BN, scores_BI[:, young])
        return part._replace(scores_BI=scores_BI)

    def total(self, parts: list[Part], n_queries: int) -> Scores:
        """[B, I] the weighted sum; −inf where no part has evidence."""
        total_BI = np.full((n_queries, self.n_items), -np.inf, np.float32)
        sum_BI = np.zeros_like(total_BI)
        for part in parts:
            above = 0.0 if getattr(self.models[part.name], "positive_only", False) else -np.inf
            _add(sum_BI, total_BI, part.scores_BI, part.weight, *part.moments, above)
        return total_BI

    def score(self, queries: Queries) -> Scores:
        """[B, I]; −inf where no model has evidence for the item. Memory: 4·B·I bytes and some for 64 rows."""
        out_BI = np.full((len(queries), self.n_items), -np.inf, np.float32)
        for first in range(0, len(queries), ROWS):
            some = queries[first : first + ROWS]
            out_BI[first : first + ROWS] = self.total([self.part(name, some) for name in self.models], len(some))
        return out_BI

    def features(self, queries: Queries, candidates: Codes) -> Scores:
        """[B, C, M] z-scores of candidates [B, C], the models in order of `self.models`; unknown items (−1 too) get each model's floor."""
        out_BCM = np.zeros((*candidates.shape, len(self.models)), np.float32)
        for first in range(0, len(queries), ROWS):
            rows = slice(first, first + ROWS)
            for m, name in enumerate(self.models):
                part = self.part(name, queries[rows])
                out_BCM[rows, :, m] = z_scores(taken(part.scores_BI, candidates[rows]), part.moments)
        return out_BCM


@njit(cache=True, nogil=True)
def _add(
    sum_BI: Scores,
    total_BI: Scores,
    scores_BI: Scores,
    weight: float,
    mean_B: NDArray[np.float64],
    inverse_B: NDArray[np.float64],
    floor_B: NDArray[np.float64],
    above: float,
) -> None:
    """One model into the blend, in one pass: its z-scores into `sum_BI`, which shows in `total_BI` wherever some model has evidence (see `evidence`)."""
    n_items = scores_BI.shape[1]
    for b in range(len(scores_BI)):
        mean, scale, low = np.float32(mean_B[b]), np.float32(weight * inverse_B[b]), np.float32(weight * floor_B[b])
        for i in range(sum_BI.shape[1]):
            if i < n_items and np.isfinite(scores_BI[b, i]):
                sum_BI[b, i] += (scores_BI[b, i] - mean) * scale
                spoken = scores_BI[b, i] > above and scale > 0
            else:
                sum_BI[b, i] += low
                spoken = False
            if spoken or total_BI[b, i] > -np.inf:
                total_BI[b, i] = sum_BI[b, i]


def taken(scores_BI: Scores, candidates_BC: Codes) -> Scores:
    """[B, C] the scores of candidates, −inf for codes outside."""
    known = (candidates_BC >= 0) & (candidates_BC < scores_BI.shape[1])
    if not known.any():
        return np.full(candidates_BC.shape, -np.inf, np.float32)
    values = np.take_along_axis(scores_BI, np.where(known, candidates_BC, 0).astype(np.int64), 1)
    return np.asarray(np.where(known, values, -np.inf), np.float32)


def evidence(model: Recommender, part: Part) -> Mask:
    """[B, n] where the model has something to say: the row is not constant, the score finite and, for models of evidence alone, positive."""
    above = 0 if getattr(model, "positive_only", False) else -np.inf
    with np.errstate(invalid="ignore"):
        return np.asarray((part.scores_BI > above) & (part.moments.inverse_B > 0)[:, None])


class Questions(NamedTuple):
    """What the ascent looks at instead of the whole catalogue: the models' best items and the targets of each query."""

    names: tuple[str, ...]
    z_BCM: Scores
    allowed_BC: Mask
    gain_BC: Scores  # 1 for a target, else 0
    ideal_B: NDArray[np.float64]  # DCG of the best order


def fit(models: Mapping[str, Recommender], targets: Targets, *, repeats: bool, k: int = K) -> dict[str, float]:
    """Weights that maximise NDCG@k on `targets`, summing to 1; models that do not help get 0.

    Raises:
        TrainingError: there is no model.
    """
    return ascend(questions(models, targets, repeats=repeats, k=k), tuple(models), k=k)


def questions(models: Mapping[str, Recommender], targets: Targets, *, repeats: bool, k: int = K, depth: int = DEPTH) -> Questions:
    """Asks every model every query once.

    Only the `depth` best items of each model and the targets are kept (an item outside all of them is not in the blend's first k but by accident).
    Memory: 4·B·M·(M·depth + targets) bytes, and 4·I bytes a model for 64 queries.

    Raises:
        TrainingError: there is no model.
    """
    if not models:
        raise TrainingError("there is no model to blend", fix="train at least one")
    models = {name: model for name, model in models.items() if not isinstance(model, NewcomerStandIn)} or models
    blend = Blend(models, dict.fromkeys(models, 1.0), repeats=repeats)
    wanted, asked = targets.wanted, targets.queries
    longest = int(wanted.lengths.max(initial=0))
    width = max(1, min(depth * len(blend.models) + longest, blend.n_items))
    z, allowed, gain = [], [], []
    for first in range(0, len(asked), ROWS):
        rows = slice(first, first + ROWS)
        some, right = asked[rows], wanted[rows]
        parts = [blend.part(name, some) for name in blend.models]
        open_BI = _open(blend, some, targets.known_I)
        top = [top_k(part.scores_BI, depth, open_BI[:, : part.scores_BI.shape[1]]).codes_BK for part in parts]
        codes = _union([*top, _padded(right, longest)], width)
        z.append(np.stack([z_scores(taken(part.scores_BI, codes), part.moments) for part in parts], axis=2))
        ok = codes >= 0
        allowed.append(ok & np.take_along_axis(open_BI, np.where(ok, codes, 0).astype(np.int64), 1))
        gain.append(_is_wanted(codes, right, blend.n_items))
    discount = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))])
    ideal = np.maximum(discount[np.minimum(wanted.lengths, k)], 1e-12)
    if not z:
        return Questions(tuple(models), np.zeros((0, width, len(models)), np.float32), np.zeros((0, width), np.bool_), np.zeros((0, width), np.float32), ideal)
    return Questions(tuple(models), np.concatenate(z), np.concatenate(allowed), np.concatenate(gain), ideal)


def ascend(asked: Questions, names: Sequence[str] | None = None, *, k: int = K) -> dict[str, float]:
    """The best weights of some of the models that were asked (default: all), from equal weights and from the best model alone; 0 for those that were not."""
    wanted = asked.names if names is None else tuple(names)
    unweighed = dict.fromkeys((name for name in wanted if name not in asked.names), 0.0)
    names = tuple(name for name in wanted if name in asked.names)
    return _ascended(asked, names, k) | unweighed if names else dict.fromkeys(wanted, 1.0 / max(len(wanted), 1))


def _ascended(asked: Questions, names: Sequence[str], k: int) -> dict[str, float]:
    if len(names) == 1 or not len(asked.ideal_B):
        return {name: 1.0 / len(names) for name in names}
    some = asked._replace(z_BCM=np.ascontiguousarray(asked.z_BCM[:, :, [asked.names.index(name) for name in names]]))
    starts = [np.full(len(names), 1.0 / len(names)), max(np.eye(len(names)), key=lambda alone: _ndcg(some, alone, k))]
    _, found = max((_ascend(some, start, k) for start in starts), key=lambda tried: tried[0])
    return {name: round(float(w), 6) for name, w in zip(names, found, strict=True)}


def _ascend(asked: Questions, start: NDArray[np.float64], k: int) -> tuple[float, NDArray[np.float64]]:
    weights, highest = start, _ndcg(asked, start, k)
    for _ in range(SWEEPS):
        before = highest
        for m in range(len(weights)):
            for value in _tries(weights, m):
                trial = weights.copy()
                trial[m] = value
                if trial.sum() <= 0:
                    continue
                found = _ndcg(asked, trial / trial.sum(), k)
                if found > highest + 1e-9:
                    highest, weights = found, trial / trial.sum()
        if highest - before < 1e-5:
            break
    return highest, weights


def _tries(weights: NDArray[np.float64], m: int) -> list[float]:
    at = weights[m] if weights[m] > 0 else FIRST * weights.max()
    return [at * step for step in STEPS] if weights[m] > 0 else [at * step for step in (0.25, 1.0, 4.0)]


def _ndcg(asked: Questions, weights: NDArray[np.float64], k: int) -> float:
    """Mean NDCG@k of the weighted sum."""
    with np.errstate(invalid="ignore"):  # BLAS sets the flag on some processors though everything is finite
        total_BC = asked.z_BCM @ weights.astype(np.float32)
    top = best(total_BC, asked.allowed_BC, min(k, asked.z_BCM.shape[1]), -np.inf)[0]
    gain = np.take_along_axis(asked.gain_BC, np.maximum(top, 0), 1) * (top >= 0)
    return float(np.mean((gain @ (1.0 / np.log2(np.arange(top.shape[1]) + 2.0))) / asked.ideal_B))


def _open(blend: Blend, queries: Queries, known_I: Mask | None) -> Mask:
    """[B, I] what may be ranked."""
    open_BI = np.ones((len(queries), blend.n_items), np.bool_) if known_I is None else np.tile(known_I[: blend.n_items], (len(queries), 1))
    return open_BI if blend.repeats else open_BI & ~queries.history.seen(blend.n_items)


def _padded(history: Histories, width: int) -> Codes:
    out = np.full((len(history), width), -1, np.int32)
    out[history.row, np.arange(len(history.item)) - history.start[history.row]] = history.item
    return out


def _union(lists: list[Codes], width: int) -> Codes:
    """[B, width] each row's distinct codes, −1 after them."""
    codes = np.sort(np.concatenate(lists, axis=1), axis=1)[:, ::-1]
    codes[:, 1:][codes[:, 1:] == codes[:, :-1]] = -1
    codes = np.sort(codes, axis=1)[:, ::-1]
    return np.asarray(codes[:, :width])


def _is_wanted(codes_BC: Codes, wanted: Histories, n_items: int) -> Scores:
    row = np.arange(len(wanted))[:, None]
    return np.isin(row * np.int64(n_items) + codes_BC, wanted.row * np.int64(n_items) + wanted.item).astype(np.float32) * (codes_BC >= 0)
