"""The fashion example: a shop with photos out of a folder of files, made up here, and the real ones where they lie."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from daogou.engine import Engine
from daogou.errors import UsageError
from daogou.release import open_current
from daogou.scenario import load_project
from daogou.store import Store
from daogou.testing.data import dataset_path

pytest.importorskip("onnxruntime", reason="needs the extra vision")
RUN = Path(__file__).parents[1] / "examples" / "fashion" / "run.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fashion_example", RUN)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files(folder: Path, n: int) -> None:
    """The three files, of n goods; photos are not needed to read a table."""
    row = {"gender": "Men", "masterCategory": "Apparel", "subCategory": "Topwear", "baseColour": "Red", "season": "Fall", "year": 2011.0, "usage": "Casual"}
    rows = [{"id": number, **row, "productDisplayName": f"Shirt {number}", "image": b"jpeg"} for number in range(n)]
    frame = pl.DataFrame(rows)
    frame.write_parquet(folder / "fashion_products_subset.parquet")
    kinds = frame.drop("image").with_columns(articleType=pl.lit("Shirts"))
    kinds.write_csv(folder / "styles_full.csv.gz", compression="gzip")
    kinds.with_columns(image=pl.lit(b"jpeg")).write_parquet(folder / "fashion_products_with_images.parquet")


def test_rows_are_named_as_the_scenario_names_them_and_a_sample_is_always_the_same(example: ModuleType, tmp_path: Path) -> None:
    files(tmp_path, 50)
    small, whole = (example.goods(tmp_path, whole=whole, most=None) for whole in (False, True))
    assert small.columns == whole.columns == ["item_id", "category", "title", "color", "gender", "season", "year", "usage", "photo"]
    assert small.row(3) == whole.row(3) == ("3", "Apparel > Topwear > Shirts", "Shirt 3", "Red", "Men", "Fall", 2011.0, "Casual", b"jpeg")
    some = example.goods(tmp_path, whole=False, most=10)["item_id"].to_list()
    assert len(some) == 10 == len(set(some)) and some == example.goods(tmp_path, whole=True, most=10)["item_id"].to_list()


def test_a_folder_without_the_files_says_what_belongs_there(example: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"fashion_products_subset\.parquet"):
        example.goods(tmp_path, whole=False, most=None)
    command = [sys.executable, str(RUN), "--data", str(tmp_path), "--project", str(tmp_path / "shop")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "README.md" in done.stderr and "Traceback" not in done.stderr


def test_the_real_catalogue_is_a_shop_with_photos_in_one_command(tmp_path: Path) -> None:
    data, shop = dataset_path("fashion"), tmp_path / "shop"
    command = [sys.executable, str(RUN), "--data", str(data), "--items", "150", "--project", str(shop), "--check"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Red" in done.stdout and "黑色" in done.stdout and "Looks like your photo" in done.stdout
    with Store.open(f"sqlite:///{shop / 'store.sqlite3'}", read_only=True) as store:
        assert store.counts().items == 150
    assert len(list((shop / "photos").glob("*.jpg"))) > 140
    project = load_project(shop)
    with Store.open(project.store_url, read_only=True) as store:
        engine, beside = Engine(open_current(project.releases), project.load_scenario(), store), 0
        for item in store.items([str(one) for one in store.item_table({})["item_id"][:40].to_list()]):
            path = str(item.category).split(" > ")
            for one in engine.bought_together(item.item_id).items:
                beside += 1
                assert one.item is not None and one.item.attributes["gender"] in (item.attributes["gender"], "Unisex")
                assert str(one.item.category).split(" > ")[:2] != path[:2]  # no second watch with a watch
        assert beside > 20
    again = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0 and "release" not in again.stdout  # what is done is not done again
