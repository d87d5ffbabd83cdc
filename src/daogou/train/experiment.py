"""Any models under one protocol: fitted on the training part, blended on validation, judged on test, with the baselines always beside.

What `daogou evaluate` runs. Nothing here reads the test targets before every weight is fixed.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from daogou import plugins
from daogou.contract import Progress, Rater, Recommender, Run
from daogou.data.dataset import Dataset
from daogou.data.split import Split
from daogou.errors import TrainingError, UnknownName
from daogou.evaluate import Catalogue, RatingError, Result, Scorer, compare, evaluate, exposure_by, given, leaks, over_seeds, quality_by_group, rating_error
from daogou.evaluate.comparison import Comparison, beside
from daogou.evaluate.report import Report
from daogou.rank import blend
from daogou.rank.blend import Blend
from daogou.scenario import Scenario
from daogou.train.fit import build, cut
from daogou.train.measure import RANKED, build_ranker
from daogou.train.memory import Peak, why
from daogou.train.nested import learn

BASELINES: Mapping[str, dict[str, Any]] = {"recent": {"kind": "popular", "half_life_days": 7.0}, "ease": {"kind": "ease"}}
"""Always beside: what sold this week, and the closed-form taste model. Whoever cannot beat them is not needed."""
BLEND = "blend"


def experiment(
    data: Dataset,
    scenario: Scenario,
    *,
    protocols: Sequence[str] = (),
    models: Sequence[str] = (),
    seeds: int = 1,
    threads: int = 0,
    progress: Progress | None = None,
    vectors: Path | None = None,
    photos: Path | None = None,
    tuned: Mapping[str, Mapping[str, Any]] | None = None,
    command: str = "",
) -> Report:
    """Compares models on `data`.

    Args:
        protocols: the first is reported whole, the others are laid beside it, because the order of models depends on the protocol; empty = the scenario's.
        models: names under [models] of the scenario or of any installed model (with its defaults), `blend` for all of them blended, and `ranked` or a
            ranker's name for a learned ranker over them; empty = the scenario's, but for those it only tries, and their blend.
        seeds: fits of each model that differ in the seed alone; figures are means over them.

        vectors: as in `contract.Run`, and so `photos`.
        tuned: settings that `daogou tune` found for baselines that the scenario does not have: they get the effort that the models had.

    Raises:
        UnknownName: a model that is neither in the scenario nor installed, or an unknown protocol.
        TrainingError: no model could be fitted.
    """
    names = list(dict.fromkeys(models or (*(name for name in scenario.models if name not in scenario.tried), BLEND)))
    threads = threads or os.cpu_count() or 1
    with threadpool_limits(limits=threads):
        run = Run(threads=threads, progress=progress, vectors=vectors, photos=photos)
        baselines = {name: {**how, **(tuned or {}).get(name, {})} for name, how in BASELINES.items()}
        runs = [_Protocol(data, scenario, name, names, baselines, seeds, run) for name in dict.fromkeys(protocols or (scenario.evaluation.protocol,))]
    first = runs[0]
    best = first.comparison.order()[0]
    groups = [name for name in scenario.evaluation.groups if name in first.parts.test.queries.attributes]
    exposure = scenario.evaluation.exposure
    return Report(
        comparison=first.comparison,
        split=first.parts.about,
        fit_s=first.fit_s,
        peak_mib=first.peak_mib,
        apart=first.apart,
        ratings=first.ratings,
        groups=quality_by_group({best: first.comparison.results[best]}, first.parts.test, groups),
        exposure={best: exposure_by(first.comparison.results[best], first.parts.train, exposure)} if exposure in data.item_table.columns else {},
        beside=tuple(
            beside(first.comparison, other.comparison, titles=(str(first.parts.about["protocol"]), str(other.parts.about["protocol"]))) for other in runs[1:]
        ),
        seeds=range(seeds),
        command=command,
        warnings=[*leaks(first.parts), *first.warnings],
    )


class _Protocol:
    """Every model under one protocol."""

    def __init__(
        self, data: Dataset, scenario: Scenario, protocol: str, names: Sequence[str], baselines: Mapping[str, Mapping[str, Any]], seeds: int, run: Run
    ) -> None:
        how = scenario.evaluation
        self.warnings = list[str]()
        self.parts: Split = cut(data, how, protocol=protocol, warn=self.warnings.append)
        self.repeats = how.repeats
        self.fit_s: dict[str, float] = {}
        self.peak_mib: dict[str, float] = {}
        self.apart: dict[str, dict[str, Result]] = {}
        self.ratings: dict[str, RatingError] = {}
        catalogue = Catalogue.of(self.parts.train)
        rankers = [name for name in names if name == RANKED or name in scenario.rankers or name in plugins.names("ranker")]
        wanted = [name for name in names if name != BLEND and name not in rankers]
        settings = dict(baselines) | scenario.models
        everyone = list(dict.fromkeys([*wanted, *baselines]))
        for name in everyone:
            if name not in settings and name not in plugins.names("model"):
                raise UnknownName("model", name, {*settings, *plugins.names("model"), RANKED, *plugins.names("ranker")}, field="models")
        everything = msgspec.structs.replace(scenario, models={name: {} for name in everyone} | settings)
        found: dict[str, list[Result]] = {}
        for seed in range(seeds):
            fitted = self._fit(everything, everyone, replace(run, seed=seed))
            scorers: dict[str, Scorer] = dict(fitted)
            blended = {name: model for name, model in fitted.items() if name in wanted}
            if (BLEND in names or rankers) and len(blended) > 1:
                with Peak() as spent:
                    weights = blend.fit(blended, self.parts.validation, repeats=self.repeats)
                scorers[BLEND] = Blend(blended, weights, repeats=self.repeats)
                self._spent(BLEND, spent)
            if rankers and blended:
                scorers |= self._ranked(scenario, rankers, blended, weights if len(blended) > 1 else dict.fromkeys(blended, 1.0), replace(run, seed=seed))
            for n, (name, scorer) in enumerate(scorers.items()):
                if run.progress:
                    run.progress(f"{protocol}: evaluate {name}", n, len(scorers))
                found.setdefault(name, []).append(evaluate(scorer, self.parts.test, repeats=self.repeats, catalogue=catalogue))
            if seed == 0:
                self.ratings = self._ratings(data, fitted)
                for kind, targets in self.parts.apart.items():
                    self.apart[kind] = {name: evaluate(scorer, targets, repeats=self.repeats) for name, scorer in scorers.items()}
        self.comparison: Comparison = compare({name: over_seeds(results) for name, results in found.items()}, baseline="recent")

    def _ratings(self, data: Dataset, models: Mapping[str, Recommender]) -> dict[str, RatingError]:
        """How far the models that predict ratings are off on the test items that were rated."""
        raters = {name: model for name, model in models.items() if isinstance(model, Rater) and model.rates}
        value_T = given(data, self.parts.test) if raters else np.zeros(0, np.float32)
        found = {name: rating_error(model, self.parts.test, value_T) for name, model in raters.items()}
        return {name: error for name, error in found.items() if error}

    def _ranked(self, scenario: Scenario, names: Sequence[str], models: dict[str, Recommender], weights: Mapping[str, float], run: Run) -> dict[str, Scorer]:
        """Rankers over the models, learned from validation; one that cannot be is a warning of the report."""
        learned: dict[str, Scorer] = {}
        for name in names:
            try:
                with Peak() as spent:
                    found = learn(
                        models,
                        weights,
                        partial(build_ranker, scenario, name),
                        self.parts.train,
                        self.parts.validation,
                        replace(run, progress=None),
                        repeats=self.repeats,
                        request_time=self.parts.about["protocol"] == "time",
                        log=self.parts.refit,
                    )
            except (TrainingError, MemoryError) as e:
                self.warnings.append(f"{name} was left out: {why(e)}")
                continue
            learned[name] = found.ranked
            self._spent(name, spent)
        return learned

    def _spent(self, name: str, spent: Peak) -> None:
        self.fit_s[name], self.peak_mib[name] = round(spent.seconds, 3), round(spent.mib, 1)

    def _fit(self, scenario: Scenario, names: Sequence[str], run: Run) -> dict[str, Recommender]:
        """Those that can be fitted; what cannot is a warning of the report."""
        fitted: dict[str, Recommender] = {}
        for n, name in enumerate(names):
            if run.progress:
                run.progress(f"{self.parts.about['protocol']}: fit {name}", n, len(names))
            model = build(scenario, name)
            try:
                with Peak() as spent:
                    fitted[name] = model.fit(self.parts.train, run)
            except Exception as e:  # whatever a model does wrong, the others are still compared
                self.warnings.append(f"{name} was left out: {why(e)}")
                continue
            self._spent(name, spent)
        if not fitted:
            raise TrainingError("no model could be fitted: " + "; ".join(self.warnings))
        return fitted
