"""Error of predicted ratings: right by hand, and only where something was rated."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace as changed
from rich.console import Console

from daogou.contract import Queries, Scores
from daogou.data.dataset import Dataset, from_frames
from daogou.data.split import split
from daogou.evaluate.ratings import given, rating_error
from daogou.evaluate.report import html, terminal_table, to_json
from daogou.scenario import Evaluation, Scenario
from daogou.train.experiment import experiment

DAY_US = 86_400_000_000


def rated() -> Dataset:
    """Two kinds of people who rate what is made for them by two stars more; the newest event of each third person carries no value."""
    rng = np.random.default_rng(4)
    rows = [(f"u{u}", f"i{i}", "rate", int(rng.integers(100)) * DAY_US, 4.0 - 2.0 * ((u + i) % 2)) for u in range(40) for i in rng.permutation(20)[:12]]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "event", "time", "value"], orient="row")
    late = pl.DataFrame({"user_id": [f"u{u}" for u in range(0, 40, 3)], "item_id": "i0", "event": "rate", "time": 200 * DAY_US, "value": None})
    return from_frames(pl.concat([frame, late.with_columns(pl.col("value").cast(pl.Float64))]))


class Three:
    """Would rate everything with three stars."""

    rates = True

    def predict(self, queries: Queries, items_B: Any) -> Scores:
        assert len(queries) == len(items_B)
        return np.full(len(queries), 3.0, np.float32)


def test_the_error_is_that_of_the_ratings_that_were_given() -> None:
    data = rated()
    parts = split(data, "leave-one-out", repeats=True)
    value_T = given(data, parts.test)
    unrated = np.isnan(value_T)
    assert unrated.sum() == 14
    found = rating_error(Three(), parts.test, value_T)  # type: ignore[arg-type]
    assert found is not None
    assert (found.rmse, found.mae, found.n) == pytest.approx((1.0, 1.0, 26))
    assert found.rmse_ci95 == pytest.approx((1.0, 1.0))
    uneven = np.where(np.arange(len(value_T)) % 2, 3.0, value_T).astype(np.float32)
    found = rating_error(Three(), parts.test, np.where(unrated, np.nan, uneven).astype(np.float32))  # type: ignore[arg-type]
    assert found is not None
    assert found.rmse_ci95.low < found.rmse < found.rmse_ci95.high


def test_without_ratings_or_people_there_is_none() -> None:
    data = rated()
    bare = replace(data, events=replace(data.events, value=np.full(len(data.events), np.nan, np.float32)))
    parts = split(bare, "leave-one-out", repeats=True)
    assert rating_error(Three(), parts.test, given(bare, parts.test)) is None  # type: ignore[arg-type]
    guests = replace(parts.test, queries=replace(parts.test.queries, user_B=np.full(len(parts.test), -1, np.int32)))
    assert np.isnan(given(data, guests)).all()


def test_a_comparison_reports_it_for_models_of_ratings_alone() -> None:
    shop = Scenario(
        name="films",
        events={"rate": 1.0},
        placements=(),
        models={
            "mf": {"dimensions": 4, "epochs": 100, "learning_rate": 0.05},
            "lists": {"kind": "mf", "loss": "bpr", "dimensions": 4, "epochs": 3},
            "popular": {},
        },
        evaluation=Evaluation(protocol="leave-one-out", repeats=True),
    )
    report = experiment(rated(), shop, threads=1)
    found = to_json(report)["ratings"]
    assert set(found) == {"mf"}
    assert found["mf"]["rmse"] < 0.9  # better than three stars for everything
    console = Console(record=True, width=200, file=io.StringIO())
    console.print(terminal_table(report))
    assert f"{found['mf']['rmse']:.4f}" in console.export_text()
    assert "Error of predicted ratings" in html(report)
    assert "Error of predicted ratings" not in html(experiment(rated(), changed(shop, models={"popular": {}}), threads=1))
