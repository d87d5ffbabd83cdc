"""The cache changes nothing but the time: the same vectors with it and without, and only what changed is encoded again."""

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from daogou.contract import Encoder, Mask, Scores
from daogou.encode import cache, encoder, filed


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


# ---- things that lie in files
class Files(filed.InFiles):
    """Files of a folder by name; `opened` is which were read."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder, self.names, self.opened = folder, names, list[str]()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, n: int) -> bytes:  # type: ignore[override]
        self.opened.append(self.names[n])
        path = self.folder / self.names[n]
        return path.read_bytes() if path.exists() else b""

    def files(self) -> list[filed.Filed | None]:
        paths = [self.folder / name for name in self.names]
        return [filed.Filed.of(str(path), path.stat()) if path.exists() else None for path in paths]


class Lengths:
    """Sees how long a file is and what its first byte is."""

    id, kind, dim, version, weights = "lengths", "image", 2, "1", ""

    def encode(self, things: Sequence[str | bytes]) -> tuple[Scores, Mask]:
        there = np.array([bool(thing) for thing in things])
        rows = np.array([[thing[0], len(thing)] if thing else [1, 0] for thing in things], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True) * there[:, None], there


NAMES = ["a", "b", "c", "gone"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    for n, name in enumerate(NAMES[:3]):
        (tmp_path / "files" / name).write_bytes(bytes([n + 1]) * 50)
    return tmp_path / "files"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """The clock goes on, by so many seconds in all."""
    real = time.time_ns

    def to(s: float) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: real() + int(s * 1e9))

    return to


def opened(folder: Path, vectors: Path) -> tuple[list[str], Scores]:
    """Which files one run opens, and the vectors; they are always those of what lies there."""
    files = Files(folder, NAMES)
    found, _ = cache.encode(Lengths(), files, vectors)
    np.testing.assert_array_equal(found, cache.encode(Lengths(), [Files(folder, NAMES)[n] for n in range(len(NAMES))])[0])
    return [name for name in files.opened if name != "gone"], found


def test_a_file_that_did_not_change_is_not_opened_again(folder: Path, tmp_path: Path, later: Callable[[float], None]) -> None:
    later(10)
    first, _ = opened(folder, tmp_path / "v")
    assert sorted(set(first)) == ["a", "b", "c"]
    assert opened(folder, tmp_path / "v")[0] == []
    other = Lengths()
    other.version = "2"  # type: ignore[misc]
    files = Files(folder, NAMES)
    cache.encode(other, files, tmp_path / "v")
    assert [files.opened.count(name) for name in NAMES[:3]] == [1, 1, 1], "another encoder reads them to see them, not to know them"


def test_a_change_of_the_same_size_is_noticed(folder: Path, tmp_path: Path, later: Callable[[float], None]) -> None:
    later(10)
    _, before = opened(folder, tmp_path / "v")
    (folder / "b").write_bytes(bytes([9]) * 50)
    names, after = opened(folder, tmp_path / "v")
    assert set(names) == {"b"} and not np.array_equal(before[1], after[1]) and np.array_equal(before[[0, 2]], after[[0, 2]])


def test_a_change_that_brings_its_old_time_is_noticed(folder: Path, tmp_path: Path, later: Callable[[float], None]) -> None:
    later(10)
    opened(folder, tmp_path / "v")
    was = (folder / "b").stat()
    (folder / "b").write_bytes(bytes([9]) * 50)
    os.utime(folder / "b", ns=(was.st_atime_ns, was.st_mtime_ns))
    assert (folder / "b").stat().st_mtime_ns == was.st_mtime_ns
    assert set(opened(folder, tmp_path / "v")[0]) == {"b"}


def test_a_file_written_just_before_it_was_read_is_read_once_more(folder: Path, tmp_path: Path, later: Callable[[float], None]) -> None:
    """A second write within one tick of the clock would leave size and times as they were."""
    assert len(set(opened(folder, tmp_path / "v")[0])) == 3
    assert len(set(opened(folder, tmp_path / "v")[0])) == 3
    later(10)
    assert len(set(opened(folder, tmp_path / "v")[0])) == 3, "its hash is taken once it has settled"
    assert opened(folder, tmp_path / "v")[0] == []


def test_what_changes_between_hash_and_vector_is_kept_under_what_it_is(folder: Path, tmp_path: Path, later: Callable[[float], None]) -> None:
    class Changing(Files):
        def __getitem__(self, n: int) -> bytes:  # type: ignore[override]
            data = super().__getitem__(n)
            if self.opened == ["a", "b", "c", "gone"]:
                (folder / "a").write_bytes(bytes([77]) * 50)
            return data

    later(10)
    old = (folder / "a").read_bytes()
    cache.encode(Lengths(), Changing(folder, NAMES), tmp_path / "v")
    (folder / "a").write_bytes(old)
    opened(folder, tmp_path / "v")  # compares with what lies there


def test_what_is_known_of_files_holds_no_name_and_is_forgotten(folder: Path, tmp_path: Path, later: Callable[[float], None]) -> None:
    later(10)
    (folder / "b").rename(folder / "a-long-name-of-somebody")
    files = Files(folder, ["a", "a-long-name-of-somebody"])
    cache.encode(Lengths(), files, tmp_path / "v")
    everything = b"".join(path.read_bytes() for path in (tmp_path / "v").iterdir())
    key = hashlib.sha256(bytes([2]) * 50).digest()
    assert b"somebody" not in everything and key in (tmp_path / "v" / filed.NAME).read_bytes()
    assert cache.forget(tmp_path / "v", [bytes([2]) * 50]) == 1
    assert not any(key in path.read_bytes() for path in (tmp_path / "v").iterdir())


@pytest.mark.parametrize("damage", [b"no database at all" * 100, b""])
def test_damage_of_what_is_known_costs_time_alone(damage: bytes, folder: Path, tmp_path: Path, later: Callable[[float], None]) -> None:
    later(10)
    opened(folder, tmp_path / "v")
    (tmp_path / "v" / filed.NAME).write_bytes(damage)
    assert len(set(opened(folder, tmp_path / "v")[0])) == 3
    assert opened(folder, tmp_path / "v")[0] == []


def test_files_that_nobody_asks_for_any_more_go(folder: Path, tmp_path: Path, later: Callable[[float], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filed, "SPARE", 0)
    later(10)
    opened(folder, tmp_path / "v")
    cache.encode(Lengths(), Files(folder, ["a"]), tmp_path / "v")
    with closing(sqlite3.connect(tmp_path / "v" / filed.NAME)) as db:
        assert db.execute("SELECT count(*) FROM files").fetchone() == (1,)
