"""`evaluate` end to end: on questions with provable answers and on real data."""

import numpy as np
import polars as pl
import pytest

from daogou.contract import Queries, Scores
from daogou.data.dataset import Dataset, from_frames
from daogou.data.histories import Histories
from daogou.data.split import Targets, split
from daogou.errors import UsageError
from daogou.evaluate import Catalogue, evaluate
from daogou.testing.data import dataset_path


class Fixed:
    """Scores written down; remembers how many queries it was asked at once."""

    def __init__(self, scores_BI: object) -> None:
        self.scores_BI, self.asked = np.asarray(scores_BI, np.float32), []

    def score(self, queries: Queries) -> Scores:
        self.asked.append(len(queries))
        return self.scores_BI[queries.user_B]


class Popular:
    """Number of events of each item."""

    def __init__(self, data: Dataset) -> None:
        self.count_I = np.bincount(data.histories.item, minlength=data.n_items).astype(np.float32)

    def score(self, queries: Queries) -> Scores:
        return np.tile(self.count_I, (len(queries), 1))


def questions(history: list[list[int]], wanted: list[list[int]], known_I: list[bool] | None = None) -> Targets:
    n = len(history)
    queries = Queries(history=Histories.of(history), user_B=np.arange(n, dtype=np.int32), now_B=np.zeros(n, np.int64), context=Histories.empty(n))
    return Targets(queries, Histories.of(wanted), None if known_I is None else np.array(known_I))


@pytest.mark.parametrize("place", [0, 57, 99])
def test_constant_scorer_hits_nothing_wherever_the_wanted_item_stands(place: int) -> None:
    found = evaluate(Fixed(np.zeros((1, 100))), questions([[]], [[place]]), ks=(10,))
    assert found.mean("hr@10") == found.mean("ndcg@10") == 0
    assert found.mean("auc") == 0.5


def test_seen_items_are_masked_unless_repeats_count() -> None:
    scores, asked = Fixed([[9, 8, 7, 6]]), questions([[0, 1]], [[2]])
    assert evaluate(scores, asked, ks=(1,)).mean("hr@1") == 1
    assert evaluate(scores, asked, ks=(1,), repeats=True).mean("hr@1") == 0
    assert evaluate(scores, asked, ks=(3,)).lists_QK.tolist() == [[2, 3, -1]]


def test_unknown_items_are_no_candidates() -> None:
    scores = Fixed([[9, 8, 7, 6]])
    found = evaluate(scores, questions([[]], [[2]], known_I=[False, False, True, True]), ks=(1,))
    assert found.mean("hr@1") == 1
    assert found.mean("coverage@1") == 0.5
    assert evaluate(scores, questions([[]], [[2]], known_I=[True] * 4), known_I=np.array([False, False, True, True]), ks=(1,)).mean("hr@1") == 1


def test_repeat_and_explore_are_told_apart() -> None:
    """Query 0 wants an old and a new item, query 1 only an old one, query 2 only a new one."""
    asked = questions([[0], [1], [2]], [[0, 3], [1], [3]])
    found = evaluate(Fixed([[9, 0, 0, 1], [9, 5, 0, 1], [0, 9, 9, 8]]), asked, repeats=True, ks=(1, 2))
    repeat, explore = found.parts["repeat"], found.parts["explore"]
    assert repeat.user_Q.tolist() == [0, 1]
    assert repeat.values["hr@1"].tolist() == [1, 0]
    assert explore.user_Q.tolist() == [0, 2]
    assert explore.values["hr@2"].tolist() == [1, 0]  # third of four in query 2
    assert evaluate(Fixed([[1, 2, 3, 4]]), questions([[0]], [[0]]), repeats=True, ks=(1,)).parts.keys() == {"repeat"}
    assert not evaluate(Fixed([[1, 2, 3, 4]]), questions([[0]], [[1]])).parts


@pytest.mark.parametrize("block", [1, 3, 512])
def test_blocks_change_nothing_but_memory(block: int) -> None:
    rng = np.random.default_rng(1)
    scores = Fixed(rng.random((7, 30)))
    asked = questions([[int(u)] for u in range(7)], [[int(i) for i in rng.choice(np.arange(7, 30), 3, replace=False)] for _ in range(7)])
    found, whole = evaluate(scores, asked, block=block), evaluate(Fixed(scores.scores_BI), asked)
    assert max(scores.asked) <= block
    for name in whole.values:
        assert found.values[name].tolist() == whole.values[name].tolist()


def test_wrong_answers_of_a_scorer_are_refused() -> None:
    class OneRow:
        def score(self, queries: Queries) -> Scores:
            return np.zeros((1, 5), np.float32)

    with pytest.raises(UsageError, match=r"answered 2 queries with an array of shape \(1, 5\)"):
        evaluate(OneRow(), questions([[], []], [[0], [1]]))
    with pytest.raises(UsageError, match="no query"):
        evaluate(OneRow(), questions([], []))
    with pytest.raises(UsageError, match="at least 1"):
        evaluate(OneRow(), questions([[]], [[0]]), ks=(0,))


def test_popularity_on_ml_100k_matches_what_was_measured_before() -> None:
    """Reference of another implementation: .0870/.0449 (5-core, 1,349 items) with weights from train and validation; here with every item."""
    path = dataset_path("ml-100k") / "u.data"
    frame = pl.read_csv(path, separator="\t", has_header=False, new_columns=["user_id", "item_id", "value", "time"])
    frame = frame.with_columns(pl.col("user_id", "item_id").cast(pl.String), pl.lit("rate").alias("event"), pl.col("time") * 1_000_000)
    core = frame.filter(pl.len().over("item_id") >= 5)
    assert core["item_id"].n_unique() == 1349
    parts = split(from_frames(core), "leave-one-out")
    found = evaluate(Popular(parts.refit), parts.test, catalogue=Catalogue.of(parts.refit))
    assert found.mean("hr@10") == pytest.approx(0.0870, abs=0.002)
    assert found.mean("ndcg@10") == pytest.approx(0.0449, abs=0.002)
    assert found.ci95["ndcg@10"].low < found.mean("ndcg@10") < found.ci95["ndcg@10"].high
    assert 0.02 < found.mean("coverage@10") < 0.1
    assert found.mean("gini@10") > 0.95
