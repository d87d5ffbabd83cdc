"""Features: right by hand, equal in training and serving, and blind to the label window."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from daogou.contract import Queries, Run, Scores
from daogou.data.dataset import Dataset, from_frames
from daogou.data.split import split
from daogou.models.covisit import CoVisit
from daogou.models.popular import Popular
from daogou.rank.facts import Facts
from daogou.rank.ranker import Ranked
from daogou.testing.toy import DAY_US, START_US

WEIGHTS = {"ease": 0.5, "covisit": 0.0, "popular": 0.5}


def ranked(shop: Any, facts: Facts | None = None, *, request_time: bool = True, repeats: bool = True) -> Ranked:
    return Ranked(shop.models, WEIGHTS, facts or Facts.of(shop.parts.train), None, repeats=repeats, request_time=request_time, depth=10)


def seen(of: Ranked, queries: Queries, candidates: Any = None) -> tuple[Any, Scores]:
    parts = [of.part(name, queries) for name in of.models]
    blend_BI = of.blended(parts, len(queries))
    codes = of.candidates(parts, blend_BI, of.open(queries)) if candidates is None else candidates
    return codes, of.features.of(parts, queries, blend_BI, codes)


def test_one_query_alone_sees_what_it_sees_in_a_batch(shop: Any) -> None:
    """Serving asks for one shopper at a time, training for many."""
    of, queries = ranked(shop), shop.parts.validation.queries
    codes, batch = seen(of, queries)
    for b in range(0, len(queries), 7):
        _, single = seen(of, queries[np.array([b])], codes[b : b + 1])
        np.testing.assert_allclose(single[0], batch[b], rtol=2e-4, atol=2e-4)


def test_a_release_sees_what_the_training_saw(shop: Any, tmp_path: Path) -> None:
    """Facts through a file, without the older events."""
    facts = Facts.of(shop.parts.train)
    facts.recent().save(tmp_path / "facts")
    queries = shop.parts.validation.queries
    codes, here = seen(ranked(shop, facts), queries)
    _, there = seen(ranked(shop, Facts.load(tmp_path / "facts")), queries, codes)
    assert codes.shape[1] > 10
    np.testing.assert_array_equal(here, there)


def test_names_are_those_of_the_columns(shop: Any) -> None:
    for of in (ranked(shop), ranked(shop, request_time=False)):
        _, x = seen(of, shop.parts.validation.queries[:3])
        assert x.shape[2] == len(of.features.names) == len(set(of.features.names))
    assert set(ranked(shop).features.names) - set(ranked(shop, request_time=False).features.names) == {"days since the last event", "hour", "weekday"}


def poisoned(data: Dataset, since: int) -> Dataset:
    """Other items, kinds and values from a moment on; the times stay, because they cut the windows."""
    e, rng = data.events, np.random.default_rng(9)
    later = e.time >= since
    item = np.where(later, rng.permutation(data.n_items).astype(np.int32)[e.item], e.item)
    value = np.where(later, np.float32(1e6), e.value)
    return replace(data, events=replace(e, item=item, value=value))


@pytest.mark.parametrize("request_time", [True, False])
def test_no_feature_reads_the_label_window(shop: Any, request_time: bool) -> None:
    since = int(shop.parts.train.end) + 1
    other = poisoned(shop.data, since)
    goal = ("purchase", "cart")
    mine, theirs = (split(data, "time", test_days=7, goal=goal, repeats=True) for data in (shop.data, other))
    assert mine.validation.wanted.item.tolist() != theirs.validation.wanted.item.tolist()  # the control: the labels did change
    users = np.intersect1d(mine.validation.queries.user_B, theirs.validation.queries.user_B)
    asked = [part.validation.queries[np.flatnonzero(np.isin(part.validation.queries.user_B, users))] for part in (mine, theirs)]
    models = [{name: type(model)().fit(part.train, Run()) for name, model in shop.models.items()} for part in (mine, theirs)]
    x = []
    for part, queries, fitted in zip((mine, theirs), asked, models, strict=True):
        of = Ranked(fitted, WEIGHTS, Facts.of(part.train), None, repeats=True, request_time=request_time, depth=10)
        codes, found = seen(of, queries)
        x.append((codes, found))
    np.testing.assert_array_equal(x[0][0], x[1][0])
    np.testing.assert_array_equal(x[0][1], x[1][1])


def test_without_request_time_nothing_depends_on_when_is_asked(shop: Any) -> None:
    queries = shop.parts.validation.queries
    later = replace(queries, now_B=queries.now_B + 5 * DAY_US)
    for request_time in (False, True):
        of = ranked(shop, request_time=request_time)
        codes, now = seen(of, queries)
        _, then = seen(of, later, codes)
        assert np.array_equal(now, then, equal_nan=True) is not request_time


def test_likeness_to_the_last_few_knows_the_last_few_and_no_more(shop: Any) -> None:
    of, queries = ranked(shop), shop.parts.validation.queries
    codes, whole = seen(of, queries)
    _, short = seen(of, replace(queries, history=queries.history.tail(5)), codes)
    _, newest = seen(of, replace(queries, history=queries.history.tail(1)), codes)
    names = of.features.names
    one, few = (names.index(f"ease: like the last{more}") for more in ("", " few"))
    assert (queries.history.lengths > 5).any()
    np.testing.assert_array_equal(short[..., few], whole[..., few])
    np.testing.assert_array_equal(newest[..., few], whole[..., one])
    assert (whole[..., few] != whole[..., one]).any()


def test_features_of_a_person_and_an_item_are_what_they_say() -> None:
    day = [0, 10, 20, 25, 25]
    events = pl.DataFrame(
        {
            "user_id": ["u"] * 5,
            "item_id": ["a", "a", "a", "b", "c"],
            "event": ["buy"] * 5,
            "time": [START_US + d * DAY_US + n for n, d in enumerate(day)],
        }
    )
    items = pl.DataFrame({"item_id": ["a", "b", "c", "d"], "brand": ["x", "x", "y", "y"], "price": [1.0, 2.0, 4.0, 8.0]})
    data = from_frames(events, items)
    models = {"covisit": CoVisit().fit(data), "popular": Popular().fit(data)}
    of = Ranked(models, {"covisit": 1.0}, Facts.of(data), None, repeats=True, request_time=True, depth=4)
    queries = data.queries(now=START_US + 30 * DAY_US + 4)
    x = dict(zip(of.features.names, seen(of, queries, np.array([[0, 3, -1]], np.int32))[1][0].T, strict=True))
    assert x["times"][0] == 3
    assert x["days since"][0] == pytest.approx(np.log1p(10), abs=1e-4)
    assert x["since, in usual gaps"][0] == pytest.approx(np.log(10) - np.log(10), abs=1e-4)
    assert x["events since"][0] == pytest.approx(np.log1p(2))
    assert x["times"][1] == 0
    assert np.isnan(x["days since"][1])
    assert x["price against theirs"][1] == pytest.approx(np.log1p(8) - np.log1p(1), abs=1e-5)  # the median of 1 1 1 2 4
    weights = np.exp(-np.array([4, 3, 2, 1, 0]) / 20)
    assert x["same brand: share"][0] == pytest.approx(weights[:4].sum() / weights.sum(), abs=1e-5)
    assert x["same brand: events since"][0] == pytest.approx(np.log1p(1))
    assert x["popularity"][0] == pytest.approx(np.log1p(3))
    assert x["popularity"][1] == 0
    assert x["length of the history"][0] == pytest.approx(np.log1p(5))
    assert x["variety of the history"][0] == pytest.approx(3 / 5)
    assert x["hour"][0] == (START_US + 30 * DAY_US) // 3_600_000_000 % 24
    assert x["weekday"][0] == 3  # 2023-12-14 was a Thursday


def test_ranks_count_better_items_and_a_filter_changes_none(shop: Any) -> None:
    of, queries = ranked(shop), shop.parts.validation.queries[:20]
    codes = np.tile(np.arange(shop.data.n_items, dtype=np.int32), (20, 1))
    names = of.features.names
    _, x = seen(of, queries, codes)
    scores = shop.models["popular"].score(queries)
    known = of.facts.known_I
    better = (np.where(known, scores, -np.inf)[:, None, :] > scores[:, :, None]).sum(axis=2)
    assert x[:, :, names.index("popular: rank")] == pytest.approx(np.log1p(np.minimum(better, 10)), abs=1e-5)
    assert (x[:, :, names.index("popular: retrieved")] == (better < 10)).all()
    few = codes[:, 5:9]
    np.testing.assert_array_equal(seen(of, queries, few)[1], x[:, 5:9])


def test_guests_have_features_too(shop: Any) -> None:
    queries = shop.parts.validation.queries[:2]
    nobody = replace(queries, history=queries.history.keep(np.zeros(len(queries.history.item), np.bool_)), user_B=np.full(2, -1, np.int32))
    codes, x = seen(ranked(shop), nobody)
    assert (codes >= 0).any()
    assert np.isfinite(x[..., ranked(shop).features.names.index("popularity")]).all()
