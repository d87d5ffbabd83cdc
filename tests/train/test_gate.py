"""The gate refuses a worse release and says why; it does not stand in the way of a good one."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace

from daogou.data.dataset import Dataset
from daogou.evaluate import Interval, Paired
from daogou.release import Fitted, Manifest, current_id
from daogou.scenario import Gate, Project, Scenario
from daogou.store import Store
from daogou.testing.project import events_frame
from daogou.testing.toy import random_dataset
from daogou.train.fit import Trained, train
from daogou.train.gate import refusal

GATE = Gate(max_drop=0.05, min_coverage=0.5)


def manifest(ndcg: float = 0.2, reached: int = 100, *, half: float = 0.01, end: int = 10, models: bool = True) -> Manifest:
    figures = {"ndcg@10": ndcg, "low": ndcg - half, "high": ndcg + half, "reached": reached}
    return Manifest(models={"m": Fitted(kind="m")} if models else {}, metrics={"blend": figures}, data_end=end)


def unseen(difference: float, half: float, base: float = 0.2, n: int = 500) -> Paired:
    return Paired("ndcg@10", difference, Interval(difference - half, difference + half), 0.0, 0.0, 0.0, difference / base, n)


def test_nothing_is_worse_than_nothing() -> None:
    assert refusal(manifest(0.0, 0), None, GATE) == ""
    assert refusal(manifest(0.0, 0), manifest(models=False), GATE) == ""


@pytest.mark.parametrize(
    ("new", "says"),
    [
        (manifest(0.2), ""),
        (manifest(0.5), ""),
        (manifest(0.195), ""),
        (manifest(0.185, half=0.01), ""),  # the interval reaches what is allowed
        (manifest(0.185, half=0.001), "ndcg@10 is 0.1850, at most 0.1860"),
        (manifest(0.1), "below the live release's 0.2000 by more than 5%"),
        (manifest(0.2, 60), ""),
        (manifest(0.2, 40), "reach 40 items, the live release's 100"),
        (manifest(0.3, end=9), "older"),
        (manifest(models=False), "has no model"),
        (Manifest(models={"m": Fitted(kind="m")}, data_end=10), ""),  # not measured: nothing to compare
    ],
)
def test_own_figures_decide(new: Manifest, says: str) -> None:
    found = refusal(new, manifest(), GATE)
    assert says in found
    assert bool(says) == bool(found)


def test_unseen_targets_can_refuse_and_can_lift_a_refusal() -> None:
    assert "newest events" in refusal(manifest(0.2), manifest(0.2), GATE, unseen(-0.05, 0.01))
    assert refusal(manifest(0.2), manifest(0.2), GATE, unseen(-0.05, 0.06)) == ""  # not sure
    assert refusal(manifest(0.2), manifest(0.2), GATE, unseen(-0.005, 0.001)) == ""  # within what is allowed
    assert refusal(manifest(0.1), manifest(0.2), GATE, unseen(0.05, 0.01)) == ""  # a harder window, and better on it
    assert refusal(manifest(0.1), manifest(0.2), GATE, unseen(0.001, 0.01)) != ""
    assert refusal(manifest(0.1), manifest(0.2), GATE, unseen(0.05, 0.01, n=10)) != ""  # too few to say


def test_what_shoppers_are_shown_is_compared() -> None:
    """A release with a ranker is its ranker's order, on either side."""

    def shown(blend: float, ranked: float | None) -> Manifest:
        made = manifest(blend)
        return made if ranked is None else replace(made, metrics=made.metrics | {"ranked": manifest(ranked).metrics["blend"]})

    assert refusal(shown(0.2, 0.3), shown(0.2, None), GATE) == ""
    assert "ndcg@10 is 0.2000" in refusal(shown(0.3, 0.2), shown(0.2, 0.3), GATE)  # a better blend that nobody sees
    assert "below the live release's 0.3000" in refusal(shown(0.2, None), shown(0.2, 0.3), GATE)  # the ranker is gone
    assert refusal(shown(0.1, 0.3), shown(0.3, 0.3), GATE) == ""


def test_coverage_counts_also_where_the_new_models_are_better() -> None:
    assert "reach" in refusal(manifest(0.3, 40), manifest(0.2, 100), GATE, unseen(0.05, 0.01))


# ---- with real trainings (M3)
def trained(project: Project, scenario: Scenario, events: pl.DataFrame, items: pl.DataFrame, directory: Path) -> Trained:
    """Trains the project from other data than its own."""
    with Store.open(f"sqlite:///{directory}/other.sqlite3") as store:
        store.bulk_items(items)
        store.bulk_events(events)
        return train(project, store, scenario, models=["popular", "covisit", "ease"])


@pytest.fixture
def good(project: Project, scenario: Scenario) -> tuple[Dataset, Trained]:
    data = random_dataset(8, n_users=250, n_items=120, n_events=9000)
    with Store.open(project.store_url) as store:
        store.bulk_items(data.item_table)
        store.bulk_events(events_frame(data))
        return data, train(project, store, scenario, models=["popular", "covisit", "ease"])


def shuffled(data: Dataset) -> pl.DataFrame:
    """Every event with an item drawn at random: nothing is left to learn, not even what is popular."""
    drawn = np.random.default_rng(1).integers(0, data.n_items, len(data.events))
    return events_frame(data).with_columns(item_id=pl.Series([f"i{i}" for i in drawn]))


@pytest.mark.promise("M3")
def test_shuffled_labels_are_refused(project: Project, scenario: Scenario, good: tuple[Dataset, Trained], tmp_path: Path) -> None:
    data, first = good
    made = trained(project, scenario, shuffled(data), data.item_table, tmp_path)
    assert not made.published
    assert "ndcg@10" in made.refused
    assert made.refused in str(made)
    assert current_id(project.releases) == first.release


@pytest.mark.promise("M3")
def test_a_tenth_of_the_items_is_refused(project: Project, scenario: Scenario, good: tuple[Dataset, Trained], tmp_path: Path) -> None:
    data, first = good
    events = events_frame(data).filter(pl.col("item_id").is_in([f"i{n}" for n in range(12)]))
    made = trained(project, scenario, events, data.item_table.head(12), tmp_path)
    assert not made.published
    assert "items" in made.refused
    assert current_id(project.releases) == first.release


@pytest.mark.promise("M3")
def test_last_years_data_is_refused(project: Project, scenario: Scenario, good: tuple[Dataset, Trained], tmp_path: Path) -> None:
    data, first = good
    events = events_frame(data).filter(pl.col("time") < int(np.quantile(data.events.time, 0.6)))
    made = trained(project, scenario, events, data.item_table, tmp_path)
    assert not made.published
    assert "days older" in made.refused
    assert current_id(project.releases) == first.release


@pytest.mark.promise("M3")
def test_with_the_gate_open_they_would_be_published(project: Project, scenario: Scenario, good: tuple[Dataset, Trained], tmp_path: Path) -> None:
    """The control: it is the gate that refuses."""
    data, _ = good
    assert trained(project, replace(scenario, gate=Gate(max_drop=1.0, min_coverage=0.0)), shuffled(data), data.item_table, tmp_path).published


@pytest.mark.promise("M3")
def test_the_same_data_and_more_of_it_pass(project: Project, scenario: Scenario, good: tuple[Dataset, Trained], tmp_path: Path) -> None:
    data, _ = good
    made = trained(project, scenario, events_frame(data), data.item_table, tmp_path)
    assert made.published, made.refused
