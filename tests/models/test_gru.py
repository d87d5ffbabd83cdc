from importlib.util import find_spec

import pytest

if find_spec("keras") is None:
    pytest.skip("the extra 'deep' is not installed", allow_module_level=True)

import numpy as np

from daogou.contract import Run
from daogou.evaluate import evaluate
from daogou.models.gru import Gru
from daogou.networks import weights
from daogou.testing.toy import random_dataset

TINY = {"dimensions": 8, "units": 12, "length": 12, "epochs": 2, "negatives": 16}


def by_hand(codes, arrays):
    """The docstring's formula, step by step, with the arrays of a fitted network (Keras stacks z, r and the candidate, and has a bias on each side)."""
    named = {key.split(".", 1)[1]: value.astype(np.float64) for key, value in arrays.items()}
    table, out = named["items/embeddings"], named["recurrent/out/kernel"]
    scale, shift = (named[f"recurrent/norm_out/{part}"] for part in ("gamma", "beta"))
    w, u, (b_x, b_h) = (next(v for k, v in named.items() if k.endswith(f"gru_cell/{part}")) for part in ("kernel", "recurrent_kernel", "bias"))
    h = np.zeros(len(u))
    for code in codes:
        (x_z, x_r, x_c), (h_z, h_r, h_c) = (np.split(v, 3) for v in (table[code] @ w + b_x, h @ u + b_h))
        z, r = 1 / (1 + np.exp(-(x_z + h_z))), 1 / (1 + np.exp(-(x_r + h_r)))
        h = z * h + (1 - z) * np.tanh(x_c + r * h_c)
    state = table[codes[-1]] + h @ out
    return ((state - state.mean()) / np.sqrt(state.var() + 1e-6) * scale + shift) @ table[1:].T


def test_scores_follow_the_formula_whatever_the_padding():
    data = random_dataset(3)
    model = Gru(**TINY).fit(data, Run(seed=1))
    query = data.queries(np.array([4], np.int32))
    expected = by_hand(query.history.item[-12:] + 1, weights.read(model._encoder))
    found = model.score(query)[0]
    known = np.isfinite(found)
    np.testing.assert_allclose(found[known], expected[known], rtol=1e-4, atol=1e-5)


def test_quality_on_movielens_100k(movielens_split):
    """Leave-one-out, weights from train only."""
    model = Gru(dimensions=32, units=64, length=30, epochs=10, learning_rate=4e-3, batch_tokens=3200).fit(movielens_split.train, Run(seed=1))
    assert 0.045 < evaluate(model, movielens_split.test).mean("ndcg@10") < 0.14
