"""The example plugin is a package of its own: built, installed beside daogou, and used through the one door that the built-in models use."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin-recommender"

USE = """
import json, tempfile
from pathlib import Path
from daogou import plugins
from daogou.testing.toy import checkerboard, held_out
data = checkerboard()
model = plugins.load("model", "session-knn")(neighbours=50).fit(data)
with tempfile.TemporaryDirectory() as folder:
    model.save(Path(folder))
    model = type(model).load(Path(folder))
top = model.recommend(data.queries(), 1, ~data.histories.seen(data.n_items))
print(json.dumps({"names": plugins.names("model"), "right": bool((top.codes_BK[:, 0] == held_out(data)).all())}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> dict[str, str]:
    """The environment of a process that has the plugin installed; this one does not."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(EXAMPLE)], check=True, timeout=120)
    return {**os.environ, "PYTHONPATH": str(target)}


def test_a_plugin_is_found_fitted_saved_and_loaded_by_name(installed):
    done = subprocess.run([sys.executable, "-c", USE], env=installed, check=True, capture_output=True, text=True, timeout=120)
    found = json.loads(done.stdout)
    assert {"session-knn", "popular"} <= set(found["names"]) and found["right"]


def test_the_plugin_passes_the_contract_suite_by_inheriting_it(installed):
    done = subprocess.run([sys.executable, "-m", "pytest", str(EXAMPLE / "tests")], env=installed, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
