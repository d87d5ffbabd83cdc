"""The shop's own eye: what it learned is what it looks with, with and without Keras, and it learns again only when it must."""

import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

pytest.importorskip("onnxruntime", reason="the extra `vision` is not installed")
pytest.importorskip("PIL")
if find_spec("keras") is None:
    pytest.skip("the extra 'deep' is not installed", allow_module_level=True)

from PIL import Image, ImageDraw

from daogou.contract import Encoder, Run
from daogou.encode import cache, encoder, stamp
from daogou.encode.content_cnn import ContentCnn, _chosen, prepared
from daogou.errors import ConfigError, ReleaseError, TrainingError
from daogou.networks import photos
from daogou.networks.backend import Inference
from daogou.testing.data import dataset_path

SETTINGS = {
    "height": 16,
    "width": 16,
    "channels": 8,
    "stages": 1,
    "dimensions": 12,
    "batch_size": 16,
    "epochs": 10,
    "small_epochs": 2,
    "learning_rate": 1e-2,
    "holdout_share": 0.1,
}
COLORS = {"red": (220, 40, 40), "blue": (40, 40, 220)}


def photo(shape: str, color: str, rng: np.random.Generator) -> bytes:
    image = Image.new("RGB", (40, 30), "white")
    x, y = (int(v) for v in rng.integers(2, 8, 2))
    getattr(ImageDraw.Draw(image), shape)((x, y, x + 22, y + 16), fill=COLORS[color])
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue()


def shop(n: int = 160, seed: int = 0) -> tuple[list[bytes], dict[str, list[str | None]]]:
    rng = np.random.default_rng(seed)
    things = [(str(rng.choice(["ellipse", "rectangle"])), str(rng.choice(list(COLORS)))) for _ in range(n)]
    return [photo(*thing, rng) for thing in things], {"shape": [shape for shape, _ in things], "color": [color for _, color in things]}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vectors")


@pytest.fixture(scope="module")
def taught(home: Path) -> ContentCnn:
    files, labels = shop(320)
    return ContentCnn.learned(files, labels, SETTINGS, Run(vectors=home))


def same(a: ContentCnn, b: ContentCnn) -> bool:
    return a.weights == b.weights


def test_photos_that_show_the_same_thing_are_near(taught: ContentCnn) -> None:
    files, labels = shop(60, seed=9)
    vectors, mask = taught.encode(files)
    assert mask.all() and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    near = vectors @ vectors.T - 2 * np.eye(len(files))
    what = np.array([f"{s} {c}" for s, c in zip(labels["shape"], labels["color"], strict=True)])
    assert (what[near.argmax(axis=1)] == what).mean() > 0.9
    shares = taught.named(vectors)
    for name, values in taught.about.classes.items():
        np.testing.assert_allclose(shares[name].sum(axis=1), 1, atol=1e-5)
        assert (np.array(values)[shares[name].argmax(axis=1)] == np.array(labels[name])).mean() > 0.9


