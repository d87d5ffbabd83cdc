import gc

import polars as pl

from daogou.catalogue import Catalogue
from daogou.data.rows import Item
from daogou.scenario import Attributes
from daogou.serve.web import categories
from daogou.serve.web.categories import Menu, top


def shelf(*paths: str | None, sold_out: tuple[int, ...] = ()) -> Catalogue:
    table = pl.DataFrame({"item_id": [str(n) for n in range(len(paths))], "category": paths, "available": [n not in sold_out for n in range(len(paths))]})
    return Catalogue(table, Attributes())


def test_the_largest_categories_come_first_and_what_is_sold_out_does_not_count() -> None:
    paths = ("B > x", "B > y", "B", "A > z", "A", "Single", None, "", "C > a", "C > b", "C > c")
    assert top(shelf(*paths)) == ["B", "C", "A"]
    assert top(shelf(*paths, sold_out=(0, 1))) == ["C", "A"]
    assert top(shelf(None, None)) == []


def test_the_menu_follows_the_catalogue_but_not_every_second(monkeypatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(categories.time, "monotonic", lambda: clock[0])
    menu, catalogue = Menu(), shelf("A", "A")
    assert menu.of(catalogue) == ["A"]
    catalogue.update(["7", "8", "9"], [Item(item_id=i, category="B") for i in ("7", "8", "9")])
    assert menu.of(catalogue) == ["A"]
    clock[0] += categories.FRESH_S
    assert menu.of(catalogue) == ["B", "A"]
    assert menu.of(shelf("C", "C")) == ["C"]  # another release counts at once


def test_the_menu_keeps_no_catalogue_alive() -> None:
    menu, catalogue = Menu(), shelf("A", "A")
    menu.of(catalogue)
    del catalogue
    gc.collect()
    assert menu._counted is not None and menu._counted() is None
