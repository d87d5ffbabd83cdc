"""Search with counts: what is counted is there, hard filters hold, wishes give way in order, taste orders what words find alike."""

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from daogou.data.rows import Event, Item
from daogou.engine import Engine
from daogou.errors import FilterError, UsageError
from daogou.filters import Numbers
from daogou.guide.dialogue import Guide, Question
from daogou.guide.names import named
from daogou.guide.search import Results, Search, _bands, search
from daogou.guide.values import Values, learn
from daogou.release import open_current
from daogou.scenario import Project, load_scenario
from daogou.store import Store
from daogou.train.fit import train

Find = Callable[..., Results]


@pytest.fixture
def find(engine: Engine, values: Values) -> Find:
    return lambda text="", **more: search(engine, values, msgspec.convert({"text": text, **more}, Search))


def rows(results: Results) -> list[Item]:
    return [one.item for one in results.items if one.item is not None]


def test_counts_are_of_everything_that_matches(find: Find, engine: Engine) -> None:
    results = find("pink shirt", k=5)
    wanted = engine.matching(['color = "Pink" and category = "Apparel > Topwear > Shirts"'])
    assert results.total == int(wanted.sum()) == 4
    assert all(wanted[engine.catalogue.items.code(one.item_id)] for one in results.items[:4])
    by_name = {facet.attribute: facet for facet in results.facets}
    assert "color" not in by_name and {count.label: count.items for count in by_name["gender"].values} == {"Men": 2, "Women": 2}
    assert sum(count.items for count in by_name["price"].values) == 4


@pytest.mark.parametrize("text", ["", "shirts", "Alder", "男士 手表"])
def test_every_count_is_what_its_filter_leaves(text: str, find: Find) -> None:
    results = find(text, k=100)
    assert results.facets
    for facet in results.facets:
        assert len(facet.values) > 1
        for count in facet.values:
            assert count.items > 0 and find(text, filter=count.filter, k=100).total == count.items, (facet.attribute, count)


def test_without_words_all_that_the_filter_leaves(find: Find, engine: Engine) -> None:
    results = find(filter="price < 200", facets=["color"], k=100)
    assert results.total == int(engine.matching(["price < 200"]).sum()) and all(row.price < 200 for row in rows(results))
    assert [facet.attribute for facet in results.facets] == ["color"] and sum(count.items for count in results.facets[0].values) == results.total
    assert find(filter="price < 0").items == [] and find(filter="price < 0").total == 0


def test_labels_speak_the_language_of_the_question(find: Find) -> None:
    assert {"红色", "藏青色"} <= {count.label for facet in find("衬衫", facets=["color"]).facets for count in facet.values}
    assert {"Red", "Navy Blue"} <= {count.label for facet in find("衬衫", facets=["color"], locale="en").facets for count in facet.values}


def test_wishes_give_way_from_the_last_and_the_filter_never(find: Find) -> None:
    results = find("shirt", filter='gender = "Men"', prefer=['color = "Red"', "price < 1", 'season = "Winter"'])
    assert results.relaxed == ["price < 1", 'season = "Winter"'] and results.items
    assert all(row.attributes["gender"] == "Men" and row.attributes["color"] == "Red" for row in rows(results))
    assert find("shirt", prefer=['color = "Red"']).relaxed == []


def test_words_that_nothing_has_give_way_last_and_it_says_so(find: Find) -> None:
    results = find("xylophone", filter="price < 300", prefer=['color = "Red"'])
    assert results.relaxed == ["text"] and results.items and all(row.price < 300 and row.attributes["color"] == "Red" for row in rows(results))
    assert find("xylophone", filter="price < 0").items == []


def test_a_slip_is_corrected_and_said(find: Find) -> None:
    results = find("hanbdag")
    assert results.corrected == "handbag" and {row.category for row in rows(results)} == {"Accessories > Bags > Handbags"} and results.relaxed == []
    assert find("handbag").corrected is None


@pytest.mark.parametrize(("text", "color"), [("红色", "Red"), ("藏青色", "Navy Blue")])
def test_names_of_the_other_language_find(text: str, color: str, find: Find) -> None:
    results = find(text, k=5)
    assert {row.attributes["color"] for row in rows(results)} == {color} and results.relaxed == []


