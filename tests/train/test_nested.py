from functools import partial

import numpy as np
import polars as pl

from daogou.contract import Run
from daogou.data.dataset import Dataset, from_frames
from daogou.data.split import split
from daogou.models.popular import Popular
from daogou.rank.lambdarank import LambdaRank
from daogou.testing.toy import DAY_US, START_US
from daogou.train.nested import FOLDS, _folds, learn


def test_all_questions_of_a_person_are_in_one_fold_and_guests_are_dealt_one_by_one() -> None:
    user_Q = np.array([5, 7, 5, -1, 9, 7, -1, -1, 5, -1, 11, 12], np.int32)
    fold_Q = _folds(user_Q, np.random.default_rng(0))
    for user in (5, 7):
        assert len(set(fold_Q[user_Q == user])) == 1
    assert np.bincount(np.unique(np.column_stack([np.where(user_Q < 0, -1 - np.arange(12), user_Q), fold_Q]), axis=0)[:, 1]).tolist() == [3] * FOLDS
    assert len(set(fold_Q[user_Q < 0])) > 1


def fad() -> Dataset:
    """Everyone buys anything; in the first days of the fifth week nearly everyone buys one thing that few have heard of, and then nobody does."""
    rng = np.random.default_rng(0)
    rows = [(f"u{u}", f"i{rng.integers(40) % 39}", START_US + int(rng.integers(42 * DAY_US))) for u in range(200) for _ in range(20)]
    rows += [("u0", "i39", START_US + day * DAY_US) for day in (1, 2)]
    rows += [(f"u{u}", "i39", START_US + int((28 + rng.random()) * DAY_US)) for u in range(1, 190)]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "time"], orient="row").with_columns(pl.lit("buy").alias("event"))
    return from_frames(frame)


def test_a_ranker_that_has_learned_what_the_window_wants_does_not_win() -> None:
    """People of other folds want the same in the same days; later days tell."""
    parts = split(fad(), "time", test_days=7, repeats=True)
    models = {"popular": Popular().fit(parts.train)}
    new = partial(LambdaRank, trees=40, smallest_leaf=5, leaves=7)
    folds, later = (
        learn(models, {"popular": 1.0}, new, parts.train, parts.validation, Run(), repeats=True, request_time=True, later=later) for later in (False, True)
    )
    assert folds.wins
    assert not later.wins
