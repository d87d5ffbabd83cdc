"""A dataset examined: what is in it, what is wrong with it, what it is good for."""

from time import time

import msgspec
import numpy as np
from numpy.typing import NDArray

from daogou.data.dataset import Dataset
from daogou.data.fitness import Fitness, Use
from daogou.data.overview import Overview
from daogou.data.symptoms import Finding, Symptoms, moment
from daogou.data.times import DAY_US

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


class Diagnosis(msgspec.Struct, frozen=True):
    """The result of `examine`. `str()` is what the command prints."""

    events: int
    users: int
    items: int
    users_with_events: int
    items_with_events: int
    density: float
    "Share of all (user, item) pairs that have an event, among users and items with events."
    first_us: int
    last_us: int
    by_event: dict[str, int]
    per_user: dict[str, float]
    "Quantiles of events per user, of users with events."
    per_item: dict[str, float]
    findings: list[Finding]
    uses: list[Use]

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "error"]

    def __str__(self) -> str:
        lines = [
            f"{self.events:,} events of {self.users_with_events:,} users with {self.items_with_events:,} items",
            f"  known: {self.users:,} users, {self.items:,} items",
            "  " + ", ".join(f"{name} {n:,}" for name, n in self.by_event.items()),
            f"  density {self.density:.4%}, {moment(self.first_us)} to {moment(self.last_us)} ({(self.last_us - self.first_us) / DAY_US:,.0f} days)",
            "  events per user: " + _quantile_text(self.per_user),
            "  events per item: " + _quantile_text(self.per_item),
            "",
            "Findings" if self.findings else "Nothing is wrong with it.",
        ]
        for one in self.findings:
            lines += [f"  {one.severity:<8} {one.what}: {one.number:,.0f} ({one.share:.1%})", f"           {one.advice}"]
        lines += ["", "Good for"]
        lines += [f"  {'yes' if use.possible else 'no ':<4} {use.kind} {use.name}: {use.why}" for use in self.uses]
        return "\n".join(lines)


def examine(data: Dataset, *, now_us: int | None = None, removed: str = "removed") -> Diagnosis:
    """Looks at a dataset as a whole.

    `removed` names the item attribute with the time of an item's removal, where there is one. `now_us` is the clock.
    """
    now_us = int(time() * 1e6) if now_us is None else now_us
    e = data.events
    view = Overview(data)
    by_user, by_item = view.by_user, view.by_item
    active_users, active_items = int((by_user > 0).sum()), int((by_item > 0).sum())
    kinds = np.bincount(e.kind, minlength=len(data.event_names))
    order = {"error": 0, "warning": 1, "info": 2}
    return Diagnosis(
        events=len(e),
        users=data.n_users,
        items=data.n_items,
        users_with_events=active_users,
        items_with_events=active_items,
        density=view.pairs() / max(active_users * active_items, 1),
        first_us=int(e.time.min()) if len(e) else 0,
        last_us=data.end,
        by_event={name: int(n) for name, n in zip(data.event_names, kinds, strict=True)},
        per_user=_quantiles(by_user[by_user > 0]),
        per_item=_quantiles(by_item[by_item > 0]),
        findings=sorted(Symptoms(view, now_us, removed).findings(), key=lambda finding: order[finding.severity]),
        uses=list(Fitness(view).uses()),
    )


def _quantiles(counts: NDArray[np.int64]) -> dict[str, float]:
    if not len(counts):
        return {}
    return {f"{q:.0%}": float(v) for q, v in zip(QUANTILES, np.quantile(counts, QUANTILES), strict=True)}


def _quantile_text(quantiles: dict[str, float]) -> str:
    names = {"0%": "least", "50%": "median", "100%": "most"}
    return ", ".join(f"{names.get(name, name)} {value:,.0f}" for name, value in quantiles.items()) or "none"
