"""The blend: its score is the weighted sum it claims to be, and its weights find what helps."""

from typing import Any

import numpy as np
import pytest

from daogou.contract import Codes, Queries, Scores
from daogou.data.histories import Histories
from daogou.data.split import Targets
from daogou.errors import TrainingError
from daogou.evaluate import evaluate
from daogou.rank.blend import Blend, fit, repeats_at
from daogou.scenario import Evaluation, Placement


class Table:
    """A recommender that reads its scores from a table, row = the user's code."""

    positive_only = False

    def __init__(self, scores_UI: Any) -> None:
        self.scores_UI = np.asarray(scores_UI, np.float32)
        self.n_items = self.scores_UI.shape[1]
        self.asked = 0

    def score(self, queries: Queries, candidates: Codes | None = None) -> Scores:
        self.asked += 1
        return self.scores_UI[queries.user_B].copy()


class Evidence(Table):
    positive_only = True


def queries(n: int, history: list[list[int]] | None = None) -> Queries:
    return Queries(history=Histories.of(history or [[]] * n), user_B=np.arange(n, dtype=np.int32), now_B=np.zeros(n, np.int64), context=Histories.empty(n))


def targets(wanted: list[list[int]], history: list[list[int]] | None = None) -> Targets:
    return Targets(queries(len(wanted), history), Histories.of(wanted))


def signal(rng: np.random.Generator, wanted: list[list[int]], n_items: int, strength: float) -> np.ndarray:
    """Noise, with the wanted items raised."""
    scores = rng.normal(size=(len(wanted), n_items))
    for b, items in enumerate(wanted):
        scores[b, items] += strength
    return scores


def test_the_score_is_the_weighted_sum_of_z_scores() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(100, 30)), rng.gamma(1, 9, size=(100, 30))
    found = Blend({"a": Table(a), "b": Table(b)}, {"a": 0.25, "b": 0.75}, repeats=True).score(queries(100))
    z = [(x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True) for x in (a, b)]
    assert found == pytest.approx(0.25 * z[0] + 0.75 * z[1], abs=1e-4)


def test_batch_equals_single() -> None:
    rng = np.random.default_rng(1)
    blend = Blend({"a": Table(rng.normal(size=(150, 20))), "b": Table(rng.normal(size=(150, 20)))}, {"a": 1.0, "b": 2.0}, repeats=False)
    asked = queries(150, [[u % 20] for u in range(150)])
    assert np.array_equal(blend.score(asked), np.concatenate([blend.score(asked[u : u + 1]) for u in range(150)]))


def test_without_repeats_the_history_takes_no_part_in_mean_and_deviation() -> None:
    scores = np.array([[1.0, 2.0, 3.0, 1000.0]])
    model = {"a": Table(scores)}
    z = Blend(model, {"a": 1.0}, repeats=False).score(queries(1, [[3]]))[0, :3]
    assert z == pytest.approx((scores[0, :3] - 2) / scores[0, :3].std(), abs=1e-4)


def test_models_without_a_weight_are_not_asked() -> None:
    a, b = Table([[1.0, 2.0]]), Table([[1.0, 2.0]])
    blend = Blend({"a": a, "b": b}, {"a": 1.0, "b": 0.0}, repeats=True)
    blend.score(queries(1))
    assert (a.asked, b.asked) == (1, 0)
    assert list(blend.models) == ["a"]


