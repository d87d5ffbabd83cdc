"""Photos from outside: what is no photo, too large or damaged is refused before it costs anything, and gives no vector."""

import io
import os
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL", reason="the extra `vision` is not installed")

from PIL import Image

from daogou.encode import cache, encoder, photos
from daogou.encode.photos import Gallery, Shelf, opened, pixels
from daogou.errors import UsageError


def saved(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


def plain(color: str = "red", size: tuple[int, int] = (60, 80)) -> Image.Image:
    return Image.new("RGB", size, color)


def png_of(width: int, height: int) -> bytes:
    """A small PNG that claims a size: the header is whole, the picture is not there."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_three_formats_are_read(kind: str) -> None:
    found = pixels(saved(plain("#ff0000"), kind))
    assert found.shape == (80, 60, 3)
    assert abs(found.reshape(-1, 3).mean(axis=0) - [255, 0, 0]).max() < 4


NO_PHOTOS = {
    "nothing": (b"", "no photo in it"),
    "text named .jpg": (b"this is a text file called shoes.jpg", "no photo that can be read"),
    "another format": (saved(plain(), "BMP"), "no photo that can be read"),
    "a program": (b"GIF89a" + b"\0" * 100, "no photo that can be read"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "no photo that can be read"),
    "only a beginning": (b"\xff\xd8\xff", "damaged"),
    "half a jpeg": (saved(plain(), "JPEG")[:500], "damaged"),
    "half a png": (saved(Image.effect_noise((64, 64), 50))[:2000], "damaged"),
    "half a webp": (saved(plain(), "WEBP")[:30], "damaged"),
    "noise behind a good beginning": (b"\x89PNG\r\n\x1a\n" + os.urandom(400), "damaged"),
    "a bomb": (png_of(20_000, 20_000), "20000 × 20000 pixels"),
    "a bomb beyond Pillow's own limit": (png_of(2**31 - 1, 2**31 - 1), "pixels"),
    "a line": (png_of(200_000, 100), "no side more than 20 times"),
    "a claim without a picture": (png_of(3000, 3000), "damaged"),
}


@pytest.mark.parametrize("name", NO_PHOTOS)
def test_what_is_no_photo_is_refused_with_a_reason(name: str) -> None:
    data, words = NO_PHOTOS[name]
    with pytest.raises(UsageError, match=words) as found:
        opened(data)
    assert found.value.field == "image"


def test_a_real_bomb_is_refused_by_its_header() -> None:
    bomb = saved(Image.new("1", (8000, 8000)))
    assert len(bomb) < 20_000
    with pytest.raises(UsageError, match="8000 × 8000"):
        opened(bomb)


def test_too_many_bytes() -> None:
    with pytest.raises(UsageError, match="bytes"):
        opened(saved(plain(), "JPEG") + b"\0" * photos.MOST_BYTES)


def test_a_large_jpeg_is_decoded_small() -> None:
    assert min(opened(saved(plain(size=(4000, 3000)), "JPEG"), 256).size) < 800


def test_what_is_transparent_is_white_and_what_lies_is_turned_up() -> None:
    assert (pixels(saved(Image.new("RGBA", (20, 20), (0, 0, 0, 0)))) == 255).all()
    exif = Image.Exif()
    exif[0x0112] = 6
    assert opened(saved(plain(size=(60, 80)), "JPEG", exif=exif)).size == (80, 60)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "LA", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = Image.new(mode, (30, 30)) if mode != "P" else plain(size=(30, 30)).convert("P")
    assert opened(saved(image, "JPEG" if mode == "CMYK" else "PNG")).mode == "RGB"


# ---- encoders
@pytest.mark.parametrize("name", ["color", "efficientnet"])
def test_what_is_no_photo_has_no_vector(name: str) -> None:
    if name == "efficientnet":
        pytest.importorskip("onnxruntime")
    things: list[str | bytes] = ["text", *(data for data, _ in NO_PHOTOS.values()), saved(plain())]
    vectors, mask = encoder(name).encode(things)
    assert mask.tolist() == [False] * (len(things) - 1) + [True]
    assert not vectors[:-1].any() and np.linalg.norm(vectors[-1]) == pytest.approx(1, abs=1e-5)


def test_colours_are_told_apart_whatever_the_shape() -> None:
    pictures = [plain("red"), plain("#e00808", (90, 90)), plain("blue"), plain("white")]
    vectors, _ = encoder("color").encode([saved(p) for p in pictures])
    like = vectors @ vectors.T
    assert like[0, 1] > 0.9 and like[0, 2] < 0.1 and like[0, 3] < 0.1


# ---- the folder
def test_a_photo_is_kept_under_the_hash_of_its_content(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "photos")
    name = gallery.put(saved(plain()))
    assert name == gallery.put(saved(plain())) != gallery.put(saved(plain("blue")))
    assert name.startswith("/photos/") and name.endswith(".jpg") and len(Path(name).stem) == 64
    assert pixels(gallery.read(name)).shape == (80, 60, 3)
    assert sorted(p.suffix for p in (tmp_path / "photos").iterdir()) == [".jpg", ".jpg"]


def test_nothing_but_the_picture_is_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    gallery = Gallery(tmp_path / "photos")
    kept = gallery.read(gallery.put(saved(plain(), "JPEG", exif=exif) + b"<?php evil(); ?>"))
    assert b"where I live" not in kept and b"php" not in kept


def test_what_is_no_photo_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Gallery(tmp_path / "photos").put(b"text")
    assert not (tmp_path / "photos").exists()


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "photos")
    gallery.root.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (gallery.root / "link").symlink_to(tmp_path / "secret")
    (gallery.root / "shoe.jpg").write_bytes(b"picture")
    for name in ("../secret", "/photos/../secret", str(tmp_path / "secret"), "link", "http://h/shoe.jpg", "a\0b", "", ".", "x" * 9999, "missing.jpg"):
        assert gallery.read(name) == b"" and gallery.filed([name]) == [None], name
    for name in ("shoe.jpg", "photos/shoe.jpg", "/photos/shoe.jpg"):
        assert gallery.read(name) == b"picture" and gallery.filed([name]) == gallery.filed(["shoe.jpg"]) != [None]


def test_folders_and_links_within_the_folder_are_followed(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "photos")
    (gallery.root / "a" / "b").mkdir(parents=True)
    (gallery.root / "a" / "b" / "shoe.jpg").write_bytes(b"picture")
    (gallery.root / "link.jpg").symlink_to(gallery.root / "a" / "b" / "shoe.jpg")
    (gallery.root / "c").symlink_to(gallery.root / "a")
    (gallery.root / "out").symlink_to(tmp_path)
    (tmp_path / "secret").write_bytes(b"secret")
    names = ["a/b/shoe.jpg", "link.jpg", "c/b/shoe.jpg", "a/../a/b/shoe.jpg", "a/b/../b/shoe.jpg"]
    assert [gallery.read(name) for name in names] == [b"picture"] * 5 and len({one.mark for one in gallery.filed(names) if one}) == 1
    assert [gallery.read(name) for name in ("out/secret", "a/b", "a/b/", "a/..", "a/b/shoe.jpg/x")] == [b""] * 5
    assert gallery.filed(["out/secret", "out/photos/link.jpg"])[0] is None


def test_a_photo_that_lies_there_unchanged_is_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, opened_names = time.time_ns, list[str]()
    monkeypatch.setattr(time, "time_ns", lambda: real() + 10**10)  # the photos were written long ago

    class Watched(Gallery):
        def read(self, name: str) -> bytes:
            opened_names.append(name)
            return super().read(name)

    gallery = Watched(tmp_path / "photos")
    names = [gallery.put(saved(plain(color))) for color in ("red", "blue", "green")]
    first, _ = cache.encode(encoder("color"), Shelf(gallery, [*names, "missing.jpg"]), tmp_path / "vectors")
    opened_names.clear()
    changed = (tmp_path / names[1].lstrip("/")).read_bytes()
    other = saved(plain("white"), "JPEG")
    assert len(other) <= len(changed)
    (tmp_path / names[1].lstrip("/")).write_bytes(other + b"\0" * (len(changed) - len(other)))  # behind its end a JPEG may have anything
    again, _ = cache.encode(encoder("color"), Shelf(gallery, [*names, "missing.jpg"]), tmp_path / "vectors")
    assert set(opened_names) == {names[1], "missing.jpg"}
    assert np.array_equal(first[[0, 2, 3]], again[[0, 2, 3]]) and again[1] @ first[1] < 0.1
