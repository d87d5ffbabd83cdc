"""One training: snapshot → split → fit → blend weights on validation → honest test figures → fit on everything → release → ask it → gate → publish.

Axes: B queries, I items.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import structlog
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from daogou import filters, plugins
from daogou.catalogue import Catalogue
from daogou.contract import Additive, NewcomerStandIn, Progress, Recommender, Run
from daogou.data.dataset import Dataset
from daogou.data.split import Split, split
from daogou.data.vocab import Vocabulary
from daogou.engine import Engine, Request
from daogou.errors import ConfigError, DataError, MissingExtra, ReleaseError, UnknownName
from daogou.profile.newcomers import Newcomers
from daogou.rank.blend import Blend
from daogou.rank.facts import Facts
from daogou.rank.ranker import Ranked
from daogou.release import Fitted, Manifest, Release, current_id, open_current, open_release, read_manifest
from daogou.scenario import Evaluation, Project, Scenario
from daogou.store import Store
from daogou.train import release as releases
from daogou.train.choose import Chooser
from daogou.train.gate import compare_unseen, refusal
from daogou.train.measure import KEPT_METRICS, UNLEARNED, Measured, ablated, as_tested, build_ranker, measure, without
from daogou.train.memory import Peak, why
from daogou.train.nested import Learned

log = structlog.get_logger("daogou.train")

NOT_MODELS = ("blend", "ranked")
"""Words that `--models` takes for combinations of models."""
CHECKPOINTS = "checkpoints"
"""Folder of a project in which networks keep how far they are, until the training is done."""


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """What a training made. `refused` says why it was not published though it should have been."""

    release: str
    directory: str
    published: bool
    refused: str
    digest: str
    models: dict[str, Fitted]
    blends: dict[str, dict[str, float]]
    metrics: dict[str, dict[str, Any]]
    split: dict[str, Any]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    "What was chosen, and why."
    seconds: float

    def __str__(self) -> str:
        lines = [f"{name:<12} {m.fit_s:8.1f} s {m.peak_mib:8.0f} MiB" for name, m in self.models.items()]
        lines += [f"{name:<12} " + "  ".join(f"{key} {row[key]:.4f}" for key in KEPT_METRICS if key in row) for name, row in self.metrics.items()]
        lines += self.notes
        lines += [f"warning: {text}" for text in self.warnings]
        fate = "published" if self.published else f"not published: {self.refused}" if self.refused else "not published, as asked"
        return "\n".join([*lines, f"release {self.release} in {self.seconds:.1f} s, {fate}"])


@dataclass
class _Training:
    """One training under way."""

    scenario: Scenario
    run: Run
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        self.warnings.append(text)
        log.warning("training", what=text)


def train(
    project: Project,
    store: Store,
    scenario: Scenario,
    *,
    models: Sequence[str] | None = None,
    seed: int | None = None,
    publish: bool = True,
    progress: Progress | None = None,
) -> Trained:
    """Trains the scenario's models into a new release and, if it passes the gate, makes it the live one.

    A training that was ended from outside, however roughly, goes on where its networks stood when the same is asked of the same data again.

    Args:
        models: which of the scenario's models; None = the project's choice, else all.
        seed: None = the project's.
        publish: whether the release goes live if it is not worse.

    Raises:
        UnknownName: a model that the scenario does not list.
        ConfigError: a hyperparameter that does not exist or is out of its limits.
        ReleaseError: the written release does not answer. The live release stays in every case.
    """
    started = time.perf_counter()
    seed = project.training.seed if seed is None else seed
    training = _Training(scenario, replace(circumstances(project, seed, progress), checkpoint=project.directory / CHECKPOINTS))
    chooser = Chooser(project.training.minutes * 60 if models is None else 0.0, _known_cost(project), tried=() if models else scenario.tried)
    fresh = _makers(project, scenario, models, chooser)
    _check_rankers(scenario)
    with threadpool_limits(limits=training.run.threads):
        data = snapshot(project, store, scenario)
        fresh = chooser.suited(fresh, data)
        _prepare(data, fresh, training)
        parts = _split(data, training)
        honest = Measured({}, {}, {})
        if parts:
            measured = {name: fresh[name] for name in chooser.order(fresh, parts.train, training.run)}
            honest = measure(parts, _fitted(parts.train, measured, training, "fit on the training part", chooser)[0], scenario, training.run)
            honest, keep = _released(parts, honest, training, chooser)
        else:
            keep = [name for name in fresh if name not in chooser.tried]
        fresh = {name: make for name, make in fresh.items() if name in keep}
        fitted, timed = _fitted(data, fresh, training, "fit")
        notes = (*chooser.summary(list(fitted)), *honest.notes)
        blends = {place: {name: w for name, w in weights.items() if name in fitted} for place, weights in honest.blends.items()}
        rankers, places = _rankers(honest.rankers, fitted, data)
        about = _about(data, training, timed, honest.metrics, parts)
        about = msgspec.structs.replace(about, rankers=places, notes=(*about.notes, *notes))
        manifest = releases.write(project.releases, fitted, data.items, blends, about, rankers, newcomers(data, scenario, training.run.seed))
        discard_checkpoints(project)
        directory = project.releases / manifest.id
        check(directory, scenario, store)
        refused = _refused(project, manifest, scenario, parts, honest, data.items)
    live = publish and not refused
    if live:
        releases.publish(project.releases, manifest.id)
        releases.prune(project.releases, project.training.keep_releases)
    return Trained(
        release=manifest.id,
        directory=str(directory),
        published=live,
        refused=refused,
        digest=manifest.digest,
        models=timed,
        blends=blends,
        metrics=honest.metrics,
        split=manifest.split,
        warnings=tuple(training.warnings),
        notes=notes,
        seconds=round(time.perf_counter() - started, 3),
    )


def snapshot(project: Project, store: Store, scenario: Scenario, **limits: Any) -> Dataset:
    """What a training of this project learns from; `limits` as `Store.snapshot` takes them (`until`, `only_user`)."""
    return store.snapshot(scenario.events, attributes=scenario.attributes, max_events_per_user=project.training.max_events_per_user, **limits)


def circumstances(project: Project, seed: int, progress: Progress | None = None) -> Run:
    """How this project fits a model."""
    return Run(
        seed=seed,
        threads=project.training.threads or os.cpu_count() or 1,
        progress=progress,
        vectors=project.directory / "vectors",
        photos=project.directory / "photos",
    )


def discard_checkpoints(project: Project) -> None:
    """What networks learned in a training that was not finished; the next one begins anew."""
    shutil.rmtree(project.directory / CHECKPOINTS, ignore_errors=True)


def build(scenario: Scenario, name: str) -> Recommender:
    """An unfitted model with the scenario's hyperparameters.

    Raises:
        ConfigError: one of them is unknown or out of its limits.
    """
    settings = dict(scenario.models[name])
    kind = settings.pop("kind", name)
    try:
        model: Recommender = plugins.load("model", kind)(**settings)
    except msgspec.ValidationError as e:
        raise ConfigError(
            str(e), fix="correct it, or leave it out to take the default", where=f"[models.{name}] of the scenario", field=f"models.{name}"
        ) from e
    return model


def check(directory: Path, scenario: Scenario, store: Store) -> Release:
    """Opens a release as a server would and asks it every placement.

    Raises:
        ReleaseError: it cannot be opened, a model fails, or a placement has no answer though there are items.
    """
    release = open_release(directory)
    engine = Engine(release, scenario, store)
    offered = np.flatnonzero(engine.catalogue.offered_I)
    page = [engine.catalogue.items.id(int(code)) for code in offered[:1]]
    for place in scenario.placements:
        answer = engine.recommend(Request(placement=place.name, items=page if place.about == "items" else []))
        if answer.degraded or engine.failures:
            raise ReleaseError(
                f"placement {place.name!r} fails in {', '.join(engine.failures)}", fix="daogou train; the live release stays", where=str(directory)
            )
    return release


def newcomers(data: Dataset, scenario: Scenario, seed: int) -> Newcomers | None:
    """The questions for new people: items that have a name, can be had, and are nobody's secret."""
    catalogue = Catalogue(data.item_table, scenario.attributes, data.items)
    private = filters.compile(scenario.profile.private, catalogue.kinds) if scenario.profile.private else None
    named_I = data.item_table["title"].is_not_null().to_numpy() if "title" in data.item_table.columns else np.zeros(data.n_items, np.bool_)
    askable_I = catalogue.offered_I & named_I
    return Newcomers.fit(data.histories, askable_I & ~private.mask(catalogue) if private else askable_I, seed=seed)