def test_it_looks_as_it_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph that serving runs gives the logits of the Keras network it came from, on photos of odd sizes too."""
    kept: dict[str, Any] = {}
    fold = photos.fold
    monkeypatch.setattr(photos, "fold", lambda network: fold(kept.setdefault("network", network)))
    files, labels = shop(48)
    one = ContentCnn.learned(files, labels, {**SETTINGS, "height": 21, "width": 14, "stages": 2, "epochs": 1}, Run())
    pixels, _ = prepared(files[:8], 21, 14)
    expected = Inference(kept["network"])(pixels)
    found = one.encode(files[:8])[0] @ one.arrays["heads.weight"].T + one.arrays["heads.bias"]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_what_is_no_photo_has_no_vector(taught: ContentCnn) -> None:
    good = shop(1)[0][0]
    vectors, mask = taught.encode([b"", good, good[: len(good) // 2], b"not a photo", "text", good])
    assert mask.tolist() == [False, True, False, False, False, True]
    assert not vectors[~mask].any()
    np.testing.assert_array_equal(vectors[1], vectors[5])


def test_broken_photos_and_missing_labels_are_no_obstacle() -> None:
    files, labels = shop(48)
    files[3:9] = [b"", b"text", files[3][:200], b"\xff\xd8\xff", b"", b"\x89PNG\r\n\x1a\n"]
    labels["shape"][10:20] = [None] * 10
    labels["color"] = ["", None] * 24
    one = ContentCnn.learned(files, labels, {**SETTINGS, "epochs": 1}, Run())
    assert list(one.about.classes) == ["shape"], "an attribute without values is none"


def test_values_of_few_photos_are_no_class() -> None:
    files, labels = shop(40)
    labels["shape"][:4] = ["rare"] * 4
    one = ContentCnn.learned(files, labels, {**SETTINGS, "epochs": 1, "attributes": ["shape"]}, Run())
    assert one.about.classes == {"shape": ["ellipse", "rectangle"]}


@pytest.mark.parametrize("labels", [{}, {"shape": [None] * 8}, {"shape": ["ellipse"] * 8}])
def test_nothing_to_learn_is_an_error(labels: dict[str, Any]) -> None:
    with pytest.raises(TrainingError):
        ContentCnn.learned(shop(8)[0], labels, SETTINGS, Run())


# ---- kept and found again
def test_a_second_training_finds_the_first(home: Path, taught: ContentCnn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "fit", lambda *_: pytest.fail("it learned again"))
    files, labels = shop(320)
    assert same(ContentCnn.learned(files, labels, SETTINGS, Run(vectors=home, seed=7)), taught), "whatever the seed of the models"
    order = np.random.default_rng(0).permutation(len(files))
    moved = {name: [labels[name][n] for n in order] for name in reversed(labels)}
    assert same(ContentCnn.learned([files[n] for n in order], moved, SETTINGS, Run(vectors=home)), taught), "whatever the order of goods and attributes"
    more, more_labels = shop(40, seed=5)
    grown = {name: labels[name] + more_labels[name] for name in labels}
    assert same(ContentCnn.learned(files + more, grown, SETTINGS, Run(vectors=home)), taught), "few new photos"


@pytest.mark.parametrize("change", ["photos", "labels", "settings", "damaged"])
def test_it_learns_again_when_it_must(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    fit = photos.fit
    monkeypatch.setattr(photos, "fit", lambda *given: calls.append(1) or fit(*given))  # type: ignore[func-returns-value]
    (files, labels), settings, run = shop(24), {**SETTINGS, "epochs": 1}, Run(vectors=tmp_path)
    ContentCnn.learned(files, labels, settings, run)
    if change == "photos":
        files = shop(24, seed=3)[0]
    elif change == "labels":
        labels["color"] = ["green" if value == "red" else value for value in labels["color"]]
    elif change == "settings":
        settings["dimensions"] = 10
    else:
        next(tmp_path.glob("*.safetensors")).write_bytes(b"half")
    ContentCnn.learned(files, labels, settings, run)
    assert len(calls) == 2
    assert not list(tmp_path.glob("*.part"))


def test_a_photo_that_is_forgotten_takes_the_network_with_it(tmp_path: Path) -> None:
    files, labels = shop(24)
    ContentCnn.learned(files, labels, {**SETTINGS, "epochs": 1, "small_epochs": 0}, Run(vectors=tmp_path))
    assert cache.forget(tmp_path, ["a name", shop(1, seed=8)[0][0]]) == 0 and len(list(tmp_path.glob("*.safetensors"))) == 1
    assert cache.forget(tmp_path, ["a name", files[5]]) == 1 and not list(tmp_path.glob("*.safetensors"))


def test_no_more_photos_than_asked_for_the_same_in_any_order() -> None:
    files = [*(b"photo %d" % n for n in range(20)), b""]
    some = {files[n] for n in _chosen(files, 7)}
    turned = files[::-1]
    assert len(some) == 7 and some == {turned[n] for n in _chosen(turned, 7)}
    assert _chosen(files, 100) == list(range(20)), "an item without a photo is not chosen"


def test_it_is_an_encoder_by_its_name(home: Path, taught: ContentCnn) -> None:
    file = next(home.glob("*.safetensors"))
    one: Encoder = encoder("content_cnn", file=str(file))
    photo_file = shop(1)[0]
    np.testing.assert_array_equal(one.encode(photo_file)[0], taught.encode(photo_file)[0])
    assert stamp(one) == stamp(taught) and taught.weights[:12] in stamp(taught)
    served = ContentCnn(arrays=taught.served)
    assert same(served, taught) and not {"seen", "told"} & served.arrays.keys(), "a release has no trace of single photos"


def test_before_it_has_learned_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'has learned nothing yet .* run "daogou train"'):
        encoder("content_cnn")
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(ReleaseError, match="no network for photos"):
        ContentCnn(tmp_path / "x.safetensors")


# ---- real photos
def test_on_a_slice_of_a_real_catalogue() -> None:
    """900 photos of clothes, shoes and accessories teach enough to tell the departments apart on 300 others."""
    folder = dataset_path("fashion")
    columns = ["image", "masterCategory", "gender"]
    table = pl.read_parquet(folder / "fashion_products_with_images.parquet", columns=columns, n_rows=1300).filter(pl.col("image").is_not_null())
    files, labels = table["image"].to_list(), {name: table[name].to_list() for name in columns[1:]}
    settings = {"height": 32, "width": 24, "channels": 8, "dimensions": 32, "batch_size": 32, "epochs": 4, "small_epochs": 4}
    one = ContentCnn.learned(files[:900], {name: values[:900] for name, values in labels.items()}, settings, Run())
    shares = one.named(one.encode(files[-300:])[0])["masterCategory"]
    right = np.array(one.about.classes["masterCategory"])[shares.argmax(axis=1)] == np.array(labels["masterCategory"][-300:])
    assert 0.75 < right.mean() <= 1.0
