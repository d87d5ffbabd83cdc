"""Tuning: never worse than before, blind to the test window, resumable after a kill, and the user's own files stay as they are."""

import html
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import replace as changed
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from msgspec.structs import replace

from daogou.contract import Run
from daogou.data.dataset import Dataset
from daogou.errors import ConfigError, TrainingError, UnknownName, UsageError
from daogou.models.ease import Ease
from daogou.scenario import Project, Scenario, load_project, load_scenario, read_tuned
from daogou.train.experiment import experiment
from daogou.train.tune import WARM_EPOCHS, Tuned, tune, write_tuned


def quick(project: Project, scenario: Scenario, data: Dataset, name: str = "ease", **more: Any) -> Tuned:
    return tune(project, scenario, data, name, **({"minutes": 1.0, "trials": 6} | more))


def values(project: Project, name: str = "ease") -> list[Any]:
    """What was tried and found, of every study of the model."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{project.directory}/tuning/{name}.sqlite3")
    studies = optuna.get_all_study_summaries(storage)
    return [[(t.number, t.params, t.value, t.state.name) for t in optuna.load_study(study_name=s.study_name, storage=storage).trials] for s in studies]


def test_the_winner_is_no_worse_than_what_was_in_use_and_is_written(project: Project, scenario: Scenario, data: Dataset) -> None:
    poor = replace(scenario, models={**scenario.models, "ease": {"l2": 3000.0, "dropout": 0.6}})
    found = quick(project, poor, data, trials=12)
    assert found.after > found.before
    assert found.trials == 12
    assert 10 <= found.settings["l2"] <= 3000
    tuned = read_tuned(project.directory)
    assert tuned == {"ease": found.settings}
    used = load_project_scenario(project)
    assert used.models["ease"] == found.settings
    assert "0." in str(found)


def load_project_scenario(project: Project) -> Scenario:
    return Project(directory=project.directory, scenario=project.scenario).load_scenario()


def test_nothing_is_written_where_nothing_is_better(project: Project, scenario: Scenario, data: Dataset) -> None:
    found = quick(project, scenario, data, trials=1)
    assert (found.settings, found.written) == ({}, "")
    assert found.after == found.before
    assert not (project.directory / "tuned.toml").exists()


def test_the_same_seed_searches_the_same(project: Project, scenario: Scenario, data: Dataset, tmp_path: Path) -> None:
    quick(project, scenario, data)
    (tmp_path / "b").mkdir()
    other = replace(project, directory=tmp_path / "b")
    quick(other, scenario, data)
    assert values(project) == values(other)
    quick(other, scenario, data, run=Run(seed=1), trials=2)
    assert len(values(other)) == 2  # another seed is another question


@pytest.mark.promise("M2")
def test_the_test_window_is_never_read(project: Project, scenario: Scenario, data: Dataset, tmp_path: Path) -> None:
    start = int(np.quantile(data.events.time[data.weight_E > 0], 0.9, method="higher"))
    late = data.events.time >= start
    item = np.where(late, (data.events.item + 11) % data.n_items, data.events.item).astype(np.int32)
    poisoned = changed(data, events=changed(data.events, item=item, value=np.where(late, 1e9, data.events.value).astype(np.float32)))
    (tmp_path / "b").mkdir()
    other = replace(project, directory=tmp_path / "b")
    mine, theirs = quick(project, scenario, data), quick(other, scenario, poisoned)
    assert values(project) == values(other)
    assert (mine.after, mine.settings) == (theirs.after, theirs.settings)
    early = changed(data, events=changed(data.events, item=np.where(late, data.events.item, item[::-1] % data.n_items).astype(np.int32)))
    (tmp_path / "c").mkdir()
    assert quick(replace(project, directory=tmp_path / "c"), scenario, early).after != mine.after  # the control


def test_a_second_call_goes_on(project: Project, scenario: Scenario, data: Dataset) -> None:
    first = quick(project, scenario, data, trials=3)
    second = quick(project, scenario, data, trials=3)
    assert (second.resumed, second.trials) == (3, 6)
    assert second.after >= first.after
    (study,) = values(project)
    assert len({tuple(params.items()) for _, params, _, _ in study}) == 6


def test_it_goes_on_after_its_own_winner_was_taken_over(project: Project, scenario: Scenario, data: Dataset) -> None:
    poor = replace(scenario, models={**scenario.models, "ease": {"l2": 3000.0, "dropout": 0.6}})
    first = quick(project, poor, data, trials=8)
    taken = replace(scenario, models={**scenario.models, "ease": first.settings})
    second = quick(project, taken, data, trials=2)
    assert second.resumed == 8
    assert second.before == first.after


@pytest.mark.promise("M2")
def test_a_killed_search_is_taken_up(project: Project, scenario: Scenario, data: Dataset) -> None:
    script = """if True:
        import sys
        from pathlib import Path
        from daogou.scenario import Project
        from daogou.testing.toy import random_dataset
        from daogou.train.tune import tune

        project = Project(directory=Path(sys.argv[1]), scenario="toy.toml")
        print("ready", flush=True)
        tune(project, project.load_scenario(), random_dataset(5, n_users=80, n_items=40, n_events=2500), "ease", minutes=5)
    """
    with subprocess.Popen([sys.executable, "-c", script, str(project.directory)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        file, until = project.directory / "tuning" / "ease.sqlite3", time.monotonic() + 60
        while time.monotonic() < until:
            time.sleep(0.2)
            if file.exists() and file.stat().st_size and _trials(project) >= 3:
                break
        os.kill(child.pid, signal.SIGKILL)
    found = quick(project, scenario, data, trials=2)
    assert found.resumed >= 3
    assert found.trials in (found.resumed + 2, found.resumed + 3)
    assert not any(state == "RUNNING" for study in values(project) for *_, state in study)


def _trials(project: Project, name: str = "ease", where: str = "true") -> int:
    """Read past Optuna, which would make the tables itself and be in the child's way."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{project.directory / 'tuning' / name}.sqlite3?mode=ro", uri=True)) as file:
        return int(file.execute(f"SELECT count(*) FROM trials WHERE {where}").fetchone()[0])
    return 0  # the child is about to make the tables


