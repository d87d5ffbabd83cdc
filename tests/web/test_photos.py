"""Photos of goods: shown where there are some, always written anew, and never anything from outside the folder."""

import io
import re
from pathlib import Path

import httpx
import pytest
from litestar.testing import TestClient
from PIL import Image

from daogou.data.rows import Item
from daogou.scenario import load_project
from daogou.serve.app import create_app
from daogou.serve.web import photos
from daogou.store import Store


def jpeg(size: tuple[int, int] = (900, 1200), **more: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 30, 40)).save(out, "JPEG", **more)
    return out.getvalue()


@pytest.fixture
def shop(tmp_path: Path):
    """A shop whose goods name photos of every kind, good and bad; its folder."""
    folder = tmp_path / "photos"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x010E] = "GPS of somebody's home"
    (folder / "good.jpg").write_bytes(jpeg(exif=exif))
    (folder / "sub").mkdir()
    (folder / "sub" / "a b#?.png").write_bytes(_png())
    (folder / "text.jpg").write_bytes(b"<svg onload=alert(1)>")
    (folder / "both.jpg").write_bytes(jpeg((40, 40)) + b"<script>alert(1)</script>")
    (tmp_path / "secret.jpg").write_bytes(jpeg())
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "daogou.toml").write_text('scenario = "shop"\n[serving]\ntext_encoder = ""\nimage_encoders = {}\n')
    names = [
        "/photos/good.jpg",
        "sub/a b#?.png",
        "text.jpg",
        "../secret.jpg",
        "link.jpg",
        "https://elsewhere.example/x.jpg",
        "/shoppers",
        "none.jpg",
        "\0",
        None,
    ]
    project = load_project(tmp_path)
    with Store.open(project.store_url) as store:
        store.put_items([Item(item_id=f"p{n}", title=f"Thing {n}", category="Shoes", image=name, created=n) for n, name in enumerate(names)])
        with TestClient(create_app(project, open_access=True, store=store)) as client:
            yield client


def _png() -> bytes:
    out = io.BytesIO()
    Image.new("RGBA", (300, 200), (0, 0, 0, 0)).save(out, "PNG")
    return out.getvalue()


def shown(shop: TestClient, number: int) -> str:
    """Address of the picture on an item's own page."""
    found = re.search(r'<div class="product-pic"><img class="art[^"]*" src="([^"]+)"', shop.get(f"/item/p{number}").text)
    assert found is not None
    return found[1]


def image(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/jpeg" and answer.headers["x-content-type-options"] == "nosniff"
    return Image.open(io.BytesIO(answer.content))


def test_cards_and_pages_show_the_photo_in_a_fitting_size(shop) -> None:
    assert shown(shop, 0) == "/photos/page/good.jpg"
    assert image(shop.get(shown(shop, 0))).size == (768, 1024)
    card = re.search(r'src="(/photos/card/good\.jpg)"', shop.get("/search").text)
    assert card is not None and image(shop.get(card[1])).size == (300, 400)
    assert shop.get("/photos/card/good.jpg").headers["cache-control"] == "public, max-age=86400"


def test_names_with_spaces_and_signs_are_found(shop) -> None:
    picture = image(shop.get(shown(shop, 1)))
    assert picture.size == (300, 200) and picture.getpixel((5, 5)) == (255, 255, 255)  # what is transparent is white


def test_what_a_photo_carries_beside_the_picture_stays_here(shop) -> None:
    assert b"somebody" not in shop.get("/photos/page/good.jpg").content
    assert b"script" not in shop.get("/photos/card/both.jpg").content


@pytest.mark.parametrize("number", range(3, 10))
def test_what_is_not_in_the_folder_is_drawn(shop, number: int) -> None:
    assert shown(shop, number).startswith("/art/")


PATHS = ["card/../secret.jpg", "card/..%2Fsecret.jpg", "card/%2e%2e/secret.jpg", "card/link.jpg", "card//etc/passwd", "card/%00", "card/none.jpg", "card/sub"]
PATHS += ["huge/good.jpg", "card/text.jpg", "card/", "", "card/" + "x" * 2000, "page/photos/photos/good.jpg"]


@pytest.mark.parametrize("path", PATHS)
def test_nothing_else_is_served(shop, path: str) -> None:
    answer = shop.get(f"/photos/{path}")
    assert answer.status_code in (400, 404) and b"svg" not in answer.content and b"root:" not in answer.content


def test_a_browser_that_has_it_is_not_sent_it_again_until_it_changes(shop, tmp_path: Path) -> None:
    first = shop.get("/photos/card/good.jpg")
    again = {"if-none-match": first.headers["etag"]}
    same = shop.get("/photos/card/good.jpg", headers=again)
    assert same.status_code == 304 and same.content == b"" and same.headers["etag"] == first.headers["etag"]
    (tmp_path / "photos" / "good.jpg").write_bytes(jpeg((500, 500)))
    other = shop.get("/photos/card/good.jpg", headers=again)
    assert image(other).size == (400, 400) and other.headers["etag"] != first.headers["etag"]


def test_without_the_decoder_everything_is_drawn(shop, monkeypatch) -> None:
    monkeypatch.setattr(photos, "readable", lambda: False)
    assert shown(shop, 0).startswith("/art/")
    assert shop.get("/photos/card/good.jpg").status_code == 404
