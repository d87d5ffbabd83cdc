"""Content: known answers about goods nobody has taken, and what it is worth on real ones."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from daogou.contract import Queries, Run, StandIn
from daogou.data.dataset import Dataset, from_frames
from daogou.data.histories import Histories
from daogou.data.split import split
from daogou.errors import TrainingError
from daogou.evaluate import evaluate
from daogou.models.content import Content
from daogou.rank.blend import Blend
from daogou.testing.data import dataset_path
from daogou.testing.toy import DAY_US, START_US

KINDS = ("Tents", "Stoves", "Mugs", "Lamps")


def camp(*, events: bool = True) -> Dataset:
    """Ten goods of each kind. Whoever takes tents takes stoves; nobody has taken the last of each kind."""
    items = pl.DataFrame({"item_id": [f"{kind} {n}" for kind in KINDS for n in range(10)], "category": [kind for kind in KINDS for _ in range(10)]})
    rng = np.random.default_rng(0)
    rows = []
    for u in range(60):
        for step, kind in enumerate(rng.choice([("Tents", "Stoves"), ("Mugs", "Lamps")]) for _ in range(1)):
            rows += [(f"u{u}", f"{kind[s % 2]} {rng.integers(0, 9)}", "take", START_US + DAY_US * (s + step)) for s in range(6)]
    schema = {"user_id": pl.String, "item_id": pl.String, "event": pl.String, "time": pl.Int64}
    return from_frames(pl.DataFrame(rows if events else [], schema=schema, orient="row"), items)


def guest(data: Dataset, *items: str) -> Queries:
    codes = [data.items.code(item) for item in items]
    assert min(codes, default=0) >= 0
    return Queries(history=Histories.of([codes]), user_B=np.full(1, -1, np.int32), now_B=np.array([data.end]), context=Histories.empty(1))


def names(data: Dataset, codes: np.ndarray) -> list[str]:
    return [data.items.id(int(code)).split()[0] for code in codes if code >= 0]


def test_without_events_it_answers_with_what_is_alike() -> None:
    data = camp(events=False)
    model = Content().fit(data, Run())
    assert names(data, model.recommend(guest(data, "Tents 9"), 10).codes_BK[0]) == ["Tents"] * 10
    assert names(data, model.similar(np.array([data.items.code("Mugs 3")], np.int32), 9).codes_BK[0]) == ["Mugs"] * 9


def test_events_teach_what_goes_together_also_for_goods_nobody_has_taken() -> None:
    data = camp()
    scores = Content(learned=0.9).fit(data, Run()).score(guest(data, "Tents 9"))[0]
    tent, stove, mug, lamp = (scores[data.items.code(f"{kind} 9")] for kind in KINDS)
    assert stove > max(mug, lamp) + 0.5 * (tent - max(mug, lamp))
    alike = Content(learned=0.0).fit(data, Run()).score(guest(data, "Tents 9"))[0]
    assert alike[data.items.code("Stoves 9")] == pytest.approx(alike[data.items.code("Mugs 9")], abs=1e-5)


def test_looking_alike_is_not_going_together() -> None:
    data = camp()
    model = Content(learned=0.99).fit(data, Run())
    assert names(data, model.similar(np.array([data.items.code("Tents 9")], np.int32), 9).codes_BK[0]) == ["Tents"] * 9


def test_the_newest_interest_counts_most() -> None:
    data = camp(events=False)
    model = Content(recency=2.0).fit(data, Run())
    assert names(data, model.recommend(guest(data, "Mugs 1", "Mugs 2", "Tents 1", "Tents 2"), 1).codes_BK[0]) == ["Tents"]


def test_a_model_of_the_spread_pairs_equals_one_of_the_matrix() -> None:
    """The map is summed over people; here the matrix C of its definition is built and solved outright."""
    data = camp()
    model = Content(learned=0.5, l2=0.1).fit(data, Run())
    f_ID, some = model.vectors_ID.astype(float), model.support_I > 0
    taken = np.minimum(data.histories.matrix(data.n_items).toarray(), 1.0)
    n_I = np.maximum(taken.sum(axis=0), 1)
    c_II = taken.T @ taken / np.sqrt(np.outer(n_I, n_I))
    np.fill_diagonal(c_II, 0)
    f_ID[~some] = 0
    gram = f_ID.T @ f_ID
    gram += 0.1 * np.trace(gram) / len(gram) * np.eye(len(gram))
    expected = np.linalg.solve(gram, np.linalg.solve(gram, f_ID.T @ c_II @ f_ID).T)
    learned = model.map_DD - np.eye(len(gram))
    scale = (learned * expected).sum() / (expected * expected).sum()
    assert scale > 0
    np.testing.assert_allclose(learned, scale * expected, atol=1e-3 * np.abs(learned).max())


def test_an_unknown_item_and_an_empty_history_say_nothing() -> None:
    data = from_frames(
        pl.DataFrame({"user_id": ["u"], "item_id": ["bare"], "event": ["take"], "time": [1]}), pl.DataFrame({"item_id": ["a", "b"], "title": ["a", "b"]})
    )
    model = Content(text_encoder="ngram").fit(data, Run())
    assert np.isneginf(model.score(guest(data))).all()
    assert np.isneginf(model.score(guest(data, "bare"))).all(), "nothing is known of what was taken"
    assert np.isneginf(model.score(guest(data, "a"))[0, data.items.code("bare")])


def test_no_catalogue_at_all() -> None:
    with pytest.raises(TrainingError, match="import a catalogue"):
        Content().fit(from_frames(pl.DataFrame(schema={"user_id": pl.String, "item_id": pl.String, "event": pl.String, "time": pl.Int64})), Run())


# ---- speaking for others
class Sold:
    """A model of events: what sold scores by its code, the rest is not known."""

    def __init__(self, sold_I: np.ndarray) -> None:
        self.sold_I, self.n_items = sold_I, len(sold_I)

    def score(self, queries: Queries, candidates: object = None) -> np.ndarray:
        row = np.where(self.sold_I > 0, np.arange(self.n_items), -np.inf).astype(np.float32)
        return np.tile(row, (len(queries), 1))


def test_it_speaks_for_models_of_events_on_goods_without_any() -> None:
    data = camp()
    content = Content().fit(data, Run())
    assert isinstance(content, StandIn)
    sold = Sold(content.support_I)
    assert not isinstance(sold, StandIn)
    query = guest(data, "Tents 9")
    alone = Blend({"sold": sold}, {"sold": 1.0}, repeats=True).score(query)[0]  # type: ignore[dict-item]
    both = Blend({"sold": sold, "content": content}, {"sold": 1.0, "content": 0.0}, repeats=True).score(query)[0]  # type: ignore[dict-item]
    new = [data.items.code(f"{kind} 9") for kind in KINDS]
    assert np.isneginf(alone[new]).all()
    assert np.isfinite(both[new]).all() and both[new[0]] == both[new].max() > both[new[2]]
    old = content.support_I > 0
    assert np.corrcoef(alone[old], both[old])[0, 1] > 0.5


def test_trust_grows_with_events() -> None:
    data = camp()
    model = Content(handover=5.0).fit(data, Run())
    np.testing.assert_allclose(model.trust_I, model.support_I / (model.support_I + 5), rtol=1e-5)
    assert model.trust_I[data.items.code("Tents 9")] == 0
    np.testing.assert_array_equal(Content(handover=0.0).fit(data, Run()).trust_I, (model.support_I > 0).astype(np.float32))


def test_a_failing_stand_in_takes_nobody_with_it() -> None:
    data = camp()
    content = Content().fit(data, Run())
    content.map_DD = np.zeros((1, 1), np.float32)
    query = guest(data, "Tents 1")
    blend = Blend({"sold": Sold(content.support_I), "content": content}, {"sold": 1.0}, repeats=True)  # type: ignore[dict-item]
    np.testing.assert_array_equal(blend.part("sold", query).scores_BI, Sold(content.support_I).score(query))


# ---- real goods
def test_goods_withheld_from_training_are_found(tmp_path_factory: pytest.TempPathFactory) -> None:
    """amazon-office, likeness by names, brands and categories; at least five times the most popular categories."""
    folder = dataset_path("amazon-office")
    about = json.loads((folder / "Office_Products.item.json").read_text("utf-8"))
    taken = json.loads((folder / "Office_Products.inter.json").read_text("utf-8"))
    items = pl.DataFrame(
        [
            {"item_id": i, "title": row.get("title"), "brand": row.get("brand"), "category": (row.get("categories") or "").replace(",", ">") or None}
            for i, row in about.items()
        ]
    )
    rows = [(u, str(i), "buy", n) for u, row in taken.items() for n, i in enumerate(row)]
    parts = split(from_frames(pl.DataFrame(rows, schema=["user_id", "item_id", "event", "time"], orient="row"), items), "cold-items", share=0.2)
    train = parts.refit
    sold_I = np.bincount(train.histories.item, minlength=train.n_items)
    _, category_I = np.unique(items["category"].fill_null("").to_numpy().astype(str), return_inverse=True)
    popular_I = np.bincount(category_I, sold_I)[category_I].astype(np.float32)

    class Popular:
        def score(self, queries: Queries) -> np.ndarray:
            return np.tile(popular_I, (len(queries), 1))

    asked = replace(parts.test, known_I=sold_I == 0)
    model = Content(text_encoder="ngram").fit(train, Run())
    found, floor = (evaluate(scorer, asked).mean("ndcg@20") for scorer in (model, Popular()))
    assert 0.09 < found < 0.25
    assert found > 3 * floor
