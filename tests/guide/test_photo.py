"""A photo as the question: the nearest goods within what the words give, each pick explained, and nothing of the photo kept."""

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("PIL", reason="the extra `vision` is not installed")

from PIL import Image

from daogou.data.rows import Item
from daogou.encode.photos import Gallery
from daogou.engine import Engine
from daogou.errors import UsageError
from daogou.finder import Finder
from daogou.guide.dialogue import Guide, Question, Reply
from daogou.scenario import Attributes, load_scenario
from daogou.store import Store

HUES = {"Red": "#d02020", "Blue": "#2030d0", "Green": "#20a030", "Pink": "#f080b0"}
KINDS = ("Shirts", "Shoes", "Bags")
Talk = Callable[..., Reply]


def jpeg(color: str, size: tuple[int, int] = (90, 120)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, "JPEG")
    return out.getvalue()


def question(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Path]]:
    base = tmp_path_factory.mktemp("photos")
    gallery = Gallery(base / "photos")
    items = [
        Item(
            item_id=f"{color}-{kind}",
            title=f"{kind[:-1]} {n}",
            category=kind,
            price=10.0 + 10 * n,
            currency="CNY",
            image=gallery.put(jpeg(HUES[color])) if kind != "Bags" else None,
            attributes={"color": color},
        )
        for n, (color, kind) in enumerate((color, kind) for color in HUES for kind in KINDS)
    ]
    with Store.open(f"sqlite:///{base}/s.sqlite3") as opened:
        opened.put_items(items)
        yield opened, base / "photos"


def made(store: tuple[Store, Path], **eyes: float) -> Engine:
    scenario = msgspec.structs.replace(load_scenario("shop"), attributes=Attributes(items={"color": "tag"}))
    engine = Engine(None, scenario, store[0], image_encoders=eyes, photos=store[1])
    engine.learn_meaning()
    return engine


@pytest.fixture(scope="module")
def engine(store: tuple[Store, Path]) -> Engine:
    return made(store, color=1.0)


def ids(reply: Reply) -> list[str]:
    return [one.item_id for one in reply.items]


def test_something_like_this_is_the_photo(talk: Talk) -> None:
    reply = talk("something like this, but red", image=question(jpeg(HUES["Blue"])))
    assert "compare" not in reply.reply and "photo" in reply.reply and reply.items
    assert all(one.item is not None and one.item.attributes["color"] == "Red" for one in reply.items)


def test_photos_are_looked_at_before_the_first_question(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Finder] = []
    monkeypatch.setattr(Finder, "looks", property(begun.append))
    Guide().warm(engine)
    assert begun == [engine.finder]


def test_the_nearest_come_first_and_say_why(talk: Talk) -> None:
    reply = talk(image=question(jpeg("#cc2525", (300, 200))), locale="en")
    assert set(ids(reply)[:2]) == {"Red-Shirts", "Red-Shoes"}
    assert reply.items[0].reason == "Looks like your photo" and "photo" in reply.reply


def test_words_beside_a_photo_are_constraints(talk: Talk) -> None:
    reply = talk("鞋，60元以内", image=question(jpeg(HUES["Blue"])))
    assert ids(reply)[0] == "Blue-Shoes" and all(i.endswith("Shoes") for i in ids(reply))
    assert all(one.item is not None and one.item.price <= 60 for one in reply.items)
    assert "照片" in reply.items[0].reason and "符合" in reply.items[0].reason
    assert {chip.attribute for chip in reply.understood} == {"category", "price"}


def test_what_has_no_photo_never_looks_like_one(talk: Talk) -> None:
    reply = talk("bags", image=question(jpeg(HUES["Red"])), locale="en")
    assert ids(reply) and all(i.endswith("Bags") for i in ids(reply)) and not any("photo" in one.reason for one in reply.items)


def test_the_photo_is_remembered_until_something_else_is_asked_for(talk: Talk) -> None:
    talk(image=question(jpeg(HUES["Green"])))
    assert ids(talk("shoes"))[0] == "Green-Shoes"
    assert ids(talk("start over; red shoes"))[0] == "Red-Shoes"


def test_a_photo_begins_anew_but_keeps_the_price(talk: Talk) -> None:
    talk("red shoes under 60")
    reply = talk(image=question(jpeg(HUES["Pink"])))
    assert [chip.attribute for chip in reply.understood] == ["price"] and all(one.item is not None and one.item.price < 60 for one in reply.items)


def test_a_data_address_is_read_too(talk: Talk) -> None:
    assert ids(talk(image="data:image/jpeg;base64," + question(jpeg(HUES["Green"]))))[0].startswith("Green")


WRONG = {
    "": "no photo in it",
    "not base64!": "not base64",
    question(b"red shoes, see shoes.jpg"): "no photo that can be read",
    question(jpeg("red")[:400]): "damaged",
    question(b"\x89PNG\r\n\x1a\n" + bytes(99)): "damaged",
    "data:image/jpeg;base64,": "no photo in it",
}


@pytest.mark.parametrize("image", WRONG)
@pytest.mark.parametrize("sighted", [True, False])
def test_what_is_no_photo_is_a_usage_error(image: str, sighted: bool, store: tuple[Store, Path], engine: Engine) -> None:
    with pytest.raises(UsageError, match=WRONG[image]) as found:
        Guide().ask(engine if sighted else made(store), Question(text="shoes", image=image))
    assert found.value.field == "image" and found.value.fix


def test_without_an_encoder_words_are_answered_and_it_says_so(store: tuple[Store, Path]) -> None:
    blind = made(store)
    reply = Guide().ask(blind, Question(text="red shoes", image=question(jpeg("blue"))))
    assert ids(reply) == ["Red-Shoes"] and "cannot look at photos" in reply.reply
    only = Guide().ask(blind, Question(image=question(jpeg("blue")), locale="zh"))
    assert only.items and "看不了图片" in only.reply


def test_a_shop_without_photos_does_not_promise_to_look(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with Store.open(f"sqlite:///{tmp_path}/s.sqlite3") as opened:
        opened.put_items([Item(item_id="a", title="Red shoes", category="Shoes")])
        reply = Guide().ask(made((opened, tmp_path / "photos"), color=1.0), Question(text="red shoes", image=question(jpeg("red"))))
        assert ids(reply) == ["a"] and "cannot look at photos" in reply.reply


def test_nothing_of_the_photo_is_kept(talk: Talk, store: tuple[Store, Path]) -> None:
    before = sorted(store[1].iterdir())
    talk(image=question(jpeg("#123456")))
    assert sorted(store[1].iterdir()) == before


def test_a_new_photo_of_an_item_counts(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "photos")
    with Store.open(f"sqlite:///{tmp_path}/s.sqlite3") as opened:
        opened.put_items([Item(item_id="a", title="One", image=gallery.put(jpeg("red"))), Item(item_id="b", title="Two", image=gallery.put(jpeg("blue")))])
        engine = made((opened, tmp_path / "photos"), color=1.0)
        assert ids(Guide().ask(engine, Question(image=question(jpeg("lime")), k=2)))
        opened.patch_item(Item(item_id="b", image=gallery.put(jpeg("lime"))))
        engine.catalogue_changed(["b"])
        engine.learn_meaning()
        assert ids(Guide().ask(engine, Question(image=question(jpeg("lime")), k=2)))[0] == "b"
