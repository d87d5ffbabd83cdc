"""The contract suite: what every recommender must do, as a class to inherit.

    class TestMine(RecommenderContract):
        def make(self):
            return Mine(rank=8)

runs every check below on toy data whose answers are known. Deviations are declared as class attributes, never by removing a check.
"""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from daogou.contract import Additive, Codes, Mask, Queries, Recommender, Run, TopK
from daogou.data.dataset import Dataset, from_frames
from daogou.data.histories import Histories
from daogou.errors import TrainingError
from daogou.testing.toy import DAY_US, START_US, checkerboard, held_out, random_dataset

RTOL, ATOL = 2e-4, 2e-5
"How far float32 sums in another order may lie apart."


class RecommenderContract(ABC):
    """Inherit it in a test module and define `make`."""

    personal: ClassVar[bool] = True
    "The answer depends on the history (False: popularity)."
    explores: ClassVar[bool] = True
    "It proposes items that the history does not hold (False: repurchase)."
    user_rows: ClassVar[bool] = False
    "It keeps something for each user, so a guest with the same history may be answered differently."

    needs_events: ClassVar[bool] = True
    "Without events there is nothing to learn (False: a catalogue alone makes a model)."

    forgets_bytewise: ClassVar[bool] = True
    "Its sums over users are integers, so that forgetting gives the very bytes of a fit without the person (False: sums of floats, equal up to rounding)."

    @abstractmethod
    def make(self) -> Any:
        """An unfitted model, with hyperparameters that suit tiny data."""

    @pytest.fixture
    def data(self) -> Dataset:
        return random_dataset(3)

    @pytest.fixture
    def model(self, data: Dataset) -> Any:
        return self.make().fit(data, Run(seed=1))

    # ---- learning
    def test_it_is_a_recommender(self, model: Any, data: Dataset) -> None:
        assert isinstance(model, Recommender)
        assert model.n_items == data.n_items

    def test_learns_the_checkerboard(self) -> None:
        if not (self.personal and self.explores):
            pytest.skip("declared: its answers are not new items that follow from taste")
        data = checkerboard()
        model, queries = self.make().fit(data, Run(seed=1)), data.queries()
        unseen = ~queries.history.seen(data.n_items)
        np.testing.assert_array_equal(model.recommend(queries, 1, unseen).codes_BK[:, 0], held_out(data))

    def test_answers_depend_on_the_history(self, model: Any, data: Dataset) -> None:
        if not self.personal:
            pytest.skip("declared: the same for everyone")
        scores = model.score(data.queries(np.arange(10, dtype=np.int32)))
        assert len({row.tobytes() for row in scores}) > 1

    def test_same_seed_same_bytes(self, data: Dataset, tmp_path: Path) -> None:
        for name in ("a", "b"):
            self.make().fit(data, Run(seed=5)).save(tmp_path / name)
        assert digest(tmp_path / "a") == digest(tmp_path / "b")

    def test_a_second_fit_forgets_the_first(self, data: Dataset, tmp_path: Path) -> None:
        other = random_dataset(4, n_items=25)
        self.make().fit(data, Run(seed=5)).fit(other, Run(seed=5)).save(tmp_path / "again")
        self.make().fit(other, Run(seed=5)).save(tmp_path / "fresh")
        assert digest(tmp_path / "again") == digest(tmp_path / "fresh")

    def test_fitting_leaves_the_data_alone(self, data: Dataset) -> None:
        before = [getattr(data.events, name).copy() for name in data.events.__slots__] + [data.weight_E.copy(), data.histories.item.copy()]
        self.make().fit(data, Run(seed=1))
        after = [getattr(data.events, name) for name in data.events.__slots__] + [data.weight_E, data.histories.item]
        for a, b in zip(before, after, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_nothing_to_learn_from_is_an_error(self, data: Dataset) -> None:
        for empty in (data.where(np.zeros(len(data.events), np.bool_)), data.where(data.weight_E == 0)):
            if self.needs_events:
                with pytest.raises(TrainingError):
                    self.make().fit(empty, Run())
            else:
                assert (self.make().fit(empty, Run()).similar(np.zeros(1, np.int32), 3).codes_BK >= 0).all()

    @pytest.mark.parametrize(("users", "items"), [(1, 1), (1, 3), (3, 1)])
    def test_the_smallest_data(self, users: int, items: int) -> None:
        rows = [(f"u{u}", f"i{i}", "buy", START_US + DAY_US * (u + i)) for u in range(users) for i in range(items)]
        people = pl.DataFrame({"user_id": [f"u{u}" for u in range(users)], "side": ["odd"] * users, "age": [30.0] * users})
        data = from_frames(pl.DataFrame(rows, schema=["user_id", "item_id", "event", "time"], orient="row"), users=people)
        model = self.make().fit(data, Run(seed=1))
        check_scores(model.score(data.queries()), (users, items))
        check_top(model.recommend(data.queries(), 3), data.n_items)

    # ---- answering
    def test_scores_are_numbers(self, model: Any, data: Dataset) -> None:
        scores = model.score(data.queries())
        check_scores(scores, (data.n_users, data.n_items))
        assert np.isfinite(scores).any(axis=1).sum() >= 0.5 * data.n_users, "most shoppers have some item with a score"

    def test_scores_of_candidates(self, model: Any, data: Dataset) -> None:
        queries = data.queries()
        everything = model.score(queries)
        some = np.tile(np.array([3, -1, 0, data.n_items, 3, data.n_items + 1000], np.int32), (len(queries), 1))
        scores = model.score(queries, some)
        check_scores(scores, some.shape)
        close(scores[:, [0, 2, 4]], everything[:, [3, 0, 3]])
        assert (scores[:, [1, 3, 5]] == -np.inf).all(), "unknown candidates score −inf"

    def test_the_list_is_the_best_of_the_scores(self, model: Any, data: Dataset) -> None:
        queries = data.queries()
        top, scores = model.recommend(queries, 7), model.score(queries)
        check_top(top, data.n_items)
        for b in range(len(queries)):
            chosen = top.codes_BK[b][top.codes_BK[b] >= 0]
            close(scores[b, chosen], top.scores_BK[b, : len(chosen)])
            rest = np.delete(scores[b], chosen)
            if len(chosen) == 7 and len(rest):
                assert rest.max() <= scores[b, chosen].min() + 1e-4 * (1 + abs(scores[b, chosen].min())), "a better item was left out"

    @pytest.mark.parametrize("shape", ["I", "BI"])
    def test_allowed_counts_before_the_choice(self, model: Any, data: Dataset, shape: str) -> None:
        queries, rng = data.queries(), np.random.default_rng(0)
        allowed: Mask = rng.random((len(queries), data.n_items) if shape == "BI" else data.n_items) < 0.3
        mask = np.broadcast_to(allowed, (len(queries), data.n_items))
        top, free = model.recommend(queries, 5, allowed), model.recommend(queries, data.n_items)
        check_top(top, data.n_items)
        for b in range(len(queries)):
            codes = top.codes_BK[b][top.codes_BK[b] >= 0]
            assert mask[b, codes].all(), "a forbidden item was returned"
            could = [c for c in free.codes_BK[b] if c >= 0 and mask[b, c]]
            assert len(codes) == min(5, len(could)), "a filter before the choice leaves no place free that an allowed item could take"

    def test_nothing_allowed_gives_nothing(self, model: Any, data: Dataset) -> None:
        top = model.recommend(data.queries(), 4, np.zeros(data.n_items, np.bool_))
        assert (top.codes_BK == -1).all() and (top.scores_BK == -np.inf).all()

    def test_k_beyond_the_catalogue(self, model: Any, data: Dataset) -> None:
        top = model.recommend(data.queries(), data.n_items + 9)
        check_top(top, data.n_items)
        assert top.codes_BK.shape == (data.n_users, data.n_items + 9)

    def test_batch_equals_single(self, model: Any, data: Dataset) -> None:
        queries = data.queries()
        batch, scores = model.recommend(queries, 6), model.score(queries)
        for b in range(len(queries)):
            one = queries[b : b + 1]
            single = model.recommend(one, 6)
            close(model.score(one)[0], scores[b])
            close(single.scores_BK[0], batch.scores_BK[b])
            same_order_up_to_ties(single.codes_BK[0], batch.codes_BK[b], scores[b])

    def test_the_order_of_queries_does_not_matter(self, model: Any, data: Dataset) -> None:
        queries, order = data.queries(), np.random.default_rng(0).permutation(data.n_users)
        close(model.score(queries[order]), model.score(queries)[order])

    def test_a_guest_with_the_same_history(self, model: Any, data: Dataset) -> None:
        queries = data.queries()
        guests = replace(queries, user_B=np.full(len(queries), -1, np.int32))
        check_scores(model.score(guests), (len(queries), data.n_items))
        if not self.user_rows:
            np.testing.assert_array_equal(model.score(guests), model.score(queries))

    def test_guests_without_history(self, model: Any, data: Dataset) -> None:
        guests = Queries(history=Histories.empty(3), user_B=np.full(3, -1, np.int32), now_B=np.full(3, data.end), context=Histories.empty(3))
        check_scores(model.score(guests), (3, data.n_items))
        check_top(model.recommend(guests, 5), data.n_items)
        check_top(model.recommend(guests[0:1], 5), data.n_items)

    def test_a_batch_of_none(self, model: Any, data: Dataset) -> None:
        nobody = data.queries()[0:0]
        assert model.score(nobody).shape == (0, data.n_items)
        assert model.recommend(nobody, 3).codes_BK.shape == (0, 3)

    def test_unknown_items_in_the_history(self, model: Any, data: Dataset) -> None:
        known = Histories.of([[1, 2], [4]], times=[[START_US, START_US], [START_US]])
        strange = Histories.of([[1, data.n_items, 2], [-1, 4]], times=[[START_US] * 3, [START_US] * 2])
        for history in (strange, Histories.of([[data.n_items + 5], [-1]])):
            check_scores(model.score(asked(history, data)), (2, data.n_items))
            check_top(model.recommend(asked(history, data), 5), data.n_items)
        reasons = [model.explain(asked(history, data)[1:2], 0) for history in (known, strange)]
        assert len(reasons[0]) == len(reasons[1]), "something unknown became a cause"

    # ---- similar items and explanations
    def test_similar_never_returns_the_item(self, model: Any, data: Dataset) -> None:
        items = np.arange(data.n_items, dtype=np.int32)
        top = model.similar(items, 5)
        check_top(top, data.n_items)
        assert top.codes_BK.shape == (data.n_items, 5)
        assert not (top.codes_BK == items[:, None]).any()

    def test_similar_to_something_unknown_is_empty(self, model: Any, data: Dataset) -> None:
        top = model.similar(np.array([-1, data.n_items, data.n_items + 7], np.int32), 4)
        assert (top.codes_BK == -1).all() and (top.scores_BK == -np.inf).all()

    def test_explanations(self, model: Any, data: Dataset) -> None:
        for u in range(8):
            query = data.queries(np.array([u], np.int32))
            alone = replace(query, history=Histories.empty(1))
            for item in [*model.recommend(query, 3).codes_BK[0].tolist(), 0]:
                if item < 0:
                    continue
                reasons = model.explain(query, item)
                assert {r.item for r in reasons} <= set(query.history.item.tolist()), "a cause that is not in the history"
                assert len({r.item for r in reasons}) == len(reasons), "an item is one cause"
                assert [r.weight for r in reasons] == sorted((r.weight for r in reasons), reverse=True), "strongest first"
                assert {r.how for r in reasons} <= {"exact", "left-out"} and all(np.isfinite(r.weight) for r in reasons)
                if reasons and all(r.how == "exact" for r in reasons):
                    without = float(model.score(alone)[0, item])  # −inf: nothing is known of it, so all of the score is explained
                    difference = float(model.score(query)[0, item]) - (without if np.isfinite(without) else 0.0)
                    close(sum(r.weight for r in reasons), difference)

    def test_an_unknown_item_has_no_explanation(self, model: Any, data: Dataset) -> None:
        query = data.queries(np.array([0], np.int32))
        assert model.explain(query, -1) == [] and model.explain(query, data.n_items) == []

    # ---- files
    def test_a_round_trip_changes_nothing(self, model: Any, data: Dataset, tmp_path: Path) -> None:
        model.save(tmp_path / "a")
        model.save(tmp_path / "b")
        assert digest(tmp_path / "a") == digest(tmp_path / "b")
        loaded, queries = type(model).load(tmp_path / "a"), data.queries()
        assert loaded.config == model.config and loaded.n_items == model.n_items
        np.testing.assert_array_equal(loaded.score(queries), model.score(queries))
        for mine, theirs in zip(loaded.recommend(queries, 5), model.recommend(queries, 5), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        for mine, theirs in zip(loaded.similar(queries.user_B[:9], 5), model.similar(queries.user_B[:9], 5), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        loaded.save(tmp_path / "c")
        assert digest(tmp_path / "c") == digest(tmp_path / "a"), "a loaded model saves all that it was loaded from"

    # ---- erasure
    @pytest.mark.parametrize("through_files", [False, True])
    def test_forgetting_equals_a_fit_without_the_person(self, data: Dataset, tmp_path: Path, through_files: bool) -> None:
        model: Any = self.make()
        if not isinstance(model, Additive):
            pytest.skip("not a sum over users: erased by training again")
        model = cast(Any, model)
        gone = np.isin(data.events.user, [2, int(data.events.user[np.argmax(data.events.time)])])
        model.fit(data, Run(seed=1))
        if through_files:
            model.save(tmp_path / "before")
            model = type(model).load(tmp_path / "before")
        model = model.forget(data.where(gone))
        model.save(tmp_path / "forgot")
        never = self.make().fit(data.where(~gone), Run(seed=1))
        never.save(tmp_path / "never")
        close(model.score(data.queries()), never.score(data.queries()))
        if self.forgets_bytewise:
            assert digest(tmp_path / "forgot") == digest(tmp_path / "never")


def asked(history: Histories, data: Dataset) -> Queries:
    """Guests with these histories at the end of `data`."""
    n = len(history)
    return Queries(history=history, user_B=np.full(n, -1, np.int32), now_B=np.full(n, data.end), context=Histories.empty(n))


def close(a: Any, b: Any) -> None:
    """Equal up to rounding."""
    np.testing.assert_allclose(a, b, rtol=RTOL, atol=ATOL)


def check_scores(scores: NDArray[Any], shape: tuple[int, ...]) -> None:
    """float32 of that shape; −inf says "nothing known", NaN and +inf never occur."""
    assert scores.shape == shape and scores.dtype == np.float32
    assert not np.isnan(scores).any() and not (scores == np.inf).any()


def check_top(top: TopK, n_items: int) -> None:
    """Known items, each once, best first, and free places only at the end."""
    codes, scores = top
    assert codes.dtype == np.int32 and scores.dtype == np.float32 and codes.shape == scores.shape
    assert ((codes >= -1) & (codes < n_items)).all()
    assert (np.isfinite(scores) == (codes >= 0)).all(), "free places score −inf, filled ones a number"
    for row, values in zip(codes, scores, strict=True):
        filled = row[row >= 0]
        assert (row[: len(filled)] >= 0).all(), "a free place before a filled one"
        assert len(np.unique(filled)) == len(filled), "an item twice"
        assert (np.diff(values[: len(filled)]) <= 0).all(), "not best first"


def same_order_up_to_ties(a: Codes, b: Codes, scores_I: NDArray[Any]) -> None:
    """Two rankings agree wherever the scores are further apart than rounding."""
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        assert x == y or (x >= 0 and y >= 0 and np.isclose(scores_I[x], scores_I[y], rtol=RTOL, atol=ATOL)), f"items {x} and {y} changed places"


def digest(directory: Path) -> str:
    """sha256 over names and bytes of all files below a directory."""
    total = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            total.update(str(path.relative_to(directory)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
