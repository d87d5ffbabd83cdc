import numpy as np
import pytest

from daogou.contract import Run
from daogou.data.histories import Histories
from daogou.evaluate import evaluate
from daogou.models.ease import Ease
from daogou.testing.contract import RecommenderContract, asked
from daogou.testing.toy import random_dataset


class TestDense(RecommenderContract):
    """The contract with everything that the registered defaults leave out."""

    def make(self):
        return Ease(l2=5.0, dropout=0.2, recency=4.0, min_support=2)


class TestNeighbours(RecommenderContract):
    """The contract of the large-catalogue form."""

    def make(self):
        return Ease(l2=5.0, dense_items=0, neighbours=7)


def binary(data):
    """[U, I] who had what; all weights of the toy's kept events are kept."""
    x = np.zeros((data.n_users, data.n_items))
    history = data.histories
    x[history.row, history.item] = history.weight  # the newest event wins: rows are in order
    return x


@pytest.mark.parametrize(("l2", "dropout"), [(3.0, 0.0), (20.0, 0.0), (3.0, 0.4)])
def test_every_column_is_the_ridge_regression_on_all_other_items(l2, dropout):
    data = random_dataset(11)
    x, weights = binary(data), Ease(l2=l2, dropout=dropout).fit(data).weights_FI
    gram = x.T @ x
    penalised = gram + np.diag(l2 + dropout / (1 - dropout) * np.diag(gram))
    for i in range(data.n_items):
        others = np.delete(np.arange(data.n_items), i)
        np.testing.assert_allclose(weights[others, i], np.linalg.solve(penalised[np.ix_(others, others)], gram[others, i]), atol=2e-5)
    assert not weights.diagonal().any()


def test_all_neighbours_give_the_dense_model():
    data = random_dataset(12, n_items=6)
    assert (binary(data).T @ binary(data))[:5, :5].all(), "every pair occurs (the last item has no event), so that none is left out"
    dense, sparse = Ease(l2=5.0, dropout=0.1).fit(data), Ease(l2=5.0, dropout=0.1, dense_items=0, neighbours=data.n_items).fit(data)
    np.testing.assert_allclose(sparse.weights_FI.toarray(), dense.weights_FI, atol=2e-5)
    np.testing.assert_allclose(sparse.score(data.queries()), dense.score(data.queries()), atol=1e-4)


def test_recency_fades_the_history_and_leaves_the_weights():
    data = random_dataset(13)
    plain, faded = Ease(l2=5.0).fit(data), Ease(l2=5.0, recency=2.0).fit(data)
    np.testing.assert_array_equal(plain.weights_FI, faded.weights_FI)
    history = Histories.of([[3, 1, 3, data.n_items + 4, 0]], weights=[[1.0, 0.5, 2.0, 1.0, 1.0]])
    expected = plain.weights_FI[0] + np.exp(-2 / 2) * 2.0 * plain.weights_FI[3] + np.exp(-3 / 2) * 0.5 * plain.weights_FI[1]
    np.testing.assert_allclose(faded.score(asked(history, data))[0], expected, rtol=1e-4, atol=1e-6)


def test_items_without_support_have_no_part():
    data = random_dataset(14)
    support_I = np.bincount(data.histories.item, minlength=data.n_items)
    least = int(np.median(support_I))
    model = Ease(l2=5.0, min_support=least).fit(data)
    rare = support_I < least
    assert 0 < rare.sum() < data.n_items
    assert not model.weights_FI[rare].any() and not model.weights_FI[:, rare].any() and model.weights_FI[~rare].any(axis=1).all()


@pytest.mark.parametrize("dense_items", [0, 6_000])
def test_threads_change_no_byte(dense_items, movielens_split):
    one, two = (Ease(dense_items=dense_items, neighbours=20).fit(movielens_split.train, Run(threads=threads)) for threads in (1, 2))
    a, b = one.weights_FI, two.weights_FI
    np.testing.assert_array_equal(*((w if dense_items else w.toarray()) for w in (a, b)))


@pytest.mark.parametrize(
    ("settings", "low", "high"),
    [
        ({}, 0.070, 0.080),
        ({"recency": 3.0}, 0.095, 0.115),
        ({"dense_items": 0, "neighbours": 100}, 0.060, 0.080),
    ],
    ids=["taste", "recency", "neighbours"],
)
def test_quality_on_ml_100k(settings, low, high, movielens_split):
    model = Ease(**settings).fit(movielens_split.train)
    assert low < evaluate(model, movielens_split.test).mean("ndcg@10") < high