def test_hopeless_trials_end_on_a_part_of_the_shoppers(project: Project, scenario: Scenario, data: Dataset) -> None:
    found = quick(project, scenario, data, trials=16)
    assert found.pruned > 0
    assert found.failed == 0


# ---- models that are fitted in epochs
class Slow(Ease):
    """Tells after each of its epochs how it stands, as networks do: the better, the smaller its penalty."""

    by_epochs = True
    epochs = 6

    def passes(self) -> None:
        """What an epoch takes."""

    def _fit(self, data: Dataset, run: Run) -> None:
        super()._fit(data, run)
        for epoch in range(self.epochs):
            self.passes()
            if run.watch:
                run.watch(epoch - self.config.l2)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> type[Slow]:
    monkeypatch.setattr("daogou.plugins.load", lambda kind, name: Slow)
    return Slow


def test_a_network_is_judged_after_each_epoch(project: Project, scenario: Scenario, data: Dataset, slow: type[Slow]) -> None:
    found = quick(project, scenario, data, trials=14)
    (study,) = _studies(project)
    assert found.failed == 0
    assert found.pruned > 0
    for trial in study:
        epochs = sorted(trial.intermediate_values)
        assert epochs == list(range(len(epochs)))
        assert len(epochs) == slow.epochs if trial.state.name == "COMPLETE" else WARM_EPOCHS < len(epochs) <= slow.epochs
    page = Path(found.plot).read_text("utf-8")
    assert "on events held out of training" in html.unescape(page)
    assert page.split("</svg>")[0].count("<circle") == 14


