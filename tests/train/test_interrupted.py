"""`daogou train` ended from outside, three times in three ways: it goes on where its network stood, and the release is that of an unbroken training."""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from daogou.release import open_current
from daogou.scenario import Project, load_project
from daogou.store import Store
from daogou.testing.project import fill
from daogou.testing.toy import random_dataset
from daogou.train.fit import train

COMMAND = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from daogou.cli import main; main()"
"""`daogou`, which hears Ctrl-C even where a shell in the background has told its children to ignore it."""

SCENARIO = """
name = "toy"
[events]
purchase = 1.0
cart = 0.5
view = 0.125
[models.popular]
[models.sasrec]
dimensions = 16
length = 12
blocks = 1
epochs = 30
patience = 30
[[placements]]
name = "home"
retrieve = ["sasrec", "popular"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "toy.toml").write_text(SCENARIO, "utf-8")
    (tmp_path / "daogou.toml").write_text('scenario = "toy.toml"\n[training]\nthreads = 1\nminutes = 0\n', "utf-8")
    return load_project(tmp_path)


def epochs(project: Project) -> list[int]:
    """Epochs that are kept, of each fit that was begun, fewest first."""
    pointers = (project.directory / "checkpoints").glob("*/current")
    return sorted(int(pointer.read_text("ascii").removeprefix("epoch-")) for pointer in pointers)


def interrupted(project: Project, how: signal.Signals, after: int) -> list[int]:
    """Starts a training, ends it once more than `after` epochs are kept in all, and says which are."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "train", "--project", str(project.directory)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    try:
        deadline = time.monotonic() + 120
        while sum(epochs(project)) <= after:
            assert process.poll() is None and time.monotonic() < deadline, "it ended, or did not begin"
            time.sleep(0.005)
        process.send_signal(how)
        assert process.wait(timeout=30) != 0
    finally:
        process.kill()
        process.wait()
    return epochs(project)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("keras") is None, reason="the extra `deep` is not installed")
def test_a_training_that_was_ended_goes_on_where_its_network_stood(project: Project) -> None:
    scenario = project.load_scenario()
    with Store.open(project.store_url) as store:
        fill(store, random_dataset(2, n_users=300, n_items=60, n_events=6000))
    kept = 0
    for how in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        left = interrupted(project, how, kept)
        assert sum(left) > kept, "what was learned is not lost"
        kept = sum(left)
        assert open_current(project.releases) is None
    told: list[str] = []
    with Store.open(project.store_url, read_only=True) as store:
        train(project, store, scenario, progress=lambda step, *_: told.append(step))
        again = [step for step in told if "epoch" in step and "validation" not in step]
        assert int(again[0].split("epoch ")[1].split("/")[0]) == min(left) + 1
        assert not (project.directory / "checkpoints").exists(), "a finished training leaves none behind"
        resumed = open_current(project.releases)
        train(project, store, scenario)
    unbroken = open_current(project.releases)
    assert resumed is not None and unbroken is not None and resumed.id != unbroken.id
    queries = random_dataset(2, n_users=300, n_items=60, n_events=6000).queries(np.arange(20, dtype=np.int32))
    np.testing.assert_allclose(resumed.models["sasrec"].score(queries), unbroken.models["sasrec"].score(queries), atol=1e-5)