def test_an_item_of_which_no_model_has_evidence_is_not_retrieved() -> None:
    bought = Evidence([[0.0, 3.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    score = Blend({"a": bought}, {"a": 1.0}, repeats=True).score(queries(2))
    assert np.isfinite(score).tolist() == [[False, True, False, True], [False] * 4]
    told = Table([[4.0, 3.0, 2.0, -np.inf], [1.0, 1.0, 1.0, 1.0]])
    score = Blend({"a": bought, "b": told}, {"a": 1.0, "b": 1.0}, repeats=True).score(queries(2))
    assert np.isfinite(score).tolist() == [[True, True, True, True], [False] * 4]


def test_models_of_different_age_know_different_numbers_of_items() -> None:
    old, new = Table([[1.0, 0.0]]), Table([[0.0, 0.0, 5.0]])
    score = Blend({"old": old, "new": new}, {"old": 1.0, "new": 1.0}, repeats=True).score(queries(1))
    assert score.shape == (1, 3)
    assert np.argmax(score[0]) == 2


def test_features_of_candidates_are_the_models_z_scores() -> None:
    a = np.array([[1.0, 2.0, 3.0], [3.0, 3.0, 0.0]])
    features = Blend({"a": Table(a), "b": Table(-a)}, {"a": 1.0, "b": 1.0}, repeats=True).features(queries(2), np.array([[2, 0], [1, -1]], np.int32))
    z = (a - a.mean(axis=1, keepdims=True)) / a.std(axis=1, keepdims=True)
    assert features[:, :, 0] == pytest.approx(np.array([[z[0, 2], z[0, 0]], [z[1, 1], z[1].min()]]), abs=1e-5)
    assert features[:, :, 1] == pytest.approx(np.array([[-z[0, 2], -z[0, 0]], [-z[1, 1], (-z[1]).min()]]), abs=1e-5)


def test_two_halves_of_the_truth_are_better_than_either() -> None:
    rng = np.random.default_rng(2)
    wanted = [[int(x)] for x in rng.integers(0, 400, 300)]
    models = {"a": Table(signal(rng, wanted, 400, 2.0)), "b": Table(signal(rng, wanted, 400, 2.0)), "noise": Table(rng.normal(size=(300, 400)))}
    weights = fit(models, targets(wanted), repeats=True)
    assert sum(weights.values()) == pytest.approx(1, abs=1e-5)
    assert weights["noise"] < 0.1
    assert 0.3 < weights["a"] < 0.7
    best = max(evaluate(model, targets(wanted), repeats=True).mean("ndcg@10") for model in models.values())
    assert evaluate(Blend(models, weights, repeats=True), targets(wanted), repeats=True).mean("ndcg@10") > 1.3 * best


def test_the_ascent_sees_the_ndcg_that_evaluation_sees() -> None:
    """The candidates of the ascent are a part of the catalogue; the value it climbs must be the real one."""
    from daogou.rank.blend import _ndcg, questions

    rng = np.random.default_rng(3)
    wanted = [sorted({int(x) for x in rng.integers(0, 200, 3)}) for _ in range(90)]
    history = [[int(x)] for x in rng.integers(0, 200, 90)]
    wanted = [[i for i in row if i not in past] for row, past in zip(wanted, history, strict=True)]
    models = {"a": Table(signal(rng, wanted, 200, 1.5)), "b": Table(signal(rng, wanted, 200, 1.0))}
    asked = targets(wanted, history)
    blend = Blend(models, {"a": 0.6, "b": 0.4}, repeats=False)
    found = _ndcg(questions(models, asked, repeats=False, depth=200), np.array([0.6, 0.4]), 10)
    assert found == pytest.approx(evaluate(blend, asked, repeats=False).mean("ndcg@10"), abs=1e-6)


def test_one_model_or_no_target_needs_no_learning() -> None:
    one = {"a": Table([[1.0, 2.0]])}
    assert fit(one, targets([[1]]), repeats=True) == {"a": 1.0}
    assert fit({**one, "b": Table([[1.0, 2.0]])}, targets([]), repeats=True) == {"a": 0.5, "b": 0.5}
    with pytest.raises(TrainingError):
        fit({}, targets([[1]]), repeats=True)


def test_the_same_questions_give_the_same_weights() -> None:
    rng = np.random.default_rng(4)
    wanted = [[int(x)] for x in rng.integers(0, 60, 80)]
    models = {"a": Table(signal(rng, wanted, 60, 1.0)), "b": Table(signal(rng, wanted, 60, 1.0))}
    assert fit(models, targets(wanted), repeats=True) == fit(models, targets(wanted), repeats=True)


def test_repeats_are_for_places_that_show_what_people_take_again() -> None:
    again = Evaluation(repeats=True)
    assert repeats_at(Placement(name="p", retrieve=("a",)), again)
    assert not repeats_at(Placement(name="p", retrieve=("a",)), Evaluation())
    assert not repeats_at(Placement(name="p", retrieve=("a",), exclude=("like",)), again)
    assert not repeats_at(Placement(name="p", retrieve=("a",), about="items"), again)


class Cold(Table):
    """Needs no events, and is believed alone on every item that it is asked about."""

    needs_events = False
    config = None
    fit = recommend = similar = explain = save = load = Table.score  # a blend asks for scores alone

    @property
    def trust_I(self) -> Scores:
        return np.zeros(self.n_items, np.float32)


def test_a_stand_in_speaks_only_where_it_is_among_the_blends_own_models() -> None:
    rng = np.random.default_rng(4)
    own, cold = Table(rng.normal(size=(6, 20))), Cold(rng.normal(size=(6, 20)))
    alone = Blend({"own": own}, {"own": 1.0}, repeats=True).score(queries(6))
    beside = Blend({"own": own, "cold": cold}, {"own": 1.0}, repeats=True).score(queries(6))
    among = Blend({"own": own, "cold": cold}, {"own": 1.0, "cold": 0.0}, repeats=True).score(queries(6))
    assert np.array_equal(beside, alone)
    assert not np.allclose(among, alone, atol=0.1)


class Host(Table):
    """Reads no history, and hands over to those that do: half after one event, all but 1/21 after twenty."""

    config = None
    fit = recommend = similar = explain = save = load = Table.score

    def trust_B(self, queries: Queries) -> Scores:
        n_B = queries.history.lengths.astype(np.float32)
        return n_B / (n_B + 1)


def test_who_has_little_history_is_answered_by_the_model_that_reads_none() -> None:
    rng = np.random.default_rng(5)
    own, more, host = Table(rng.normal(size=(4, 20))), Table(rng.normal(size=(4, 20))), Host(rng.normal(size=(4, 20)))
    asked = queries(4, [[], [1], [1, 2, 3], [1] * 20])
    plain = Blend({"own": own, "more": more}, {"own": 0.75, "more": 0.25}, repeats=True).score(asked)
    blend = Blend({"own": own, "more": more, "host": host}, {"own": 0.75, "more": 0.25, "host": 0.0}, repeats=True)
    z = (host.scores_UI - host.scores_UI.mean(axis=1, keepdims=True)) / host.scores_UI.std(axis=1, keepdims=True)
    for b, trust in enumerate((0.0, 0.5, 0.75, 1.0)):  # beyond .95 a history says enough
        assert blend.score(asked)[b] == pytest.approx(trust * plain[b] + (1 - trust) * z[b], abs=1e-4)
    told = host.asked
    blend.score(asked[3:4])
    assert host.asked == told, "nobody pays for it who has a history"
    parts = [blend.part(name, asked[:1]) for name in ("own", "more", "host")]
    assert [bool(part.moments.inverse_B[0] > 0) for part in parts] == [False, False, True], "a reason names the model that spoke"


def test_the_model_for_newcomers_has_no_weight_to_learn() -> None:
    rng = np.random.default_rng(6)
    wanted = [[int(x)] for x in rng.integers(0, 40, 80)]
    models: dict[str, Any] = {"a": Table(signal(rng, wanted, 40, 1.0)), "b": Table(signal(rng, wanted, 40, 0.5))}
    asked = targets(wanted, [[0]] * 80)
    without = fit(models, asked, repeats=True)
    assert fit(models | {"host": Host(signal(rng, wanted, 40, 5.0))}, asked, repeats=True) == without | {"host": 0.0}
    alone = {"host": Host(signal(rng, wanted, 40, 5.0))}
    assert fit(alone, asked, repeats=True) == {"host": 1.0}
    np.testing.assert_allclose(Blend(alone, {"host": 1.0}, repeats=True).score(asked.queries).std(axis=1), 1, atol=1e-3)
