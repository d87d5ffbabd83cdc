import numpy as np
import pytest
import scipy.sparse as sp

from daogou.factors import ROWS, factorise


@pytest.fixture(scope="module")
def seen():
    """Two sides that hardly meet; the last row and the last column hold nothing."""
    rng, n, m = np.random.default_rng(0), 2 * ROWS + 7, 40
    side = (np.arange(n)[:, None] + np.arange(m)) % 2 == 0
    taken = rng.random((n, m)) < np.where(side, 0.4, 0.02)
    taken[-1], taken[:, -1] = False, False
    return sp.csr_matrix(taken.astype(np.float32))


def loss(seen, p, q, w0, l2):
    """Written out over every pair, from the formula."""
    c, s = seen.toarray().astype(np.float64), p.astype(np.float64) @ q.T.astype(np.float64)
    held = [l2 * ((n + w0 * other) * (f.astype(np.float64) ** 2).sum(axis=1)).sum() for n, other, f in ((c.sum(1), len(q), p), (c.sum(0), len(p), q))]
    return (c * (s - 1) ** 2).sum() + w0 * (s**2).sum() + sum(held)


def test_every_sweep_lowers_the_loss(seen):
    found = [loss(seen, *factorise(seen, 6, epochs=n, unobserved=0.1, l2=0.01, seed=0, threads=1), 0.1, 0.01) for n in (1, 2, 4, 30)]
    assert found == sorted(found, reverse=True) and found[0] > 1.01 * found[-1]


def test_after_many_sweeps_no_factor_can_be_better(seen):
    p, q = factorise(seen, 6, epochs=100, unobserved=0.1, l2=0.01, seed=0, threads=1)
    least, rng = loss(seen, p, q, 0.1, 0.01), np.random.default_rng(1)
    for _ in range(20):
        near = [f + 1e-2 * rng.standard_normal(f.shape) * f.any(axis=1, keepdims=True) for f in (p, q)]
        assert loss(seen, *near, 0.1, 0.01) > least


def test_what_is_alike_is_near_and_what_has_nothing_is_nowhere(seen):
    p, q = factorise(seen, 6, epochs=12, unobserved=0.1, l2=0.01, seed=0, threads=1)
    scores = p[:-1] @ q[:-1].T
    side = (np.arange(len(p) - 1)[:, None] + np.arange(len(q) - 1)) % 2 == 0
    assert scores[side].mean() > scores[~side].mean() + 0.3
    assert not p[-1].any() and not q[-1].any()


def test_threads_change_nothing(seen):
    one, many = (factorise(seen, 6, epochs=3, unobserved=0.1, l2=0.01, seed=5, threads=threads) for threads in (1, 4))
    for a, b in zip(one, many, strict=True):
        assert a.tobytes() == b.tobytes()
