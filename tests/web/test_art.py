from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daogou.data.rows import Item
from daogou.serve.web import art

SVG = "{http://www.w3.org/2000/svg}"
DRAWN = {"svg", "g", "path", "rect", "circle", "ellipse", "text"}


@pytest.mark.parametrize("name", sorted(art.drawings()))
def test_every_drawing_is_a_picture_of_plain_shapes_in_each_of_its_colours(name: str) -> None:
    for colours in art.drawings()[name].colours:
        svg = art.draw(f"{name}.{colours}.0.svg")
        assert svg is not None and "{" not in svg
        tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg).iter()}
        assert tags <= DRAWN


def test_no_word_stands_for_two_drawings() -> None:
    seen: dict[str, str] = {}
    for name, drawing in art.drawings().items():
        for word in drawing.words:
            assert seen.setdefault(word, name) == name, f"{word} stands for {seen[word]} and {name}"
            assert word == word.lower()


@pytest.mark.parametrize(
    ("category", "drawing"),
    [
        ("GROCERY > FLUID MILK PRODUCTS", "milk"),
        ("GROCERY > SOMETHING NOBODY DREW", "groceries"),  # the nearest level above that is known
        ("PRODUCE > FROZEN PIZZA", "pizza"),  # the longest word
        ("Grocery > Bag Snacks > Corn Chips", "chips"),  # what two levels say
        ("Grocery > Domestic Wine > Fruit Varietal Wines", "wine"),
        ("Beef > Natural Beef", "steak"),  # a weak picture stands behind any other
        ("Apparel > Team Sport", "clothes"),  # short words count whole: no tea in a team
        ("GROCERY > DOG FOODS", "pet"),
        ("食品 > 牛奶", "milk"),
        ("Shoes > Running", "shoes"),
        ("Pineapples", "banana"),  # a word counts from its beginning: no apple in it
        ("Zzz", None),
        ("", None),
    ],
)
def test_the_category_chooses_the_drawing(category: str, drawing: str | None) -> None:
    assert art.drawing_for(category) == drawing


def test_an_item_keeps_its_picture_and_neighbours_differ() -> None:
    items = [Item(item_id=str(n), title="X", category="SOFT DRINKS") for n in range(40)]
    assert [art.picture(i) for i in items] == [art.picture(i) for i in items]
    assert len({art.picture(i) for i in items}) >= 10


def test_people_and_unknown_categories_get_a_cover_with_initials() -> None:
    person = art.picture(Item(item_id="u1", title="Ada Lovelace", kind="person", category="MILK"))
    assert "AL</text>" in str(art.draw(person))
    assert "街</text>" in str(art.draw(art.picture(Item(item_id="2", title="街角"))))
    assert "<text" not in str(art.draw(art.picture(Item(item_id="3", title="☃"))))


@given(st.text(max_size=60))
def test_a_name_is_a_picture_or_nothing(name: str) -> None:
    assert art.draw(name) is None or name in {art.picture(Item(item_id="x"))}


@given(st.text(min_size=1, max_size=40), st.text(max_size=40), st.text(max_size=60))
def test_every_item_has_a_picture_that_draws(item_id: str, title: str, category: str) -> None:
    svg = art.draw(art.picture(Item(item_id=item_id, title=title, category=category)))
    assert svg is not None
    ElementTree.fromstring(svg)


@pytest.mark.parametrize(
    "name", ["cover.rose.1.3c.svg", "cover.rose.1.110000.svg", "cover.rose.99999.41.svg", "milk.sky.9.svg", "milk.nope.0.svg", "../app.css"]
)
def test_addresses_that_nobody_made_draw_nothing_dangerous(name: str) -> None:
    svg = art.draw(name)
    assert svg is None or "<text" not in svg
