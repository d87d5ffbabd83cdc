"""What items carry, counted by hand, and which items carry a value now."""

import numpy as np
import pytest

from daogou.catalogue import Catalogue
from daogou.data.rows import Item
from daogou.profile.traits import Trait, Traits, band_edges


def carriers(traits: Traits, attribute: str, value: str) -> list[int]:
    return np.flatnonzero(traits.mask(attribute, value)).tolist()


def test_each_kind_has_its_values(traits: Traits) -> None:
    table = traits.table()
    found = {attribute: {t.value for t in table.traits if t.attribute == attribute} for attribute in table.attributes}
    assert found["category"] == {"Shoes", "Shoes > Running", "Shoes > Street", "Hats", "Hats > Caps"}
    assert found["colour"] == {"Red", "Blue", "Green"}
    assert found["brand"] == {f"b{n}" for n in range(5)}
    assert found["organic"] == {"true", "false"}
    assert found["season"] == {"Summer 24", "Winter 24"}  # shared by many: the whole text
    assert found["title"] == {"velvet"}  # `thing` and `plain` are nearly everyone's, `the` is empty
    assert found["description"] == {"丝绒", "绒小", "小说"}
    assert found["year"] == found["material"] == set()
    assert found["price"] == {"..8.8", "8.8..17", "17..24", "24..32", "32.."}


def test_the_table_and_the_masks_agree(traits: Traits) -> None:
    table = traits.table()
    carries = table.carries_IT.toarray() > 0
    for t, trait in enumerate(table.traits):
        assert np.array_equal(carries[:, t], traits.mask(*trait)), trait
    assert carriers(traits, "category", "Hats") == [n for n in range(40) if n % 4 >= 2]
    assert carriers(traits, "colour", "Red") == [n for n in range(40) if n % 4 < 2]
    assert carriers(traits, "item_id", "i7") == [7]
    assert carriers(traits, "title", "velvet thing") == [0, 8, 16, 24, 32]
    known = dict(zip(table.attributes, table.known_IA.sum(axis=0).tolist(), strict=True))
    assert known["organic"] == 20 and known["colour"] == 30


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("faith", "x"),
        ("available", "true"),
        ("nothing", "x"),
        ("item_id", "i99"),
        ("price", "cheap"),
        ("price", ".."),
        ("price", "1.2.3.."),
        ("colour", "red"),
        ("title", "elvet"),
    ],
)
def test_what_is_no_value_of_a_profile_is_carried_by_none(traits: Traits, attribute: str, value: str) -> None:
    if (attribute, value) == ("price", ".."):
        assert band_edges("..") == (-np.inf, np.inf)  # the band of everything
    else:
        assert carriers(traits, attribute, value) == []


def test_what_changes_counts_at_once_in_masks(catalogue: Catalogue, traits: Traits) -> None:
    assert len(carriers(traits, "title", "velvet")) == 5 and traits.table().carries_IT.shape[0] == 40
    catalogue.update(
        ["i1", "new"],
        [Item(item_id="i1", title="Velvet now", price=999.0), Item(item_id="new", title="More velvet", category="Hats", attributes={"colour": "Red"})],
    )
    assert carriers(traits, "title", "velvet") == [0, 1, 8, 16, 24, 32, 40]
    assert carriers(traits, "category", "Hats")[-1] == 40 and carriers(traits, "colour", "Red")[-1] == 40
    assert 1 in carriers(traits, "price", "32..") and 1 not in carriers(traits, "category", "Shoes")
    assert traits.table().carries_IT.shape[0] == 40, "counts may be some minutes old"


def test_an_empty_catalogue_has_no_traits() -> None:
    import polars as pl

    from daogou.scenario import Attributes

    empty = Traits(Catalogue(pl.DataFrame({"item_id": []}, schema={"item_id": pl.String}), Attributes()))
    assert empty.table().traits == () and not empty.mask("brand", "x").any()


def test_bands_are_read_back() -> None:
    assert band_edges("8.8..17") == (8.8, 17.0)
    assert band_edges("..5") == (-np.inf, 5.0) and band_edges("-3..") == (-3.0, np.inf)
    assert band_edges("5") is band_edges("a..b") is band_edges("1..2..3") is None
    assert Trait("price", "..5").value == "..5"
