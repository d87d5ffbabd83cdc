"""What one evaluation found: a value per query, means with intervals, and how two models differ.

Axes: Q queries, M metrics, R bootstrap resamples.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from daogou.contract import Codes
from daogou.errors import UnknownName, UsageError

RESAMPLES = 2000
LEVEL = 0.95
BOOTSTRAP_SEED = 20_240  # fixed: the same figures give the same interval
CHUNK_BYTES = 64_000_000  # of resampling weights held at once


class Interval(NamedTuple):
    low: float
    high: float


@dataclass(frozen=True)
class Result:
    """Metrics of one model on one set of targets."""

    values: Mapping[str, NDArray[np.float64]]
    "Metric → [Q]; NaN where the query has no such value."
    totals: Mapping[str, float]
    "Metric → one figure of all lists together (coverage, Gini): no value per query, no interval."
    user_Q: Codes
    lists_QK: Codes
    "The lists that would have been shown, −1 = nothing."
    parts: Mapping[str, "Result"] = field(default_factory=dict)
    "`repeat` and `explore`: the same lists, counting only wanted items that were in the history, or were not."
    score_s: float = 0.0
    "Seconds the model took to score every query."
    eval_s: float = 0.0
    "Seconds of the whole evaluation, scoring included."
    seeds: int = 1
    spread: Mapping[str, float] = field(default_factory=dict)
    "Metric → standard deviation of the mean between seeds; empty for one seed."

    def __len__(self) -> int:
        return len(self.user_Q)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that `mean` knows."""
        return (*self.values, *self.totals)

    def mean(self, metric: str) -> float:
        """Mean over the queries, or the figure of all lists together. NaN if no query has a value."""
        if metric in self.totals:
            return self.totals[metric]
        if metric not in self.values:
            raise UnknownName("metric", metric, self.metrics, field="metric")
        return float(self._means[list(self.values).index(metric)])

    @property
    def means(self) -> dict[str, float]:
        """Metric → mean, of every metric."""
        return {metric: self.mean(metric) for metric in self.metrics}

    @cached_property
    def ci95(self) -> dict[str, Interval]:
        """Metric → 95 % bootstrap interval of its mean over queries (percentiles of 2,000 seeded resamples). NaN where no query has a value."""
        if not len(self):
            return dict.fromkeys(self.values, Interval(np.nan, np.nan))
        low, high = bootstrap(np.stack(list(self.values.values()), axis=1))
        return {name: Interval(float(a), float(b)) for name, a, b in zip(self.values, low, high, strict=True)}

    @cached_property
    def _means(self) -> NDArray[np.float64]:
        values_QM = np.stack(list(self.values.values()), axis=1)
        count_M = (~np.isnan(values_QM)).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.nansum(values_QM, axis=0) / count_M, np.float64)

    def of(self, rows: NDArray[np.bool_]) -> "Result":
        """The same metrics over some queries (a mask [Q]); without the figures that belong to all lists together."""
        return Result({name: value[rows] for name, value in self.values.items()}, {}, self.user_Q[rows], self.lists_QK[rows])


class Paired(NamedTuple):
    """How far model a lies above model b on the same queries."""

    metric: str
    difference: float
    ci95: Interval
    t: float
    p: float
    "Two-sided, of the paired t-test."
    effect: float
    "Cohen's d of the differences: mean / standard deviation. Around 0.2 is small, 0.5 medium, 0.8 large."
    relative: float
    "difference / mean of b; NaN where that is 0."
    n: int

    @property
    def inside_noise(self) -> bool:
        """Whether the interval of the difference holds 0."""
        return not (self.ci95.low > 0 or self.ci95.high < 0)

    @property
    def verdict(self) -> str:
        """One sentence for people."""
        interval = f"{self.difference:+.4f} [{self.ci95.low:+.4f}, {self.ci95.high:+.4f}]"
        if self.inside_noise:
            return f"inside the noise: {interval}"
        return f"{'better' if self.difference > 0 else 'worse'}: {interval}, effect size {self.effect:+.2f}"


