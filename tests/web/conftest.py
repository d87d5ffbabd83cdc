"""A small grocery shop, made up: 200 goods, 160 households with habits of their own, and a trained release; served as `daogou serve --open` does."""

import gzip
import importlib.util
import io
import random
import re
import socket
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import polars as pl
import pytest
import uvicorn
from litestar import Litestar
from PIL import Image, ImageDraw

from daogou.data.rows import Event, Item, User
from daogou.scenario import Project, load_project
from daogou.serve.app import create_app
from daogou.serve.web import guide
from daogou.store import Store
from daogou.testing.data import dataset_path
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
    return patient(project)


def patient(project: Project) -> Litestar:
    """An application that lets one address ask the guide as often as these tests do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guide, "BURST", 10_000.0)
        return create_app(project, open_access=True)


@pytest.fixture(scope="session")
def site(app: Litestar) -> Iterator[Site]:
    with running(app) as site:
        yield site


@contextmanager
def running(app: Litestar) -> Iterator[Site]:
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


# ---- a wardrobe with photos ---------------------------------------------------------------------------------------------------------
FASHION = Path(__file__).parents[2] / "examples" / "fashion" / "run.py"
COLOURS = {"Red": (200, 30, 40), "Blue": (40, 70, 190), "Black": (25, 25, 28), "Green": (40, 140, 70), "White": (240, 240, 238)}
KINDS = {
    "Apparel > Topwear > Tshirts": [(12, 20), (48, 20), (48, 70), (12, 70)],
    "Footwear > Shoes > Sports Shoes": [(5, 60), (25, 40), (55, 58), (55, 70), (5, 70)],
    "Accessories > Bags > Handbags": [(15, 35), (45, 35), (52, 72), (8, 72)],
}
HOSTILE = """Red "><img src=x onerror=alert(1)><script>alert(2)</script> {{ 7*7 }} Tshirt"""


def drawn(colour: tuple[int, int, int], outline: list[tuple[int, int]], n: int = 0) -> bytes:
    """A photo of 60 × 80: one thing in one colour before white."""
    out, picture = io.BytesIO(), Image.new("RGB", (60, 80), "white")
    ImageDraw.Draw(picture).polygon([(x + n % 3, y - n % 2) for x, y in outline], fill=colour)
    picture.save(out, "JPEG", quality=92)
    return out.getvalue()


def wardrobe_files(folder: Path, n: int = 90) -> None:
    """Files as examples/fashion/README.md describes them, made up: every colour of every kind for men and women; one title is hostile."""
    rows, kinds = [], list(KINDS)
    for number in range(n):
        colour, kind = list(COLOURS)[number % 5], kinds[number // 5 % 3]
        gender = "Women" if number // 15 % 2 else "Men"
        master, sub, article = kind.split(" > ")
        facts = {"id": 1000 + number, "gender": gender, "masterCategory": master, "subCategory": sub, "articleType": article, "baseColour": colour}
        title = HOSTILE if number == 0 else f"Acme {gender} {colour} {article[:-1]} {number}"
        more = {"season": ["Summer", "Winter"][number % 2], "year": 2012.0 + number % 4, "usage": "Casual", "productDisplayName": title}
        photo = None if number == 4 else b"this is no photo" if number == 9 else drawn(COLOURS[colour], KINDS[kind], number)
        rows.append({**facts, **more, "image": photo})
    frame = pl.DataFrame(rows, schema_overrides={"image": pl.Binary})
    folder.mkdir()
    frame.drop("articleType").write_parquet(folder / "fashion_products_subset.parquet")
    frame.write_parquet(folder / "fashion_products_with_images.parquet")
    with gzip.open(folder / "styles_full.csv.gz", "wb") as out:
        frame.drop("image").write_csv(out)


def example() -> Any:
    """examples/fashion/run.py as a module."""
    spec = importlib.util.spec_from_file_location("fashion_run", FASHION)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def wardrobe_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The shop that the fashion example makes of made-up files."""
    pytest.importorskip("onnxruntime", reason="needs the extra vision")
    folder = tmp_path_factory.mktemp("wardrobe")
    wardrobe_files(folder / "data")
    made: Project = example().prepare(folder / "data", folder / "shop", lambda *_: None)
    return made


@pytest.fixture(scope="session")
def wardrobe(wardrobe_project: Project) -> Iterator[Site]:
    app = patient(wardrobe_project)
    with running(app) as site:
        app.state.live.engine.learn_meaning()
        yield site


@pytest.fixture
def shopper(wardrobe: Site) -> Iterator["Visitor"]:
    """A browser without scripts in the wardrobe."""
    with Visitor(wardrobe.url) as visitor:
        yield visitor


@pytest.fixture
def stranger(wardrobe: Site) -> Iterator["Visitor"]:
    """Another one."""
    with Visitor(wardrobe.url) as visitor:
        yield visitor


@pytest.fixture
def green_bag() -> bytes:
    """A photo of a thing that the wardrobe has."""
    return drawn(COLOURS["Green"], KINDS["Accessories > Bags > Handbags"])


@pytest.fixture
def large_green_bag(green_bag: bytes) -> bytes:
    """As a camera sends it: many pixels, and noise in them."""
    out, bag = io.BytesIO(), Image.open(io.BytesIO(green_bag)).resize((1800, 2400))
    noise = Image.effect_noise(bag.size, 30).convert("RGB")
    Image.blend(bag, noise, 0.1).save(out, "JPEG", quality=95)
    return out.getvalue()


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


# ---- Chromium --------------------------------------------------------------------------------------------------------------------
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGS += ["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", headless=True, args=ARGS)
        yield browser
        browser.close()


@contextmanager
def visits(chromium: Any, site: Site) -> Iterator[Any]:
    """Opens pages; at the end no request went elsewhere and nothing was complained about."""
    contexts, elsewhere, complaints = [], [], []

    def watch(page: Any, expected: str) -> None:
        page.on("request", lambda request: request.url.startswith(site.url + "/") or elsewhere.append(request.url))
        page.on("console", lambda message: message.type in ("error", "warning") and expected not in message.text and complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))

    def open_page(path: str = "/", *, width: int = 1280, locale: str = "en-US", as_shopper: str = "", expected: str = "nothing", **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": 844}, locale=locale, base_url=site.url, **options)
        contexts.append(context)
        page = context.new_page()
        watch(page, expected)
        if as_shopper:
            page.goto(f"/shoppers?q={as_shopper}")
            page.click(f'button[value="{as_shopper}"]')
            page.wait_for_url(site.url + "/")
        if path != "/" or not as_shopper:
            page.goto(path)
        page.wait_for_load_state("networkidle")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert elsewhere == []
    assert complaints == []


@pytest.fixture
def visit(chromium: Any, site: Site) -> Iterator[Any]:
    with visits(chromium, site) as open_page:
        yield open_page


@pytest.fixture
def visit_wardrobe(chromium: Any, wardrobe: Site) -> Iterator[Any]:
    with visits(chromium, wardrobe) as open_page:
        yield open_page


@pytest.fixture
def visit_real(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, bytes]]:
    """The fashion example's shop of 150 real goods, and one of its photos; skipped where the data are not."""
    data, folder = dataset_path("fashion"), tmp_path_factory.mktemp("fashion")
    pytest.importorskip("onnxruntime", reason="needs the extra vision")
    app = patient(example().prepare(data, folder / "shop", lambda *_: None, most=150))
    with running(app) as site, visits(chromium, site) as open_page:
        app.state.live.engine.learn_meaning()
        yield open_page, sorted((folder / "shop" / "photos").iterdir())[0].read_bytes()
