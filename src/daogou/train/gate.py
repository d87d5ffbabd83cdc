"""The gate: whether a new release may take the live one's place, and if not, why.

Three questions, each of which can refuse:
    age       was it trained on data that ends earlier?
    quality   is its honest test figure below the live release's own by more than the scenario allows, the interval considered? A window may simply be
              harder than the last one: the refusal is lifted if the new models are better on targets that neither release has seen.
              Are they worse there by more than allowed?
    coverage  do its lists reach far fewer items?

What is compared is what shoppers are shown: the learned ranker's order where a release has one, else the blend's.

Axes: B queries, I items.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from daogou.contract import Queries, Scores
from daogou.data.split import Targets
from daogou.data.vocab import Vocabulary
from daogou.evaluate import Paired, Scorer, evaluate, paired
from daogou.release import Manifest, Release
from daogou.scenario import Gate

FEWEST = 50
"""Queries below which unseen targets decide nothing."""


def refusal(new: Manifest, live: Manifest | None, gate: Gate, unseen: Paired | None = None) -> str:
    """Why `new` must not be published, "" if it may.

    Args:
        live: None or without a model, nothing can be worse.
        unseen: new − live on targets newer than the live release's data.
    """
    if live is None or not live.models:
        return ""
    if not new.models:
        return "it has no model, and the live release has"
    if new.data_end < live.data_end:
        return f"its newest event is {_days(live.data_end - new.data_end)} older than the live release's"
    return _worse(new, live, gate, unseen) or _narrower(new, live, gate)


def _worse(new: Manifest, live: Manifest, gate: Gate, unseen: Paired | None) -> str:
    if unseen is not None and unseen.n >= FEWEST and unseen.relative == unseen.relative:
        live_mean = unseen.difference / unseen.relative if unseen.relative else 0.0
        if unseen.ci95.high < -gate.max_drop * live_mean:
            return f"{gate.metric} on {unseen.n} shoppers' newest events is {-unseen.relative:.1%} below the live release's (allowed {gate.max_drop:.0%})"
        if unseen.ci95.low > 0:
            return ""
    before, now = _figure(live.metrics, gate.metric), _figure(new.metrics, gate.metric)
    if before is None or now is None:
        return ""
    high = _figure(new.metrics, "high")
    floor = before * (1 - gate.max_drop)
    if (now if high is None else high) < floor:
        interval = "" if high is None else f", at most {high:.4f} with 95 % confidence"
        return f"{gate.metric} is {now:.4f}{interval}: below the live release's {before:.4f} by more than {gate.max_drop:.0%}"
    return ""


def _narrower(new: Manifest, live: Manifest, gate: Gate) -> str:
    before, now = (_figure(m.metrics, "reached") for m in (live, new))
    if before and now is not None and now < gate.min_coverage * before:
        return f"its lists reach {now:.0f} items, the live release's {before:.0f} (at least {gate.min_coverage:.0%} of them wanted)"
    return ""


def _figure(metrics: Mapping[str, Mapping[str, Any]], name: str) -> float | None:
    """Of what shoppers are shown: the ranker's order where the release has one, else the blend's."""
    value = (metrics.get("ranked") or metrics.get("blend", {})).get(name)
    return float(value) if isinstance(value, int | float) else None


def _days(time_us: int) -> str:
    return f"{time_us / 86_400e6:.1f} days"


def compare_unseen(new: Scorer, live: Scorer, live_release: Release, items: Vocabulary, targets: Targets, metric: str, *, repeats: bool) -> Paired | None:
    """New − live on the targets newer than the live release's data; None where there are none or the codes do not agree."""
    known = live_release.items.ids
    if items.ids[: len(known)] != known:
        return None
    wanted = targets.wanted.keep(targets.wanted.time > live_release.manifest.data_end)
    rows = wanted.lengths > 0
    if rows.sum() < FEWEST:
        return None
    fresh = Targets(targets.queries[rows], wanted[rows], targets.known_I)
    return paired(evaluate(new, fresh, repeats=repeats), evaluate(_Padded(live, len(items)), fresh, repeats=repeats), metric)


class _Padded:
    """A scorer of an older vocabulary: items that came later score −inf. Ranks are the same without; AUC is a share of all candidates, theirs included."""

    def __init__(self, scorer: Scorer, n_items: int) -> None:
        self.scorer, self.n_items = scorer, n_items

    def score(self, queries: Queries) -> Scores:
        scores_BI = self.scorer.score(queries)
        return np.pad(scores_BI, ((0, 0), (0, self.n_items - scores_BI.shape[1])), constant_values=-np.inf)
