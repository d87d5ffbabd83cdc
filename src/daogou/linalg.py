"""Least squares with a penalty, for the linear models: the full system by Cholesky, or each target on its best features alone.

Sums over people come as the sparse upper triangle of a symmetric matrix (`pairs`). The dense algebra is cut into tiles of a fixed size, each a product
inside one thread: any number of threads gives the same bytes, which LAPACK's own threads do not promise, and a busy core does not hold up the other.

Axes: F features, I items (targets).
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.linalg as sl
import scipy.sparse as sp
from numba import njit
from numpy.typing import DTypeLike, NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from daogou.errors import TrainingError

TILE = 512
CHUNKS_PER_THREAD = 16

Array = NDArray[Any]
Each = Callable[[Callable[[slice], None], list[slice]], None]


def ridge(gram_FF: sp.csr_matrix, cross_FI: sp.csr_matrix, l2_F: Array, *, threads: int = 1, dtype: DTypeLike = np.float32) -> Array:
    """W [F, I] = (G + diag(l2))⁻¹ R by Cholesky; of the symmetric `gram_FF` only the upper triangle is read.

    Cost F³/3 + 2·F²·I flops; memory F² + F·I numbers of `dtype`.

    Raises:
        TrainingError: the system is not positive definite in this precision.
    """
    with _tiles_on(threads) as each:
        upper_FF, inverses = _cholesky(_dense(gram_FF, l2_F, dtype), each)
        weights_FI = cross_FI.astype(dtype).toarray(order="C")
        rows = _tiles(len(upper_FF))

        def solve(target: slice) -> None:  # Uᵀ U w = r: down, then up
            for row, inverse_TT in zip(rows, inverses, strict=True):
                weights_FI[row, target] = inverse_TT.T @ (weights_FI[row, target] - upper_FF[: row.start, row].T @ weights_FI[: row.start, target])
            for row, inverse_TT in zip(reversed(rows), reversed(inverses), strict=True):
                weights_FI[row, target] = inverse_TT @ (weights_FI[row, target] - upper_FF[row, row.stop :] @ weights_FI[row.stop :, target])

        each(solve, _tiles(weights_FI.shape[1]))
    return weights_FI


def inverse(gram_II: sp.csr_matrix, l2_I: Array, *, threads: int = 1, dtype: DTypeLike = np.float32) -> Array:
    """P [I, I] = (G + diag(l2))⁻¹ by Cholesky; only the upper triangle of `gram_II` is read. Cost I³ flops; memory 2·I² numbers of `dtype`.

    Raises:
        TrainingError: the system is not positive definite in this precision.
    """
    with _tiles_on(threads) as each:
        upper_II, inverses = _cholesky(_dense(gram_II, l2_I, dtype), each)
        tiles = _tiles(len(upper_II))
        back_II = np.zeros_like(upper_II)  # U⁻¹, upper triangular

        def invert(column: slice) -> None:
            for row, inverse_TT in zip(reversed(tiles), reversed(inverses), strict=True):
                if row.start == column.start:
                    back_II[row, column] = inverse_TT
                elif row.start < column.start:
                    back_II[row, column] = -inverse_TT @ (upper_II[row, row.stop : column.stop] @ back_II[row.stop : column.stop, column])

        def multiply(row: slice) -> None:  # P = U⁻¹ U⁻ᵀ, over U; a tile and its mirror image
            for column in tiles[row.start // TILE :]:
                upper_II[row, column] = back_II[row, column.start :] @ back_II[column, column.start :].T
                upper_II[column, row] = upper_II[row, column].T

        each(invert, tiles)
        each(multiply, tiles)
    return upper_II


def neighbour_regression(
    gram_FF: sp.csr_matrix, cross_FI: sp.csr_matrix, l2_F: NDArray[Any], k: int, *, symmetric: bool = False, threads: int = 1
) -> sp.csr_matrix:
    """W [F, I], sparse: each target i is regressed on its k best features N alone, w_N = (G_NN + Λ_N)⁻¹ R_Ni (MRF of Steck, NeurIPS 2019).

    The best are those of the largest R_fi / √G_ff, equal ones in order of code; zeros are never chosen. Both matrices come with sorted columns; of
    `gram_FF` only the upper triangle is read. With `symmetric`, `cross_FI` is itself the upper triangle of a symmetric matrix whose diagonal is skipped.

    Cost I·k³/3 flops and I·k² look-ups: linear in the catalogue. Memory I·k entries.

    Raises:
        TrainingError: some system is not positive definite in float32.
    """
    n_features, n_items = cross_FI.shape
    gram = (gram_FF.indptr.astype(np.int64), gram_FF.indices, gram_FF.data.astype(np.float32, copy=False))
    cross = (cross_FI.indptr.astype(np.int64), cross_FI.indices, cross_FI.data.astype(np.float32, copy=False))
    scale_F = 1 / np.sqrt(np.maximum(gram_FF.diagonal(), np.finfo(np.float32).tiny)).astype(np.float32)
    feature_IK, value_IK = np.full((n_items, k), -1, np.int32), np.zeros((n_items, k), np.float32)
    l2_F = np.asarray(l2_F, np.float32)

    def choose(part: slice) -> None:
        _choose(part.start, part.stop, *cross, scale_F, symmetric, feature_IK, value_IK)

    def regress(part: slice) -> None:
        _regress(part.start, part.stop, *gram, l2_F, feature_IK, value_IK)

    with _tiles_on(threads) as each:
        each(choose, _shares(n_items, threads))  # each share reads all of R, so as few as possible
        try:
            each(regress, _shares(n_items, threads * CHUNKS_PER_THREAD))
        except np.linalg.LinAlgError as e:
            raise _indefinite() from e
    used = feature_IK >= 0
    columns = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
    return sp.csc_matrix((value_IK[used], feature_IK[used], columns), shape=(n_features, n_items)).tocsr()


@contextmanager
def _tiles_on(threads: int) -> Iterator[Each]:
    """A function that does something to each of some tiles, `threads` of them at a time, with BLAS kept to one thread inside each."""
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:

        def each(do: Callable[[slice], None], tiles: list[slice]) -> None:
            for done in [pool.submit(do, tile) for tile in tiles]:
                done.result()

        yield each


def _tiles(n: int) -> list[slice]:
    return [slice(start, min(start + TILE, n)) for start in range(0, n, TILE)]


def _shares(n: int, parts: int) -> list[slice]:
    return [slice(low, high) for low, high in pairwise(np.unique(np.linspace(0, n, parts + 1).astype(np.int64)).tolist())]


def _dense(gram_FF: sp.csr_matrix, l2_F: Array, dtype: DTypeLike) -> Array:
    full = gram_FF.astype(dtype).toarray(order="C")
    full.flat[:: len(full) + 1] += np.asarray(l2_F, dtype)
    return np.asarray(full)


def _cholesky(full_FF: Array, each: Each) -> tuple[Array, list[Array]]:
    """Upper triangular U with Uᵀ U = full, in its place, row of tiles after row, and the inverses of U's diagonal tiles."""
    potrf, trtri = sl.get_lapack_funcs(["potrf", "trtri"], (full_FF,))  # type: ignore[misc]
    rows, inverses = _tiles(len(full_FF)), []
    for n, row in enumerate(rows):

        def subtract(column: slice, row: slice = row) -> None:
            full_FF[row, column] -= full_FF[: row.start, row].T @ full_FF[: row.start, column]

        each(subtract, rows[n:])
        factor, failed = potrf(full_FF[row, row], lower=0, clean=1)
        if failed:
            raise _indefinite()
        inverse_TT = np.ascontiguousarray(trtri(factor, lower=0)[0])
        full_FF[row, row] = factor

        def divide(column: slice, row: slice = row, inverse_TT: Array = inverse_TT) -> None:
            full_FF[row, column] = inverse_TT.T @ full_FF[row, column]

        each(divide, rows[n + 1 :])
        inverses.append(inverse_TT)
    return full_FF, inverses


