"""A wardrobe made up here, and the same questions asked of it as of a real catalogue."""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import msgspec
import polars as pl
import pytest

from daogou.data.rows import Item
from daogou.engine import Engine
from daogou.guide.dialogue import Guide, Question, Reply
from daogou.guide.values import Values, learn
from daogou.scenario import Attributes, Scenario, load_scenario
from daogou.store import Store
from daogou.testing.data import dataset_path

ATTRIBUTES = Attributes(items={"gender": "tag", "color": "tag", "season": "tag", "usage": "tag", "sizes": "tag"})
COLORS = ("Black", "White", "Red", "Blue", "Navy Blue", "Green", "Pink")
KINDS = (
    "Apparel > Topwear > Tshirts",
    "Apparel > Topwear > Shirts",
    "Apparel > Dresses",
    "Footwear > Shoes > Sports Shoes",
    "Footwear > Shoes > Formal Shoes",
    "Accessories > Bags > Handbags",
    "Accessories > Watches",
)
BRANDS = ("Alder", "Birch", "Cedar", "Red Tape")


def wardrobe() -> list[Item]:
    """Every colour of every kind for men and women, twice, at prices from 20 to 900."""
    out = []
    for n, (color, kind, gender, _) in enumerate(product(COLORS, KINDS, ("Men", "Women"), range(2))):
        brand, price = BRANDS[n % 4 if n % 3 else (n // 4) % 4], 20.0 + (n * 37) % 880
        name = kind.rpartition("> ")[2].removesuffix("s")
        out.append(
            Item(
                item_id=f"w{n}",
                title=f"{brand} {gender} {color} {name} No. {n}",
                category=kind,
                brand=brand,
                price=price,
                currency="CNY",
                created=n,
                available=True,
                attributes={
                    "gender": gender,
                    "color": color,
                    "season": ("Summer", "Winter")[n % 2],
                    "usage": ("Casual", "Formal", "Sports")[n % 3],
                    "sizes": "S|M|L" if n % 2 else "XL|42",
                },
            )
        )
    return out


def scenario() -> Scenario:
    return msgspec.structs.replace(load_scenario("shop"), attributes=ATTRIBUTES)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Over the made-up wardrobe; search goes by words."""
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('guide')}/s.sqlite3") as store:
        store.put_items(wardrobe())
        yield Engine(None, scenario(), store)


@pytest.fixture(scope="session")
def values(engine: Engine) -> Values:
    return learn(engine.catalogue, engine.scenario)


def fashion_items(path: Path) -> pl.DataFrame:
    """The real catalogue, with a brand read off its titles and a price made up from its id."""
    table = pl.read_csv(path / "styles_full.csv.gz")
    return table.select(
        pl.col("id").cast(pl.String).alias("item_id"),
        pl.col("productDisplayName").alias("title"),
        pl.concat_str(["masterCategory", "subCategory", "articleType"], separator=" > ").alias("category"),
        "gender",
        pl.col("baseColour").alias("color"),
        "season",
        "usage",
        pl.col("productDisplayName").str.extract(r"^(.+?) (?:Men|Women|Unisex|Boys|Girls|Kids)\b").alias("brand"),
        (pl.col("id") % 977 + 10).cast(pl.Float64).alias("price"),
        pl.lit("CNY").alias("currency"),
    )


@pytest.fixture(scope="session")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Over 44,446 real products; skipped where the data set is absent."""
    table = fashion_items(dataset_path("fashion"))
    attributes = Attributes(items={"gender": "tag", "color": "tag", "season": "tag", "usage": "tag"})
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('fashion')}/s.sqlite3") as store:
        store.bulk_items(table)
        yield Engine(None, msgspec.structs.replace(load_scenario("shop"), attributes=attributes), store)


Talk = Callable[..., Reply]


@pytest.fixture
def talk(engine: Engine) -> Talk:
    """Says one thing after another in one conversation."""
    guide, name = Guide(), [None]

    def say(text: str = "", **more: object) -> Reply:
        reply = guide.ask(engine, msgspec.convert({"text": text, "conversation_id": name[0], **more}, Question))
        name[0] = reply.conversation_id  # type: ignore[call-overload]
        return reply

    return say
