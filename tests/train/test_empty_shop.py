"""A shop on its first day: goods and no event. Training makes a release that is useful."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from daogou.config import decode_toml
from daogou.data.rows import Event
from daogou.engine import Engine, Request
from daogou.release import open_current
from daogou.scenario import Project, Scenario
from daogou.store import Store
from daogou.train.fit import train

SCENARIO = """
name = "new"
[events]
view = 0.5
[attributes.items]
colour = "tag"
[models.popular]
[models.ease]
[models.content]
text_encoder = "ngram"
[[placements]]
name = "home"
retrieve = ["ease", "popular", "content"]
[[placements]]
name = "like"
about = "items"
retrieve = ["ease", "content"]
[answers]
similar = "like"
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "new.toml").write_text(SCENARIO, "utf-8")
    return Project(directory=tmp_path, scenario="new.toml")


@pytest.fixture
def scenario() -> Scenario:
    return decode_toml(SCENARIO, Scenario, "new.toml")


@pytest.fixture
def store(project: Project) -> Iterator[Store]:
    goods = [("tent", "Camp > Tents"), ("stove", "Camp > Stoves"), ("mug", "Kitchen > Mugs")]
    rows = [
        {"item_id": f"{name}{n}", "title": f"{name} {n}", "category": path, "colour": ["red", "blue"][n % 2], "created": n}
        for name, path in goods
        for n in range(5)
    ]
    with Store.open(project.store_url) as opened:
        opened.bulk_items(pl.DataFrame(rows))
        yield opened


def test_a_catalogue_without_events_makes_a_useful_release(project: Project, store: Store, scenario: Scenario) -> None:
    made = train(project, store, scenario)
    assert made.published and list(made.models) == ["content"]
    assert any("no event teaches anything yet: the release has content" in text for text in made.warnings)
    engine = Engine(open_current(project.releases), scenario, store)
    alike = engine.similar("tent0", 4)
    assert {item.item_id for item in alike.items} == {f"tent{n}" for n in (1, 2, 3, 4)} and not alike.degraded
    assert alike.items[0].item_id in ("tent2", "tent4"), "the same colour first"
    assert [item.item_id for item in engine.search("stove", "", 5).items if item.item_id.startswith("stove")]
    assert len(engine.recommend(Request(placement="home", k=5)).items) == 5, "the newest, for whom nothing is known of"
    assert not engine.failures


def test_the_first_click_is_answered_in_kind(project: Project, store: Store, scenario: Scenario) -> None:
    train(project, store, scenario)
    store.add_events([Event(user_id="u", item_id="mug1", event="view", time=1_700_000_000_000_000)])
    engine = Engine(open_current(project.releases), scenario, store)
    answer = engine.recommend(Request(placement="home", user_id="u", k=4))
    assert sum(item.item_id.startswith("mug") for item in answer.items) == 4
    assert not answer.degraded


def test_vectors_are_kept_in_the_project(project: Project, store: Store, scenario: Scenario) -> None:
    first = train(project, store, scenario)
    assert [file.name for file in (project.directory / "vectors").glob("*.sqlite3")] == ["ngram-1-512.sqlite3"]
    assert train(project, store, scenario).digest == first.digest


def test_the_same_bytes_without_the_cache(project: Project, store: Store, scenario: Scenario) -> None:
    first = train(project, store, scenario)
    for file in (project.directory / "vectors").iterdir():
        file.unlink()
    assert train(project, store, scenario).digest == first.digest
