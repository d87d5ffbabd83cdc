"""One small project, trained once, and the scenario it runs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daogou.config import decode_toml
from daogou.engine import Engine
from daogou.release import Release, open_current
from daogou.scenario import Project, Scenario
from daogou.store import Store
from daogou.testing.project import fill
from daogou.testing.toy import random_dataset
from daogou.train.fit import train

SCENARIO = """
name = "toy"
[events]
shown = 0.0
view = 0.125
cart = 0.5
purchase = 1.0
refund = -1.0
[attributes.items]
colour = "tag"
[attributes.users]
side = "tag"
age = "number"
[models.popular]
segments = ["side"]
[models.covisit]
[models.ease]
[models.als]
embedding_size = 8
[[placements]]
name = "home"
retrieve = ["ease", "als", "popular"]
filter = "available"
size = 8
[[placements]]
name = "new"
retrieve = ["ease", "popular"]
exclude = ["purchase"]
diversity = 0.5
[[placements]]
name = "like"
about = "items"
retrieve = ["als", "ease"]
[[placements]]
name = "with"
about = "items"
rank = "first"
retrieve = ["covisit", "popular"]
[[placements]]
name = "try"
retrieve = ["ease", "popular"]
explore = 0.3
[[placements]]
name = "taste"
rank = "first"
retrieve = ["ease", "popular"]
[[placements]]
name = "mixed"
retrieve = ["popular"]
diversity_by = "brand"
cap = 1
[answers]
similar = "like"
bought_together = "with"
[evaluation]
repeats = true
goal = ["purchase"]
[words.en]
"because.popular" = "Many take it"
"because.ease" = "Because of {item}"
"because.newest" = "New"
[words.zh]
"because.ease" = "因为“{item}”"
"""


@pytest.fixture(scope="session")
def scenario() -> Scenario:
    return decode_toml(SCENARIO, Scenario, "toy.toml")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, scenario: Scenario) -> Project:
    """A project whose store holds 60 items and 120 users; its release is live."""
    project = Project(directory=tmp_path_factory.mktemp("toy"))
    with Store.open(project.store_url) as store:
        fill(store, random_dataset(5, n_users=120, n_items=60, n_events=3000))
        train(project, store, scenario)
    return project


@pytest.fixture(scope="session")
def release(trained: Project) -> Release:
    found = open_current(trained.releases)
    assert found is not None
    return found


@pytest.fixture
def store(trained: Project, tmp_path: Path) -> Iterator[Store]:
    """A copy of the trained project's store, to be changed."""
    with Store.open(trained.store_url, read_only=True) as source:
        source.backup(tmp_path / "store.sqlite3")
    with Store.open(f"sqlite:///{tmp_path}/store.sqlite3") as copy:
        yield copy


@pytest.fixture
def engine(release: Release, scenario: Scenario, store: Store) -> Engine:
    return Engine(release, scenario, store)


@pytest.fixture
def ids() -> Callable[[Engine], list[str]]:
    return lambda engine: list(engine.catalogue.items.ids)
