"""The contract suite must be able to fail: a sound model passes all of it, and each broken one is caught by the check named beside it."""

from pathlib import Path

import numpy as np
import pytest

from daogou.config import Config
from daogou.contract import Reason, TopK
from daogou.families import ItemItem, top_k
from daogou.testing.contract import RecommenderContract
from daogou.testing.toy import random_dataset


class Counts(ItemItem):
    """score = how often two items were had by the same people: the smallest honest recommender, and a sum over users."""

    Settings = Config

    def _fit(self, data, run):
        seen_UI = data.histories.matrix(data.n_items, np.ones(len(data.histories.item), np.float32)).sign()
        self._learn((seen_UI.T @ seen_UI).tocsr())

    def _learn(self, counts_II):
        counts_II.eliminate_zeros()
        counts_II.sort_indices()
        self._statistics = {"counts": counts_II.copy()}
        self.weights_FI = counts_II - counts_II.multiply(np.eye(self.n_items)).tocsr()
        self.weights_FI.eliminate_zeros()
        self.weights_FI.sort_indices()

    def forget(self, data):
        seen_UI = data.histories.matrix(self.n_items, np.ones(len(data.histories.item), np.float32)).sign()
        self._learn((self.statistics["counts"] - seen_UI.T @ seen_UI).tocsr())
        return self


class TestSound(RecommenderContract):
    def make(self):
        return Counts()


class FilterAfterChoice(Counts):
    def recommend(self, queries, k, allowed=None):
        top = top_k(self._score(queries), k)
        if allowed is None:
            return top
        mask = np.broadcast_to(allowed, (len(queries), self.n_items))
        ok = (top.codes_BK >= 0) & np.take_along_axis(mask, np.maximum(top.codes_BK, 0).astype(np.int64), 1)
        order = np.argsort(~ok, axis=1, kind="stable")
        good = np.take_along_axis(ok, order, 1)
        return TopK(
            np.where(good, np.take_along_axis(top.codes_BK, order, 1), -1).astype(np.int32),
            np.where(good, np.take_along_axis(top.scores_BK, order, 1), -np.inf).astype(np.float32),
        )


class IgnoresAllowed(Counts):
    def recommend(self, queries, k, allowed=None):
        return super().recommend(queries, k)


class HoldsNaN(Counts):
    def _score(self, queries):
        scores = super()._score(queries)
        scores[:, 4] = np.nan
        return scores


class ScoresUnknownCandidates(Counts):
    def score(self, queries, candidates=None):
        return super().score(queries, None if candidates is None else np.clip(candidates, 0, self.n_items - 1))


class DependsOnTheBatch(Counts):
    def _score(self, queries):
        scores = super()._score(queries)
        return scores - scores.mean(axis=0) if len(scores) else scores


class Forgetless(Counts):
    def forget(self, data):
        return self


class UnseededNoise(Counts):
    def _fit(self, data, run):
        super()._fit(data, run)
        self.weights_FI.data += np.random.default_rng().random(self.weights_FI.nnz).astype(np.float32)


class RemembersTheLastFit(Counts):
    def _fit(self, data, run):
        self._counter = getattr(self, "_counter", 0) + 1
        super()._fit(data, run)
        self.weights_FI.data *= self._counter


class SimilarToItself(Counts):
    def similar(self, items, k):
        return TopK(np.tile(items[:, None], (1, k)), np.ones((len(items), k), np.float32))


class InventsCauses(Counts):
    def explain(self, queries, item):
        return [Reason(i, 1.0, "exact") for i in range(self.n_items)] if 0 <= item < self.n_items else []


class WrongShares(Counts):
    def explain(self, queries, item):
        return [r._replace(weight=r.weight * 0.5) for r in super().explain(queries, item)]


class LosesItsWeights(Counts):
    def _restore(self, state):
        super()._restore(state)
        self.weights_FI = self.weights_FI * 0.5


class Unpersonal(Counts):
    def _score(self, queries):
        return np.tile(np.arange(self.n_items, dtype=np.float32), (len(queries), 1))


BROKEN = [
    (FilterAfterChoice, "test_allowed_counts_before_the_choice", {"shape": "BI"}),
    (IgnoresAllowed, "test_allowed_counts_before_the_choice", {"shape": "I"}),
    (IgnoresAllowed, "test_nothing_allowed_gives_nothing", {}),
    (HoldsNaN, "test_scores_are_numbers", {}),
    (ScoresUnknownCandidates, "test_scores_of_candidates", {}),
    (DependsOnTheBatch, "test_batch_equals_single", {}),
    (Forgetless, "test_forgetting_equals_a_fit_without_the_person", {"through_files": False}),
    (UnseededNoise, "test_same_seed_same_bytes", {}),
    (RemembersTheLastFit, "test_a_second_fit_forgets_the_first", {}),
    (SimilarToItself, "test_similar_never_returns_the_item", {}),
    (InventsCauses, "test_explanations", {}),
    (WrongShares, "test_explanations", {}),
    (LosesItsWeights, "test_a_round_trip_changes_nothing", {}),
    (Unpersonal, "test_answers_depend_on_the_history", {}),
    (Unpersonal, "test_learns_the_checkerboard", {}),
]


@pytest.mark.parametrize(("broken", "check", "arguments"), BROKEN, ids=lambda v: getattr(v, "__name__", v if isinstance(v, str) else ""))
def test_a_broken_model_is_caught(broken, check, arguments, tmp_path: Path):
    class Suite(RecommenderContract):
        def make(self):
            return broken()

    suite, data = Suite(), random_dataset(3)
    method = getattr(suite, check)
    given = {"data": data, "tmp_path": tmp_path}
    wanted = method.__code__.co_varnames[1 : method.__code__.co_argcount]
    if "model" in wanted:
        given["model"] = suite.make().fit(data)
    with pytest.raises(AssertionError):
        method(**{name: given[name] for name in wanted if name in given}, **arguments)
