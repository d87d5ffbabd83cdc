"""A small generated shop, trained, and held open by the process that writes to it: the tools must answer beside it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daogou.models.covisit import CoVisit
from daogou.models.ease import Ease
from daogou.models.popular import Popular
from daogou.release import Fitted, Manifest
from daogou.scenario import Project, load_project
from daogou.store import Store
from daogou.testing.chat_server import ChatServer
from daogou.testing.project import fill
from daogou.testing.toy import random_dataset
from daogou.train import release as releases


def train(project: Project, store: Store, l2: float = 10.0) -> str:
    """Writes and publishes a release; its id."""
    scenario = project.load_scenario()
    data = store.snapshot(scenario.events, attributes=scenario.attributes)
    models = {"popular": Popular().fit(data), "ease": Ease(l2=l2).fit(data), "covisit": CoVisit().fit(data)}
    about = Manifest(scenario=scenario.name, models={name: Fitted(kind=name) for name in models})
    blends = {place.name: {"ease": 1.0} for place in scenario.placements if "ease" in place.retrieve}
    manifest = releases.write(project.releases, models, data.items, blends, about)
    releases.publish(project.releases, manifest.id)
    return manifest.id


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Without meaning: loading an encoder says nothing about the tools."""
    directory: Path = tmp_path_factory.mktemp("shop")
    (directory / "daogou.toml").write_text('scenario = "shop"\n[serving]\ntext_encoder = ""\n', "utf-8")
    return load_project(directory)


@pytest.fixture(scope="module")
def writer(project: Project) -> Iterator[Store]:
    """The store as the process holds it that writes: with its lock."""
    with Store.open(project.store_url) as store:
        fill(store, random_dataset())
        train(project, store)
        yield store


@pytest.fixture(scope="session")
def retrain() -> Callable[[Project, Store, float], str]:
    return train


@pytest.fixture
def chat() -> Iterator[ChatServer]:
    """A language model's server, which does what a test says."""
    with ChatServer().running() as server:
        yield server


@pytest.fixture
def advised(tmp_path: Path, chat: ChatServer) -> Project:
    """A shop of its own, not trained, that names the language model."""
    settings = f'[serving]\ntext_encoder = ""\n[language_model]\nurl = "{chat.url}"\nmodel = "m"\nbudget_s = 1.0\n'
    (tmp_path / "daogou.toml").write_text(f'scenario = "shop"\n{settings}', "utf-8")
    project = load_project(tmp_path)
    with Store.open(project.store_url) as store:
        fill(store, random_dataset())
    return project
