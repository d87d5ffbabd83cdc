from importlib.util import find_spec

import pytest

if find_spec("keras") is None:
    pytest.skip("the extra 'deep' is not installed", allow_module_level=True)

from dataclasses import replace

import numpy as np
import polars as pl

from daogou.contract import Queries, Run
from daogou.data.dataset import from_frames
from daogou.data.histories import Histories
from daogou.data.split import split
from daogou.errors import ConfigError
from daogou.evaluate import evaluate
from daogou.models.sasrec import SasRec, gap_buckets
from daogou.networks.backend import keras
from daogou.testing.contract import asked
from daogou.testing.toy import START_US, random_dataset

TINY = {"dimensions": 16, "length": 12, "epochs": 2, "negatives": 16}
SECOND_US = 1_000_000


def strong_gaps(model):
    """Puts random numbers where a gap in time counts, so that it does."""
    for block in model._encoder.states.blocks:
        if block.gap is not None:
            block.gap.assign(np.random.default_rng(0).normal(scale=3.0, size=block.gap.shape))


def test_the_order_of_a_history_matters():
    data = random_dataset(3)
    model = SasRec(**TINY).fit(data, Run(seed=1))
    forth, back = model.score(asked(Histories.of([[1, 2, 3, 4], [4, 3, 2, 1]]), data))
    assert not np.allclose(forth[np.isfinite(forth)], back[np.isfinite(back)])


@pytest.mark.parametrize("time_gaps", [False, True])
def test_the_state_of_a_position_is_the_answer_to_the_history_that_ends_there(time_gaps):
    """The future does not reach the past, and where in the window a history stands makes no difference. Of time, a position knows when its answer is asked."""
    model = SasRec(**TINY, time_gaps=time_gaps).fit(random_dataset(3), Run(seed=1))
    strong_gaps(model)
    codes, moments = np.zeros((1, 12), np.int32), np.zeros((1, 13), np.int64)
    codes[0, 4:] = [3, 1, 4, 1, 5, 9, 2, 6]
    moments[0, 4:] = START_US + np.cumsum([0, 1, 900, 0, 40, 10**6, 3, 7, 80]) * SECOND_US
    every = np.asarray(model._encoder.every(codes, *model._told(moments), training=False))
    for end in range(5, 12):
        alone, then = np.zeros((1, 12), np.int32), np.zeros((1, 13), np.int64)
        alone[0, 12 - (end - 4) :], then[0, 12 - (end - 4) :] = codes[0, 4:end], moments[0, 4 : end + 1]
        np.testing.assert_allclose(np.asarray(model._encoder(alone, *model._told(then), training=False))[0], every[0, end - 1], atol=1e-5)


def test_before_training_the_newest_item_is_the_state():
    model = SasRec(**TINY)
    model.n_items = 9
    model._build(keras())
    table = np.asarray(model._table.embeddings)
    codes = np.array([[0] * 9 + [3, 1, 4]], np.int32)
    state = np.asarray(model._encoder(codes, training=False))[0]
    np.testing.assert_allclose(state, (table[4] - table[4].mean()) / table[4].std(), rtol=1e-3)


# ---- gaps in time
def test_buckets_of_the_gap_between_an_event_and_the_moment_that_is_asked_about():
    t, year = START_US, 365 * 86_400
    found = gap_buckets(np.array([[t, t, t + SECOND_US, t + 60 * SECOND_US, t + 100 * year * SECOND_US]]))[0]
    assert found.shape == (4, 4)
    assert found[0].tolist() == [0, 0, 0, 0], "asked at the very moment; what comes later is 0"
    assert found[2].tolist() == [13, 13, 13, 0], "⌊ln 60 / .301⌋ = ⌊ln 59 / .301⌋"
    assert found[3].tolist() == [63, 63, 63, 63]
    assert not gap_buckets(np.array([[0, 1, 2, t], [7, 7, 7, 7]]) * [[1], [SECOND_US]]).any(), "counters have no gaps"


