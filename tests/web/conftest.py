"""A small grocery shop, made up: 200 goods, 160 households with habits of their own, and a trained release; served as `daogou serve --open` does."""

import random
import re
import socket
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec
import pytest
import uvicorn
from litestar import Litestar

from daogou.data.rows import Event, Item, User
from daogou.scenario import Project, load_project
from daogou.serve.app import create_app
from daogou.store import Store
from daogou.train.fit import train

DAY = 86_400_000_000
START = 1_700_000_000_000_000

AISLES = {
    "PRODUCE": ["APPLES", "BANANAS", "CITRUS", "BERRIES", "GRAPES", "TOMATOES", "POTATOES", "SALAD MIX", "CARROTS", "ONIONS"],
    "GROCERY": ["PASTA", "PASTA SAUCE", "COLD CEREAL", "SOUP", "COFFEE", "TEAS", "COOKIES", "SOFT DRINKS", "BAG SNACKS", "RICE"],
    "DAIRY": ["FLUID MILK", "CHEESE", "YOGURT", "EGGS", "BUTTER", "ICE CREAM"],
    "MEAT": ["BEEF", "CHICKEN", "BACON", "HOT DOGS"],
    "BAKERY": ["BREAD", "BREAKFAST SWEETS", "CAKES"],
    "BABY": ["DIAPERS", "BABY FOODS"],
    "PETS": ["DOG FOODS", "CAT FOOD"],
    "HOUSEHOLD": ["PAPER TOWELS", "LAUNDRY DETERGENTS", "SOAP"],
}
BRANDS = ["Northfield", "Hill & Dale", "Sunday", "Old Barn", "Bluebird"]
WORDS = ["CLASSIC", "ORGANIC", "FAMILY PACK", "LIGHT", "FARM STYLE", "EXTRA"]
SIZES = ["16 OZ", "1 LB", "6 CT", "32 OZ", "12 OZ"]
TOGETHER = [["PASTA", "PASTA SAUCE", "CHEESE"], ["COLD CEREAL", "FLUID MILK", "BANANAS"], ["SOFT DRINKS", "BAG SNACKS", "HOT DOGS"],
            ["DIAPERS", "BABY FOODS", "YOGURT"], ["DOG FOODS", "PAPER TOWELS"], ["COFFEE", "COOKIES", "BREAKFAST SWEETS"],
            ["EGGS", "BACON", "BREAD"], ["SALAD MIX", "TOMATOES", "CHICKEN"], ["TEAS", "CITRUS", "BERRIES"], ["RICE", "CHICKEN", "ONIONS"]]  # fmt: skip


def goods() -> list[Item]:
    """200 items, five of each kind, with titles that shout as those of many tills do."""
    out = []
    for department, kinds in AISLES.items():
        for kind in kinds:
            for n in range(5):
                number = len(out)
                out.append(
                    Item(
                        item_id=f"{10_000 + number}",
                        title=f"{WORDS[(number * 7 + n) % len(WORDS)]} {kind}",
                        category=f"{department} > {kind}",
                        brand=BRANDS[n],
                        price=round(0.89 + (number * 37 % 100) / 11, 2),
                        currency="USD",
                        available=number != 42,
                        created=START + number,
                        attributes={"size": SIZES[n]},
                    )
                )
    return out


def households(n: int = 160) -> tuple[list[User], list[Event]]:
    """Each buys three or four of the combinations above, one brand of each kind, week after week."""
    draw = random.Random(7)
    by_kind: dict[str, list[Item]] = {}
    for item in goods():
        by_kind.setdefault(str(item.category).split(" > ")[1], []).append(item)
    users, events = [], []
    for number in range(n):
        user_id = str(1000 + number)
        facts = {"age": draw.choice(["25-34", "35-44", "45-54"]), "household_size": draw.choice(["1", "2", "4"]), "income": draw.choice(["35-49K", "50-74K"])}
        users.append(User(user_id=user_id, attributes=facts))
        habits = draw.sample(TOGETHER, draw.randint(3, 4))
        favourite = {kind: draw.choice(items[:3]) for kind, items in by_kind.items()}
        for week in range(14):
            for basket in habits:
                if draw.random() < 0.45:
                    continue
                at = START + week * 7 * DAY + draw.randrange(7) * DAY + draw.randrange(DAY)
                for kind in basket:
                    item = favourite[kind] if draw.random() < 0.85 else draw.choice(by_kind[kind])
                    events.append(Event(user_id=user_id, item_id=item.item_id, event="purchase", time=at, value=1.0))
    return users, events


def fill(directory: Path, *, trained: bool = True, scenario: str = "shop") -> Project:
    """A project with the goods and households above."""
    (directory / "daogou.toml").write_text(f'scenario = "{scenario}"\n[training]\nthreads = 1\n')
    project = load_project(directory)
    users, events = households()
    with Store.open(project.store_url) as store:
        store.put_items(goods())
        store.put_users(users)
        store.add_events(events)
        if trained:
            train(project, store, project.load_scenario(), models=["popular", "covisit", "ease"])
    return project


class Site(NamedTuple):
    """A running storefront."""

    url: str
    app: Litestar


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return fill(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def app(project: Project) -> Litestar:
    return create_app(project, open_access=True)


@pytest.fixture(scope="session")
def site(app: Litestar) -> Iterator[Site]:
    """The application on a free port of loopback."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", http="httptools", ws="none", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended while starting"
        time.sleep(0.02)
    yield Site(f"http://127.0.0.1:{listener.getsockname()[1]}", app)
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture
def client(site: Site) -> Iterator["Visitor"]:
    """A browser without scripts."""
    with Visitor(site.url) as visitor:
        yield visitor


class Visitor(httpx.Client):
    """Keeps cookies, follows redirects, and fills in the token that forms carry."""

    def __init__(self, url: str) -> None:
        super().__init__(base_url=url, follow_redirects=True, headers={"accept-language": "en"}, timeout=20)

    def send_form(self, path: str, *, htmx: bool = False, **fields: str) -> httpx.Response:
        token = re.search(r'name="_csrf_token" value="([0-9a-f]+)"', self.get("/known").text)
        assert token is not None
        headers = {"hx-request": "true"} if htmx else {"referer": str(self.base_url) + "/"}
        return self.post(path, data={"_csrf_token": token[1], **fields}, headers=headers)

    def become(self, user_id: str) -> httpx.Response:
        return self.send_form("/shopper", user=user_id)

    @property
    def person(self) -> str:
        """The user id of this visitor's events."""
        packed = self.cookies["daogou-visit"].partition(".")[0]
        found = msgspec.json.decode(urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
        return str(found.get("user") or found["session"])