def rankers_without(scenario: Scenario, data: Dataset, fitted: Mapping[str, Recommender], run: Run) -> tuple[dict[str, Ranked], dict[str, str]]:
    """The rankers of the scenario learned from `data` anew, over models that were fitted on it: ranker by name, and placement → name.

    Costs a fit of every model on the training part.
    """
    training = _Training(scenario, run)
    parts = _split(data, training)
    if parts is None:
        return {}, {}
    fresh = {name: partial(build, scenario, name) for name in fitted}
    honest = measure(parts, _fitted(parts.train, fresh, training, "fit on the training part")[0], scenario, run)
    return _rankers(honest.rankers, fitted, data)


# ---- steps
def _chosen(project: Project, scenario: Scenario, models: Sequence[str] | None) -> list[str]:
    wanted = [name for name in models or project.training.models or scenario.models if name not in NOT_MODELS]
    for name in wanted:
        if name not in scenario.models:
            raise UnknownName("model", name, scenario.models, where="[models] of the scenario", field="models")
    return wanted


def _makers(project: Project, scenario: Scenario, models: Sequence[str] | None, chooser: Chooser) -> Mapping[str, Callable[[], Recommender]]:
    """What builds each chosen model; wrong settings are found before any work. What is only tried need not be installed."""
    fresh: dict[str, Callable[[], Recommender]] = {}
    for name in _chosen(project, scenario, models):
        try:
            build(scenario, name)
        except MissingExtra as e:
            if name not in chooser.tried:
                raise
            chooser.notes.append(f"{name} was not tried: {e}")
            continue
        fresh[name] = partial(build, scenario, name)
    return fresh


