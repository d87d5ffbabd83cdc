"""A leak is said; where there is none, nothing is."""

import polars as pl

from daogou.data.dataset import Dataset, from_frames
from daogou.data.split import split
from daogou.evaluate import leaks


def log(n_users: int = 12, ties: bool = False) -> Dataset:
    """Everyone takes ten of fifteen items, one a day from a day of their own; with `ties` two at once."""
    rows = [(f"u{u}", f"i{(u * 4 + n) % 15}", "buy", (u + (n // 2 * 2 if ties else n)) * 86_400_000_000) for u in range(n_users) for n in range(10)]
    return from_frames(pl.DataFrame(rows, schema=["user_id", "item_id", "event", "time"], orient="row"))


def test_time_split_does_not_leak() -> None:
    assert [said for said in leaks(split(log(), "time", test_days=3)) if "Leak" in said] == []


def test_leave_one_out_leaks_the_future() -> None:
    said = leaks(split(log(), "leave-one-out"))
    assert said[0].startswith("Leak by design of the protocol: on average")
    assert "believe the time protocol" in said[0]


def test_shared_moments_are_reported() -> None:
    assert any("100.0% of the first wanted items share their time" in said for said in leaks(split(log(ties=True), "leave-one-out")))
    assert not any("share their time" in said for said in leaks(split(log(), "leave-one-out")))


def test_targets_apart_are_counted() -> None:
    data = from_frames(
        pl.DataFrame(
            [("u", "a", 0), ("v", "b", 1), ("u", "b", 7), ("v", "a", 9), ("v", "new", 9), ("w", "a", 10)], schema=["user_id", "item_id", "time"], orient="row"
        ).with_columns(pl.lit("buy").alias("event"), pl.col("time") * 86_400_000_000)
    )
    said = leaks(split(data, "time", test_days=2))
    assert said == ["Not in the main figures but in rows of their own: 1 wanted items of 1 users (no-history), 1 wanted items of 1 users (new-items)."]