def paired(a: Result, b: Result, metric: str = "ndcg@10") -> Paired:
    """Paired bootstrap and paired t-test of a − b over the queries that both have a value for.

    Not Wilcoxon or the sign test: their type-I error is inflated here (Ihemelandu and Ekstrand, arXiv 2305.02461).

    Raises:
        UnknownName: a metric without a value per query.
        UsageError: the two were not evaluated on the same queries.
    """
    for result in (a, b):
        if metric not in result.values:
            raise UnknownName("metric with a value per query", metric, result.values, field="metric")
    if not np.array_equal(a.user_Q, b.user_Q):
        raise UsageError("the two results answer different queries", expected="results on the same targets", fix="evaluate both models on one Targets")
    pair = np.stack([a.values[metric], b.values[metric]])
    pair = pair[:, ~np.isnan(pair).any(axis=0)]
    delta_Q, n = pair[0] - pair[1], pair.shape[1]
    if n < 2:
        return Paired(metric, float(delta_Q.mean()) if n else np.nan, Interval(-np.inf, np.inf), np.nan, np.nan, np.nan, np.nan, n)
    mean, deviation, base = float(delta_Q.mean()), float(delta_Q.std(ddof=1)), float(pair[1].mean())
    low, high = bootstrap(delta_Q[:, None])
    t = mean / (deviation / np.sqrt(n)) if deviation > 0 else (np.sign(mean) * np.inf if mean else 0.0)
    p = float(2 * stats.t.sf(abs(t), n - 1))
    effect = mean / deviation if deviation > 0 else (np.sign(mean) * np.inf if mean else 0.0)
    return Paired(metric, mean, Interval(float(low[0]), float(high[0])), float(t), p, float(effect), mean / base if base else np.nan, n)


def bootstrap(values_QM: NDArray[np.float64], resamples: int = RESAMPLES, seed: int = BOOTSTRAP_SEED) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[M] lower and upper end of the 95 % percentile interval of the mean over rows drawn with replacement; NaN values are left out of a resample's mean."""
    ok_QM = ~np.isnan(values_QM)
    filled_QM = np.where(ok_QM, values_QM, 0.0)
    complete = bool(ok_QM.all())
    means = []
    for times_RQ in _draws(len(values_QM), resamples, seed):
        count_RM = np.full((len(times_RQ), 1), float(len(values_QM))) if complete else times_RQ @ ok_QM
        with np.errstate(invalid="ignore", divide="ignore"):
            means.append((times_RQ @ filled_QM) / count_RM)
    means_RM = np.concatenate(means)
    out = np.full((2, values_QM.shape[1]), np.nan)
    some = ok_QM.any(axis=0)
    out[:, some] = np.nanquantile(means_RM[:, some], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return out[0], out[1]


def _draws(n: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each of n rows is drawn in each resample, [some of R, Q], bounded in memory: a mean is then one matrix product."""
    rng = np.random.default_rng(seed)
    step = max(1, min(resamples, CHUNK_BYTES // (8 * max(n, 1))))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def over_seeds(results: Sequence[Result]) -> Result:
    """One result from runs that differ in their seed alone: values are averaged per query, `spread` is the deviation between the runs' means.

    Raises:
        UsageError: there is none, or they answer different queries.
    """
    if not results:
        raise UsageError("there is no result to average", expected="at least one", fix="evaluate the model first")
    if any(not np.array_equal(r.user_Q, results[0].user_Q) for r in results):
        raise UsageError("the runs answer different queries", expected="one split for all seeds of the model", fix="keep the seed of the split fixed")
    if len(results) == 1:
        return results[0]
    first = results[0]
    means = {name: np.array([r.mean(name) for r in results]) for name in first.metrics}
    return replace(
        first,
        values={name: np.mean([r.values[name] for r in results], axis=0) for name in first.values},
        totals={name: float(means[name].mean()) for name in first.totals},
        parts={name: over_seeds([r.parts[name] for r in results]) for name in first.parts},
        score_s=float(np.mean([r.score_s for r in results])),
        eval_s=float(np.mean([r.eval_s for r in results])),
        seeds=len(results),
        spread={name: float(value.std(ddof=1)) for name, value in means.items()},
    )
