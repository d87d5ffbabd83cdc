"""The cache changes nothing but the time: the same vectors with it and without, and only what changed is encoded again."""

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from daogou.contract import Encoder, Mask, Scores
from daogou.encode import cache, encoder


class Counting:
    """N-grams that remember what they were asked."""

    id, kind, dim, version, weights = "counting", "text", 512, "1", ""

    def __init__(self) -> None:
        self.asked: list[str | bytes] = []

    def encode(self, things: Sequence[str | bytes]) -> tuple[Scores, Mask]:
        self.asked += things
        return encoder("ngram").encode(things)


TEXTS = ["red shoes", "", "a mug", "red shoes", "红色跑鞋"]


def test_the_same_vectors_with_and_without(tmp_path: Path) -> None:
    one: Encoder = Counting()
    plain, mask = cache.encode(one, TEXTS)
    for _ in range(2):
        again, mask_again = cache.encode(one, TEXTS, tmp_path)
        np.testing.assert_array_equal(plain, again)
        np.testing.assert_array_equal(mask, mask_again)
    assert mask.tolist() == [True, False, True, True, True]
    np.testing.assert_allclose(plain, encoder("ngram").encode(TEXTS)[0], atol=1e-3)


def test_only_what_changed_is_encoded_again(tmp_path: Path) -> None:
    one = Counting()
    cache.encode(one, TEXTS, tmp_path)
    assert sorted(map(str, one.asked)) == sorted(set(TEXTS)), "each once"
    one.asked.clear()
    cache.encode(one, [*TEXTS[:-1], "a blue mug"], tmp_path)
    assert one.asked == ["a blue mug"], "what has no vector is not tried again either"


def test_another_version_shares_nothing(tmp_path: Path) -> None:
    one, other = Counting(), Counting()
    other.version = "2"  # type: ignore[misc]
    cache.encode(one, TEXTS, tmp_path)
    cache.encode(other, TEXTS, tmp_path)
    assert len(other.asked) == 4


def test_texts_and_their_bytes_and_odd_signs_are_keys(tmp_path: Path) -> None:
    vectors, mask = cache.encode(Counting(), ["\udcff", b"abc", "abc"], tmp_path)
    assert vectors.shape == (3, 512) and mask.shape == (3,)


@pytest.mark.parametrize("damage", [b"no database at all" * 100, b""])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    one = Counting()
    whole, _ = cache.encode(one, TEXTS, tmp_path)
    (file,) = tmp_path.glob("*.sqlite3")
    file.write_bytes(damage)
    with capture_logs() as logs:
        again, _ = cache.encode(one, TEXTS, tmp_path)
    np.testing.assert_array_equal(whole, again)
    assert len(logs) == (1 if damage else 0)


def test_a_vector_of_the_wrong_length_is_encoded_again(tmp_path: Path) -> None:
    one = Counting()
    whole, _ = cache.encode(one, TEXTS, tmp_path)
    (file,) = tmp_path.glob("*.sqlite3")
    with sqlite3.connect(file) as db:
        db.execute("UPDATE vectors SET vector = x'0102'")
    db.close()
    np.testing.assert_array_equal(whole, cache.encode(one, TEXTS, tmp_path)[0])


def test_what_nobody_asks_for_any_more_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SPARE", 2)
    cache.encode(Counting(), [f"item {n}" for n in range(20)], tmp_path)
    cache.encode(Counting(), ["item 1", "item 2"], tmp_path)
    (file,) = tmp_path.glob("*.sqlite3")
    db = sqlite3.connect(file)
    assert db.execute("SELECT count(*) FROM vectors").fetchone() == (2,)
    assert b"item" not in file.read_bytes(), "hashes and numbers, no text"
    db.close()


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, float, float | None]] = []
    cache.encode(Counting(), [f"item {n}" for n in range(cache.BATCH + 5)], tmp_path, lambda *step: told.append(step))
    assert told == [("encode: counting", cache.BATCH, cache.BATCH + 5), ("encode: counting", cache.BATCH + 5, cache.BATCH + 5)]


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    one = Counting()
    texts = [f"item {n}" for n in range(3 * cache.BATCH)]

    def killed(step: str, done: float, total: float | None) -> None:
        if done >= 2 * cache.BATCH:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.encode(one, texts, tmp_path, killed)
    one.asked.clear()
    cache.encode(one, texts, tmp_path)
    assert len(one.asked) == cache.BATCH


def test_what_is_forgotten_leaves_no_byte(tmp_path: Path) -> None:
    one, other = Counting(), Counting()
    other.version = "2"  # type: ignore[misc]
    for encoder_ in (one, other):
        cache.encode(encoder_, TEXTS, tmp_path)
    key = hashlib.sha256(b"a mug").digest()
    assert sum(key in file.read_bytes() for file in tmp_path.iterdir()) >= 2  # the control: it was there
    assert cache.forget(tmp_path, ["a mug", "a mug", "something else"]) == 2
    assert not any(key in file.read_bytes() for file in tmp_path.iterdir())
    one.asked.clear()
    cache.encode(one, TEXTS, tmp_path)
    assert one.asked == ["a mug"], "the others stay"
    assert cache.forget(tmp_path / "nowhere", ["a mug"]) == 0
