"""Item vectors: what goods share, attribute by attribute."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from daogou.encode.items import Blocks, _strongest, item_vectors
from daogou.errors import ConfigError

PLAIN = {"text_encoder": "ngram"}


def like(table: dict[str, Any], kinds: dict[str, str] | None = None, **how: Any) -> np.ndarray:
    """[I, I] products of the vectors of a table."""
    n = len(next(iter(table.values())))
    frame = pl.DataFrame({"item_id": [f"i{i}" for i in range(n)], **table})
    vectors = item_vectors(frame, kinds or {}, Blocks(**PLAIN, **how))
    assert vectors.dtype == np.float32 and vectors.shape[0] == n
    return vectors @ vectors.T


def test_a_category_is_a_path_and_shared_steps_weigh_the_more_the_rarer_they_are() -> None:
    s = like({"category": ["Shoes > Running > Trail", "shoes > running > Road", "Shoes > Boots", "Mugs", None]}, category=1.0)
    assert s[0, 0] == pytest.approx(1, abs=1e-5)
    assert s[0, 0] > s[0, 1] > s[0, 2] > s[0, 3] == pytest.approx(0, abs=1e-6)


def test_tags_may_be_several_and_a_rare_one_tells_more() -> None:
    s = like({"brand": ["A|Rare", "rare", "A", "A", "A"]}, tag=1.0)
    assert s[0, 1] > s[0, 2] > 0


def test_missing_is_a_value_of_tags_numbers_and_categories_and_none_of_texts() -> None:
    for column, kind in (("brand", "tag"), ("price", "number"), ("category", "category")):
        values = {"brand": ["a", None, None], "price": [1.0, None, None], "category": ["a", None, ""]}[column]
        s = like({column: values}, **{kind: 1.0})
        assert s[1, 2] == pytest.approx(1, abs=1e-5) and s[0, 1] == pytest.approx(0, abs=1e-5)
    s = like({"title": ["red shoe", None, ""]})
    assert s[0, 0] == pytest.approx(1, abs=1e-2) and not s[1:].any()


def test_near_numbers_agree_whatever_their_scale() -> None:
    prices = np.geomspace(1, 1e6, 40)
    s = like({"price": [*prices, np.nan, np.inf]}, number=1.0)
    assert s[10, 10] == pytest.approx(1, abs=1e-5)
    assert s[10, 10] > s[10, 11] > s[10, 15] > s[10, 30]
    assert s[40, 41] == pytest.approx(1, abs=1e-5), "not a number is not known"


def test_declared_attributes_count_by_their_kind_and_others_not_at_all() -> None:
    table = {"colour": ["red", "red", "blue"], "kids": [True, False, True], "secret": ["x", "y", "x"], "sizes": [["S", "M"], ["L"], ["M"]]}
    s = like(table, {"colour": "tag", "kids": "flag", "sizes": "tag"}, tag=1.0)
    assert s[0, 0] == pytest.approx(3, abs=1e-4)
    assert s[0, 1] > 0.5 and s[0, 2] > 1.0
    np.testing.assert_array_equal(like({"secret": ["x", "y"]}), np.zeros((2, 2)))


def test_times_count_where_they_weigh() -> None:
    day = 86_400_000_000
    assert not like({"created": [0, day, 400 * day]}).any()
    s = like({"created": [0, day, 400 * day]}, time=1.0)
    assert s[0, 1] > s[0, 2]


def test_a_single_attribute_may_weigh_something_else() -> None:
    table = {"title": ["red shoe", "red shoe"], "description": ["warm", "cold"]}
    assert like(table)[0, 0] == pytest.approx(1.25, abs=0.01) and like(table)[0, 1] < 1.1
    assert like(table, weights={"title": 0.0, "description": 2.0})[0, 0] == pytest.approx(2.0, abs=0.01)
    assert like(table, weights={"title": 0.0, "description": 2.0})[0, 1] < 1.0


def test_fewer_dimensions_keep_what_matters_and_the_same_table_gives_the_same_bytes() -> None:
    rng = np.random.default_rng(0)
    table = pl.DataFrame(
        {
            "item_id": [f"i{i}" for i in range(900)],
            "category": [f"{i % 3} > {i % 90}" for i in range(900)],
            "brand": [f"b{rng.integers(0, 400)}" for _ in range(900)],
        }
    )
    wide, narrow, again = (item_vectors(table, {}, Blocks(dim=dim, category=1.0)) for dim in (2000, 120, 120))
    np.testing.assert_array_equal(narrow, again)
    assert narrow.shape == (900, 120) and wide.shape[1] > 120
    same = np.arange(900) % 90
    score = narrow @ narrow.T
    np.fill_diagonal(score, -1)
    assert (same[score.argmax(axis=1)] == same).mean() > 0.95


def test_nothing_known_is_nothing_said() -> None:
    assert not item_vectors(pl.DataFrame({"item_id": ["a", "b"]}), {}, Blocks()).any()
    assert item_vectors(pl.DataFrame({"item_id": []}, schema={"item_id": pl.String}), {}, Blocks()).shape[0] == 0


def test_photos_count_where_a_folder_and_an_encoder_are_given(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for name, color in (("a.png", "red"), ("b.png", "#ee1010"), ("c.png", "blue")):
        out = io.BytesIO()
        image.new("RGB", (40, 40), color).save(out, "PNG")
        (tmp_path / name).write_bytes(out.getvalue())
    (tmp_path / "text.jpg").write_bytes(b"no photo")
    table = pl.DataFrame({"item_id": list("abcdef"), "image": ["a.png", "/photos/../b.png", "c.png", "text.jpg", "../a.png", None]})
    how = Blocks(image_encoders=("color",), image=1.0)
    vectors = item_vectors(table.with_columns(image=pl.col("image").str.replace("/photos/../b.png", "b.png", literal=True)), {}, how, photos=tmp_path)
    s = vectors @ vectors.T
    assert s[0, 1] > 0.9 and s[0, 2] < 0.1
    assert not vectors[3:].any()
    assert not item_vectors(table, {}, how).any(), "no folder, no photo"


def test_an_encoder_of_the_wrong_kind() -> None:
    with pytest.raises(ConfigError, match="expected one that reads text"):
        item_vectors(pl.DataFrame({"item_id": ["a"], "title": ["x"]}), {}, Blocks(text_encoder="color"))


def test_few_items_are_turned_as_many_are():
    wide_ID = np.random.default_rng(0).standard_normal((30, 100)).astype(np.float32)
    few = _strongest([wide_ID], 30, 20)
    many = _strongest([np.vstack([wide_ID, np.zeros((90, 100), np.float32)])], 120, 20)[:30]
    assert few.shape == (30, 20)
    np.testing.assert_allclose(few @ few.T, many @ many.T, atol=1e-3)
