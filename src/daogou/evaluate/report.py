"""A comparison for people and programs: a table for the terminal, JSON, and an HTML page that opens without a network.

All three say the same: figures with intervals, what each figure means, for whom it holds, and what a reader must be warned of.
"""

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from rich.console import Group as Stack
from rich.table import Table
from rich.text import Text

from daogou.evaluate import plots
from daogou.evaluate.comparison import Beside, Comparison
from daogou.evaluate.fairness import Exposure, Groups
from daogou.evaluate.ratings import RatingError
from daogou.evaluate.result import Paired, Result

QUALITY = ("ndcg@10", "hr@10", "recall@10", "precision@10", "f1@10", "mrr@10", "map@10", "auc")
LISTS = ("coverage@10", "gini@10", "novelty@10", "popularity@10", "diversity@10", "category_diversity@10")
"Metrics shown in tables, as far as they were measured: how often it is right, and what the lists are like."
PAIRED = ("ndcg@10", "recall@10", "hr@10")
SHOWN_VALUES = 12  # of an attribute, in the page
CURVE_POINTS = 60


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that is said about one comparison."""

    comparison: Comparison
    split: Mapping[str, Any]
    "`Split.about`"
    fit_s: Mapping[str, float] = field(default_factory=dict)
    "Seconds each model took to fit."
    peak_mib: Mapping[str, float] = field(default_factory=dict)
    "Highest resident memory of the process during that fit, MiB."
    apart: Mapping[str, Mapping[str, Result]] = field(default_factory=dict)
    "Targets in rows of their own (`no-history`, `new-items`) → model → result."
    ratings: Mapping[str, RatingError] = field(default_factory=dict)
    "Model that predicts ratings → how far they were off."
    groups: Mapping[str, Mapping[str, Groups]] = field(default_factory=dict)
    "Registration attribute → model → quality by group."
    exposure: Mapping[str, Exposure] = field(default_factory=dict)
    "Model → exposure by an item attribute."
    beside: Sequence[Beside] = ()
    seeds: Sequence[int] = ()
    command: str = ""
    warnings: Sequence[str] = ()
    "Beyond those of the comparison: leaks of the split, what the caller has to say."

    @property
    def all_warnings(self) -> list[str]:
        said = [*self.warnings, *self.comparison.warnings]
        for by_model in self.groups.values():
            small = sorted({group.name for groups in by_model.values() for group in groups.groups if group.too_small})
            if small:
                attribute = next(iter(by_model.values())).attribute
                said.append(f"Too few users (below 30) to judge {attribute}: {', '.join(small)}.")
        return list(dict.fromkeys(said))

    @property
    def quality(self) -> list[str]:
        """Of `QUALITY`, what was measured (or the first metrics that were, if at other lengths)."""
        known = self.comparison.results[self.comparison.baseline]
        return [name for name in QUALITY if name in known.values] or list(known.values)[: len(QUALITY)]

    @property
    def lists(self) -> list[str]:
        """Of `LISTS`, what was measured."""
        known = self.comparison.results[self.comparison.baseline].metrics
        return [name for name in LISTS if name in known]


def versions() -> dict[str, str]:
    """What the figures were made with."""
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for name in ("daogou", "numpy", "scipy", "numba", "polars"):
        found[name] = metadata.version(name)
    return found


# ---- terminal -------------------------------------------------------------------------------------------------------------------
def terminal_table(report: Report) -> Stack:
    """A rich renderable: how good each model is, best first, and what its lists are like; then who leads, and the warnings."""
    comparison = report.comparison
    leader = comparison.order()[0]
    parts: list[Table | Text] = [_quality_table(report), _lists_table(report)]
    if kinds := _kinds(report):
        parts.append(_kinds_table(comparison, kinds))
    if report.ratings:
        parts.append(_ratings_table(report.ratings))
    parts += [_beside_table(two) for two in report.beside]
    parts.append(Text(comparison.sentence))
    parts += [Text(f"  {two.sentence}") for two in report.beside]
    parts += [Text(f"  {by_model[leader].sentence}") for by_model in report.groups.values() if leader in by_model]
    parts += [Text(f"  {report.exposure[leader].sentence}")] if leader in report.exposure else []
    parts += [Text(f"! {warning}", style="yellow") for warning in report.all_warnings]
    return Stack(*parts)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for n, name in enumerate(columns):
        table.add_column(name, justify="right" if n else "left", no_wrap=not n)
    return table


def _quality_table(report: Report) -> Table:
    comparison, first = report.comparison, report.comparison.metric
    others = [name for name in report.quality if name not in (first, "f1@10", "auc")]
    title = f"{report.split.get('protocol', '')} · {len(comparison.results[comparison.baseline]):,} users, full ranking"
    table = _table(title, "model", first, "95 %", "against " + comparison.baseline, *others)
    against = comparison.against_baseline()
    for n, model in enumerate(comparison.order()):
        result = comparison.results[model]
        interval = result.ci95[first]
        gap = _signed(against[model]) if model in against else "baseline"
        figures = (f"{result.mean(name):.4f}" for name in others)
        value = f"{result.mean(first):.4f}" + (f" ± {result.spread[first]:.4f}" if first in result.spread else "")
        table.add_row(model, value, f"{interval.low:.4f}–{interval.high:.4f}", gap, *figures, style="" if n else "bold")
    return table


def _lists_table(report: Report) -> Table:
    shown = [name for name in report.lists if name not in ("popularity@10", "category_diversity@10")]
    table = _table("what the lists are like, and what they cost", "model", *shown, "fit", "memory", "evaluation")
    for model in report.comparison.order():
        result = report.comparison.results[model]
        cost = (_seconds(report.fit_s.get(model)), _mib(report.peak_mib.get(model)), _seconds(result.eval_s))
        table.add_row(model, *(f"{result.mean(name):.3f}" for name in shown), *cost)
    return table


def _kinds_table(comparison: Comparison, kinds: Mapping[str, Mapping[str, Result]]) -> Table:
    table = _table(
        f"{comparison.metric} by kind of target", "model", *(f"{kind} ({max(len(r) for r in by_model.values()):,} users)" for kind, by_model in kinds.items())
    )
    for model in comparison.order():
        table.add_row(model, *(f"{by_model[model].mean(comparison.metric):.4f}" if model in by_model else "–" for by_model in kinds.values()))
    return table


def _ratings_table(ratings: Mapping[str, RatingError]) -> Table:
    table = _table("error of predicted ratings", "model", "RMSE", "95 %", "MAE", "ratings")
    for model, found in ratings.items():
        table.add_row(model, f"{found.rmse:.4f}", f"{found.rmse_ci95.low:.4f}–{found.rmse_ci95.high:.4f}", f"{found.mae:.4f}", f"{found.n:,}")
    return table


def _beside_table(two: Beside) -> Table:
    first, second = two.titles
    table = _table(f"{two.metric} under {first} and under {second}", "model", first, "place", second, "place")
    for row in two.rows:
        table.add_row(row.model, f"{row.first:.4f}", str(row.first_place), f"{row.second:.4f}", str(row.second_place))
    return table


def _kinds(report: Report) -> dict[str, dict[str, Result]]:
    """Kind of target → model → result: repeat, explore, and those that the split keeps apart."""
    kinds: dict[str, dict[str, Result]] = {}
    for model, result in report.comparison.results.items():
        for kind, part in result.parts.items():
            kinds.setdefault(kind, {})[model] = part
    return kinds | {kind: dict(by_model) for kind, by_model in report.apart.items() if by_model}


def _signed(difference: Paired) -> str:
    return f"{difference.difference:+.4f} " + ("(noise)" if difference.inside_noise else f"(d {difference.effect:+.2f})")


def _mib(mib: float | None) -> str:
    return "–" if mib is None else f"{mib:,.0f} MiB"


def _seconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.1f} s" if seconds < 100 else f"{seconds:.0f} s"


# ---- JSON -----------------------------------------------------------------------------------------------------------------------
def to_json(report: Report) -> dict[str, Any]:
    """The report in plain types; what cannot be computed is null."""
    comparison = report.comparison
    out: dict[str, Any] = {
        "protocol": report.split.get("protocol"),
        "split": dict(report.split),
        "models": {
            name: _model(result) | {"fit_s": report.fit_s.get(name), "peak_mib": report.peak_mib.get(name)} for name, result in comparison.results.items()
        },
        "baseline": comparison.baseline,
        "order": comparison.order(),
        "ratings": {name: {**found._asdict(), "rmse_ci95": list(found.rmse_ci95)} for name, found in report.ratings.items()},
        "paired": {metric: {name: _paired(pair) for name, pair in comparison.against_baseline(metric).items()} for metric in _paired_metrics(comparison)},
        "apart": {kind: {name: _model(result) for name, result in by_model.items()} for kind, by_model in report.apart.items()},
        "fairness": {
            "groups": {attribute: {name: _groups(groups) for name, groups in by_model.items()} for attribute, by_model in report.groups.items()},
            "exposure": {name: _exposure(exposure) for name, exposure in report.exposure.items()},
        },
        "beside": [_beside(two) for two in report.beside],
        "sentence": comparison.sentence,
        "warnings": report.all_warnings,
        "seeds": list(report.seeds),
        "command": report.command,
        "versions": versions(),
    }
    return _plain(out)  # type: ignore[no-any-return]


def _paired_metrics(comparison: Comparison) -> list[str]:
    values = comparison.results[comparison.baseline].values
    return [name for name in dict.fromkeys((comparison.metric, *PAIRED)) if name in values]


def _model(result: Result) -> dict[str, Any]:
    out: dict[str, Any] = {**result.means, "ci95": {name: list(interval) for name, interval in result.ci95.items()}, "users": len(result)}
    if result.eval_s:
        out |= {"eval_s": result.eval_s, "score_s": result.score_s}
    if result.seeds > 1:
        out |= {"seeds": result.seeds, "sd": dict(result.spread)}
    return out | {kind: _model(part) for kind, part in result.parts.items()}


def _paired(pair: Paired) -> dict[str, Any]:
    return {**pair._asdict(), "ci95": list(pair.ci95), "inside_noise": pair.inside_noise, "verdict": pair.verdict}


def _groups(groups: Groups) -> dict[str, Any]:
    named = [{"group": g.name, "users": g.n, groups.metric: g.mean, "ci95": list(g.ci95), "too_small": g.too_small} for g in groups.groups]
    worst, best = (group.name if group else None for group in (groups.worst, groups.best))
    return {"metric": groups.metric, "groups": named, "worst": worst, "best": best, "gap": groups.gap, "inside_noise": groups.inside_noise}


def _exposure(exposure: Exposure) -> dict[str, Any]:
    shares = [{**share._asdict(), "ratio": share.ratio} for share in exposure.shares]
    return {"attribute": exposure.attribute, "k": exposure.k, "gini": exposure.gini, "gini_taken": exposure.gini_taken, "shares": shares}


def _beside(two: Beside) -> dict[str, Any]:
    rows, swaps = [row._asdict() for row in two.rows], [swap._asdict() for swap in two.swaps]
    return {"metric": two.metric, "titles": list(two.titles), "models": rows, "swaps": swaps, "sentence": two.sentence}


def _plain(value: Any) -> Any:
    """Only what JSON has: numpy scalars become Python's, NaN and infinities null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ---- HTML -----------------------------------------------------------------------------------------------------------------------
