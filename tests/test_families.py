"""The families' own behaviour, on models of one line; what they share with all recommenders is in testing/contract.py."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from daogou.contract import Run
from daogou.data.histories import Histories
from daogou.errors import ReleaseError, TrainingError
from daogou.families import Base, ItemItem, Vectors, newest_of_item, top_k
from daogou.testing.contract import RecommenderContract, asked, check_top
from daogou.testing.toy import random_dataset

FINITE = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0, np.nan, -np.inf])


def plain_top_k(scores, k, allowed, positive):
    """What top_k promises, by sorting everything."""
    best = [(-s, i) for i, s in enumerate(scores) if allowed[i] and np.isfinite(s) and (s > 0 or not positive)]
    chosen = sorted(best)[:k]
    return [i for _, i in chosen] + [-1] * (k - len(chosen)), [-s for s, _ in chosen] + [-np.inf] * (k - len(chosen))


@settings(max_examples=300, deadline=None)
@given(data=st.data(), n_items=st.integers(0, 12), n_rows=st.integers(0, 3), k=st.integers(0, 15), positive=st.booleans())
def test_top_k_is_a_stable_sort_of_what_is_allowed(data, n_items, n_rows, k, positive):
    scores = np.array(data.draw(st.lists(st.lists(FINITE, min_size=n_items, max_size=n_items), min_size=n_rows, max_size=n_rows)), np.float32)
    scores = scores.reshape(n_rows, n_items)
    mask = data.draw(st.sampled_from(["none", "I", "BI"]))
    allowed = None if mask == "none" else np.random.default_rng(n_items + k).random(n_items if mask == "I" else (n_rows, n_items)) < 0.6
    before = scores.copy()
    top = top_k(scores, k, allowed, positive=positive)
    np.testing.assert_array_equal(scores, before)
    check_top(top, n_items)
    full = np.broadcast_to(True if allowed is None else allowed, (n_rows, n_items))
    for b in range(n_rows):
        codes, best = plain_top_k(scores[b].tolist(), k, full[b], positive)
        assert top.codes_BK[b].tolist() == codes and top.scores_BK[b].tolist() == best


def test_only_the_newest_event_of_an_item_counts():
    history = Histories.of([[3, 1, 3, 9, -1], [], [1, 1]])
    assert newest_of_item(history, 5).tolist() == [1, 2, 6]


class Table(ItemItem):
    """Weights given by hand."""

    sparse = False

    def _fit(self, data, run):
        weights = np.random.default_rng(run.seed).random((data.n_items, data.n_items)).astype(np.float32)
        weights[weights < 0.7] = 0
        np.fill_diagonal(weights, 0)
        self.weights_FI = sp.csr_matrix(weights) if self.sparse else weights


class SparseTable(Table):
    sparse = True


class Factors(Vectors):
    def _fit(self, data, run):
        self.vectors_ID = np.random.default_rng(run.seed).standard_normal((data.n_items, 4)).astype(np.float32)
        self.vectors_ID[2:3] = 0

    def _fold_in(self, queries):
        return np.asarray(queries.history.matrix(self.n_items) @ self.vectors_ID, np.float32)


class Nearest(Base):
    """Not linear, so that only leaving out can explain it."""

    def _fit(self, data, run):
        self.table_II = np.random.default_rng(run.seed).random((data.n_items, data.n_items)).astype(np.float32)

    def _score(self, queries):
        out = np.zeros((len(queries), self.n_items), np.float32)
        for b, (first, last) in enumerate(zip(queries.history.start[:-1], queries.history.start[1:], strict=True)):
            items = queries.history.item[first:last]
            items = items[(items >= 0) & (items < self.n_items)]
            if len(items):
                out[b] = self.table_II[items].max(axis=0)
        return out

    def _state(self):
        return {"table": self.table_II}

    def _restore(self, state):
        self.table_II = state["table"]


class Untaught(RecommenderContract):
    def test_learns_the_checkerboard(self):
        pytest.skip("its weights are random: the family is tested, not a model")


class TestItemItemDense(Untaught):
    def make(self):
        return Table()


class TestItemItemSparse(Untaught):
    def make(self):
        return SparseTable()


class TestVectors(Untaught):
    def make(self):
        return Factors()


class TestLeftOut(Untaught):
    def make(self):
        return Nearest()


@pytest.fixture(scope="module")
def data():
    return random_dataset(0)


def test_dense_and_sparse_weights_answer_alike(data):
    dense, sparse = Table().fit(data), SparseTable().fit(data)
    np.testing.assert_allclose(dense.score(data.queries()), sparse.score(data.queries()), rtol=1e-5)
    assert dense.explain(data.queries()[1:2], 3) == sparse.explain(data.queries()[1:2], 3)


def test_an_item_without_a_vector_is_similar_to_nothing(data):
    top = Factors().fit(data).similar(np.array([2, 5], np.int32), data.n_items)
    assert (top.codes_BK[0] == -1).all() and 2 not in top.codes_BK[1]


def test_leaving_out_says_by_how_much_the_score_falls(data):
    model = Nearest().fit(data)
    query = asked(Histories.of([[4, 7, 4, 9]]), data)
    reasons = model.explain(query, 1)
    best, second = np.sort(model.table_II[[4, 7, 9], 1])[::-1][:2]
    assert [(r.item, r.how) for r in reasons] == [((4, 7, 9)[int(np.argmax(model.table_II[[4, 7, 9], 1]))], "left-out")]
    assert reasons[0].weight == pytest.approx(best - second)


def test_nan_after_training_is_an_error(data):
    class Broken(Table):
        def _fit(self, data, run):
            super()._fit(data, run)
            self.weights_FI[0, 1] = np.nan

    with pytest.raises(TrainingError, match="NaN"):
        Broken().fit(data, Run())


@pytest.mark.parametrize("damage", ["missing", "cut", "config", "settings", "empty"])
def test_damaged_files_are_a_release_error_that_names_the_place(data, tmp_path: Path, damage):
    Table().fit(data).save(tmp_path)
    weights, config = tmp_path / "weights.safetensors", tmp_path / "config.json"
    if damage == "missing":
        weights.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:100])
    elif damage == "config":
        config.write_text("{not json")
    elif damage == "settings":
        config.write_text(config.read_text().replace('"config": {', '"config": {"strange": 1'))
    else:
        weights.write_bytes(b"")
    with pytest.raises(ReleaseError) as error:
        Table.load(tmp_path)
    assert str(tmp_path) in str(error.value) and "roll back" in str(error.value)