def _indefinite() -> TrainingError:
    return TrainingError("a linear system is not positive definite", expected="a penalty that outweighs rounding", fix="raise l2")


# ---- compiled -----------------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _choose(low, high, indptr, indices, data, scale_F, symmetric, feature_IK, value_IK):  # type: ignore[no-untyped-def]  # pragma: no cover (compiled)
    """The best features of targets low … high − 1, kept in a heap each (the worst at its root), then put in order of code."""
    k = feature_IK.shape[1]
    size_I = np.zeros(high - low, np.int64)
    floor_I = np.full(high - low, -np.inf, np.float32)  # what a feature must reach; most do not, and are turned away before the heap is touched
    score_IK = np.empty((high - low, k), np.float32)
    for f in range(len(indptr) - 1):
        for n in range(indptr[f], indptr[f + 1]):
            i = indices[n]
            if symmetric and i == f:
                continue
            if low <= i < high and scale_F[f] * data[n] >= floor_I[i - low]:
                _offer(size_I, floor_I, score_IK, feature_IK, value_IK, low, i, f, scale_F[f] * data[n], data[n])
            if symmetric and low <= f < high and scale_F[i] * data[n] >= floor_I[f - low]:
                _offer(size_I, floor_I, score_IK, feature_IK, value_IK, low, f, i, scale_F[i] * data[n], data[n])
    for i in range(low, high):
        order = np.argsort(feature_IK[i, : size_I[i - low]])
        feature_IK[i, : len(order)] = feature_IK[i, : len(order)][order]
        value_IK[i, : len(order)] = value_IK[i, : len(order)][order]