def two_kinds_of_visit(seed, people=400):
    """First x, then y, then z: what goes with x where x was a minute ago, what goes with y where it was ten days ago. Items do not tell which."""
    rng = np.random.default_rng(seed)
    x, y, soon = rng.integers(0, 4, people), rng.integers(4, 8, people), rng.random(people) < 0.5
    z = 8 + np.where(soon, x, y)
    at = START_US + rng.integers(0, 10**8, people) * SECOND_US
    gap = np.where(soon, 60, 10 * 86_400) * SECOND_US
    rows = zip(*(np.stack(three, axis=1).ravel().tolist() for three in ([np.arange(people)] * 3, [x, y, z], [at, at + gap - SECOND_US, at + gap])), strict=True)
    data = pl.DataFrame([(f"u{u:03d}", f"i{i:02d}", "take", t) for u, i, t in rows], schema=["user_id", "item_id", "event", "time"], orient="row")
    return from_frames(data, pl.DataFrame({"item_id": [f"i{n:02d}" for n in range(16)]}))


def test_attention_learns_what_depends_on_the_gap_in_time_and_cannot_without_it():
    train, test = two_kinds_of_visit(0), split(two_kinds_of_visit(1), "leave-one-out").test
    right = {}
    for time_gaps in (False, True):
        settings = TINY | {
            "length": 3,
            "blocks": 1,
            "epochs": 40,
            "batch_tokens": 300,
            "negatives": 0,
            "dropout": 0.0,
            "learning_rate": 0.01,
            "holdout_users": 0,
        }
        model = SasRec(**settings, time_gaps=time_gaps).fit(train, Run(seed=1))
        right[time_gaps] = (model.score(test.queries).argmax(axis=1) == test.wanted.item).mean()
    assert right[True] > 0.95
    assert right[False] < 0.6, "items tell half of it"


def test_the_time_of_the_request_counts_with_time_gaps_alone():
    data = random_dataset(3)
    queries = data.queries()
    later = replace(queries, now_B=queries.now_B + 86_400 * SECOND_US)
    for time_gaps in (False, True):
        model = SasRec(**TINY, time_gaps=time_gaps).fit(data, Run(seed=1))
        strong_gaps(model)
        now, then = model.score(queries), model.score(later)
        assert np.array_equal(now, then) != time_gaps


def test_without_real_times_gaps_say_nothing():
    """Equal times, places in a line: the option changes nothing, whatever the clock says when it is asked."""
    model = SasRec(**TINY, time_gaps=True).fit(random_dataset(3), Run(seed=1))
    strong_gaps(model)
    rows = [[1, 2, 3], [4, 5], [6]]
    same, places = (Histories.of(rows, times=times) for times in ([[START_US] * len(r) for r in rows], [range(len(r)) for r in rows]))
    expected = model.score(Queries(history=same, user_B=np.full(3, -1, np.int32), now_B=np.full(3, START_US), context=Histories.empty(3)))
    for now in (0, 3, START_US):
        found = model.score(Queries(history=places, user_B=np.full(3, -1, np.int32), now_B=np.full(3, now), context=Histories.empty(3)))
        np.testing.assert_array_equal(found, expected)


def test_time_gaps_are_saved(tmp_path):
    data = random_dataset(3)
    model = SasRec(**TINY, time_gaps=True).fit(data, Run(seed=1))
    model.save(tmp_path)
    np.testing.assert_array_equal(SasRec.load(tmp_path).score(data.queries()), model.score(data.queries()))
    assert any(name.endswith("gap") and array.any() for name, array in model._state().items())


def test_heads_must_divide_dimensions():
    with pytest.raises(ConfigError, match="3 heads do not divide 16 dimensions"):
        SasRec(dimensions=16, heads=3)


def test_quality_on_movielens_100k(movielens_split):
    """Leave-one-out, weights from train only; 95 % interval about ± .013."""
    model = SasRec(dimensions=32, length=50, blocks=1, epochs=8, batch_tokens=1600, learning_rate=3e-3).fit(movielens_split.train, Run(seed=1))
    assert 0.045 < evaluate(model, movielens_split.test).mean("ndcg@10") < 0.14
