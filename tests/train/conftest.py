"""A small project to train, fresh for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from daogou.config import decode_toml
from daogou.data.dataset import Dataset
from daogou.scenario import Project, Scenario
from daogou.store import Store
from daogou.testing.project import fill
from daogou.testing.toy import random_dataset

SCENARIO = """
name = "toy"
[events]
shown = 0.0
view = 0.125
cart = 0.5
purchase = 1.0
[attributes.users]
side = "tag"
[models.popular]
segments = ["side"]
[models.covisit]
[models.ease]
[models.als]
embedding_size = 8
epochs = 3
[[placements]]
name = "home"
retrieve = ["ease", "als", "popular"]
[[placements]]
name = "like"
about = "items"
retrieve = ["covisit", "ease"]
[[placements]]
name = "with"
about = "items"
rank = "first"
retrieve = ["covisit", "popular"]
[evaluation]
repeats = true
goal = ["purchase"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "toy.toml").write_text(SCENARIO, "utf-8")
    return Project(directory=tmp_path, scenario="toy.toml")


@pytest.fixture
def scenario() -> Scenario:
    return decode_toml(SCENARIO, Scenario, "toy.toml")


@pytest.fixture
def data() -> Dataset:
    return random_dataset(5, n_users=80, n_items=40, n_events=2500)


@pytest.fixture
def store(project: Project, data: Dataset) -> Iterator[Store]:
    with Store.open(project.store_url) as opened:
        fill(opened, data)
        yield opened
