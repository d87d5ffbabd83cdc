"""For whom it works and who is shown: quality by registration group, exposure by an attribute of the items.

A difference is not yet an injustice, and no difference is no proof of none: groups are reported with their size and interval, and
those too small to speak of are named as such.

Axes: Q queries, I items, G groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from daogou.data.dataset import Dataset
from daogou.data.split import Targets
from daogou.errors import UnknownName
from daogou.evaluate.lists import gini
from daogou.evaluate.result import Interval, Result, bootstrap

SMALL_GROUP = 30
NOT_GIVEN = "not given"
BANDS = 4  # into which a number with many values is cut


class Group(NamedTuple):
    name: str
    n: int
    mean: float
    ci95: Interval

    @property
    def too_small(self) -> bool:
        """Whether it has too few users for a judgement (below 30)."""
        return self.n < SMALL_GROUP


@dataclass(frozen=True)
class Groups:
    """One metric of one model by the groups of one registration attribute, best first."""

    attribute: str
    metric: str
    groups: tuple[Group, ...]

    @property
    def judged(self) -> tuple[Group, ...]:
        """The groups that are large enough and say who they are."""
        return tuple(group for group in self.groups if not group.too_small and group.name != NOT_GIVEN)

    @property
    def best(self) -> Group | None:
        return self.judged[0] if len(self.judged) > 1 else None

    @property
    def worst(self) -> Group | None:
        return self.judged[-1] if len(self.judged) > 1 else None

    @property
    def gap(self) -> float:
        """Best mean − worst mean among the judged groups; 0 with fewer than two."""
        return self.best.mean - self.worst.mean if self.best and self.worst else 0.0

    @property
    def inside_noise(self) -> bool:
        """Whether the intervals of the best and the worst group overlap."""
        return not self.best or not self.worst or self.best.ci95.low <= self.worst.ci95.high

    @property
    def sentence(self) -> str:
        if not self.best or not self.worst:
            return f"{self.attribute}: fewer than two groups of at least {SMALL_GROUP} users, so there is nothing to compare."
        noise = "; their intervals overlap" if self.inside_noise else ""
        return (
            f"{self.attribute}: {self.metric} is worst for {self.worst.name} ({self.worst.mean:.4f}) and best for {self.best.name} "
            f"({self.best.mean:.4f}), a gap of {self.gap:.4f}{noise}."
        )


def by_group(result: Result, targets: Targets, attribute: str, metric: str = "ndcg@10") -> Groups:
    """Quality of one model for each group of a registration attribute. Numbers of many values are cut into four bands of equal size.

    Raises:
        UnknownName: the targets carry no such attribute, or the result no such metric.
    """
    if attribute not in targets.queries.attributes:
        raise UnknownName("registration attribute", attribute, targets.queries.attributes, field="groups")
    if metric not in result.values:
        raise UnknownName("metric with a value per query", metric, result.values, field="metric")
    names_Q, value_Q = group_names(targets.queries.attributes[attribute]), result.values[metric]
    groups = []
    for name in sorted(set(names_Q.tolist())):
        values = value_Q[(names_Q == name) & ~np.isnan(value_Q)]
        if len(values):
            low, high = bootstrap(values[:, None])
            groups.append(Group(name, len(values), float(values.mean()), Interval(float(low[0]), float(high[0]))))
    return Groups(attribute, metric, tuple(sorted(groups, key=lambda group: -group.mean)))


def group_names(values_Q: NDArray[np.object_]) -> NDArray[np.str_]:
    """[Q] the name of each query's group: the value itself, the band of a number, or `not given`."""
    given = [value for value in values_Q if value is not None and value == value]
    numbers = [float(v) for v in given if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(given) and len(set(numbers)) > 2 * BANDS:
        edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BANDS + 1)))
        return np.array([NOT_GIVEN if v is None or v != v else _band(float(v), edges) for v in values_Q])
    return np.array([NOT_GIVEN if v is None or v != v or v == "" else _word(v) for v in values_Q])


