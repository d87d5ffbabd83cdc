import numpy as np
import polars as pl
import pytest

from daogou.contract import Queries
from daogou.data.dataset import from_frames
from daogou.data.histories import Histories
from daogou.errors import TrainingError
from daogou.evaluate import evaluate, paired
from daogou.models.repurchase import PRIOR, Repurchase
from daogou.testing.toy import DAY_US

GAPS = {"milk": 14, "soap": 28, "oil": 42}


def groceries():
    """Households that buy each thing at its gap, from a random day on, and a chair once."""
    rng, rows = np.random.default_rng(0), []
    for n in range(150):
        for name, gap in GAPS.items():
            rows += [(f"u{n}", name, int(day)) for day in range(rng.integers(gap), 180, gap)]
        rows.append((f"u{n}", "chair", int(rng.integers(180))))
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "time"], orient="row")
    return from_frames(frame.with_columns(pl.lit("buy").alias("event"), pl.col("time").cast(pl.Int64) * DAY_US))


def asked(data, names, days, now, weights=None):
    history = Histories.of([[data.items.code(n) for n in names]], times=[[d * DAY_US for d in days]], weights=weights)
    return Queries(history=history, user_B=np.array([-1], np.int32), now_B=np.array([now * DAY_US]), context=Histories.empty(1))


@pytest.fixture(scope="module")
def data():
    return groceries()


@pytest.fixture(scope="module")
def model(data):
    return Repurchase(horizon_days=7.0, l2=1.0).fit(data)


def test_the_usual_gap_is_learned(model, data):
    for name, gap in GAPS.items():
        np.testing.assert_allclose(np.exp(model.gap_I[data.items.code(name)]), gap, rtol=0.05)
    assert model.rate_I[data.items.code("chair")] < model.rate_I[data.items.code("oil")]


@pytest.mark.parametrize("name", GAPS)
def test_what_is_due_comes_before_what_was_just_bought(model, data, name):
    """Bought the same number of times: one gap after the newest it is more probable than one day after."""
    days = [GAPS[name] * n for n in range(4)]
    due, fresh = (model.score(asked(data, [name] * 4, days, days[-1] + later))[0, data.items.code(name)] for later in (GAPS[name], 1))
    assert due > fresh + 0.2


def test_only_the_history_is_retrieved(model, data):
    top = model.recommend(asked(data, ["milk"], [0], now=7), 3)
    assert top.codes_BK.tolist() == [[data.items.code("milk"), -1, -1]]
    assert np.isneginf(model.score(asked(data, ["milk"], [0], now=7))[0, data.items.code("soap")])


def test_scores_are_probabilities(model, data):
    scores = model.score(data.queries())
    bought = scores[np.isfinite(scores)]
    assert len(bought) == 600 and (bought > 0).all() and (bought < 1).all()


def test_looking_is_not_buying(model, data):
    assert np.isneginf(model.score(asked(data, ["milk"], [0], now=7, weights=[[0.1]]))).all()
    with pytest.raises(TrainingError, match="min_weight"):
        Repurchase(min_weight=2.0).fit(data)


def test_one_moment_is_one_purchase(model, data):
    once, twice = asked(data, ["milk"], [0], now=7), asked(data, ["milk", "milk"], [0, 0], now=7)
    np.testing.assert_array_equal(model.score(once), model.score(twice))


def test_without_an_outcome_the_prior_stands():
    young = from_frames(pl.DataFrame({"user_id": ["u"], "item_id": ["x"], "event": ["buy"], "time": [0]}))
    np.testing.assert_allclose(Repurchase().fit(young).coefficients, PRIOR)


def test_the_item_itself_is_the_reason(model, data):
    query = asked(data, ["milk", "soap"], [0, 0], now=7)
    milk = data.items.code("milk")
    assert [(r.item, r.how) for r in model.explain(query, milk)] == [(milk, "exact")]
    assert model.explain(query, data.items.code("chair")) == []


class CountsOnly(Repurchase):
    """How often it was bought, recent purchases counting more: what knowing the usual gap must beat."""

    def _score(self, queries):
        pairs = self._pairs(self._purchases(queries.history), queries.now_B)
        out = np.full((len(queries), self.n_items), -np.inf, np.float32)
        out[pairs.row, pairs.item] = pairs.decayed
        return out


def test_quality_on_groceries(grocery_split):
    """NDCG@10 over four weeks, repeats allowed; the gap adds to decayed counts, and the paired interval says so."""
    mine = evaluate(Repurchase().fit(grocery_split.train), grocery_split.validation, repeats=True)
    counts = evaluate(CountsOnly().fit(grocery_split.train), grocery_split.validation, repeats=True)
    assert 0.36 < mine.mean("ndcg@10") < 0.5
    assert paired(mine, counts, "ndcg@10").ci95.low > -0.005
