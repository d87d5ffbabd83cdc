"""Several models on the same targets: who leads, by how much, and whether that is more than noise."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from daogou.errors import UnknownName, UsageError
from daogou.evaluate.result import Paired, Result, paired

HEADLINE = "ndcg@10"
FEW_QUERIES = 200
SMALL_GAIN = 0.05  # relative; below it an offline difference rarely shows online (authors of GRU4Rec)
TOO_GOOD = 0.95  # of the headline metric: no honest task is that easy


@dataclass(frozen=True)
class Comparison:
    """Results by name, one of them the baseline. Paired figures are model − baseline."""

    results: Mapping[str, Result]
    baseline: str

    @cached_property
    def metric(self) -> str:
        """The metric that decides: NDCG@10, or NDCG at the first length that was measured."""
        values = self.results[self.baseline].values
        return HEADLINE if HEADLINE in values else next((name for name in values if name.startswith("ndcg@")), next(iter(values)))

    def order(self, metric: str | None = None) -> list[str]:
        """Names, best first (NaN last)."""
        means = {name: result.mean(metric or self.metric) for name, result in self.results.items()}
        return sorted(means, key=lambda name: (means[name] != means[name], -means[name]))

    def paired(self, a: str, b: str, metric: str | None = None) -> Paired:
        """How far model a lies above model b.

        Raises:
            UnknownName: there is no such model or metric.
        """
        for name in (a, b):
            if name not in self.results:
                raise UnknownName("model", name, self.results)
        return paired(self.results[a], self.results[b], metric or self.metric)

    def against_baseline(self, metric: str | None = None) -> dict[str, Paired]:
        """Every other model against the baseline, best first."""
        return {name: self.paired(name, self.baseline, metric) for name in self.order(metric) if name != self.baseline}

    def _seed_error(self, a: str, b: str) -> float:
        """Standard error of the difference between two models' means that comes from their seeds; 0 for one seed each."""
        return math.sqrt(sum(r.spread.get(self.metric, 0.0) ** 2 / r.seeds for r in (self.results[a], self.results[b])))

    @property
    def sentence(self) -> str:
        """What a reader should take away."""
        best, *rest = self.order()
        value, interval = self.results[best].mean(self.metric), self.results[best].ci95[self.metric]
        said = f"{best} leads with {self.metric} {value:.4f} [{interval.low:.4f}, {interval.high:.4f}]"
        if best == self.baseline:
            return said + (": no model is better than the baseline." if rest else ".")
        return f"{said}; against the baseline {self.baseline} it is {self.paired(best, self.baseline).verdict}."

    @cached_property
    def warnings(self) -> list[str]:
        """What a reader must know before believing the figures."""
        best, *rest = self.order()
        result, out = self.results[best], []
        if len(result) < FEW_QUERIES:
            low, high = result.ci95[self.metric]
            out.append(f"Only {len(result)} users were asked for: {self.metric} of {best} is known to ± {(high - low) / 2:.4f} at best.")
        if result.mean(self.metric) > TOO_GOOD:
            out.append(f"{best} reaches {self.metric} {result.mean(self.metric):.3f}: too good to be true. Look for the answer among the model's inputs.")
        for other in dict.fromkeys((*rest[:1], self.baseline)):
            if other == best:
                continue
            gap = self.paired(best, other)
            role = " (baseline)" if other == self.baseline else ""
            if gap.inside_noise:
                out.append(f"{best} and {other}{role} cannot be told apart by {self.metric}: their difference is {gap.verdict}.")
            elif abs(gap.difference) < 2 * (error := self._seed_error(best, other)):
                out.append(
                    f"{best} and {other}{role} cannot be told apart by {self.metric}: fits that differ in their seed alone move the difference of "
                    f"{gap.difference:+.4f} by ± {error:.4f}. More seeds would tell."
                )
            elif gap.relative < SMALL_GAIN:
                out.append(
                    f"{best} is {gap.relative:.1%} better than {other}{role} in {self.metric}: below {SMALL_GAIN:.0%} an offline gain rarely shows online."
                )
        return out


def compare(results: Mapping[str, Result], baseline: str) -> Comparison:
    """Results of one split side by side.

    Raises:
        UnknownName: no result bears the baseline's name.
        UsageError: the results answer different numbers of queries, so they are not of one split.
    """
    if baseline not in results:
        raise UnknownName("model", baseline, results, where="baseline")
    sizes = {len(result) for result in results.values()}
    if len(sizes) > 1:
        raise UsageError(f"the results answer {sorted(sizes)} queries", expected="one set of targets for all", fix="evaluate every model on the same split")
    return Comparison(dict(results), baseline)


class Row(NamedTuple):
    """One model under two protocols; places count from 1."""

    model: str
    first: float
    second: float
    first_place: int
    second_place: int


class Swap(NamedTuple):
    """`first` is ahead in the first comparison, `second` in the second. `sure`: both differences are outside the noise."""

    first: str
    second: str
    sure: bool


@dataclass(frozen=True)
class Beside:
    """Two comparisons of the same models, such as a time split and leave-one-out, on one metric."""

    metric: str
    titles: tuple[str, str]
    rows: tuple[Row, ...]
    swaps: tuple[Swap, ...]

    @property
    def sentence(self) -> str:
        """Where the order of the models changes."""
        if not self.swaps:
            return f"{self.titles[0]} and {self.titles[1]} put the models in the same order."
        named = "; ".join(f"{s.first} ↔ {s.second} ({'sure' if s.sure else 'inside the noise'})" for s in self.swaps)
        return f"The order changes between {self.titles[0]} and {self.titles[1]}: {named}."


def beside(first: Comparison, second: Comparison, *, titles: tuple[str, str], metric: str | None = None) -> Beside:
    """Lays two comparisons side by side: the models that both hold, and every pair whose order differs.

    Raises:
        UsageError: they share no model.
    """
    metric = metric or first.metric
    shared = [name for name in first.order(metric) if name in second.results]
    if not shared:
        raise UsageError("the two comparisons share no model", expected="the same names in both", fix="evaluate the same models under both protocols")
    other = [name for name in second.order(metric) if name in first.results]
    rows = tuple(
        Row(name, first.results[name].mean(metric), second.results[name].mean(metric), place, other.index(name) + 1) for place, name in enumerate(shared, 1)
    )
    swaps = []
    for p, a in enumerate(shared):
        for b in shared[p + 1 :]:
            if other.index(b) < other.index(a):
                sure = not (first.paired(a, b, metric).inside_noise or second.paired(a, b, metric).inside_noise)
                swaps.append(Swap(a, b, sure))
    return Beside(metric, titles, rows, tuple(swaps))