def _prepare(data: Dataset, fresh: Mapping[str, Callable[[], Recommender]], training: _Training) -> None:
    """What models need that is learned once for all their fits, and outside the time that is counted for them: networks for the shop's photos."""
    for name, make in fresh.items():
        if (prepare := getattr(make(), "prepare", None)) is not None:
            try:
                prepare(data, training.run)
            except Exception as e:  # the fit will go on without it, or say the same
                training.warn(f"{name} could not be prepared: {why(e)}")


def _split(data: Dataset, training: _Training) -> Split | None:
    """The scenario's protocol; None where there is too little to measure anything."""
    try:
        return cut(data, training.scenario.evaluation, seed=training.run.seed, warn=training.warn)
    except DataError as e:
        training.warn(f"nothing could be measured: {e}")
        return None


def cut(data: Dataset, how: Evaluation, *, protocol: str = "", seed: int = 0, warn: Callable[[str], None]) -> Split:
    """`data` cut as the scenario evaluates, or by another `protocol`.

    A young shop whose events do not yet cover the window gets the last tenth instead, and is told.

    Raises:
        DataError: there is too little to measure anything.
    """
    goal = [name for name in how.goal if name in data.event_names]
    by_days = partial(split, data, protocol or how.protocol, goal=goal, repeats=how.repeats, seed=seed)  # type: ignore[arg-type]
    try:
        return by_days(test_days=how.test_days)
    except DataError as e:
        if not how.test_days:
            raise
        parts = by_days(test_days=0)
        warn(f"measured on the last tenth of the events instead of {how.test_days:g} days: {e}")
        return parts


def _released(parts: Split, honest: Measured, training: _Training, chooser: Chooser) -> tuple[Measured, list[str]]:
    """The models that are fitted once more for the release, and the measurement without those that are not."""
    scenario, models, blends = training.scenario, dict(honest.models), dict(honest.blends)
    left = honest._replace(models=models, blends=blends)

    def worthless(name: str) -> str:
        spoken = any(weights.get(name, 0.0) > 0 for weights in blends.values())
        found = ablated(parts, left, scenario, name, training.run)
        if found.gap.ci95.low > 0 if found.gap else spoken:
            return ""
        del models[name]
        blends.update(found.blends)
        return f"it adds {found.gap.difference:+.4f} {scenario.gate.metric} on validation, not more than chance" if found.gap else "no blend has it"

    keep = chooser.released(list(honest.models), _needed(scenario, honest), worthless)
    return without(parts, honest, models, blends, scenario, training.run), keep


def _needed(scenario: Scenario, honest: Measured) -> set[str]:
    """Models that are used whatever their weight in a blend: by rankers, for new people, and where the first retriever ranks alone."""
    alone = {next((name for name in place.retrieve if name in honest.models), "") for place in scenario.placements if place.rank == "first"}
    stand_ins = {name for name, model in honest.models.items() if isinstance(model, NewcomerStandIn)}  # it speaks where validation has hardly anyone
    return alone.union(stand_ins, *(one.ranked.models for one in honest.rankers.values()))


def _known_cost(project: Project) -> dict[str, float]:
    """Seconds that the live release's models took."""
    try:
        name = current_id(project.releases)
        return {model: fitted.fit_s for model, fitted in read_manifest(project.releases / name).models.items()} if name else {}
    except ReleaseError:
        return {}


