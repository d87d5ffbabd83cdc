"""A shop whose scenario asks for an eye of its own: training teaches it once, the release carries it, and photos that are asked with are seen by it."""

import io
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the extra `vision` is not installed")
pytest.importorskip("PIL")
if find_spec("keras") is None:
    pytest.skip("the extra 'deep' is not installed", allow_module_level=True)

from PIL import Image, ImageDraw

from daogou.config import decode_toml
from daogou.data.rows import Item
from daogou.encode.content_cnn import ContentCnn
from daogou.encode.photos import Gallery
from daogou.engine import Engine
from daogou.networks import photos
from daogou.release import open_current
from daogou.scenario import Project, Scenario
from daogou.store import Store
from daogou.train.fit import train

SCENARIO = """
name = "shapes"
[events]
purchase = 1.0
[models.content]
text_encoder = "ngram"
image_encoders = ["content_cnn", "color"]
image = 2.0
[models.content.encoders.content_cnn]
height = 16
width = 16
channels = 8
stages = 1
dimensions = 12
epochs = 8
batch_size = 16
learning_rate = 1e-2
[[placements]]
name = "home"
retrieve = ["content"]
"""
SHAPES = {"upright": (8, 26), "lying": (26, 8)}


def jpeg(shape: str, rng: np.random.Generator) -> bytes:
    image = Image.new("RGB", (32, 32), "white")
    (width, height), (x, y) = SHAPES[shape], (int(v) for v in rng.integers(1, 5, 2))
    ImageDraw.Draw(image).rectangle((x, y, x + width, y + height), fill=tuple(rng.integers(0, 150, 3).tolist()))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue()


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return decode_toml(SCENARIO, Scenario, "shapes.toml")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    home = tmp_path_factory.mktemp("shop")
    (home / "shapes.toml").write_text(SCENARIO, "utf-8")
    return Project(directory=home, scenario="shapes.toml")


@pytest.fixture(scope="module")
def store(project: Project) -> Iterator[Store]:
    rng, gallery = np.random.default_rng(0), Gallery(project.directory / "photos")
    with Store.open(project.store_url) as opened:
        opened.put_items(
            Item(item_id=f"{shape}-{n}", title=f"thing {n}", category=shape if n % 5 else None, image=gallery.put(jpeg(shape, rng)))
            for n in range(80)
            for shape in SHAPES
        )
        yield opened


def test_the_release_sees_as_the_shop_taught_it(project: Project, store: Store, scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    made = train(project, store, scenario)
    assert made.published
    release = open_current(project.releases)
    assert release is not None
    engine = Engine(release, scenario, store, image_encoders={"content_cnn": 1.0}, photos=project.directory / "photos", vectors=project.directory / "vectors")
    engine.learn_meaning()
    rng = np.random.default_rng(9)
    for shape in SHAPES:
        sight = engine.finder.see(jpeg(shape, rng))
        found = engine.finder.find("", engine.catalogue.offered_I, 10, photo=sight)
        names = [engine.catalogue.items.id(one.code) for one in found]
        assert sum(name.startswith(shape) for name in names) >= 9, "also goods whose category nobody wrote down"

    monkeypatch.setattr(photos, "fit", lambda *_: pytest.fail("the second training taught it again"))
    again = train(project, store, scenario)
    assert again.digest == made.digest


def test_a_file_saved_again_keeps_the_eye(project: Project, store: Store, scenario: Scenario, tmp_path: Path) -> None:
    release = open_current(project.releases)
    assert release is not None
    model = release.models["content"]
    model.save(tmp_path / "before")
    (eye,) = model.encoders.values()  # type: ignore[attr-defined]
    assert isinstance(eye, ContentCnn)
    model.save(tmp_path / "after")
    first, second = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("before", "after"))
    assert first == second


def test_photos_that_teach_nothing_leave_a_release_without_an_eye(scenario: Scenario, tmp_path: Path) -> None:
    """No category and no tag: content goes by everything else."""
    project = Project(directory=tmp_path, scenario="shapes.toml")
    rng, gallery = np.random.default_rng(0), Gallery(tmp_path / "photos")
    with Store.open(project.store_url) as opened:
        opened.put_items(Item(item_id=f"i{n}", title=f"thing {n}", image=gallery.put(jpeg(list(SHAPES)[n % 2], rng))) for n in range(12))
        assert train(project, opened, scenario).published
        engine = Engine(open_current(project.releases), scenario, opened, image_encoders={"content_cnn": 1.0}, photos=tmp_path / "photos")
        assert engine.finder.see(jpeg("lying", rng)) is None, "nobody looks; asking with a photo is answered without"
