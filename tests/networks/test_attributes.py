import numpy as np
import polars as pl

from daogou.networks.attributes import Attributes

TABLE = pl.DataFrame(
    {
        "item_id": ["a", "b", "c", "d"],
        "title": ["one", "one", "two", "two"],
        "category": ["Shoes > Running", "Shoes > Walking", "Shoes > Running", None],
        "price": [1.0, 2.0, 3.0, None],
        "colours": [["red", "blue"], ["red"], [], None],
        "sale": [True, False, True, None],
    }
)


def features(about, **columns):
    row = about.encode({name: [value] for name, value in columns.items()}, 1).toarray()[0]
    return np.flatnonzero(row).tolist(), row


def test_texts_levels_lists_and_flags_have_features_and_numbers_bins():
    about = Attributes.of(TABLE)
    assert {c.name: c.values for c in about.columns if c.values} == {
        "category": ["Shoes", "Shoes > Running"],
        "colours": ["red"],
        "sale": ["True"],
    }
    (price,) = [c for c in about.columns if c.edges]
    assert price.name == "price" and price.edges == [1.0, 2.0]


def test_ids_and_free_text_are_left_out():
    assert not {"item_id", "title"} & {c.name for c in Attributes.of(TABLE).columns}
    assert Attributes.of(pl.DataFrame({"note": [f"text {n}" for n in range(50)] + ["text 0"]})).columns == []


def test_rows_have_norm_one_and_nothing_known_is_nothing():
    encoded = Attributes.of(TABLE).table(TABLE)
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(encoded.toarray(), axis=1), [1, 1, 1, 0], rtol=1e-6)


def test_numbers_fall_into_bins():
    about = Attributes.of(pl.DataFrame({"age": list(range(80))}))
    low, high, none = (features(about, age=a)[0] for a in (-5, 500, None))
    assert (low, high, none) == ([0], [about.width - 1], []) and about.width == 8
    assert features(about, age=float("nan"))[0] == [] and features(about, age="40")[0] == []


def test_unknown_values_and_missing_columns_have_no_feature():
    about = Attributes.of(TABLE)
    assert features(about, category="Hats", colours=["green"])[0] == []
    assert about.encode({}, 3).shape == (3, about.width)


def test_a_round_trip_through_an_array():
    about = Attributes.of(TABLE)
    assert Attributes.from_array(about.to_array()) == about
