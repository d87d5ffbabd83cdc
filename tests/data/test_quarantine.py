"""Rejected rows on disk: found again, bounded, private, forgotten."""

import stat
from pathlib import Path

import pytest

from daogou.data.quarantine import CELL_CHARS, Quarantine, Rejected, forget, raw_row, read_quarantine, shorten
from daogou.errors import DataError


def rejected(line: int, row: str | dict[str, object], found: str = "x") -> Rejected:
    return Rejected("f.csv", line, "time", "not a time", found, "a time", row)


def test_rows_come_back_as_written(tmp_path: Path) -> None:
    rows = [rejected(2, {"user_id": "u1", "n": 3, "none": None}), rejected(7, '坏,"line')]
    with Quarantine(tmp_path / "q") as quarantine:
        assert quarantine.add(rows) == 2
    assert quarantine.path is not None
    assert read_quarantine(quarantine.path) == rows
    assert quarantine.reasons[("time", "not a time")] == 2


def test_the_file_appears_with_the_first_row_and_is_private(tmp_path: Path) -> None:
    with Quarantine(tmp_path / "q") as quarantine:
        assert not (tmp_path / "q").exists()
        quarantine.add([rejected(1, "x")])
    assert quarantine.path is not None
    assert stat.S_IMODE(quarantine.path.stat().st_mode) == 0o600


def test_two_imports_do_not_share_a_file(tmp_path: Path) -> None:
    paths = set()
    for _ in range(3):
        with Quarantine(tmp_path) as quarantine:
            quarantine.add([rejected(1, "x")])
        paths.add(quarantine.path)
    assert len(paths) == 3


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "q").write_text("a file")
    with pytest.raises(DataError, match="cannot write rejected rows"):
        Quarantine(tmp_path / "q").add([rejected(1, "x")])


def test_long_cells_are_shortened_with_their_length() -> None:
    assert shorten("x" * 10_000_000, 10) == "xxxxxxxxxx… (10000000 characters)"
    row = raw_row({"a": "x" * 10_000, "b": 5, "c": None, "d": 1.5})
    assert len(row["a"]) < CELL_CHARS + 30
    assert (row["b"], row["c"], row["d"]) == (5, None, "1.5")


def test_a_person_is_forgotten_and_nobody_else(tmp_path: Path) -> None:
    rows = [
        rejected(1, {"user_id": "u1", "item_id": "a"}),
        rejected(2, {"user_id": "u10", "item_id": "b"}),
        rejected(3, 'u1,"broken'),
        rejected(4, "u11,broken"),
        rejected(5, {"user_id": 77, "item_id": "c"}),
        rejected(6, {"note": "for u1!"}),
        rejected(7, "cut off", found="u1"),
    ]
    with Quarantine(tmp_path) as mixed:
        mixed.add(rows)
    with Quarantine(tmp_path) as alone:
        alone.add([rejected(1, {"user_id": "u1"})])
    assert mixed.path is not None
    assert alone.path is not None
    assert forget(tmp_path, "u1") == 5
    assert [row.line for row in read_quarantine(mixed.path)] == [2, 4, 5]
    assert not alone.path.exists()
    assert forget(tmp_path, "u1") == 0
    assert forget(tmp_path, "77") == 1
    assert b"u1," not in mixed.path.read_bytes()


def test_ids_of_any_sign_are_found(tmp_path: Path) -> None:
    for name in ("张三", "a.b+c@d.com", "(x", "-1-"):
        with Quarantine(tmp_path) as quarantine:
            quarantine.add([rejected(1, {"user_id": name}), rejected(2, {"user_id": name + "x"})])
        assert forget(tmp_path, name) == 1


def test_forgetting_where_nothing_is(tmp_path: Path) -> None:
    assert forget(tmp_path / "none", "u") == 0


def test_a_line_that_a_crash_has_cut_is_searched_too(tmp_path: Path) -> None:
    with Quarantine(tmp_path) as quarantine:
        quarantine.add([rejected(1, {"user_id": "u2"}), rejected(2, {"user_id": "u1"})])
    assert quarantine.path is not None
    with quarantine.path.open("r+b") as file:
        file.truncate(quarantine.path.stat().st_size - 3)
    assert forget(tmp_path, "u1") == 1
    assert [row.line for row in read_quarantine(quarantine.path)] == [1]