def html(report: Report, title: str = "Evaluation") -> str:
    """One self-contained page: no script, no network."""
    environment = Environment(
        loader=PackageLoader("daogou.evaluate"), autoescape=select_autoescape(["html"]), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"seconds": _seconds, "mib": _mib, "figure": lambda x: "–" if x is None or x != x else f"{x:.4f}", "percent": lambda x: f"{x:.1%}"}
    comparison = report.comparison
    leader = comparison.order()[0]
    return environment.get_template("report.html").render(
        title=title,
        report=report,
        comparison=comparison,
        leader=leader,
        against={metric: comparison.against_baseline(metric) for metric in _paired_metrics(comparison)},
        kinds=_kinds(report),
        plots={name: Markup(svg) for name, svg in _plots(report).items() if svg},
        group_plots={attribute: Markup(_group_bars(by_model[leader])) for attribute, by_model in report.groups.items() if leader in by_model},
        shown_values=SHOWN_VALUES,
        versions=versions(),
    )


def write(report: Report, directory: Path, title: str = "Evaluation") -> Path:
    """Writes ``report.html`` and ``report.json`` into `directory` and returns the page's path."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(to_json(report)), indent=1))
    page = directory / "report.html"
    page.write_text(html(report, title), "utf-8")
    return page


def _plots(report: Report) -> dict[str, str]:
    comparison = report.comparison
    order = {name: comparison.results[name] for name in comparison.order()}
    metric = comparison.metric
    kind = metric.split("@")[0]
    rows = [
        plots.Bar(name, r.mean(metric), *r.ci95[metric], "baseline" if name == comparison.baseline else "", name == comparison.baseline)
        for name, r in order.items()
    ]
    ks = sorted(int(name.split("@")[1]) for name in order[comparison.baseline].values if name.startswith(kind + "@"))
    by_k = {name: [(k, r.mean(f"{kind}@{k}")) for k in ks] for name, r in order.items()}
    spread = {name: exposure_curve(r) for name, r in order.items()}
    return {
        "models": plots.bars(rows, f"{metric} of each model with 95 % intervals"),
        "by_k": plots.lines(by_k, f"{kind} by length of the list", x_label="length of the list k", y_label=f"{kind}@k"),
        "exposure": plots.lines(
            spread, "share of all places held by the most shown items", x_label="most shown items", y_label="share of all places", log_x=True, percent=True
        ),
        "timeline": _timeline(report.split),
    }


def _group_bars(groups: Groups) -> str:
    """The groups that can be judged; where none can, all of them in grey."""
    drawn = [g for g in groups.groups if not g.too_small] or groups.groups[:SHOWN_VALUES]
    rows = [plots.Bar(g.name, g.mean, *g.ci95, f"n = {g.n}", g.too_small) for g in drawn]
    return plots.bars(rows, f"{groups.metric} by {groups.attribute} with 95 % intervals")


def exposure_curve(result: Result, k: int = 10) -> list[tuple[float, float]]:
    """Points (n, share of all places that the n most shown items hold)."""
    lists = result.lists_QK[:, :k]
    shown = np.sort(np.bincount(lists[lists >= 0]))[::-1]
    shown = shown[shown > 0]
    if not len(shown):
        return []
    share = np.cumsum(shown) / shown.sum()
    at = np.unique(np.geomspace(1, len(shown), CURVE_POINTS).round().astype(int))
    return [(int(n), float(share[n - 1])) for n in at]


def _timeline(split: Mapping[str, Any]) -> str:
    if "test_from" not in split:
        return ""
    days = float(split["validation_days"])
    stretches = [
        ("training", f"until {split['train_until'][:10]}", 0.5),
        ("validation", f"{days:g} days", 0.22),
        ("test", f"{split['test_from'][:10]} – {split['test_until'][:10]}", 0.28),
    ]
    return plots.timeline(stretches, "training, validation and test window in order of time, not to scale")
