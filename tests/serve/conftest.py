"""A small shop, trained, and ways to ask it: in process, or over loopback."""

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import uvicorn
from litestar import Litestar
from litestar.testing import TestClient

from daogou.data.rows import Event, Item, User
from daogou.models.covisit import CoVisit
from daogou.models.ease import Ease
from daogou.models.popular import Popular
from daogou.release import Fitted, Manifest
from daogou.scenario import Project, Serving
from daogou.serve.app import create_app
from daogou.store import Store
from daogou.train import release as releases

N_ITEMS, N_USERS = 40, 30
HOUR_US = 3_600_000_000
SERVING = Serving(max_body_bytes=200_000)


def fill(store: Store) -> None:
    """Items of four brands, users in two groups, each of whom bought ten items of the group's parity."""
    start = time.time_ns() // 1000 - 1000 * HOUR_US
    store.put_items(
        [
            Item(item_id=f"i{n}", title=f"Thing {n}", category=f"Side {n % 2} > Shelf {n % 5}", brand=f"brand{n % 4}", price=float(n + 1), created=start + n)
            for n in range(N_ITEMS)
        ]
    )
    store.put_users([User(user_id=f"u{n}", attributes={"age": "25-34" if n % 2 else "65+"}) for n in range(N_USERS)])
    store.add_events(
        [
            Event(user_id=f"u{u}", item_id=f"i{(u % 2 + 2 * (u + step)) % N_ITEMS}", event="purchase", time=start + (u * 20 + step) * HOUR_US)
            for u in range(N_USERS)
            for step in range(10)
        ]
    )


def train(project: Project, store: Store, l2: float = 10.0) -> str:
    """Writes and publishes a release of three models; its id."""
    scenario = project.load_scenario()
    data = store.snapshot(scenario.events, attributes=scenario.attributes)
    models = {"popular": Popular().fit(data), "ease": Ease(l2=l2).fit(data), "covisit": CoVisit().fit(data)}
    about = Manifest(scenario=scenario.name, models={name: Fitted(kind=name) for name in models})
    blends = {place.name: {"ease": 1.0, "covisit": 0.1} for place in scenario.placements if place.name != "home.guest"}
    manifest = releases.write(project.releases, models, data.items, blends, about)
    releases.publish(project.releases, manifest.id)
    return manifest.id


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled and trained project, copied for each test that changes something."""
    project = Project(directory=tmp_path_factory.mktemp("template"))
    with Store.open(project.store_url) as store:
        fill(store)
        train(project, store)
    return project.directory


@pytest.fixture
def trained(template: Path, tmp_path: Path) -> Project:
    """A project of its own, filled and trained."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return Project(directory=tmp_path, serving=SERVING)


@pytest.fixture
def project(trained: Project) -> Project:
    """A project of its own, filled and not yet trained."""
    shutil.rmtree(trained.releases)
    return trained


@pytest.fixture
def app(trained: Project) -> Litestar:
    return create_app(trained, open_access=True)


@pytest.fixture
def client(app: Litestar) -> Iterator[TestClient[Litestar]]:
    with TestClient(app) as client:
        yield client


@pytest.fixture(scope="module")
def reading(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient[Litestar]]:
    """A client for tests that change nothing: one for a file."""
    directory = tmp_path_factory.mktemp("reading")
    shutil.copytree(template, directory, dirs_exist_ok=True)
    with TestClient(create_app(Project(directory=directory, serving=SERVING), open_access=True)) as client:
        yield client


@pytest.fixture
def retrain() -> Callable[[Project, Store, float], str]:
    """Trains and publishes once more, with another penalty."""
    return train


@pytest.fixture(scope="session")
def loopback() -> Callable[[Litestar], AbstractContextManager[int]]:
    """Puts an app behind a real server; the port."""
    return on_loopback


@contextmanager
def on_loopback(app: Litestar) -> Iterator[int]:
    """The app behind a real server on a free port of 127.0.0.1."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, loop="asyncio", http="httptools", timeout_keep_alive=60))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.01)
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        listening.close()
