from importlib.util import find_spec

import pytest

if find_spec("keras") is None:
    pytest.skip("the extra 'deep' is not installed", allow_module_level=True)

import numpy as np

from daogou.contract import Run
from daogou.evaluate import evaluate
from daogou.models.ncf import Ncf
from daogou.networks import weights
from daogou.testing.toy import random_dataset


def named(model):
    """Arrays of the network by layer and kind."""
    return {key.split(".", 1)[1].split("/", 1)[1]: value for key, value in weights.read(model._judge).items()}


def test_it_is_exactly_the_classical_network():
    """p and q joined → dense 128 relu → dense 64 relu → dense 1; the score is what the sigmoid takes."""
    data = random_dataset(3)
    model = Ncf(dimensions=8, epochs=2).fit(data, Run(seed=1))
    w = named(model)
    assert {k: v.shape for k, v in w.items()} == {
        **{"dense_128/kernel": (16, 128), "dense_128/bias": (128,), "dense_64/kernel": (128, 64), "dense_64/bias": (64,)},
        **{"dense_1/kernel": (64, 1), "dense_1/bias": (1,)},
    }
    x = np.concatenate([np.repeat(model.users[3:4], data.n_items, 0), model.items], axis=1)
    for layer in ("dense_128", "dense_64"):
        x = np.maximum(x @ w[f"{layer}/kernel"] + w[f"{layer}/bias"], 0)
    expected = (x @ w["dense_1/kernel"] + w["dense_1/bias"])[:, 0]
    np.testing.assert_allclose(model.score(data.queries(np.array([3], np.int32)))[0], expected, rtol=1e-4, atol=1e-5)


def test_the_loss_is_binary_cross_entropy_of_the_sigmoid():
    data = random_dataset(3)
    model = Ncf(dimensions=8, epochs=1).fit(data, Run(seed=1))
    user, item = np.array([1, 2, 3], np.int32), np.array([4, 5, 6], np.int32)
    label, weight = np.array([1, 0, 1], np.float32), np.array([1, 1, 0], np.float32)
    tables = [weights.array(t.embeddings) for t in model._tables]
    z = np.diag(np.asarray(model._judge(tables[0][user][:, None], tables[1][item][None])))
    p = 1 / (1 + np.exp(-z))
    found = float(model._objective(user, item, label, weight))
    assert found == pytest.approx(-(np.log(p[0]) + np.log(1 - p[1])) / 2, rel=1e-4)


def test_quality_on_movielens_100k(movielens_split):
    """Leave-one-out, weights from train only, full ranking. Guests, who have no row, are answered from their history about as well."""
    test = movielens_split.test
    model = Ncf(dimensions=16, epochs=10, learning_rate=3e-3).fit(movielens_split.train, Run(seed=1))
    guests = test.queries.__class__(
        history=test.queries.history,
        user_B=np.full(len(test), -1, np.int32),
        now_B=test.queries.now_B,
        context=test.queries.context,
        attributes=test.queries.attributes,
    )
    own, folded = (evaluate(model, test.__class__(q, test.wanted, test.known_I)).mean("ndcg@10") for q in (test.queries, guests))
    assert 0.03 < own < 0.09 and 0.03 < folded < 0.09
