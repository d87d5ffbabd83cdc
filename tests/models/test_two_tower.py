"""Two towers: goods and people never met are answered from what is known of them; where a net of zeros could be hidden, the answer is known."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix

if find_spec("keras") is None:
    pytest.skip("the extra 'deep' is not installed", allow_module_level=True)

from daogou.contract import Queries, Run
from daogou.data.dataset import Dataset, from_frames
from daogou.data.histories import Histories
from daogou.data.split import Split
from daogou.evaluate import evaluate
from daogou.models.two_tower import TwoTower
from daogou.networks import towers
from daogou.networks.attributes import Attributes
from daogou.networks.towers import SCALES, Examples, recency
from daogou.testing.toy import DAY_US, START_US, random_dataset

KINDS = ("tents", "stoves", "mugs", "lamps")
TINY = {"dimensions": 12, "length": 8, "epochs": 25, "patience": 25, "batch_size": 64, "negatives": 32, "learning_rate": 1e-2, "holdout_users": 0}
Model = tuple[TwoTower, Dataset]


def camp() -> Dataset:
    """Campers take tents and stoves, hosts mugs and lamps; nobody has taken the last of each kind."""
    rng = np.random.default_rng(0)
    rows = []
    for u in range(80):
        kinds = KINDS[:2] if u % 2 == 0 else KINDS[2:]
        rows += [(f"u{u}", f"{kinds[rng.integers(2)]} {rng.integers(0, 9)}", "take", START_US + DAY_US * step) for step in range(6)]
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "event", "time"], orient="row")
    items = pl.DataFrame({"item_id": [f"{kind} {n}" for kind in KINDS for n in range(10)], "category": [kind for kind in KINDS for _ in range(10)]})
    users = pl.DataFrame({"user_id": [f"u{u}" for u in range(80)], "plan": ["camp" if u % 2 == 0 else "party" for u in range(80)]})
    return from_frames(events, items, users)


@pytest.fixture(scope="module")
def fitted() -> Model:
    data = camp()
    return TwoTower(**TINY).fit(data, Run(seed=1)), data


def guest(data: Dataset, *items: str, plan: str | None = None) -> Queries:
    attributes = {"plan": np.array([plan], object)} if plan else {}
    history = Histories.of([[data.items.code(item) for item in items]])
    return Queries(history=history, user_B=np.full(1, -1, np.int32), now_B=np.array([data.end]), context=Histories.empty(1), attributes=attributes)


def codes(data: Dataset, *names: str) -> list[int]:
    return [data.items.code(name) for name in names]


def test_new_goods_are_ranked_by_what_they_are(fitted: Model) -> None:
    model, data = fitted
    new = np.zeros(data.n_items, np.bool_)
    new[codes(data, *(f"{kind} 9" for kind in KINDS))] = True
    top = model.recommend(guest(data, "tents 1", "stoves 2"), 2, new)
    assert set(top.codes_BK[0].tolist()) == set(codes(data, "tents 9", "stoves 9"))


def test_a_history_of_new_goods_says_what_someone_likes(fitted: Model) -> None:
    model, data = fitted
    scores = model.score(guest(data, "mugs 9", "lamps 9"))[0]
    hosts, campers = (scores[codes(data, *(f"{kind} {n}" for kind in kinds for n in range(9)))] for kinds in (KINDS[2:], KINDS[:2]))
    assert hosts.min() > campers.max()


def test_new_people_are_answered_by_what_they_registered(fitted: Model) -> None:
    model, data = fitted
    for plan, kinds in (("camp", KINDS[:2]), ("party", KINDS[2:])):
        top = model.recommend(guest(data, plan=plan), 10)
        assert all(data.items.id(int(code)).split()[0] in kinds for code in top.codes_BK[0])


def test_someone_unknown_is_answered_as_everyone(fitted: Model) -> None:
    model, data = fitted
    scores = model.score(guest(data))[0]
    assert np.isfinite(scores).all()
    strange = replace(guest(data), attributes={"plan": np.array(["no such plan"], object)})
    np.testing.assert_array_equal(model.score(strange)[0], scores)


def test_of_what_nothing_is_known_nothing_is_said() -> None:
    """Items that are names alone, one of them without an event."""
    rows = [(f"u{u}", f"i{(u + n) % 6}", "take", START_US + n) for u in range(12) for n in range(3)]
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "event", "time"], orient="row")
    data = from_frames(events, pl.DataFrame({"item_id": ["riddle", *(f"i{n}" for n in range(6))]}))
    model = TwoTower(**{**TINY, "epochs": 1}).fit(data, Run(seed=1))
    (riddle,) = codes(data, "riddle")
    scores = model.score(guest(data, "i1"))[0]
    assert np.isneginf(scores[riddle]) and np.isfinite(scores).sum() == 6
    np.testing.assert_array_equal(model.score(guest(data, "i1", "riddle"))[0], scores)
    assert (model.similar(np.array([riddle], np.int32), 3).codes_BK == -1).all()


def test_reasons_are_the_items_without_which_the_score_falls(fitted: Model) -> None:
    model, data = fitted
    query = guest(data, "mugs 1", "tents 2", "tents 3")
    (tent,) = codes(data, "tents 9")
    reasons = model.explain(query, tent)
    assert reasons[0].item in codes(data, "tents 2", "tents 3") and reasons[0].how == "left-out"
    without = replace(query, history=query.history.keep(query.history.item != reasons[0].item))
    assert reasons[0].weight == pytest.approx(float((model.score(query) - model.score(without))[0, tent]), rel=1e-4)


def test_two_items_that_nobody_could_tell_apart_score_alike(fitted: Model) -> None:
    """Of goods that nobody has taken only content is known: equal content, equal score."""
    items = [(f"{kind} {n}", kind) for kind in KINDS for n in range(10)] + [("tents 9b", "tents")]
    old = camp()
    events = pl.DataFrame(
        {"user_id": [f"u{u}" for u in old.events.user], "item_id": [old.items.id(int(i)) for i in old.events.item], "event": "take", "time": old.events.time}
    )
    data = from_frames(events, pl.DataFrame(items, schema=["item_id", "category"], orient="row"))
    scores = TwoTower(**{**TINY, "epochs": 1}).fit(data, Run(seed=1)).score(guest(data, "tents 1"))[0]
    first, second = codes(data, "tents 9", "tents 9b")
    assert scores[first] == pytest.approx(scores[second], rel=1e-5)


@pytest.mark.parametrize("unit", [True, False])
def test_the_towers_on_arrays_are_those_that_were_trained(unit: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answering needs no Keras: its numpy gives the logits of the trained model."""
    kept = {}
    build = towers._objective
    monkeypatch.setattr(towers, "_objective", lambda *given: kept.setdefault("model", build(*given)))
    data = random_dataset(3)
    model = TwoTower(**{**TINY, "epochs": 2, "unit": unit}).fit(data, Run(seed=1))
    own, weights_SBI = model._own_ID, recency(data.histories.tail(TINY["length"]), data.n_items)
    content_BSF, own_BSD = (np.stack([np.asarray(w @ x) for w in weights_SBI], axis=1).astype(np.float32) for x in (model._content_IF, own))
    objective = kept["model"]
    people, items = (
        np.asarray(x)
        for x in (objective.people(content_BSF, own_BSD, model._about_users.table(data.user_table).toarray()), objective.items(model._content_IF, own))
    )
    if unit:
        people, items = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (people, items))
    expected = people @ items.T / model.config.temperature
    known = model._known_I
    np.testing.assert_allclose(model.score(data.queries())[:, known], expected[:, known], rtol=2e-4, atol=2e-4)


