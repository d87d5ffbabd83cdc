"""Places of a list: how far they are looked at is found again, and what was taken from far down counts for it."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from daogou.contract import Run
from daogou.data.dataset import Dataset, from_frames
from daogou.data.split import split
from daogou.models.popular import Popular
from daogou.rank.estimator import Estimator
from daogou.rank.examined import Examined
from daogou.rank.facts import Facts
from daogou.rank.lambdarank import LambdaRank
from daogou.rank.ranker import Examples, Ranked
from daogou.testing.toy import DAY_US, START_US
from daogou.train.nested import gather

THETA = 1 / np.arange(1, 7)  # of six places
SECOND_US = 1_000_000


def shown(n_answers: int = 4000, *, seed: int = 0) -> Dataset:
    """Answers of six items, the better ones rather first, and each taken as often as it is looked at times how good it is; some buy without a list."""
    rng = np.random.default_rng(seed)
    good_I = np.linspace(0.1, 0.9, 12)
    rows = []
    for n in range(n_answers):
        user, at = f"u{n % 400}", START_US + int(rng.integers(60 * DAY_US))
        items = sorted(rng.choice(12, 6, replace=False), key=lambda i: -good_I[i] - rng.normal(scale=0.4))
        for place, item in enumerate(items):
            rows.append((user, f"i{item}", "shown", at, place))
            if rng.random() < THETA[place] * good_I[item]:
                rows.append((user, f"i{item}", "buy", at + 60 * SECOND_US, None))
    rows += [(f"u{n}", f"i{rng.integers(12)}", "buy", START_US + int(rng.integers(60 * DAY_US)), None) for n in range(400)]
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "event", "time", "position"], orient="row")
    return from_frames(events, weights={"shown": 0.0, "buy": 1.0})


@pytest.fixture(scope="module")
def data() -> Dataset:
    return shown()


def test_how_far_places_are_looked_at_is_found_though_better_items_stand_first(data: Dataset) -> None:
    found = Examined.of(data)
    assert found is not None
    np.testing.assert_allclose(found.theta_P[:6], THETA, rtol=0.15)
    e, taken = data.events, _taken(data)
    share_P = np.array([np.isin(np.flatnonzero(e.position == p), taken).mean() for p in range(6)])
    assert np.abs(np.log(share_P / share_P[0] / THETA)).max() > 2 * np.abs(np.log(found.theta_P[:6] / THETA)).max()  # shares blame the place for the item


def _taken(data: Dataset) -> np.ndarray:
    """Numbers of the impressions that a purchase follows a minute later."""
    e = data.events
    bought = {(u, i, t) for u, i, t, w in zip(e.user.tolist(), e.item.tolist(), e.time.tolist(), data.weight_E.tolist(), strict=True) if w > 0}
    minute = 60 * SECOND_US
    return np.array([n for n in np.flatnonzero(e.position >= 0) if (int(e.user[n]), int(e.item[n]), int(e.time[n]) + minute) in bought])


def test_what_was_taken_from_far_down_counts_more_and_what_was_not_shown_once(data: Dataset) -> None:
    found = Examined.of(data)
    assert found is not None
    parts = split(data, "time", test_days=10, repeats=True)
    weight_T = found.weights(parts.validation)
    wanted = parts.validation.wanted
    user_T = parts.validation.queries.user_B[wanted.row]
    assert set(np.round(weight_T, 5)) <= {1.0, *np.round(1 / found.theta_P[:6], 5)}
    assert (weight_T > 2).any()
    e = data.events
    for t in np.flatnonzero(weight_T > 1)[:20]:
        mine = (e.user == user_T[t]) & (e.item == wanted.item[t]) & (e.position >= 0) & (e.time <= wanted.time[t])
        assert weight_T[t] == pytest.approx(1 / found.theta_P[e.position[mine][-1]])
    guests = replace(parts.validation, queries=replace(parts.validation.queries, user_B=np.full(len(parts.validation), -1, np.int32)))
    assert (found.weights(guests) == 1).all()


def test_candidates_carry_the_weights_of_what_was_taken(data: Dataset) -> None:
    parts = split(data, "time", test_days=10, repeats=True)
    popular = {"popular": Popular().fit(parts.train)}
    ranked = Ranked(popular, {"popular": 1.0}, Facts.of(parts.train), None, repeats=True, request_time=True, depth=12)
    asked, found = parts.validation, Examined.of(parts.refit)
    assert found is not None
    examples = gather(ranked, asked, found).examples
    assert examples.weight_N is not None
    assert (examples.weight_N[examples.gain_N == 0] == 1).all()
    assert sorted(examples.weight_N[examples.gain_N > 0]) == pytest.approx(sorted(found.weights(asked)))
    assert gather(ranked, asked).examples.weight_N is None


@pytest.mark.parametrize("ranker", [LambdaRank(trees=30, smallest_leaf=5), Estimator(estimator="sklearn.linear_model:LogisticRegression")])
def test_rankers_learn_by_the_weights(ranker: LambdaRank | Estimator) -> None:
    """Of two features each right half of the time, the one whose examples count more decides."""
    rng = np.random.default_rng(1)
    x, rows = np.zeros((400, 2, 2), np.float32), np.arange(400)
    which = rows % 2
    x[rows, 0, which], x[rows, 1, 1 - which] = 1, 1
    gain = np.tile(np.array([1, 0], np.float32), (400, 1))
    for heavy in (0, 1):
        weight = np.where((which == heavy)[:, None] & (gain > 0), 8.0, 1.0).astype(np.float32)
        features = x.reshape(-1, 2) + rng.normal(scale=1e-3, size=(800, 2)).astype(np.float32)
        fit = type(ranker)(ranker.config).fit(Examples(features, gain.ravel(), np.full(400, 2), ("a", "b"), weight.ravel()), Run())
        order = fit.predict(np.eye(2, dtype=np.float32))
        assert order[heavy] > order[1 - heavy]


def test_without_logged_places_or_with_few_taken_nothing_is_claimed(data: Dataset) -> None:
    e = data.events
    assert Examined.of(replace(data, events=replace(e, position=np.full(len(e), -1, np.int32)))) is None
    assert Examined.of(shown(100)) is None