def test_makers_have_names_in_both_languages(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/s.sqlite3") as store:
        store.put_items([Item(item_id=name, title="Runner 2", brand=name) for name in ("Nike", "Puma", "Ownmake")])
        made = Engine(None, load_scenario("shop"), store)
        values = learn(made.catalogue, made.scenario)
        assert [one.item_id for one in search(made, values, Search(text="耐克", k=1)).items] == ["Nike"]
        assert [chip.filter for chip in Guide().ask(made, Question(text="彪马的")).understood] == ['brand = "Puma"']


def test_what_a_text_names(values: Values) -> None:
    red, shoes, light = named("红色的跑鞋 轻便", values)
    assert red.said == "红色" and "Red" in red.names and red.filters == ('color = "Red"',)
    assert shoes.said == "跑鞋" and "Sports Shoes" in shoes.names and light.said == "轻便" and light.names == ()
    assert [thing.said for thing in named("show me a Red zzz", values)] == ["red", "zzz"] and named("", values) == []


@pytest.mark.parametrize("bad", [{"filter": "prize < 3"}, {"prefer": ["colour = 1"]}])
def test_a_wrong_filter_is_named(bad: dict[str, object], find: Find) -> None:
    with pytest.raises(FilterError):
        find("shirt", **bad)


def test_an_attribute_that_cannot_be_counted_is_named(find: Find) -> None:
    with pytest.raises(UsageError, match="no attribute 'title'") as found:
        find("shirt", facets=["title"])
    assert found.value.field == "facets" and "color" in found.value.expected


def test_a_photo_alone_that_cannot_be_looked_at_is_said(find: Find) -> None:
    pytest.importorskip("PIL", reason="the extra `vision` is not installed")
    out = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(out, "JPEG")
    photo = base64.b64encode(out.getvalue()).decode()
    with pytest.raises(UsageError, match="cannot be looked at") as found:
        find("", image=photo)
    assert found.value.field == "image" and find("red shirt", image=photo).items
    with pytest.raises(UsageError, match="no photo that can be read"):
        find("red shirt", image="bm8gcGhvdG8=")


# ---- taste
SHOP = """
name = "two tastes"
[events]
purchase = 1.0
[attributes.items]
color = "tag"
[models.popular]
[models.ease]
[[placements]]
name = "home"
retrieve = ["ease", "popular"]
rank = "first"
[words.en]
"because.ease" = "Because you chose {item}"
"""


@pytest.fixture(scope="module")
def tastes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Shirts that no word tells apart: half the people take red ones, half blue ones."""
    base = tmp_path_factory.mktemp("tastes")
    (base / "two.toml").write_text(SHOP)
    project = Project(scenario="two.toml", directory=base)
    with Store.open(project.store_url) as store:
        store.put_items(
            [Item(item_id=f"{color}{n}", title="Cotton shirt", price=float(n), attributes={"color": color}) for color in ("red", "blue") for n in range(10)]
        )
        store.add_events(
            [
                Event(user_id=f"{color}-{u}", item_id=f"{color}{(u + step) % 10}", event="purchase", time=1_700_000_000_000_000 + 86_400_000_000 * step + u)
                for color in ("red", "blue")
                for u in range(12)
                for step in range(4)
            ]
        )
        train(project, store, project.load_scenario())
        yield Engine(open_current(project.releases), project.load_scenario(), store)


def first(engine: Engine, user_id: str | None, **more: object) -> list[str]:
    asked = msgspec.convert({"text": "shirt", "user_id": user_id, "k": 6, **more}, Search)
    return [one.item_id for one in search(engine, learn(engine.catalogue, engine.scenario), asked).items]


def test_two_shoppers_see_what_matches_alike_in_the_order_of_their_taste(tastes: Engine) -> None:
    red, blue = first(tastes, "red-3"), first(tastes, "blue-3")
    assert all(i.startswith("red") for i in red) and all(i.startswith("blue") for i in blue)
    assert first(tastes, None) == first(tastes, "nobody known") or first(tastes, None) != red


def test_taste_breaks_no_filter_and_no_words(tastes: Engine) -> None:
    for user_id in ("red-3", "blue-3"):
        found = first(tastes, user_id, filter='color = "blue" and price < 4')
        assert sorted(found) == ["blue0", "blue1", "blue2", "blue3"]
        assert first(tastes, user_id, text="xylophone", filter='color = "red" and price >= 9') == ["red9"]


def test_the_guide_says_which_of_ones_own_goods_speaks_for_a_pick(tastes: Engine) -> None:
    reply = Guide().ask(tastes, Question(text="shirt", user_id="red-3", locale="en", k=4))
    assert all("Because you chose Cotton shirt" in one.reason for one in reply.items)
    assert all(one.explanation and one.explanation[0].item_id.startswith("red") for one in reply.items)
    assert not any("Because you" in one.reason for one in Guide().ask(tastes, Question(text="shirt", locale="en")).items)


# ---- counts of many goods
def test_bands_hold_about_as_many_each_and_count_all() -> None:
    prices_I = np.random.default_rng(0).lognormal(4, 1, 30_000).round(2)
    prices_I[::10] = np.nan
    counts = _bands("price", Numbers(prices_I), np.arange(40_000))
    assert len(counts) == 4 and sum(count.items for count in counts) == np.isfinite(prices_I).sum()
    assert all(0.15 * 27_000 < count.items < 0.35 * 27_000 for count in counts)
    _, _, low, _, _, _, high = counts[1].filter.split()
    assert counts[1].items == int(((prices_I >= float(low)) & (prices_I < float(high))).sum())
