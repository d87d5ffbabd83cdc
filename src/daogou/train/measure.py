"""What models that saw the training part alone are worth: blend weights and rankers by placement from validation, honest figures from test.

Axes: B queries, K list length, Q all queries.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np

from daogou import plugins
from daogou.contract import Queries, Recommender, Run
from daogou.data.histories import Histories
from daogou.data.split import Split, Targets
from daogou.errors import ConfigError, MissingExtra, TrainingError
from daogou.evaluate import Paired, Result, Scorer, evaluate, paired
from daogou.rank import blend
from daogou.rank.blend import Blend, repeats_at
from daogou.rank.ranker import Ranker
from daogou.scenario import Placement, Scenario
from daogou.train.nested import Learned, learn

MOST_QUERIES = 4000
"""Shoppers drawn from validation and test: beyond that, only the time grows."""
RANKED, RANKER = "ranked", "lambdarank"
"""The name that a placement gives for "the learned ranker", and the plugin that it means unless [rankers] says otherwise."""
UNLEARNED = ("blend", "first")
KEPT_METRICS = ("ndcg@10", "recall@10", "precision@10", "hr@10", "mrr@10", "map@10", "coverage@10")


class Measured(NamedTuple):
    """Placement → model → weight; model or `blend` → metric → value; the models that were measured."""

    blends: dict[str, dict[str, float]]
    metrics: dict[str, dict[str, Any]]
    models: Mapping[str, Recommender]
    rankers: Mapping[str, Learned] = {}
    "By placement; placements that ask the same of the same models share one."
    notes: tuple[str, ...] = ()
    "What was decided about rankers, and why."


def measure(parts: Split, models: Mapping[str, Recommender], scenario: Scenario, run: Run) -> Measured:
    """
    Args:
        models: fitted on `parts.train`.
        run: its seed says which shoppers are drawn where there are very many.
    """
    validation, test = _asked(parts, run)
    blends = _weights(models, scenario, validation)
    repeats = scenario.evaluation.repeats
    scorers: dict[str, Scorer] = dict(models)
    if blends:
        scorers["blend"] = Blend(models, next(iter(blends.values())), repeats=repeats)
    rankers, notes = _rankers(parts, models, blends, scenario, run)
    if first := next((rankers[place.name] for place in scenario.placements if place.name in rankers and as_tested(place, scenario)), None):
        scorers["ranked"] = first.ranked
    figures = {name: _figures(evaluate(scorer, test, repeats=repeats), scenario.gate.metric) for name, scorer in scorers.items()}
    return Measured(blends, figures, models, rankers, tuple(notes))


def without(parts: Split, honest: Measured, models: Mapping[str, Recommender], blends: dict[str, dict[str, float]], scenario: Scenario, run: Run) -> Measured:
    """The measurement once some models were left out: `blends` serve now, and the figure of the blend is theirs. Figures of single models stay."""
    left = honest._replace(models=models, blends=blends)
    if blends == honest.blends or "blend" not in honest.metrics:
        return left
    repeats = scenario.evaluation.repeats
    served = Blend(models, next(iter(blends.values())), repeats=repeats)
    return left._replace(metrics={**honest.metrics, "blend": _figures(evaluate(served, _asked(parts, run)[1], repeats=repeats), scenario.gate.metric)})


def _asked(parts: Split, run: Run) -> tuple[Targets, Targets]:
    """The questions of validation and of test that are measured."""
    rng = np.random.default_rng(run.seed)
    return _drawn(parts.validation, rng), _drawn(parts.test, rng)


def _key(place: Placement, models: Mapping[str, Recommender], scenario: Scenario) -> tuple[Any, ...]:
    """Placements with the same key can share a ranker."""
    return (place.rank, place.about, repeats_at(place, scenario.evaluation), tuple(name for name in place.retrieve if name in models))


def as_tested(place: Placement, scenario: Scenario) -> bool:
    """Whether the protocol's own questions are those of this placement."""
    return place.about == "shopper" and repeats_at(place, scenario.evaluation) == scenario.evaluation.repeats


class Ablated(NamedTuple):
    """What answers lose without one model, and the blends that then serve."""

    gap: Paired | None
    "NDCG with it − without it on validation, at the placement where it helps most; None where no blend can do without it or none has it."
    blends: dict[str, dict[str, float]]


def ablated(parts: Split, honest: Measured, scenario: Scenario, name: str, run: Run) -> Ablated:
    """Every blend that has the model, against the best blend of the others."""
    gap: Paired | None = None
    blends: dict[str, dict[str, float]] = {}
    for place in scenario.placements:
        if honest.blends.get(place.name, {}).get(name, 0.0) <= 0:
            continue
        repeats = repeats_at(place, scenario.evaluation)
        asked = _drawn(asked_at(place, parts.validation, repeats), np.random.default_rng(run.seed))
        rest = {other: honest.models[other] for other in place.retrieve if other in honest.models and other != name}
        if not rest or not len(asked):
            return Ablated(None, {})
        blends[place.name] = blend.fit(rest, asked, repeats=repeats)
        whole, less = Blend(honest.models, honest.blends[place.name], repeats=repeats), Blend(rest, blends[place.name], repeats=repeats)
        found = paired(evaluate(whole, asked, repeats=repeats), evaluate(less, asked, repeats=repeats), scenario.gate.metric)
        gap = found if gap is None or found.ci95.low > gap.ci95.low else gap
    return Ablated(gap, blends)


