from importlib.util import find_spec

import pytest

if find_spec("keras") is None:
    pytest.skip("the extra 'deep' is not installed", allow_module_level=True)

import numpy as np

from daogou.contract import Run
from daogou.evaluate import evaluate
from daogou.models.neumf import NO_EVENT, NeuMf
from daogou.networks import loop, weights
from daogou.testing.toy import random_dataset


def test_scores_follow_the_formula():
    data, d, e = random_dataset(3), 8, 6
    model = NeuMf(dimensions=d, network=e, epochs=2).fit(data, Run(seed=1))
    w = {key.split(".", 1)[1].split("/", 1)[1]: value for key, value in weights.read(model._judge).items()}
    p, q = np.repeat(model.users[3:4], data.n_items, 0), model.items
    x = np.concatenate([p[:, d:], q[:, d:]], axis=1)
    for n, width in enumerate((2 * e, e, e // 2)):
        assert w[f"dense_{n}/kernel"].shape[1] == width
        x = np.maximum(x @ w[f"dense_{n}/kernel"] + w[f"dense_{n}/bias"], 0)
    expected = (np.concatenate([p[:, :d] * q[:, :d], x], axis=1) @ w["out/kernel"] + w["out/bias"])[:, 0]
    np.testing.assert_allclose(model.score(data.queries(np.array([3], np.int32)))[0], expected, rtol=1e-4, atol=1e-5)


def test_it_starts_as_the_factorisation_that_it_generalises(monkeypatch):
    """Before a step is made lists are nearly those of the factors: the weights of the product are 1, what the network adds is small."""
    monkeypatch.setattr(loop, "fit", lambda *parts, **named: loop.Fitted())
    data = random_dataset(3)
    model = NeuMf(dimensions=8, warm_start=True, holdout_users=0).fit(data, Run(seed=1))
    start = {key.split(".", 1)[1].split("/", 1)[1]: value for key, value in weights.read(model._judge).items()}
    np.testing.assert_array_equal(start["out/kernel"][:8], 1)
    np.testing.assert_array_equal(start["out/bias"], NO_EVENT)
    met = np.flatnonzero(data.histories.lengths).astype(np.int32)
    product, taken = model.users[met, :8] @ model.items[:, :8].T, data.histories[met].seen(data.n_items)
    assert product[taken].mean() > product[~taken].mean() + 1
    np.testing.assert_allclose(model.score(data.queries(met)), product + NO_EVENT, atol=0.2)


def test_quality_on_movielens_100k(movielens_split):
    """Leave-one-out, weights from train only, full ranking."""
    model = NeuMf(dimensions=16, epochs=10, learning_rate=3e-3).fit(movielens_split.train, Run(seed=1))
    assert 0.03 < evaluate(model, movielens_split.test).mean("ndcg@10") < 0.09
