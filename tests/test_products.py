import numpy as np
import pytest
import scipy.sparse as sp

from daogou.products import BATCH, WIDTH, sparse_dense


@pytest.mark.parametrize("rows", [0, 1, BATCH - 1, BATCH + 3])
@pytest.mark.parametrize("columns", [1, WIDTH - 1, WIDTH, 2 * WIDTH + 5])
def test_product_of_sparse_and_dense(rows, columns):
    rng = np.random.default_rng(rows + columns)
    left = sp.csr_matrix(rng.random((rows, 40)) * (rng.random((rows, 40)) < 0.3), dtype=np.float32)
    right = rng.standard_normal((40, columns)).astype(np.float32)
    found = sparse_dense(left, right)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, left @ right, rtol=1e-5, atol=1e-6)
    for row in range(0, rows, 29):
        np.testing.assert_array_equal(found[row], sparse_dense(left[row], right)[0], "batch equals single to the last bit")