def test_a_network_ends_with_the_epoch_in_which_the_time_is_up(
    project: Project, scenario: Scenario, data: Dataset, slow: type[Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the settings in use, which every other trial is compared with."""
    now_s = [0.0]
    monkeypatch.setattr("daogou.train.tune.time", SimpleNamespace(perf_counter=lambda: now_s[0]))
    monkeypatch.setattr(slow, "epochs", 20)
    monkeypatch.setattr(slow, "passes", lambda self: now_s.__setitem__(0, now_s[0] + 2.5))
    quick(project, scenario, data, trials=2, minutes=1.0)
    (study,) = _studies(project)
    assert [(trial.state.name, len(trial.intermediate_values)) for trial in study] == [("COMPLETE", 20), ("PRUNED", 5)]  # 50 s and more than 60


def _studies(project: Project, name: str = "ease") -> list[list[Any]]:
    storage = optuna.storages.RDBStorage(f"sqlite:///{project.directory}/tuning/{name}.sqlite3")
    return [optuna.load_study(study_name=s.study_name, storage=storage).trials for s in optuna.get_all_study_summaries(storage)]


# ---- several networks at a time
NETWORKS_AT_A_TIME = """
import json, os, sys
from pathlib import Path
from daogou.contract import Run
from daogou.scenario import Project
from daogou.testing.toy import random_dataset
from daogou.train import tune

tune.UNPRUNED = 1  # so that a median is there before the last trial
project, data = Project(directory=Path(sys.argv[1]), scenario="toy.toml"), random_dataset(5, n_users=80, n_items=40, n_events=2500)
found = tune.tune(project, project.load_scenario(), data, "ncf", minutes=5, trials=int(sys.argv[2]), jobs=2, run=Run(threads=2))
tasks = Path("/proc/self/task")
pool = [task.name for task in tasks.iterdir() if (task / "comm").read_text().startswith("tf_XLAEigen")] if tasks.exists() else None
print(json.dumps({"trials": found.trials, "resumed": found.resumed, "pruned": found.pruned, "each": os.environ["NPROC"], "pool": pool}))
"""
FAST_LEARNER = """
[models.ncf]
learning_rate = 0.01
batch_size = 256
epochs = 5
patience = 5
holdout_users = 40
"""
"Ahead of nearly all that can be drawn when networks are judged, after three epochs."


@pytest.mark.slow
def test_networks_are_searched_two_at_a_time_under_the_thread_cap_and_taken_up_after_a_kill(project: Project) -> None:
    if not (find_spec("keras") and find_spec("jax")):
        pytest.skip("the extra 'deep' is not installed")
    toml = project.directory / "toy.toml"
    toml.write_text(toml.read_text("utf-8") + FAST_LEARNER, "utf-8")
    environment = {**{k: v for k, v in os.environ.items() if k != "NPROC"}, "KERAS_BACKEND": "jax"}
    command = [sys.executable, "-c", NETWORKS_AT_A_TIME, str(project.directory)]

    with subprocess.Popen([*command, "50"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        until = time.monotonic() + 120
        while _trials(project, "ncf", "state = 'RUNNING' AND number > 0") < 2 and time.monotonic() < until:
            time.sleep(0.1)
        child.kill()
    assert _trials(project, "ncf") == 3, "the settings in use, and two at a time after them"

    done = subprocess.run([*command, "4"], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["resumed"], found["trials"], found["each"]) == (3, 7, "1")
    assert found["pool"] is None or len(found["pool"]) <= 1, "a fit has its share of the threads, not those of the machine"

    (study,) = _studies(project, "ncf")
    killed, later = study[1:3], study[3:]
    assert [t.state.name for t in killed] == ["FAIL", "FAIL"]
    assert found["pruned"] == sum(t.state.name == "PRUNED" for t in later) > 0
    assert all(WARM_EPOCHS < len(t.intermediate_values) <= 5 for t in later), "judged by the epoch"
    together = [sum(other.datetime_start <= t.datetime_start < other.datetime_complete for other in later) for t in later]
    assert max(together) == 2


# ---- effort
def test_the_settings_in_use_are_never_pruned(project: Project, scenario: Scenario, data: Dataset) -> None:
    """Also where they are new to a search that has found far better ones."""
    quick(project, scenario, data, trials=8)
    poor = replace(scenario, models={**scenario.models, "ease": {"l2": 3000.0, "dropout": 0.6, "recency": 0.1}})
    found = quick(project, poor, data, trials=1)
    assert found.resumed == 8
    assert found.after > found.before


def test_baselines_get_the_same_effort(project: Project, scenario: Scenario, data: Dataset) -> None:
    """Also those that the scenario does not have; `daogou evaluate` then takes what was found, and a later search starts from it."""
    assert "recent" not in scenario.models
    found = quick(project, scenario, data, "recent", trials=4)
    assert found.trials == 4
    write_tuned(project.directory, "recent", {"half_life_days": 90.0})
    tuned = read_tuned(project.directory)
    before, after = (experiment(data, scenario, models=("popular",), threads=1, tuned=one).comparison.results["recent"].lists_QK for one in ({}, tuned))
    assert not np.array_equal(before, after)
    assert quick(project, scenario, data, "recent", trials=1).resumed == 4
    (study,) = values(project, "recent")
    assert {round(params["half_life_days"], 3) for _, params, _, _ in study} >= {7.0, 90.0}


def test_time_is_kept(project: Project, scenario: Scenario, data: Dataset) -> None:
    started = time.monotonic()
    found = quick(project, scenario, data, minutes=0.02, trials=None)
    assert time.monotonic() - started < 20
    assert found.trials >= 1


def test_several_at_a_time_share_the_threads(project: Project, scenario: Scenario, data: Dataset) -> None:
    assert quick(project, scenario, data, jobs=2, run=Run(threads=2)).trials == 6


def test_a_hyperparameter_of_several_values_is_searched_in_each(project: Project, scenario: Scenario, data: Dataset) -> None:
    both = replace(scenario, models={**scenario.models, "transition": {"l2": [5.0, 3000.0]}})
    found = quick(project, both, data, "transition", trials=8)
    assert len(found.settings.get("l2", [0, 0])) == 2
    (study,) = values(project, "transition")
    assert {"l2[0]", "l2[1]", "tau[0]", "tau[1]"} <= set(study[0][1])


def test_the_page_shows_every_trial_and_every_range(project: Project, scenario: Scenario, data: Dataset) -> None:
    found = quick(project, scenario, data)
    page = Path(found.plot).read_text("utf-8")
    assert page.count("<svg") == 1 + len(values(project)[0][0][1])
    assert page.split("</svg>")[0].count("<circle") == 6
    assert "l2" in html.unescape(page)
    assert "http" not in page.replace("http://www.w3.org", "")


# ---- files
def test_other_models_and_the_users_own_file_stay(project: Project, scenario: Scenario) -> None:
    own = project.directory / "daogou.toml"
    own.write_text('# mine\nscenario = "toy.toml"\n', "utf-8")
    write_tuned(project.directory, "ease", {"l2": 1e-05, "dropout": 0.25})
    write_tuned(project.directory, "als", {"embedding_size": 32, "l2": 0.01})
    write_tuned(project.directory, "odd name", {"tau": [1.5, 2.0]})
    assert own.read_text("utf-8") == '# mine\nscenario = "toy.toml"\n'
    assert read_tuned(project.directory) == {
        "ease": {"l2": 1e-05, "dropout": 0.25},
        "als": {"embedding_size": 32, "l2": 0.01},
        "odd name": {"tau": [1.5, 2.0]},
    }
    used = load_project(project.directory).load_scenario()
    assert used.models["als"] == {"embedding_size": 32, "epochs": 3, "l2": 0.01}  # what was not searched stays as the scenario says
    assert "odd name" not in used.models
    assert load_scenario("toy.toml", project.directory).models == scenario.models


def test_a_wrong_tuned_file_is_named(project: Project) -> None:
    (project.directory / "tuned.toml").write_text("[modells.ease]\nl2 = 1\n", "utf-8")
    with pytest.raises(ConfigError, match=r"tuned\.toml"):
        project.load_scenario()


# ---- wrong
def test_wrong_questions_are_refused(project: Project, scenario: Scenario, data: Dataset) -> None:
    with pytest.raises(UnknownName, match="did you mean 'ease'"):
        quick(project, scenario, data, "eese")
    with pytest.raises(UsageError, match="minutes"):
        quick(project, scenario, data, minutes=0)


def test_settings_that_cannot_be_fitted_say_why(project: Project, scenario: Scenario, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from daogou.models.ease import Ease

    def broken(self: Any, data: Any, run: Any) -> None:
        raise ValueError("a surprise")

    monkeypatch.setattr(Ease, "_fit", broken)
    with pytest.raises(TrainingError, match="a surprise"):
        quick(project, scenario, data, trials=2)
    assert not (project.directory / "tuned.toml").exists()
