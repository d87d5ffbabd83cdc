"""Search for a model's settings: on validation, within a time budget, over the ranges that stand beside each hyperparameter.

    first        the settings in use, so that the winner is never worse than what there is
    then         tree-structured Parzen estimators (Bergstra et al. 2011), through Optuna
    pruning      below the median of the earlier trials a trial ends (median rule). Models that are fitted in epochs are watched after each of them, on the
                 events that they hold out; the others are fitted on a quarter, on half and on all of the shoppers
    resuming     trials are kept in ``tuning/MODEL.sqlite3``; the same question (data, protocol, model, seed) goes on where it stopped

Only the training part and the validation targets are read. The winner is written to ``tuned.toml``, which stands above the scenario; the files that
people write are not touched.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import optuna
import structlog
from optuna.trial import FrozenTrial, Trial, TrialState
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from daogou import plugins
from daogou.config import Hyperparameter, hyperparameters
from daogou.contract import Progress, Recommender, Run
from daogou.data.dataset import Dataset
from daogou.data.split import Targets
from daogou.errors import TrainingError, UnknownName, UsageError
from daogou.evaluate import evaluate, plots
from daogou.scenario import TUNED, Project, Scenario, read_tuned
from daogou.train.experiment import BASELINES
from daogou.train.fit import build, cut

log = structlog.get_logger("daogou.train")

SHARES = (0.25, 0.5, 1.0)
"""Of the shoppers, that a trial is fitted on before it is believed."""
UNPRUNED = 4
"""Trials that are finished whatever they find: a median needs some."""
WARM_EPOCHS = 2
"""Epochs before a network is judged: the first ones say more about its start than about its settings."""
MOST_QUERIES = 3000
FOLDER, FAILED, IN_USE = "tuning", "failed", "in_use"
HEADER = "# Written by `daogou tune`, which rewrites this file. Its settings take the place of the scenario's; delete a section to go back.\n"
Settings = dict[str, Any]


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """What a search found."""

    model: str
    metric: str
    before: float
    "On validation, with the settings in use."
    after: float
    "With the winner's."
    settings: Settings
    "The winner's; empty where the settings in use were not beaten."
    trials: int
    "All of them, those of earlier calls included; finished, `pruned` or `failed`."
    pruned: int
    failed: int
    resumed: int
    "Trials that an earlier call had made."
    seconds: float
    plot: str
    written: str
    'The file that holds the winner; "" where nothing was written.'

    def __str__(self) -> str:
        made = f"{self.trials} trials in {self.seconds:.0f} s ({self.pruned} pruned, {self.failed} failed, {self.resumed} from before)"
        if not self.settings:
            return f"{self.model}: nothing better than the settings in use, {self.metric} {self.before:.4f} on validation; {made}\nplot: {self.plot}"
        chosen = ", ".join(f"{name} = {_toml(value)}" for name, value in self.settings.items())
        better = f"{self.model}: {self.metric} {self.before:.4f} → {self.after:.4f} on validation with {chosen}"
        return f"{better}; {made}\nwritten to {self.written}\nplot: {self.plot}"


def tune(
    project: Project,
    scenario: Scenario,
    data: Dataset,
    name: str,
    *,
    minutes: float = 10.0,
    trials: int | None = None,
    jobs: int = 1,
    run: Run | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Searches until the budget is spent and writes the winner.

    Args:
        name: a model under [models] of the scenario, or a baseline of `daogou evaluate`.
        minutes: wall time after which no trial starts, and a network's ends with the epoch it is in.
        trials: at most so many new ones.
        jobs: trials at a time, which share the threads of `run`. With more than one, the order in which they end decides what is tried next: the search
            is then not repeatable.

    Raises:
        UnknownName: the scenario has no such model.
        UsageError: the model has no range to search, or the budget is nothing.
        TrainingError: not even the settings in use can be fitted.
    """
    run = run or Run()
    if name in BASELINES and name not in scenario.models:
        known = {**BASELINES[name], **read_tuned(project.directory).get(name, {})}
        scenario = msgspec.structs.replace(scenario, models={**scenario.models, name: known})
    if name not in scenario.models:
        raise UnknownName("model", name, {**scenario.models, **BASELINES}, where="[models] of the scenario", field="model")
    if minutes <= 0 or jobs < 1:
        raise UsageError(f"minutes is {minutes} and jobs is {jobs}", expected="more than 0 minutes and at least 1 job", field="minutes")
    started = time.perf_counter()
    search = _Search.of(scenario, data, name, run, jobs, ends=started + minutes * 60)
    home = project.directory / FOLDER
    home.mkdir(exist_ok=True)
    study = _study(home / f"{name}.sqlite3", search)
    before = len(study.trials)

    def told(study: optuna.Study, trial: FrozenTrial) -> None:
        if progress:
            progress(f"tune {name}", time.perf_counter() - started, minutes * 60)

    with threadpool_limits(limits=max(1, run.threads // jobs)):
        how: dict[str, Any] = {"callbacks": [told], "catch": (Exception,)}
        if search.current(study) is None:
            study.enqueue_trial(search.in_use(), user_attrs={IN_USE: True})
            study.optimize(search.attempt, n_trials=1, **how)  # alone: of several at a time, two would take the queued one
            trials = None if trials is None else trials - 1
        left_s = minutes * 60 - (time.perf_counter() - started)
        if left_s > 0 and trials != 0:
            study.optimize(search.attempt, n_trials=trials, timeout=left_s, n_jobs=jobs, **how)
    return _result(project, study, search, resumed=before, seconds=time.perf_counter() - started)


@dataclass(frozen=True)
class _Search:
    """One question: which settings of this model are best on this validation window."""

    name: str
    scenario: Scenario
    train: Dataset
    validation: Targets
    ranges: tuple[Hyperparameter, ...]
    run: Run
    order_U: Any  # [U] place of each shopper in a random order: the first share of them is what a young trial is fitted on
    ends: float  # of the budget, on `time.perf_counter`

    @classmethod
    def of(cls, scenario: Scenario, data: Dataset, name: str, run: Run, jobs: int, ends: float) -> "_Search":
        kind = plugins.load("model", scenario.models[name].get("kind", name))
        ranges = tuple(h for h in hyperparameters(kind.Settings) if h.low is not None and h.high is not None)
        if not ranges:
            raise UsageError(f"{name} has nothing to search", expected="a hyperparameter with a range in its annotation", field="model")
        parts = cut(data, scenario.evaluation, seed=run.seed, warn=lambda text: log.warning("tuning", what=text))
        rng = np.random.default_rng(run.seed)
        validation = parts.validation
        if len(validation) > MOST_QUERIES:
            validation = validation[np.sort(rng.choice(len(validation), MOST_QUERIES, replace=False))]
        each = Run(seed=run.seed, threads=max(1, run.threads // jobs))
        return cls(name, scenario, parts.train, validation, ranges, each, rng.permutation(data.n_users), ends)

    def fingerprint(self) -> str:
        """Names the question: trials of another one say nothing about this."""
        digest = hashlib.sha256()
        e = self.train.events
        for array in (e.user, e.item, e.time, e.kind, self.validation.wanted.item, self.validation.queries.user_B):
            digest.update(np.ascontiguousarray(array).tobytes())
        searched = {h.name for h in self.ranges}
        fixed = {key: value for key, value in self.scenario.models[self.name].items() if key not in searched}
        said = [
            self.name,
            fixed,
            sorted(self.in_use()),
            self.run.seed,
            dict(self.train.weights),
            self.scenario.evaluation,
            self.scenario.gate.metric,
            self.ranges,
        ]
        digest.update(msgspec.json.encode(said, order="deterministic"))
        return digest.hexdigest()[:16]

    def in_use(self) -> Settings:
        """The parameters of the settings in use, moved into their ranges."""
        out: Settings = {}
        config = build(self.scenario, self.name).config
        for h in self.ranges:
            assert h.low is not None and h.high is not None
            value = getattr(config, h.name)
            for key, one in _elements(h.name, value):
                out[key] = type(one)(min(max(one, h.low), h.high))
        return out

    def current(self, study: optuna.Study) -> FrozenTrial | None:
        """The finished trial of the settings in use."""
        wanted = self.in_use()
        for trial in study.trials:
            same = trial.state == TrialState.COMPLETE and trial.params.keys() == wanted.keys()
            if same and all(abs(trial.params[key] - value) <= 1e-5 * abs(value) for key, value in wanted.items()):
                return trial
        return None

    def drawn(self, trial: Trial) -> Settings:
        """The settings that the sampler proposes: one value for each range, several where the hyperparameter is a tuple."""
        out: Settings = {}
        config = build(self.scenario, self.name).config
        for h in self.ranges:
            assert h.low is not None and h.high is not None
            values = [_suggest(trial, key, one, h) for key, one in _elements(h.name, getattr(config, h.name))]
            out[h.name] = values if isinstance(getattr(config, h.name), tuple) else values[0]
        return out

    def attempt(self, trial: Trial) -> float:
        """The metric on validation; raises TrialPruned where it cannot become good, and whatever the model raises."""
        try:
            return self._measured(trial)
        except optuna.TrialPruned:
            raise
        except Exception as e:
            trial.set_user_attr(FAILED, f"{type(e).__name__}: {e}")
            log.warning("trial failed", model=self.name, error=type(e).__name__, found=str(e)[:300])
            raise

    def _measured(self, trial: Trial) -> float:
        chosen = msgspec.structs.replace(self.scenario, models={**self.scenario.models, self.name: {**self.scenario.models[self.name], **self.drawn(trial)}})
        if self.by_epochs:
            return self._judged(build(chosen, self.name).fit(self.train, replace(self.run, watch=partial(self._watch, trial, count()))))
        value = float("nan")
        for step, share in enumerate(SHARES):
            some = self.train if share == 1 else self.train.where((self.order_U < share * len(self.order_U))[self.train.events.user])
            value = self._judged(build(chosen, self.name).fit(some, self.run))
            trial.report(value, step)
            if share < 1 and IN_USE not in trial.user_attrs and trial.should_prune():
                raise optuna.TrialPruned
        return value

    @property
    def by_epochs(self) -> bool:
        """Whether fits of this model tell what each epoch is worth."""
        return bool(getattr(build(self.scenario, self.name), "by_epochs", False))

    def _watch(self, trial: Trial, epochs: Iterator[int], figure: float) -> None:
        """After each epoch of a network; the settings in use are always finished."""
        trial.report(figure, next(epochs))
        if IN_USE not in trial.user_attrs and (trial.should_prune() or time.perf_counter() > self.ends):
            raise optuna.TrialPruned

    def _judged(self, model: Recommender) -> float:
        return evaluate(model, self.validation, repeats=self.scenario.evaluation.repeats).mean(self.scenario.gate.metric)


def _elements(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, tuple):
        yield from ((f"{name}[{n}]", one) for n, one in enumerate(value))
    else:
        yield name, value


def _suggest(trial: Trial, key: str, like: Any, h: Hyperparameter) -> Any:
    assert h.low is not None and h.high is not None
    if isinstance(like, int):
        return trial.suggest_int(key, round(h.low), round(h.high), log=h.log)
    return round(trial.suggest_float(key, h.low, h.high, log=h.log), 6)


def _study(file: Path, search: _Search) -> optuna.Study:
    """The study of this question, old or new; trials that a kill has left running count as failed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.RDBStorage(f"sqlite:///{file.absolute()}")
    name = search.fingerprint()
    known = {one.study_name: one.n_trials for one in optuna.get_all_study_summaries(storage, include_best_trial=False)}
    sampler = optuna.samplers.TPESampler(seed=search.run.seed + known.get(name, 0), n_startup_trials=UNPRUNED + 4)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED, n_warmup_steps=WARM_EPOCHS if search.by_epochs else 0)
    study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True, direction="maximize", sampler=sampler, pruner=pruner)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def _result(project: Project, study: optuna.Study, search: _Search, *, resumed: int, seconds: float) -> Tuned:
    done = [t for t in study.trials if t.state == TrialState.COMPLETE and t.value is not None and t.value == t.value]
    first = search.current(study)
    if first is None or not done:
        why = next((t.user_attrs[FAILED] for t in study.trials if FAILED in t.user_attrs), "there was no time for it")
        raise TrainingError(
            f"{search.name} could not be fitted with the settings in use ({why})",
            fix="correct them, or give more minutes",
            where=f"[models.{search.name}] of the scenario",
        )
    best = max(done, key=lambda t: (t.value, -t.number))
    won = (best.value or 0) > (first.value or 0)
    settings = search.drawn(optuna.trial.FixedTrial(best.params)) if won else {}  # type: ignore[arg-type]
    written = write_tuned(project.directory, search.name, settings) if won else None
    plot = project.directory / FOLDER / f"{search.name}.html"
    plot.write_text(page(search, study.trials, best.number), "utf-8")
    states = [t.state for t in study.trials]
    return Tuned(
        model=search.name,
        metric=search.scenario.gate.metric,
        before=round(float(first.value or 0), 6),
        after=round(float(best.value or 0), 6),
        settings=settings,
        trials=len(states),
        pruned=states.count(TrialState.PRUNED),
        failed=states.count(TrialState.FAIL),
        resumed=resumed,
        seconds=round(seconds, 1),
        plot=str(plot),
        written=str(written or ""),
    )


# ---- files
def write_tuned(directory: Path, name: str, settings: Mapping[str, Any]) -> Path:
    """Puts a model's settings into ``tuned.toml``; those of other models stay."""
    file = directory / TUNED
    models = {**read_tuned(directory), name: dict(settings)}
    sections = [f"\n[models.{_key(model)}]\n" + "".join(f"{_key(k)} = {_toml(v)}\n" for k, v in values.items()) for model, values in models.items()]
    beside = file.with_suffix(".toml.new")
    beside.write_text(HEADER + "".join(sections), "utf-8")
    beside.replace(file)
    return file


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else msgspec.json.encode(name).decode()


def _toml(value: Any) -> str:
    """Numbers, texts, flags and lists of them are written alike in JSON and TOML."""
    return msgspec.json.encode(list(value) if isinstance(value, tuple) else value).decode()


def page(search: _Search, trials: list[FrozenTrial], best: int) -> str:
    """The search as one HTML page: what each trial found, and the metric over each hyperparameter."""
    metric = search.scenario.gate.metric
    ended = [(t.number, _last(t)) for t in trials if _last(t) is not None]
    pruned = {t.number for t in trials if t.state == TrialState.PRUNED}
    points = [plots.Point(float(n), float(v or 0), hollow=n in pruned, marked=n == best) for n, v in ended]
    early = "after the last of its epochs, on events held out of training" if search.by_epochs else "on a part of the shoppers"
    title = f"{metric} on validation of each trial of {search.name}; hollow: pruned early, {early}"
    drawn = [plots.scatter(points, title, x_label="trial", y_label=metric)]
    complete = [t for t in trials if t.state == TrialState.COMPLETE and t.value is not None]
    for key in dict.fromkeys(key for t in complete for key in t.params):
        h = next(h for h in search.ranges if h.name == key.partition("[")[0])
        some = [plots.Point(float(t.params[key]), float(t.value or 0), marked=t.number == best) for t in complete if key in t.params]
        drawn.append(plots.scatter(some, f"{key}: {h.doc}", x_label=f"{key} {h.unit}".strip(), y_label=metric, log_x=h.log))
    figures = "\n".join(f"<figure><figcaption>{escape(_title(svg))}</figcaption>{svg}</figure>" for svg in drawn if svg)
    style = "body{font:16px system-ui,sans-serif;max-width:760px;margin:2rem auto;padding:0 1rem;color:#1f2933}figure{margin:2rem 0}svg{width:100%}"
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Tuning {escape(search.name)}</title><style>{style}</style>'
    return f"{head}<h1>Tuning {escape(search.name)}</h1>\n{figures}\n</html>\n"


def _title(svg: str) -> str:
    from html import unescape

    return unescape(svg.partition("<title>")[2].partition("</title>")[0])


def _last(trial: FrozenTrial) -> float | None:
    """What a trial found in the end, or when it was pruned."""
    if trial.state == TrialState.COMPLETE:
        return trial.value
    if trial.state != TrialState.PRUNED or not trial.intermediate_values:
        return None
    return float(trial.intermediate_values[max(trial.intermediate_values)])
