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
from daogou.networks.backend import keras
from daogou.testing.contract import asked
from daogou.testing.toy import random_dataset

TINY = {"dimensions": 16, "length": 12, "epochs": 2, "negatives": 16}


def test_the_order_of_a_history_matters():
    data = random_dataset(3)
    model = SasRec(**TINY).fit(data, Run(seed=1))
    forth, back = model.score(asked(Histories.of([[1, 2, 3, 4], [4, 3, 2, 1]]), data))
    assert not np.allclose(forth[np.isfinite(forth)], back[np.isfinite(back)])


def test_the_state_of_a_position_is_the_answer_to_the_history_that_ends_there():
    """The future does not reach the past, and where in the window a history stands makes no difference."""
    model = SasRec(**TINY).fit(random_dataset(3), Run(seed=1))
    codes = np.zeros((1, 12), np.int32)
    codes[0, 4:] = [3, 1, 4, 1, 5, 9, 2, 6]
    every = np.asarray(model._encoder.every(codes, training=False))
    for end in range(5, 12):
        alone = np.zeros((1, 12), np.int32)
        alone[0, 12 - (end - 4) :] = codes[0, 4:end]
        np.testing.assert_allclose(np.asarray(model._encoder(alone, training=False))[0], every[0, end - 1], atol=1e-5)


def test_before_training_the_newest_item_is_the_state():
    model = SasRec(**TINY)
    model.n_items = 9
    model._build(keras())
    table = np.asarray(model._table.embeddings)
    codes = np.array([[0] * 9 + [3, 1, 4]], np.int32)
    state = np.asarray(model._encoder(codes, training=False))[0]
    np.testing.assert_allclose(state, (table[4] - table[4].mean()) / table[4].std(), rtol=1e-3)


def test_heads_must_divide_dimensions():
    with pytest.raises(ConfigError, match="3 heads do not divide 16 dimensions"):
        SasRec(dimensions=16, heads=3)


def test_quality_on_movielens_100k(movielens_split):
    """Leave-one-out, weights from train only; 95 % interval about ± .013."""
    model = SasRec(dimensions=32, length=50, blocks=1, epochs=8, batch_tokens=1600, learning_rate=3e-3).fit(movielens_split.train, Run(seed=1))
    assert 0.045 < evaluate(model, movielens_split.test).mean("ndcg@10") < 0.14
