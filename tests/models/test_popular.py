from typing import ClassVar

import numpy as np
import polars as pl
import pytest

from daogou.contract import Queries
from daogou.data.dataset import from_frames
from daogou.data.histories import Histories
from daogou.errors import TrainingError
from daogou.evaluate import evaluate
from daogou.models.popular import Popular
from daogou.testing.contract import RecommenderContract
from daogou.testing.toy import DAY_US, random_dataset


class TestSegmented(RecommenderContract):
    """The contract with segments, which the registered defaults do not have."""

    personal: ClassVar[bool] = False

    def make(self):
        return Popular(segments=("side", "age"), shrinkage=5.0)


def shop(events, users=None, weights=None):
    frame = pl.DataFrame(events, schema=["user_id", "item_id", "event", "time"], orient="row").with_columns(pl.col("time") * DAY_US)
    return from_frames(frame, users=users, weights=weights)


def guests(n, **attributes):
    given = {name: np.array(values, dtype=object) for name, values in attributes.items()}
    return Queries(history=Histories.empty(n), user_B=np.full(n, -1, np.int32), now_B=np.zeros(n, np.int64), context=Histories.empty(n), attributes=given)


def test_counts_halve_with_the_half_life_and_weigh_by_event():
    data = shop([("a", "x", "buy", 0), ("a", "y", "view", 10), ("b", "y", "buy", 20), ("b", "z", "shown", 20)], weights={"buy": 1.0, "view": 0.25})
    scores = Popular(half_life_days=10.0).fit(data).score(guests(1))[0]
    np.testing.assert_allclose(scores, [0.25, 0.125 + 1.0, 0.0])
    assert Popular().fit(data).recommend(guests(1), 3).codes_BK.tolist() == [[1, 0, -1]], "what nobody wants is not popular"


def test_segments_differ_and_small_ones_follow_everyone():
    users = pl.DataFrame({"user_id": [f"u{n}" for n in range(41)], "land": ["A"] * 20 + ["B"] * 20 + ["C"]})
    rows = [(f"u{n}", "x" if n < 20 else "y", "buy", 0) for n in range(40)] + [("u40", "z", "buy", 0), ("u3", "x", "buy", 0)]
    model = Popular(segments=("land",), shrinkage=4.0).fit(shop(rows, users))
    best = model.recommend(guests(5, land=["A", "B", "C", None, "nowhere"]), 1).codes_BK[:, 0]
    x, y = 0, 1
    assert best.tolist() == [x, y, x, x, x], "one purchase does not make a list of its own; unknown groups get everyone's"
    np.testing.assert_array_equal(model.score(guests(1)), model.score(guests(1, land=["nowhere"])))
    np.testing.assert_array_equal(model.score(guests(1, land=[None])), model.score(guests(1)))


def test_shares_of_a_segment_follow_the_formula():
    users = pl.DataFrame({"user_id": ["u0", "u1"], "land": ["A", "B"]})
    data = shop([("u0", "x", "buy", 0), ("u0", "x", "buy", 0), ("u1", "y", "buy", 0), ("u1", "x", "buy", 0)], users)
    scores = Popular(segments=("land",), shrinkage=2.0).fit(data).score(guests(1, land=["B"]))[0]
    np.testing.assert_allclose(scores, [4 * (1 + 2 * 0.75) / (2 + 2), 4 * (1 + 2 * 0.25) / (2 + 2)], rtol=1e-6)


def test_an_attribute_that_does_not_exist_says_which_do():
    with pytest.raises(TrainingError, match="side"):
        Popular(segments=("colour",)).fit(random_dataset(0))


def test_everyone_can_not_be_forgotten():
    data = random_dataset(0)
    with pytest.raises(TrainingError, match="nothing would be left"):
        Popular().fit(data).forget(data)


def test_forgetting_the_newest_event_moves_the_end_of_the_data():
    data = shop([("a", "x", "buy", 0), ("b", "y", "buy", 100)])
    left = Popular(half_life_days=1.0).fit(data).forget(data.where(data.events.user == 1))
    np.testing.assert_array_equal(left.score(guests(1)), [[1.0, 0.0]])


def test_it_explains_by_nothing_of_the_history():
    data = random_dataset(0)
    assert Popular().fit(data).explain(data.queries(np.array([0], np.int32)), 0) == []


def test_quality_on_movielens_100k(movielens_split):
    """Leave-one-out, validation part: about the .045 of all-time popularity; the taste of a group adds a little, not much."""
    everyone = evaluate(Popular(half_life_days=365.0).fit(movielens_split.train), movielens_split.test).mean("ndcg@10")
    segmented = evaluate(Popular(half_life_days=365.0, segments=("gender", "occupation")).fit(movielens_split.train), movielens_split.test).mean("ndcg@10")
    assert 0.03 < everyone < 0.055
    assert segmented > everyone