def _band(value: float, edges: NDArray[np.float64]) -> str:
    at = min(int(np.searchsorted(edges, value, side="right")) - 1, len(edges) - 2)
    return f"{edges[at]:g} to {'' if at == len(edges) - 2 else 'below '}{edges[at + 1]:g}"


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def quality_by_group(results: Mapping[str, Result], targets: Targets, attributes: Sequence[str], metric: str = "ndcg@10") -> dict[str, dict[str, Groups]]:
    """Attribute → model → groups, for every model and attribute."""
    return {attribute: {name: by_group(result, targets, attribute, metric) for name, result in results.items()} for attribute in attributes}


# ---- exposure -------------------------------------------------------------------------------------------------------------------
class Share(NamedTuple):
    """One value of the attribute. Shares are of all places on lists, of the catalogue's items, and of what users took in the training part."""

    name: str
    shown: float
    catalogue: float
    taken: float

    @property
    def ratio(self) -> float:
        """Share shown / share taken: 1 = shown as often as it is wanted; NaN if it was never taken."""
        return self.shown / self.taken if self.taken else np.nan


@dataclass(frozen=True)
class Exposure:
    """How the places on the lists of one model are spread over the values of one attribute, most shown first."""

    attribute: str
    k: int
    shares: tuple[Share, ...]
    gini: float
    "Inequality of the places between the values (0 = all alike)."
    gini_taken: float
    "The same of what users took: the inequality that was there before."

    @property
    def sentence(self) -> str:
        hidden = sum(share.shown == 0 for share in self.shares)
        first = self.shares[0]
        return (
            f"{self.attribute}: {first.name} has most places ({first.shown:.1%}; {first.taken:.1%} of what was taken); {hidden} of {len(self.shares)} values "
            f"are never shown; Gini {self.gini:.3f}, of what was taken {self.gini_taken:.3f}."
        )


def exposure_by(result: Result, data: Dataset, attribute: str, k: int = 10) -> Exposure:
    """Exposure of each value of an item attribute in the first k places, against catalogue and training part.

    An item with several values (``a|b``) counts for each in equal parts; one without is counted as `not given`.

    Raises:
        UnknownName: the items carry no such attribute.
    """
    if attribute not in data.item_table.columns:
        raise UnknownName("item attribute", attribute, data.item_table.columns, field="exposure")
    of_IG, names = _values(data, attribute)
    lists = result.lists_QK[:, :k]
    shown_I = np.bincount(lists[lists >= 0], minlength=data.n_items)
    taken_I = np.bincount(data.histories.item, minlength=data.n_items)
    known_I = np.ones(data.n_items) if data.known_I is None else data.known_I.astype(np.float64)
    shown_G, catalogue_G, taken_G = (of_IG.T @ amount for amount in (shown_I, known_I, taken_I))
    columns = [amount / max(float(amount.sum()), 1e-12) for amount in (shown_G, catalogue_G, taken_G)]
    shares = [Share(name, *(float(column[g]) for column in columns)) for g, name in enumerate(names) if shown_G[g] or catalogue_G[g]]
    shares.sort(key=lambda share: (-share.shown, -share.taken, share.name))
    there = (shown_G > 0) | (catalogue_G > 0)
    return Exposure(attribute, k, tuple(shares), gini(shown_G[there]), gini(taken_G[there]))


def _values(data: Dataset, attribute: str) -> tuple[sp.csr_matrix, list[str]]:
    """[I, G] the part of each item that belongs to each value, and the values' names."""
    codes: dict[str, int] = {}
    item, group, part = [], [], []
    for code, value in enumerate(data.item_table[attribute].to_list()):
        names = [name for name in _word(value).split("|") if name] if value is not None else []
        for name in names or [NOT_GIVEN]:
            item.append(code)
            group.append(codes.setdefault(name, len(codes)))
            part.append(1 / max(len(names), 1))
    return sp.csr_matrix((part, (item, group)), shape=(data.n_items, len(codes))), list(codes)
