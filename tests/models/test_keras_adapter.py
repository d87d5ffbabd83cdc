import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("keras") is None:
    pytest.skip("the extra 'deep' is not installed", allow_module_level=True)

import numpy as np

from daogou.contract import Run
from daogou.data.histories import Histories
from daogou.errors import ConfigError, ReleaseError, TrainingError
from daogou.evaluate import evaluate
from daogou.models.keras_adapter import KerasModel, next_items, padded
from daogou.testing import nets
from daogou.testing.contract import RecommenderContract, asked
from daogou.testing.toy import random_dataset

EXAMPLE = Path(__file__).parents[2] / "examples" / "keras-model" / "run.py"


class TestOfPairs(RecommenderContract):
    personal = False  # of the history it knows nothing: its answers follow the user's row
    user_rows = True

    def make(self):
        return KerasModel(build="daogou.testing.nets:pair", epochs=3)


def test_examples_are_what_lay_before_the_newest_events():
    codes, wanted = next_items(Histories.of([[5, 6, 7, 8], [1], [], [2, 3]]), length=2, targets=2)
    assert codes.tolist() == [[6, 7], [7, 8], [0, 3]] and wanted.tolist() == [7, 8, 3]


def test_histories_are_padded_on_the_left():
    assert padded(Histories.of([[5, 6, 7], [1], []]), 2).tolist() == [[7, 8], [0, 2], [0, 0]]


def test_a_first_score_for_the_padding_is_dropped():
    data = random_dataset(3)
    model = KerasModel(build="daogou.testing.nets:with_padding", length=6, epochs=1).fit(data, Run(seed=1))
    query = data.queries(np.array([0], np.int32))
    everything = np.asarray(model.model(padded(query.history, 6)))[0]
    known = np.isfinite(model.score(query)[0])
    np.testing.assert_allclose(model.score(query)[0][known], everything[1:][known], rtol=1e-5)


def test_users_of_a_network_of_pairs_get_their_own_answers():
    data = random_dataset(3)
    model = KerasModel(build="daogou.testing.nets:pair", epochs=10).fit(data, Run(seed=1))
    queries = data.queries(np.array([0, 1], np.int32))
    scores = model.score(queries)
    assert np.ptp(scores[:, :-1], axis=0).max() > 0.05 and ((scores[:, :-1] >= 0) & (scores[:, :-1] <= 1)).all()
    expected = np.asarray(model.model([np.full((5, 1), 2, np.int32), np.arange(1, 6, dtype=np.int32)[:, None]]))[:, 0]
    np.testing.assert_allclose(scores[1, :5], expected, rtol=1e-5)


def test_a_trained_model_is_wrapped_as_it_is(tmp_path):
    data = random_dataset(3)
    net = nets.history(data.n_users, data.n_items, 6)
    codes, wanted = next_items(data.histories, 6, 20)
    net.fit(codes, wanted, epochs=2, verbose=0)
    model = KerasModel.of(net, data.n_items, length=6)
    queries = data.queries(np.arange(3, dtype=np.int32))
    np.testing.assert_allclose(model.score(queries), np.asarray(net(padded(queries.history, 6))), rtol=1e-5, atol=1e-6)
    model.save(tmp_path)
    np.testing.assert_array_equal(KerasModel.load(tmp_path).score(queries), model.score(queries))


def test_fitting_a_wrapped_model_again_starts_from_the_same_weights():
    data = random_dataset(3)
    model = KerasModel.of(nets.history(data.n_users, data.n_items, 6), data.n_items, length=6, epochs=1)
    once, twice = (model.fit(data, Run(seed=4)).score(data.queries()) for _ in range(2))
    assert np.isfinite(once).any() and np.abs(once[np.isfinite(once)] - twice[np.isfinite(twice)]).max() < 0.2


def test_progress_is_told():
    told = []
    KerasModel(build="daogou.testing.nets:history", length=6, epochs=2).fit(random_dataset(3), Run(progress=lambda *step: told.append(step)))
    assert [t[1:] for t in told] == [(1, 2), (2, 2)] and told[0][0].startswith("keras loss ")


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        ("", TrainingError, "no network was given; name a function"),
        ("daogou.testing.nets", ConfigError, r"cannot find 'daogou.testing.nets' .*expected `module:function`"),
        ("daogou.testing.nets:nothing", ConfigError, "cannot find 'daogou.testing.nets:nothing'"),
        ("no_such_module:build", ConfigError, "put its folder into PYTHONPATH"),
        ("daogou.testing.nets:uncompiled", TrainingError, r"the network 'raw' is not compiled; call compile\(\)"),
    ],
)
def test_what_is_wrong_is_said(build, error, message):
    with pytest.raises(error, match=message):
        KerasModel(build=build, length=6).fit(random_dataset(3))


def test_a_network_of_another_size_is_refused():
    with pytest.raises(ConfigError, match=r"gives 30 scores \(expected 77, one for each item, or 78 with the padding's first\)"):
        KerasModel.of(nets.history(5, 30, 6), 77)


def test_a_file_with_code_in_it_is_refused(tmp_path):
    """Layers that are Python code would be run by whoever loads the release."""
    k = nets.keras()
    codes = k.Input((6,), dtype="int32")
    net = k.Model(codes, k.layers.Lambda(lambda x: k.ops.one_hot(x[:, -1], 5), output_shape=(5,))(codes))
    KerasModel.of(net, 5, length=6).save(tmp_path)
    with pytest.raises(ReleaseError, match="Lambda"):
        KerasModel.load(tmp_path)


def test_an_unknown_user_is_user_zero():
    data = random_dataset(3)
    model = KerasModel(build="daogou.testing.nets:pair", epochs=1).fit(data, Run(seed=1))
    np.testing.assert_array_equal(*model.score(asked(Histories.of([[1], [2]]), data)))


@pytest.mark.slow
def test_the_worked_example_trains_evaluates_and_serves(tmp_path):
    done = subprocess.run([sys.executable, EXAMPLE, "--folder", tmp_path], check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = {line.split()[0]: float(line.split()[2]) for line in done.stdout.splitlines() if " NDCG@10 " in line}
    assert figures["taste"] > figures["popular"]
    served = done.stdout.splitlines()[-1]
    assert served.startswith("served: ") and len(served.split(",")) == 3 and "degraded" not in served


@pytest.mark.slow
def test_quality_on_movielens_100k(movielens_split):
    model = KerasModel(build="daogou.testing.nets:history", length=5, epochs=1).fit(movielens_split.train)
    assert 0.045 < evaluate(model, movielens_split.test).mean("ndcg@10") < 0.08
