import numpy as np
import pytest
import scipy.sparse as sp

from daogou import linalg
from daogou.errors import TrainingError
from daogou.linalg import inverse, neighbour_regression, ridge


def system(n_features, n_items, seed=0, density=1.0):
    """A Gram matrix as its upper triangle, a cross matrix, penalties, and the full symmetric system in float64."""
    rng = np.random.default_rng(seed)
    x = rng.random((3 * n_features, n_features)) * (rng.random((3 * n_features, n_features)) < density)
    y = rng.random((3 * n_features, n_items)) * (rng.random((3 * n_features, n_items)) < density)
    l2 = rng.uniform(1, 5, n_features)
    return sp.csr_matrix(np.triu(x.T @ x)), sp.csr_matrix(x.T @ y), l2, x.T @ x


@pytest.fixture(params=[16, 512])
def tile(request, monkeypatch):
    monkeypatch.setattr(linalg, "TILE", request.param)


@pytest.mark.parametrize(("n_features", "n_items"), [(1, 1), (15, 3), (16, 16), (50, 33), (97, 20)])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-9), (np.float32, 2e-3)])
@pytest.mark.usefixtures("tile")
def test_ridge_solves_the_system(n_features, n_items, dtype, rtol):
    gram, cross, l2, full = system(n_features, n_items)
    weights = ridge(gram, cross, l2, dtype=dtype)
    assert weights.dtype == dtype and weights.flags.c_contiguous
    np.testing.assert_allclose(weights, np.linalg.solve(full + np.diag(l2), cross.toarray()), rtol=rtol, atol=1e-4 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("n", [1, 15, 32, 97])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-9), (np.float32, 2e-3)])
@pytest.mark.usefixtures("tile")
def test_inverse_of_the_system(n, dtype, rtol):
    gram, _, l2, full = system(n, 1)
    found = inverse(gram, l2, dtype=dtype)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(found, np.linalg.inv(full + np.diag(l2)), rtol=rtol, atol=1e-5 if dtype == np.float32 else 1e-12)


def test_any_number_of_threads_gives_the_same_bytes():
    gram, cross, l2, _ = system(700, 600)
    one, many = (ridge(gram, cross, l2, threads=threads) for threads in (1, 3))
    np.testing.assert_array_equal(one, many)
    one, many = (inverse(gram, l2, threads=threads) for threads in (1, 3))
    np.testing.assert_array_equal(one, many)
    one, many = (neighbour_regression(gram, cross, l2, 9, threads=threads) for threads in (1, 3))
    np.testing.assert_array_equal(one.toarray(), many.toarray())


@pytest.mark.parametrize("solve", ["ridge", "inverse", "neighbours"])
def test_an_indefinite_system_says_what_to_do(solve):
    gram = sp.csr_matrix(np.array([[1.0, 3.0], [0.0, 1.0]]))
    with pytest.raises(TrainingError, match="raise l2"):
        if solve == "ridge":
            ridge(gram, gram, np.zeros(2))
        elif solve == "inverse":
            inverse(gram, np.zeros(2))
        else:
            neighbour_regression(gram, sp.csr_matrix(np.ones((2, 1))), np.zeros(2), 2)


@pytest.mark.parametrize("seed", range(5))
def test_all_neighbours_give_the_full_solution(seed):
    gram, cross, l2, _ = system(40, 25, seed, density=0.3)
    np.testing.assert_allclose(neighbour_regression(gram, cross, l2, 40).toarray(), ridge(gram, cross, l2, dtype=np.float64), atol=2e-4)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 2, 7])
def test_neighbours_are_the_best_by_cross_over_root_of_gram(seed, k):
    gram, cross, l2, full = system(30, 20, seed, density=0.2)
    found = neighbour_regression(gram, cross, l2, k).toarray()
    dense = cross.toarray()
    for i in range(20):
        score = dense[:, i] / np.sqrt(np.maximum(np.diag(full), 1e-30))
        best = np.sort(np.argsort(-score, kind="stable")[: min(k, int((dense[:, i] > 0).sum()))])
        expected = np.zeros(30)
        expected[best] = np.linalg.solve(full[np.ix_(best, best)] + np.diag(l2[best]), dense[best, i])
        np.testing.assert_allclose(found[:, i], expected, atol=1e-4)
        assert set(np.flatnonzero(found[:, i])) <= set(best.tolist())


def test_equal_neighbours_are_taken_in_order_of_code():
    gram, cross = sp.csr_matrix(np.eye(6)), sp.csr_matrix(np.ones((6, 2)))
    for k in range(1, 7):
        found = neighbour_regression(gram, cross, np.ones(6), k).toarray()
        assert np.flatnonzero(found[:, 1]).tolist() == list(range(k))


def test_a_symmetric_cross_matrix_is_given_by_its_upper_triangle():
    gram, _, l2, full = system(30, 1, density=0.3)
    off_diagonal = sp.csr_matrix(full - np.diag(np.diag(full)))
    found = neighbour_regression(gram, gram, l2, 5, symmetric=True)
    expected = neighbour_regression(gram, off_diagonal, l2, 5)
    np.testing.assert_allclose(found.toarray(), expected.toarray(), atol=1e-6)
    assert not found.diagonal().any()


def test_targets_and_features_without_entries_stay_empty():
    gram, cross = sp.csr_matrix(np.diag([1.0, 0.0, 2.0])), sp.csr_matrix(np.array([[1.0, 0, 0], [0, 0, 0], [1.0, 0, 4.0]]))
    found = neighbour_regression(gram, cross, np.ones(3), 2).toarray()
    np.testing.assert_allclose(found, [[0.5, 0, 0], [0, 0, 0], [1 / 3, 0, 4 / 3]], rtol=1e-6)