# ---- batches
def test_an_example_sees_what_came_before_it_and_nothing_else() -> None:
    data = random_dataset(3)
    histories, model = data.histories, TwoTower(**TINY)
    content = np.random.default_rng(0).standard_normal((data.n_items, 5)).astype(np.float32)
    batches = Examples(histories, content, Attributes.of(data.user_table).table(data.user_table), model.config)
    events = np.array([int(histories.start[2]), int(histories.start[2]) + 1, int(histories.start[5]) + 4])
    codes_C, content_CF, history_BL, shares_BSL, content_BSF, *_ = batches._batch(events, np.random.default_rng(0))
    np.testing.assert_array_equal(codes_C[:3] - 1, histories.item[events])
    np.testing.assert_array_equal(content_CF[:3], content[histories.item[events]])
    assert not history_BL[0].any() and not shares_BSL[0].any() and not content_BSF[0].any(), "a first event has no past"
    first = int(histories.start[5])
    np.testing.assert_array_equal(history_BL[2, :4] - 1, histories.item[first : first + 4][::-1])
    weight = histories.weight[first : first + 4][::-1] * np.exp(-np.arange(4) / SCALES[1])
    np.testing.assert_allclose(shares_BSL[2, 1, :4], weight / weight.sum(), rtol=1e-5)
    np.testing.assert_allclose(content_BSF[2, 1], (weight / weight.sum()) @ content[history_BL[2, :4] - 1], rtol=1e-4)


def test_candidates_are_corrected_by_how_often_they_are_expected() -> None:
    data = random_dataset(3)
    model = TwoTower(**{**TINY, "batch_size": 32, "negatives": 16})
    batches = Examples(data.histories, np.zeros((data.n_items, 2), np.float32), csr_matrix((data.n_users, 0)), model.config)
    rng, seen, expected = np.random.default_rng(0), np.zeros(data.n_items), np.zeros(data.n_items)
    for _ in range(2000):
        events = rng.permutation(len(data.histories.item))[:32]
        codes_C, *_, log_q_C, _ = batches._batch(events, rng)
        seen += np.bincount(codes_C - 1, minlength=data.n_items)
        expected[codes_C - 1] = np.exp(log_q_C)
    some = expected > 0.5
    np.testing.assert_allclose(seen[some] / 2000, expected[some], rtol=0.15)


# ---- real data
def test_on_movielens(movielens_split: Split) -> None:
    model = TwoTower(epochs=2, dimensions=32, learning_rate=4e-3).fit(movielens_split.refit, Run(seed=0))
    assert 0.02 < evaluate(model, movielens_split.test, repeats=False).mean("ndcg@10") < 0.09
