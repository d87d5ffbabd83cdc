import numpy as np
import polars as pl
import pytest

from daogou.data.dataset import from_frames
from daogou.data.histories import Histories
from daogou.errors import TrainingError
from daogou.evaluate import evaluate
from daogou.models.covisit import HOUR_US, CoVisit
from daogou.testing.contract import asked
from daogou.testing.toy import random_dataset

PLAIN = {"decay": 1.0, "backward": 0.0, "popularity": 0.0, "shrinkage": 1.0}


def visits(rows, weights=None):
    """Rows of (user, item, event, hour, session or None)."""
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "event", "time", "session_id"], orient="row")
    return from_frames(frame.with_columns((pl.col("time") * HOUR_US).cast(pl.Int64)), weights=weights)


def rates(data, **settings):
    model = CoVisit(**{**PLAIN, **settings}).fit(data)
    return {(data.items.id(j), data.items.id(i)): float(v) for (j, i), v in model.weights_FI.todok().items()}


def test_pairs_decay_with_distance_and_point_forward():
    data = visits([("u", "a", "view", 0, "s"), ("u", "b", "view", 1, "s"), ("u", "c", "view", 2, "s")])
    assert rates(data) == pytest.approx({("a", "b"): 1 / 2, ("a", "c"): 0.5 / 2, ("b", "c"): 1 / 2})
    assert rates(data, backward=0.5)[("c", "a")] == pytest.approx(0.5 * 0.5 / 2)
    assert rates(data, decay=0.0)[("a", "c")] == pytest.approx(1 / 2)


def test_things_of_one_moment_are_all_one_step_apart():
    data = visits([("u", item, "buy", 0, "basket") for item in "abcd"])
    assert rates(data)[("a", "d")] == rates(data)[("a", "b")]


def test_a_visit_is_never_left_and_without_one_the_clock_decides():
    other_visit = visits([("u", "a", "view", 0, "s"), ("u", "b", "view", 0.1, "t")])
    one_long_visit = visits([("u", "a", "view", 0, "s"), ("u", "b", "view", 99, "s")])
    unknown = visits([("u", "a", "view", 0, None), ("u", "b", "view", 2, None), ("u", "c", "view", 9, None)])
    assert rates(other_visit) == {}
    assert set(rates(one_long_visit)) == {("a", "b")}
    assert set(rates(unknown, hours=3.0)) == {("a", "b")}
    assert set(rates(unknown, hours=8.0)) == {("a", "b"), ("b", "c")}


def test_two_people_are_never_paired():
    assert rates(visits([("u", "a", "view", 0, "s"), ("v", "b", "view", 0, "s")])) == {}


def test_the_answer_weighs_by_its_event():
    data = visits([("u", "a", "view", 0, "s"), ("u", "b", "buy", 1, "s"), ("u", "c", "view", 2, "s")], weights={"view": 0.25, "buy": 1.0})
    found = rates(data, decay=0.0)
    assert found[("a", "b")] == pytest.approx(4 * found[("a", "c")])


def test_the_window_counts_events():
    data = visits([("u", item, "view", n, "s") for n, item in enumerate("abcde")])
    assert ("a", "c") in rates(data, window=2) and ("a", "d") not in rates(data, window=2)


def test_popular_answers_are_divided_by_their_weight():
    rows = [("u", "a", "view", 0, "s"), ("u", "b", "view", 1, "s"), ("v", "a", "view", 0, "t"), ("v", "c", "view", 1, "t")]
    data = visits(rows + [("w", "b", "view", n, f"w{n}") for n in range(15)])
    found = rates(data, popularity=0.5)
    assert found[("a", "c")] == pytest.approx(4 * found[("a", "b")])


def test_only_the_best_neighbours_are_kept():
    data = random_dataset(1, n_events=3000)
    everything, few = CoVisit(neighbours=1000).fit(data).weights_FI.toarray(), CoVisit(neighbours=4).fit(data).weights_FI.toarray()
    for row, kept in zip(everything, few, strict=True):
        best = np.argsort(-row, kind="stable")[:4]
        np.testing.assert_array_equal(np.flatnonzero(kept), np.sort(best[row[best] > 0]))
        np.testing.assert_array_equal(kept[kept > 0], row[kept > 0])


def test_the_newest_click_counts_most():
    data = visits([("u", "a", "view", 0, "s"), ("u", "x", "view", 1, "s"), ("v", "b", "view", 0, "t"), ("v", "y", "view", 1, "t")])
    model = CoVisit(recency=1.0).fit(data)
    a, x, b, y = (data.items.code(name) for name in "axby")
    forward = model.score(asked(Histories.of([[a, b], [b, a]]), data))
    assert forward[0, y] > forward[0, x] and forward[1, x] > forward[1, y]
    np.testing.assert_allclose(forward[0, x] / forward[0, y], np.exp(-1), rtol=1e-5)


def test_everyone_can_not_be_forgotten():
    data = random_dataset(0)
    with pytest.raises(TrainingError, match="nothing would be left"):
        CoVisit().fit(data).forget(data)


def test_quality_on_movielens_100k(movielens_split):
    """Leave-one-out, weights from train only. EASE has .075 there."""
    found = evaluate(CoVisit().fit(movielens_split.train), movielens_split.test)
    assert 0.1 < found.mean("ndcg@10") < 0.13
