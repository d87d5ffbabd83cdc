"""Factors of the matrix of events by alternating least squares (Rendle, Krichene, Zhang, Koren 2021, arXiv 2110.14037)

    L = Σ_ui∈S c_ui (p_uᵀq_i − 1)² + w₀ Σ_ui (p_uᵀq_i)² + λ [Σ_u (n_u + w₀ I)^ν ‖p_u‖² + Σ_i (n_i + w₀ U)^ν ‖q_i‖²],     n = Σ c of a row

`als` answers with them, networks of pairs may start from them. A sweep solves for every p_u, then for every q_i

    A_u p_u = Σ_i c_ui q_i,     A_u = Σ_i c_ui q_i q_iᵀ + w₀ QᵀQ + λ (n_u + w₀ I)^ν · Id

by conjugate gradients that start from the last sweep's vector (Takács, Pilászy, Tikk 2011). Same seed, same bytes, whatever the number of threads.

Axes: U users, I items, N rows of either, D dimensions.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Penalties = NDArray[np.float64]

ROWS = 256  # rows of one unit of work: small enough to share evenly between threads
STEPS = 3  # of conjugate gradients in a solve: the next sweep goes on from there
NOTHING = np.zeros((0, 0), np.float32)


def factorise(seen_UI: sp.csr_matrix, dimensions: int, *, epochs: int, unobserved: float, l2: float, seed: int, threads: int) -> tuple[Vectors, Vectors]:
    """P [U, D] and Q [I, D] with ν = 1. `seen_UI` holds the c; rows and columns without one have factors of 0.

    Cost of a sweep: 4 (steps + 1) D flops for each event and 2 (steps + 1) D² for each user and item.
    """
    seen_IU = seen_UI.T.tocsr()
    users_UD, items_ID = random_factors(seen_UI, seen_IU, dimensions, np.random.default_rng(seed))
    of_users, of_items = (l2 * (_sums(seen) + unobserved * seen.shape[1]) for seen in (seen_UI, seen_IU))
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for _ in range(epochs):
            half_sweep(pool, seen_UI, items_ID, users_UD, unobserved, of_users)
            half_sweep(pool, seen_IU, users_UD, items_ID, unobserved, of_items)
    return users_UD, items_ID


def random_factors(seen_UI: sp.csr_matrix, seen_IU: sp.csr_matrix, dimensions: int, rng: np.random.Generator) -> tuple[Vectors, Vectors]:
    """Random P and Q; whoever did nothing and whatever nobody wanted says nothing."""
    users, items = ((rng.standard_normal((seen.shape[0], dimensions), np.float32) * np.float32(0.1 / np.sqrt(dimensions))) for seen in (seen_UI, seen_IU))
    users[np.diff(seen_UI.indptr) == 0] = 0.0
    items[np.diff(seen_IU.indptr) == 0] = 0.0
    return users, items


def half_sweep(
    pool: ThreadPoolExecutor,
    seen: sp.csr_matrix,
    fixed: Vectors,
    solved: Vectors,
    unobserved: float,
    penalty_N: Penalties,
    *,
    mean_ND: Vectors = NOTHING,
    steps: int = STEPS,
) -> None:
    """Improves the rows of `solved` in place, given the other side.

    Args:
        seen: c, of the rows that are solved.
        penalty_N: on each of them.
        mean_ND: what they are drawn to; empty = 0.
    """
    gram_DD = np.float32(unobserved) * sum(pool.map(lambda s: gram(fixed[s]), _spans(len(fixed))))
    penalty = penalty_N.astype(np.float32)
    jobs = [
        pool.submit(solve, seen.indptr, seen.indices, seen.data, fixed, gram_DD, penalty, mean_ND, solved, s.start, s.stop, steps) for s in _spans(len(solved))
    ]
    for job in jobs:
        job.result()


def _sums(seen: sp.csr_matrix) -> Penalties:
    return np.asarray(seen.sum(axis=1), np.float64)[:, 0]


def _spans(n: int) -> Iterator[slice]:
    """Fixed units of work: sums over them do not depend on the number of threads."""
    return (slice(first, min(first + ROWS, n)) for first in range(0, n, ROWS))


@numba.njit(cache=True, nogil=True, fastmath=True)
def gram(vectors: Any) -> Any:  # pragma: no cover (compiled)
    """VᵀV [D, D]"""
    n, dim = vectors.shape
    out = np.zeros((dim, dim), np.float32)
    for i in range(n):
        v = vectors[i]
        for d in range(dim):
            for e in range(dim):
                out[d, e] += v[d] * v[e]
    return out


@numba.njit(cache=True, nogil=True, fastmath=True)
def _dot(a: Any, b: Any) -> Any:  # pragma: no cover (compiled)
    """aᵀb. A loop that stores nothing is compiled in one way only, so that the order of the sum does not depend on where memory lies."""
    out = np.float32(0)
    for d in range(len(a)):
        out += a[d] * b[d]
    return out


@numba.njit(cache=True, nogil=True, fastmath=True)
def _multiply(dense: Any, ridge: Any, vectors: Any, index: Any, weight: Any, x: Any, out: Any) -> None:  # pragma: no cover (compiled)
    """out = A x"""
    dim = len(x)
    for d in range(dim):
        out[d] = ridge * x[d]
    for e in range(dim):
        xe = x[e]
        row = dense[e]
        for d in range(dim):
            out[d] += xe * row[d]
    for n in range(len(index)):
        v = vectors[index[n]]
        share = weight[n] * _dot(v, x)
        for d in range(dim):
            out[d] += share * v[d]


@numba.njit(cache=True, nogil=True, fastmath=True)
def solve(
    start: Any, index: Any, weight: Any, vectors: Any, dense: Any, ridge: Any, mean: Any, out: Any, first: int, last: int, steps: int
) -> None:  # pragma: no cover (compiled)
    """Conjugate gradients for rows first … last−1, from where `out` stands; `mean` [N, D] is what they are drawn to, empty = 0."""
    dim = out.shape[1]
    residual, direction, product = np.empty(dim, np.float32), np.empty(dim, np.float32), np.empty(dim, np.float32)
    for u in range(first, last):
        i, w, x = index[start[u] : start[u + 1]], weight[start[u] : start[u + 1]], out[u]
        if len(i) == 0:
            x[:] = 0
            continue
        _multiply(dense, ridge[u], vectors, i, w, x, product)
        for d in range(dim):
            residual[d] = -product[d]
        if len(mean):
            for d in range(dim):
                residual[d] += ridge[u] * mean[u, d]
        for n in range(len(i)):
            v = vectors[i[n]]
            for d in range(dim):
                residual[d] += w[n] * v[d]
        direction[:] = residual
        square = _dot(residual, residual)
        for _ in range(steps):
            if square < 1e-20:
                break
            _multiply(dense, ridge[u], vectors, i, w, direction, product)
            step = square / _dot(direction, product)
            for d in range(dim):
                x[d] += step * direction[d]
                residual[d] -= step * product[d]
            before, square = square, _dot(residual, residual)
            turn = square / before
            for d in range(dim):
                direction[d] = residual[d] + turn * direction[d]