def _fitted(
    data: Dataset, fresh: Mapping[str, Callable[[], Recommender]], training: _Training, step: str, chooser: Chooser | None = None
) -> tuple[dict[str, Recommender], dict[str, Fitted]]:
    """Every model that can be fitted, and that there is time for; one that cannot is left out, with a warning."""
    models: dict[str, Recommender] = {}
    timed: dict[str, Fitted] = {}
    if not len(data.histories.item):
        fresh = {name: make for name, make in fresh.items() if not getattr(make(), "needs_events", True)}
        training.warn(f"no event teaches anything yet: the release has {', '.join(fresh) or 'no model'}")
    for n, (name, make) in enumerate(fresh.items()):
        if training.run.progress:
            training.run.progress(f"{step}: {name}", n, len(fresh))
        if chooser and chooser.refuses(name):
            continue
        try:
            with Peak() as peak:
                models[name] = make().fit(data, training.run)
        except Exception as e:  # whatever a model does wrong, the others still make a release
            training.warn(f"{name} was left out: {why(e)}")
            continue
        if chooser:
            chooser.fitted(name, peak.seconds)
        kind = training.scenario.models[name].get("kind", name)
        timed[name] = Fitted(kind=kind, additive=isinstance(models[name], Additive), fit_s=round(peak.seconds, 3), peak_mib=round(peak.mib, 1))
    if training.run.progress:
        training.run.progress(step, len(fresh), len(fresh))
    return models, timed


def _check_rankers(scenario: Scenario) -> None:
    """Rankers that cannot be had with these settings, or cannot be part of a release, are found before any work; one that is not installed is none."""
    for name in dict.fromkeys(place.rank for place in scenario.placements if place.rank not in UNLEARNED):
        try:
            why = build_ranker(scenario, name).unstorable()
        except MissingExtra:
            continue
        if why:
            raise ConfigError(
                why, expected="a linear estimator, or kind = \"lambdarank\"", fix="compare it in daogou evaluate, which stores nothing",
                where=f"[rankers.{name}] of the scenario", field="estimator",
            )  # fmt: skip


def _rankers(learned: Mapping[str, Learned], fitted: Mapping[str, Recommender], data: Dataset) -> tuple[dict[str, Ranked], dict[str, str]]:
    """The rankers of the release over the models of the release, by name, and placement → name."""
    names: dict[int, str] = {}
    rankers: dict[str, Ranked] = {}
    places: dict[str, str] = {}
    facts = Facts.of(data) if learned else None
    for place, one in learned.items():
        if facts is None or not all(model in fitted for model in one.ranked.models):
            continue  # a model that could not be fitted again was already named in a warning
        name = names.setdefault(id(one), re.sub(r"[^A-Za-z0-9._-]", "_", place))
        rankers[name] = one.ranked.over({model: fitted[model] for model in one.ranked.models}, facts)
        places[place] = name
    return rankers, places


def _about(data: Dataset, training: _Training, timed: dict[str, Fitted], metrics: dict[str, dict[str, Any]], parts: Split | None) -> Manifest:
    return Manifest(
        scenario=training.scenario.name,
        seed=training.run.seed,
        events=len(data.events),
        users=data.n_users,
        items=data.n_items,
        data_end=data.end,
        models=timed,
        metrics=metrics,
        split=parts.about if parts else {},
        notes=tuple(training.warnings),
    )


def _refused(project: Project, new: Manifest, scenario: Scenario, parts: Split | None, honest: Measured, items: Vocabulary) -> str:
    """Why the new release must not go live, "" if it may."""
    try:
        live = open_current(project.releases)
    except ReleaseError:
        return ""  # a live release that cannot be read is no better than the new one
    if live is None:
        return ""
    unseen = None
    if parts is not None and (place := _compared(scenario, honest, live)):
        repeats = scenario.evaluation.repeats
        mine = _answer(honest.models, honest.blends, {name: one.ranked for name, one in honest.rankers.items()}, place, repeats)
        theirs = _answer(live.models, live.blends, live.rankers, place, repeats)
        if mine and theirs:
            unseen = compare_unseen(mine, theirs, live, items, parts.test, scenario.gate.metric, repeats=repeats)
    return refusal(new, live.manifest, scenario.gate, unseen)


def _compared(scenario: Scenario, honest: Measured, live: Release) -> str:
    """The placement at which two releases meet: one whose questions the protocol asks and that has a ranker, else the first that both blend; "" = none."""
    both = [place for place in scenario.placements if place.name in honest.blends and place.name in live.blends]
    ranked = (place.name for place in both if as_tested(place, scenario) and (place.name in honest.rankers or place.name in live.rankers))
    return next(ranked, both[0].name if both else "")


def _answer(
    models: Mapping[str, Recommender], blends: Mapping[str, Mapping[str, float]], rankers: Mapping[str, Ranked], place: str, repeats: bool
) -> Blend | Ranked | None:
    """What orders the items of a placement; None where no model does."""
    if place in rankers:
        return rankers[place]
    blend = Blend(models, blends[place], repeats=repeats)
    return blend if blend.models else None
