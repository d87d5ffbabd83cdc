"""A catalogue of shoes and hats whose traits can be counted by hand."""

import polars as pl
import pytest

from daogou.catalogue import Catalogue
from daogou.profile.traits import Traits
from daogou.scenario import Attributes

ATTRIBUTES = Attributes(items={"colour": "tag", "material": "tag", "organic": "flag", "season": "text", "faith": "tag", "year": "number"})
COLOURS = ["Red|Blue", "Red", None, "Green"]


@pytest.fixture
def catalogue() -> Catalogue:
    """40 items, i0 … i39: four kinds, four colours, prices 1 … 40, two seasons."""
    n = range(40)
    return Catalogue(
        pl.DataFrame(
            {
                "item_id": [f"i{i}" for i in n],
                "title": [f"{'Velvet' if i % 8 == 0 else 'Plain'} thing number {i} of the house" for i in n],
                "description": ["丝绒小说" if i % 8 == 1 else None for i in n],
                "category": [["Shoes > Running", "Shoes > Street", "Hats", "Hats > Caps"][i % 4] for i in n],
                "brand": [f"b{i % 5}" for i in n],
                "price": [float(i + 1) for i in n],
                "available": [True] * 40,
                "created": [0] * 40,
                "colour": [COLOURS[i % 4] for i in n],
                "organic": [i % 2 == 0 if i < 20 else None for i in n],
                "season": ["Summer 24" if i < 20 else "Winter 24" for i in n],
                "faith": ["x" if i < 10 else "y" for i in n],
                "year": [None] * 40,
            },
            schema_overrides={"material": pl.String, "year": pl.Float64},
        ),
        ATTRIBUTES,
    )


@pytest.fixture
def traits(catalogue: Catalogue) -> Traits:
    return Traits(catalogue, ["faith"])
