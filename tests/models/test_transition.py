import msgspec
import numpy as np
import polars as pl
import pytest

from daogou.contract import Run
from daogou.data.dataset import Dataset, from_frames
from daogou.data.histories import Histories
from daogou.evaluate import evaluate
from daogou.models.transition import Transition
from daogou.testing.contract import RecommenderContract
from daogou.testing.toy import random_dataset


class TestDense(RecommenderContract):
    """The contract with everything that the registered defaults leave out."""

    def make(self):
        return Transition(tau=(1.2, 6.0), window=(3, 9), l2=(1.0, 3.0), horizon=2, min_support=2)


class TestNeighbours(RecommenderContract):
    """The contract of the large-catalogue form."""

    def make(self):
        return Transition(tau=(1.2, 6.0), window=(3, 9), l2=(1.0, 3.0), dense_items=0, neighbours=7)


def of_rows(rows) -> Dataset:
    frame = pl.DataFrame(
        [(str(u), str(i), "buy", t) for u, row in enumerate(rows) for t, i in enumerate(row)], schema=["user_id", "item_id", "event", "time"], orient="row"
    )
    return from_frames(frame)


def test_learns_a_cycle():
    data = of_rows([[(u + t) % 5 for t in range(20)] for u in range(5)])
    model = Transition(l2=(0.1, 0.1), tau=(1.0, 3.0), window=(2, 5)).fit(data)
    last = data.queries().history.item[data.queries().history.age == 0]
    names = np.array([int(data.items.id(int(code))) for code in last])
    best = [int(data.items.id(int(code))) for code in model.recommend(data.queries(), 1).codes_BK[:, 0]]
    assert best == ((names + 1) % 5).tolist()


def test_learns_who_takes_the_same_again():
    model = Transition(l2=(1.0,), tau=(2.0,), window=(4,)).fit(data := of_rows([[u % 4] * 6 for u in range(12)]))
    np.testing.assert_array_equal(model.recommend(data.queries(), 1).codes_BK[:, 0], np.arange(12) % 4)


def test_weights_are_the_ridge_regression_of_what_follows_on_decayed_histories():
    data, settings = random_dataset(21), {"tau": (1.5, 5.0), "window": (2, 7), "l2": (2.0, 4.0)}
    history, n = data.histories, data.n_items
    rows, targets = [], []
    for u in range(data.n_users):
        item, weight = (column[history.start[u] : history.start[u + 1]] for column in (history.item, history.weight))
        for t in range(len(item) - 1):
            phi = np.zeros((2, n))
            for s, (tau, window) in enumerate(zip(settings["tau"], settings["window"], strict=True)):
                for j in range(max(0, t - window + 1), t + 1):
                    phi[s, item[j]] += weight[j] * np.exp(-(t - j) / tau)
            rows.append(phi.ravel())
            targets.append(np.eye(n)[item[t + 1]])
    phi, y = np.array(rows), np.array(targets)
    expected = np.linalg.solve(phi.T @ phi + np.diag(np.repeat(settings["l2"], n)), phi.T @ y)
    model = Transition(**settings).fit(data)
    np.testing.assert_allclose(model.weights_FI, expected, atol=2e-5)


def test_serving_sees_the_features_of_training():
    data = random_dataset(22)
    model = Transition(tau=(1.5, 5.0), window=(2, 4), l2=(2.0, 4.0)).fit(data)
    phi = model._features(Histories.of([[3, 1, data.n_items + 1, 3, 0, 3]], weights=[[1.0, 2.0, 1.0, 0.5, 1.0, 3.0]])).toarray()[0]
    expected = np.zeros((2, data.n_items))
    expected[0, [3, 0]] = 3.0, np.exp(-1 / 1.5)
    expected[1, [3, 0]] = 3.0 + 0.5 * np.exp(-2 / 5.0), np.exp(-1 / 5.0)  # the unknown item takes its place in the window
    np.testing.assert_allclose(phi, expected.ravel(), rtol=1e-6)


@pytest.mark.parametrize("horizon", [1, 3])
def test_all_neighbours_give_the_dense_model(horizon):
    data, settings = random_dataset(23, n_items=5), {"tau": (1.5, 5.0), "window": (2, 7), "l2": (2.0, 4.0), "horizon": horizon}
    dense, sparse = Transition(**settings).fit(data), Transition(**settings, dense_items=0, neighbours=2 * data.n_items).fit(data)
    assert sparse.statistics["moments"][:, 10:].nnz == 8 * 4, (
        "every feature (the last item has no event) has been followed by every item, so that none is left out"
    )
    np.testing.assert_allclose(sparse.weights_FI.toarray(), dense.weights_FI, atol=2e-5)


def test_items_without_support_have_no_part():
    data = random_dataset(24)
    support_I = np.bincount(data.histories.item, minlength=data.n_items)
    least = int(np.median(support_I))
    weights = Transition(min_support=least).fit(data).weights_FI.reshape(2, data.n_items, data.n_items)
    rare = support_I < least
    assert 0 < rare.sum() < data.n_items
    assert not weights[:, rare].any() and not weights[:, :, rare].any() and weights[1, ~rare].any()


def test_each_scale_needs_its_values():
    with pytest.raises(msgspec.ValidationError, match="one for each scale"):
        Transition(tau=[1.0, 2.0], window=[3], l2=[1.0, 1.0])
    with pytest.raises(msgspec.ValidationError):
        Transition(tau=[], window=[], l2=[])
    with pytest.raises(msgspec.ValidationError):
        Transition(tau=[-1.0], window=[3], l2=[1.0])


@pytest.mark.parametrize("dense_items", [0, 6_000])
def test_threads_change_no_byte(dense_items, movielens_split):
    one, two = (Transition(dense_items=dense_items, neighbours=20).fit(movielens_split.train, Run(threads=threads)) for threads in (1, 2))
    np.testing.assert_array_equal(*((w if dense_items else w.toarray()) for w in (one.weights_FI, two.weights_FI)))


@pytest.mark.parametrize(
    ("settings", "low", "high"),
    [
        ({"l2": (50.0, 300.0)}, 0.105, 0.118),
        ({"tau": (4.0,), "window": (20,), "l2": (100.0,)}, 0.095, 0.115),
        ({"l2": (50.0, 300.0), "dense_items": 0, "neighbours": 100}, 0.095, 0.115),
    ],
    ids=["two scales", "one scale", "neighbours"],
)
def test_quality_on_ml_100k(settings, low, high, movielens_split):
    model = Transition(**settings).fit(movielens_split.train)
    assert low < evaluate(model, movielens_split.test).mean("ndcg@10") < high
