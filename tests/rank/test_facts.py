"""Facts: counted by hand, as of any moment, and the same after saving."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from daogou.data.dataset import Dataset, from_frames
from daogou.rank.facts import Facts
from daogou.testing.toy import DAY_US, START_US, random_dataset


@pytest.fixture
def data() -> Dataset:
    return random_dataset(1, n_users=60, n_items=30, n_events=2500)


def test_before_counts_the_events_of_an_item_strictly_before_a_moment(data: Dataset) -> None:
    facts, e = Facts.of(data), data.events
    signal = data.weight_E > 0
    rng = np.random.default_rng(0)
    items = rng.integers(0, data.n_items, 500).astype(np.int32)
    moments = rng.choice(e.time, 500) + rng.integers(-1, 2, 500)
    expected = [int((signal & (e.item == i) & (e.time < m)).sum()) for i, m in zip(items, moments, strict=True)]
    assert facts.before(items, moments).tolist() == expected


def test_recent_facts_answer_every_question_of_the_end_and_later(data: Dataset) -> None:
    whole = Facts.of(data)
    recent = whole.recent()
    assert len(recent.time) < len(whole.time)
    items = np.repeat(np.arange(data.n_items, dtype=np.int32), 4)
    moments = np.tile(whole.end + 1 - np.array([0, 1, 7, 28]) * DAY_US, data.n_items)
    assert recent.before(items, moments).tolist() == whole.before(items, moments).tolist()


def test_saved_and_loaded_it_is_the_same(data: Dataset, tmp_path: Path) -> None:
    facts = Facts.of(data)
    facts.save(tmp_path / "facts.safetensors")
    again = Facts.load(tmp_path / "facts.safetensors")
    assert (again.end, again.real) == (facts.end, facts.real)
    for name in ("start", "time", "older_I", "first_I", "price_I", "gap_I", "known_I"):
        np.testing.assert_array_equal(getattr(again, name), getattr(facts, name), err_msg=name)
    assert list(again.groups) == sorted(facts.groups)
    for name, codes in facts.groups.items():
        np.testing.assert_array_equal(again.groups[name], codes)


def test_groups_are_the_attributes_that_items_share_and_the_first_level_of_a_path(data: Dataset) -> None:
    groups = Facts.of(data).groups
    assert set(groups) == {"category", "category (top)", "brand"}
    assert len(np.unique(groups["category (top)"])) == 2
    assert all((codes >= 0).all() for codes in groups.values())


def test_usual_gaps_are_those_of_people_who_came_back() -> None:
    times = [0, 2, 6, 0, 1]  # a: 2 and 4 days apart; b once each by two people
    events = pl.DataFrame(
        {"user_id": ["u", "u", "u", "u", "v"], "item_id": ["a", "a", "a", "b", "b"], "event": ["buy"] * 5, "time": [START_US + d * DAY_US for d in times]}
    )
    facts = Facts.of(from_frames(events))
    assert facts.gap_I[0] == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert np.isnan(facts.gap_I[1])


def test_counters_are_no_clocks() -> None:
    events = pl.DataFrame({"user_id": ["u", "u"], "item_id": ["a", "b"], "event": ["buy"] * 2, "time": [0, 1]})
    assert not Facts.of(from_frames(events)).real
    assert Facts.of(random_dataset(1)).real