@njit(cache=True, nogil=True)
def _offer(size_I, floor_I, score_IK, feature_IK, value_IK, low, i, feature, score, value):  # type: ignore[no-untyped-def]  # pragma: no cover (compiled)
    k = feature_IK.shape[1]
    score_K, feature_K, value_K, size = score_IK[i - low], feature_IK[i], value_IK[i], size_I[i - low]
    if size < k:
        at = size
        size_I[i - low] = size + 1
        while at > 0:  # up, while worse than the parent
            parent = (at - 1) // 2
            if score > score_K[parent] or (score == score_K[parent] and feature < feature_K[parent]):
                break
            score_K[at], feature_K[at], value_K[at] = score_K[parent], feature_K[parent], value_K[parent]
            at = parent
    else:
        if score < score_K[0] or (score == score_K[0] and feature > feature_K[0]):
            return
        at = 0
        while 2 * at + 1 < k:  # down, while a child is worse
            child = 2 * at + 1
            other = child + 1
            if other < k and (score_K[other] < score_K[child] or (score_K[other] == score_K[child] and feature_K[other] > feature_K[child])):
                child = other
            if score < score_K[child] or (score == score_K[child] and feature > feature_K[child]):
                break
            score_K[at], feature_K[at], value_K[at] = score_K[child], feature_K[child], value_K[child]
            at = child
    score_K[at], feature_K[at], value_K[at] = score, feature, value
    if size_I[i - low] == k:
        floor_I[i - low] = score_K[0]


@njit(cache=True, nogil=True)
def _regress(low, high, indptr, indices, data, l2_F, feature_IK, value_IK):  # type: ignore[no-untyped-def]  # pragma: no cover (compiled)
    """Replaces R_Ni by the solution, for targets low … high − 1."""
    for i in range(low, high):
        n = 0
        while n < feature_IK.shape[1] and feature_IK[i, n] >= 0:
            n += 1
        if n == 0:
            continue
        gram_NN = np.zeros((n, n), np.float32)
        for a in range(n):
            f = feature_IK[i, a]
            at, end = indptr[f], indptr[f + 1]
            for b in range(a, n):
                g, last = feature_IK[i, b], end
                while at < last:  # the first column ≥ g
                    middle = (at + last) // 2
                    if indices[middle] < g:
                        at = middle + 1
                    else:
                        last = middle
                if at < end and indices[at] == g:
                    gram_NN[b, a] = data[at]
            gram_NN[a, a] += l2_F[f]
        lower = np.linalg.cholesky(gram_NN)
        x_N = value_IK[i, :n]
        for a in range(n):
            for b in range(a):
                x_N[a] -= lower[a, b] * x_N[b]
            x_N[a] /= lower[a, a]
        for a in range(n - 1, -1, -1):
            x_N[a] /= lower[a, a]
            for b in range(a):
                x_N[b] -= lower[a, b] * x_N[a]