def ranker_kind(scenario: Scenario, name: str) -> str:
    """The plugin behind the ranker of that name."""
    return str(scenario.rankers.get(name, {}).get("kind", RANKER if name == RANKED else name))


def build_ranker(scenario: Scenario, name: str) -> Ranker:
    """An unfitted ranker with the scenario's settings.

    Raises:
        UnknownName, MissingExtra: there is no such ranker.
        ConfigError: a setting is unknown or out of its limits.
    """
    settings = {key: value for key, value in scenario.rankers.get(name, {}).items() if key != "kind"}
    kind = plugins.load("ranker", ranker_kind(scenario, name))
    try:
        made: Ranker = kind(msgspec.convert(settings, kind.Settings))
    except msgspec.ValidationError as e:
        raise ConfigError(str(e), fix="correct it, or leave it out to take the default", where=f"[rankers.{name}] of the scenario", field=name) from e
    return made


def _rankers(
    parts: Split, models: Mapping[str, Recommender], blends: Mapping[str, Mapping[str, float]], scenario: Scenario, run: Run
) -> tuple[dict[str, Learned], list[str]]:
    """A ranker for every placement that names one, and what became of each."""
    learned: dict[tuple[Any, ...], Learned | None] = {}
    notes: list[str] = []
    for place in scenario.placements:
        if place.rank in UNLEARNED or place.name not in blends:
            continue
        key = _key(place, models, scenario)
        if key not in learned:
            learned[key] = None
            repeats = repeats_at(place, scenario.evaluation)
            try:
                found = learn(
                    {name: models[name] for name in place.retrieve if name in models},
                    blends[place.name],
                    partial(build_ranker, scenario, place.rank),
                    parts.train,
                    asked_at(place, parts.validation, repeats),
                    run,
                    repeats=repeats,
                    request_time=scenario.evaluation.protocol == "time",
                    kind=ranker_kind(scenario, place.rank),
                    log=parts.refit,
                    later=scenario.evaluation.protocol == "time",
                )
            except (TrainingError, MissingExtra) as e:
                notes.append(f"the blend ranks {place.name}: {e}")
                continue
            notes.append(f"{place.rank if found.wins else 'the blend'} ranks {place.name}: the ranker's gain is {found}")
            learned[key] = found if found.wins else None
    won = {place.name: learned.get(_key(place, models, scenario)) for place in scenario.placements}
    return {name: one for name, one in won.items() if one is not None}, notes


def _weights(models: Mapping[str, Recommender], scenario: Scenario, validation: Targets) -> dict[str, dict[str, float]]:
    """Placements that ask the same question share the models' answers, those with the same retrievers also the weights."""
    blends: dict[str, dict[str, float]] = {}
    for about in ("shopper", "items"):
        for repeats in (True, False):
            places = [p for p in scenario.placements if p.about == about and p.rank != "first" and repeats_at(p, scenario.evaluation) == repeats]
            retrievers = {p.name: tuple(name for name in p.retrieve if name in models) for p in places}
            used = {name: models[name] for names in retrievers.values() for name in names}
            if not used:
                continue
            asked = blend.questions(used, asked_at(places[0], validation, repeats), repeats=repeats)
            learned = {names: blend.ascend(asked, names) for names in dict.fromkeys(retrievers.values()) if names}
            blends |= {place: learned[names] for place, names in retrievers.items() if names}
    return {place.name: blends[place.name] for place in scenario.placements if place.name in blends}


def asked_at(place: Placement, targets: Targets, repeats: bool) -> Targets:
    """The targets as this placement is asked for them: from the whole history or from its newest item alone, and without what the history holds unless
    that is shown again."""
    queries, wanted = targets.queries, targets.wanted
    if place.about == "items":
        page = queries.history.tail(1)
        queries = Queries(history=page, user_B=queries.user_B, now_B=queries.now_B, context=page, attributes=queries.attributes)
    if not repeats:
        wanted = _without(wanted, queries.history)
    rows = wanted.lengths > 0
    if place.about == "items":
        rows &= queries.history.lengths > 0
    return Targets(queries[rows], wanted[rows], targets.known_I)


def _without(wanted: Histories, seen: Histories) -> Histories:
    size = int(max(wanted.item.max(initial=0), seen.item.max(initial=0))) + 1
    return wanted.keep(~np.isin(wanted.row * size + wanted.item, seen.row * size + seen.item))


def _drawn(targets: Targets, rng: np.random.Generator) -> Targets:
    return targets if len(targets) <= MOST_QUERIES else targets[np.sort(rng.choice(len(targets), MOST_QUERIES, replace=False))]


def _figures(result: Result, metric: str) -> dict[str, Any]:
    """The figures of a manifest; `low`, `high`: the 95 % interval of `metric`; `reached`: items on anybody's first ten; `queries`: how many."""
    out: dict[str, Any] = {name: round(result.mean(name), 6) for name in dict.fromkeys((*KEPT_METRICS, metric))}
    if metric in result.values:
        out |= {"low": round(result.ci95[metric].low, 6), "high": round(result.ci95[metric].high, 6)}
    shown = result.lists_QK[:, :10]
    return out | {"reached": len(np.unique(shown[shown >= 0])), "queries": len(result)}
