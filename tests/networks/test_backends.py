"""The same weights give the same scores on every backend that is installed. Keras takes one backend for each process, hence the subprocesses."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from daogou.errors import MissingExtra
from daogou.networks import backend

FIT = """
import sys
from pathlib import Path
import numpy as np
from daogou import plugins
from daogou.contract import Run
from daogou.testing.toy import random_dataset
name, settings, folder = sys.argv[1], __import__("json").loads(sys.argv[2]), Path(sys.argv[3])
model = plugins.load("model", name)(**settings).fit(random_dataset(3), Run(seed=1, threads=1))
model.save(folder)
np.save(folder / "scores.npy", model.score(random_dataset(3).queries()))
"""

SCORE = """
import sys
from pathlib import Path
import numpy as np
from daogou import plugins
from daogou.networks.backend import keras
from daogou.testing.toy import random_dataset
name, folder, out = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
scores = plugins.load("model", name).load(folder).score(random_dataset(3).queries())
print(keras().backend.backend())
np.save(out, scores)
"""

NETWORKS = {
    "sasrec": {"dimensions": 16, "length": 12, "epochs": 2, "negatives": 16, "time_gaps": True},
    "gru": {"dimensions": 16, "units": 16, "length": 12, "epochs": 1, "negatives": 16},
    "neumf": {"dimensions": 4, "epochs": 2, "batch_size": 256},
}


def python(code, *arguments, backend):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "KERAS_BACKEND": backend},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("other", ["torch", "tensorflow"])
@pytest.mark.parametrize("name", NETWORKS)
def test_weights_trained_on_one_backend_score_alike_on_another(name, other, tmp_path):
    for package in ("keras", "jax", other):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    for here, there in (("jax", other), (other, "jax")):
        python(FIT, name, json.dumps(NETWORKS[name]), tmp_path / here, backend=here)
        assert python(SCORE, name, tmp_path / here, tmp_path / f"{there}.npy", backend=there).endswith(there)
        trained, loaded = np.load(tmp_path / here / "scores.npy"), np.load(tmp_path / f"{there}.npy")
        known = np.isfinite(trained)
        assert known.any() and (np.isfinite(loaded) == known).all()
        assert np.abs(trained[known] - loaded[known]).max() < 1e-5


THREADS = """
import sys
from pathlib import Path
import numpy as np
from daogou.networks.backend import keras
k = keras(int(sys.argv[1]))
k.layers.Dense(64)(np.ones((64, 64), np.float32))
if k.backend.backend() == "torch":
    import torch
    print(torch.get_num_threads())
else:
    names = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
    print(sum(name.startswith(("tf_XLAEigen", "tf_Compute")) for name in names))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
@pytest.mark.parametrize("name", backend.BACKENDS)
def test_a_network_computes_with_as_many_threads_as_it_is_given(name, monkeypatch):
    for package in ("keras", name):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    for variable in ("NPROC", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    assert [python(THREADS, n, backend=name) for n in (1, 3)] == ["1", "3"]


@pytest.mark.parametrize(
    ("installed", "asked", "message"),
    [
        ((), None, r"keras is not installed; pip install 'daogou\[deep\]'"),
        (("keras",), None, r"a backend for Keras \(jax\) is not installed; pip install 'daogou\[deep\]'"),
        (("keras", "jax"), "torch", r"torch, which KERAS_BACKEND asks for, is not installed; pip install 'daogou\[torch\]'"),
    ],
)
def test_what_is_missing_is_said(monkeypatch, installed, asked, message):
    monkeypatch.setattr(backend, "find_spec", lambda name: name in installed or None)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if asked:
        monkeypatch.setenv("KERAS_BACKEND", asked)
    with pytest.raises(MissingExtra, match=message):
        backend.require()
