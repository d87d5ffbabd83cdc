from importlib.util import find_spec

import pytest

if find_spec("keras") is None:
    pytest.skip("the extra 'deep' is not installed", allow_module_level=True)

import numpy as np

from daogou.contract import Run
from daogou.data.histories import Histories
from daogou.errors import ConfigError
from daogou.evaluate import evaluate
from daogou.models.sasrec import SasRec
from daogou.testing.contract import asked
from daogou.testing.toy import random_dataset

TINY = {"dimensions": 16, "length": 12, "epochs": 2, "negatives": 16}


def test_the_order_of_a_history_matters():
    data = random_dataset(3)
    model = SasRec(**TINY).fit(data, Run(seed=1))
    forth, back = model.score(asked(Histories.of([[1, 2, 3, 4], [4, 3, 2, 1]]), data))
    assert not np.allclose(forth[np.isfinite(forth)], back[np.isfinite(back)])


def test_the_future_does_not_reach_the_past():
    """The state of a position is the answer to the history that ends there."""
    model = SasRec(**TINY).fit(random_dataset(3), Run(seed=1))
    codes = np.zeros((1, 12), np.int32)
    codes[0, 4:] = [3, 1, 4, 1, 5, 9, 2, 6]
    every = np.asarray(model._encoder.every(codes, training=False))
    changed = codes.copy()
    changed[0, -1] = 7
    other = np.asarray(model._encoder.every(changed, training=False))
    np.testing.assert_allclose(every[0, 4:-1], other[0, 4:-1], atol=1e-6)
    assert not np.allclose(every[0, -1], other[0, -1])


def test_heads_must_divide_dimensions():
    with pytest.raises(ConfigError, match="3 heads do not divide 16 dimensions"):
        SasRec(dimensions=16, heads=3)


def test_quality_on_movielens_100k(movielens_split):
    """Leave-one-out, weights from train only; 95 % interval about ± .013."""
    model = SasRec(dimensions=32, length=50, blocks=1, epochs=8, batch_tokens=1600, learning_rate=3e-3).fit(movielens_split.train, Run(seed=1))
    assert 0.045 < evaluate(model, movielens_split.test).mean("ndcg@10") < 0.14
