"""Each sickness is found in data that has it, and in none that has not."""

import msgspec
import numpy as np
import polars as pl
import pytest

from daogou.data.dataset import Dataset, from_frames
from daogou.data.doctor import Diagnosis, examine

HOUR, DAY = 3600 * 10**6, 86_400 * 10**6
START = 1_700_000_000 * 10**6
NOW = START + 200 * DAY
WEIGHTS = {"shown": 0.0, "view": 0.1, "buy": 1.0}


def healthy(n_users: int = 120, n_items: int = 40, per_user: int = 8, seed: int = 0) -> pl.DataFrame:
    """Shoppers with a life of their own over 100 days."""
    rng = np.random.default_rng(seed)
    n = n_users * per_user
    users = np.repeat(np.arange(n_users), per_user)
    return pl.DataFrame(
        {
            "user_id": [f"u{u}" for u in users],
            "item_id": [f"i{i}" for i in rng.integers(0, n_items, n)],
            "event": rng.choice(["view", "buy", "shown"], n, p=[0.3, 0.6, 0.1]).tolist(),
            "time": START + rng.integers(0, 100 * DAY // 10**6, n) * 10**6,
            "value": rng.integers(1, 6, n).astype(np.float64),
            "session_id": [f"s{i // 2}" for i in range(n)],
        }
    )


def catalogue(n_items: int = 40, **columns: list[object]) -> pl.DataFrame:
    return pl.DataFrame({"item_id": [f"i{i}" for i in range(n_items)], "title": [f"Item {i}" for i in range(n_items)], "price": [5.0] * n_items, **columns})


def look(events: pl.DataFrame, items: pl.DataFrame | None = None, users: pl.DataFrame | None = None) -> Diagnosis:
    return examine(from_frames(events, catalogue() if items is None else items, users, weights=WEIGHTS), now_us=NOW)


def codes(diagnosis: Diagnosis) -> dict[str, int]:
    return {finding.code: finding.number for finding in diagnosis.findings}


def use(diagnosis: Diagnosis, name: str) -> bool:
    return next(one.possible for one in diagnosis.uses if one.name.startswith(name))


def replaced(events: pl.DataFrame, rows: slice, **values: object) -> pl.DataFrame:
    """`events` with some rows changed."""
    at = pl.int_range(pl.len()).is_between(rows.start, rows.stop - 1)
    return events.with_columns(pl.when(at).then(pl.lit(value)).otherwise(pl.col(name)).alias(name) for name, value in values.items())


def more(events: pl.DataFrame, n: int, **values: object) -> pl.DataFrame:
    """`events` and n further rows."""
    row = {"user_id": "u0", "item_id": "i0", "event": "buy", "time": START, "value": 1.0, "session_id": None}
    extra = pl.DataFrame([{**row, **{name: value(i) if callable(value) else value for name, value in values.items()}} for i in range(n)], schema=events.schema)
    return pl.concat([events, extra])


def test_nothing_is_wrong_with_healthy_data() -> None:
    diagnosis = look(healthy())
    assert diagnosis.findings == []
    assert "Nothing is wrong" in str(diagnosis)
    assert (diagnosis.events, diagnosis.users, diagnosis.items) == (960, 120, 40)
    assert sum(diagnosis.by_event.values()) == 960
    assert diagnosis.per_user["50%"] == 8
    pairs = healthy().select("user_id", "item_id").n_unique()
    assert diagnosis.density == pytest.approx(pairs / (120 * 40))


@pytest.mark.parametrize(
    ("code", "number", "events"),
    [
        ("unknown-event", 5, replaced(healthy(), slice(0, 5), event="dance")),
        ("duplicate", 10, pl.concat([healthy(), healthy().head(10)])),
        ("future", 3, replaced(healthy(), slice(0, 3), time=NOW + 3 * DAY)),
        ("stray", 2, replaced(healthy(), slice(0, 2), time=START - 2000 * DAY)),
        ("crowd", 30, more(healthy(), 30, user_id=lambda i: f"u{i}", time=START + 50 * DAY)),
        ("single-event", 7, more(healthy(), 7, user_id=lambda i: f"new{i}", time=lambda i: START + i * DAY)),
        ("burst", 1, more(healthy(), 45, user_id="bot", time=lambda i: START + DAY + i * 10**6, item_id=lambda i: f"i{i % 40}")),
        ("heavy", 1, more(healthy(), 400, user_id="heavy", time=lambda i: START + i * 6 * HOUR, item_id=lambda i: f"i{i % 40}")),
        ("no-entry", 2, replaced(replaced(healthy(), slice(0, 1), item_id="x"), slice(1, 2), item_id="y")),
        ("no-dates", 960, healthy().with_columns(time=pl.int_range(pl.len()) * 10**6)),
        ("no-signal", 960, healthy().with_columns(event=pl.lit("shown"))),
    ],
)
def test_a_sickness_of_events_is_found_and_nothing_else(code: str, number: int, events: pl.DataFrame) -> None:
    assert codes(look(events)) == {code: number}


def test_a_gap_in_time() -> None:
    events = healthy().with_columns(time=pl.when(pl.col("time") > START + 50 * DAY).then(pl.col("time") + 60 * DAY).otherwise(pl.col("time")))
    diagnosis = look(events)
    assert codes(diagnosis) == {"gap": 1}
    assert "60." in diagnosis.findings[0].what
    assert 0.3 < diagnosis.findings[0].share < 0.5


def test_ties_and_baskets() -> None:
    coarse = healthy().with_columns(time=pl.col("time") // (30 * DAY) * 30 * DAY)
    assert "ties" in codes(look(coarse.drop("session_id")))
    assert "baskets" in codes(look(coarse))
    assert "ties" not in codes(look(coarse))
    assert next(f for f in look(coarse).findings if f.code == "baskets").severity == "info"


def test_a_sickness_of_the_catalogue() -> None:
    items = catalogue(42).with_columns(
        title=pl.when(pl.col("item_id") == "i3").then(None).otherwise(pl.col("title")),
        price=pl.when(pl.col("item_id") == "i4").then(0.0).otherwise(pl.col("price")),
    )
    assert codes(look(healthy(), items)) == {"no-item-events": 2, "no-title": 1, "no-price": 1}


def test_leaks() -> None:
    events = healthy()
    late = events["time"].max()
    assert isinstance(late, int)
    of_i0 = events.filter(pl.col("item_id") == "i0")["time"]
    created = catalogue(created=[late + 5 * DAY, *[START - DAY] * 38, None])
    assert codes(look(events, created)) == {"before-created": len(of_i0)}
    removed = catalogue(removed=[START - 5 * DAY, *[NOW] * 38, None])
    assert codes(look(events, removed)) == {"after-removal": len(of_i0)}


def test_an_empty_dataset_and_an_empty_catalogue() -> None:
    schema = {"user_id": pl.String, "item_id": pl.String, "event": pl.String, "time": pl.Int64}
    empty = pl.DataFrame(schema=schema)
    assert codes(look(empty)) == {"no-events": 0, "no-item-events": 40}
    nothing: Dataset = from_frames(empty)
    diagnosis = examine(nothing)
    assert codes(diagnosis) == {"no-events": 0}
    assert not any(one.possible for one in diagnosis.uses)
    assert "no event yet" in str(diagnosis)


def test_what_it_is_good_for() -> None:
    users = pl.DataFrame({"user_id": [f"u{i}" for i in range(120)], "age": ["30"] * 120})
    diagnosis = look(healthy(), users=users)
    for name in ("time", "leave-one-out", "cold-items", "cold-users", "popularity", "taste", "order", "baskets", "ratings", "content", "off-policy"):
        assert use(diagnosis, name), name
    assert not use(diagnosis, "user-split")  # 120 users, 200 wanted
    assert "200 wanted" in next(one.why for one in diagnosis.uses if one.name == "user-split")
    big = look(healthy(n_users=250))
    assert use(big, "user-split")
    assert not use(big, "cold-users")


@pytest.mark.parametrize(
    ("name", "events"),
    [
        ("time", healthy(n_users=20)),
        ("time", healthy().with_columns(time=START + (pl.col("time") - START) // 30)),
        ("time", healthy().with_columns(time=pl.int_range(pl.len()) * 10**6)),
        ("leave-one-out", healthy(per_user=2)),
        ("order", healthy().with_columns(time=pl.lit(START))),
        ("baskets", healthy().drop("session_id")),
        ("ratings", healthy().with_columns(value=pl.int_range(pl.len()) * 0.37)),
        ("ratings", healthy().drop("value")),
        ("repurchase", healthy().unique(["user_id", "item_id"], maintain_order=True)),
        ("off-policy", healthy().with_columns(event=pl.lit("buy"))),
    ],
)
def test_what_it_is_not_good_for(name: str, events: pl.DataFrame) -> None:
    assert not use(look(events), name)


def test_repurchase_counts_moments_and_not_rows() -> None:
    once = healthy().unique(["user_id", "item_id"], maintain_order=True)
    assert not use(look(pl.concat([once, once])), "repurchase")
    again = once.with_columns(time=pl.col("time") + DAY)
    assert use(look(pl.concat([once, again])), "repurchase")


def test_it_prints_and_travels() -> None:
    diagnosis = look(replaced(healthy(), slice(0, 3), time=NOW + 3 * DAY))
    assert [finding.code for finding in diagnosis.errors] == ["future"]
    text = str(diagnosis)
    assert "events in the future: 3 (0.3%)" in text
    assert "yes  protocol time" in text
    assert msgspec.json.decode(msgspec.json.encode(diagnosis), type=Diagnosis) == diagnosis
