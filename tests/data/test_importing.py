"""Files with 35 kinds of damage: every damaged row is found with line, column and reason, every other row is loaded, and the counts add up."""

import gzip
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from daogou.data.loading import ImportReport, load_files
from daogou.data.quarantine import Rejected, read_quarantine
from daogou.data.rows import Ack
from daogou.errors import DataError, UsageError
from daogou.scenario import Attributes, Columns, Placement, Scenario
from daogou.store.importing import import_files

NOW_US = 1_750_000_000_000_000  # 2025-06-15
SHOP = Scenario(
    name="test",
    events={"shown": 0.0, "view": 0.1, "buy": 1.0, "return": -1.0},
    placements=(Placement(name="home", retrieve=("m",)),),
    models={"m": {}},
    attributes=Attributes(items={"weight": "number", "tags": "tag", "fresh": "flag", "removed": "time"}, users={"age": "tag"}),
)
COLUMNS = ["user_id", "item_id", "event", "time", "value", "session_id", "position", "context", "event_id"]


class Shelf:
    """A store that keeps frames in memory."""

    def __init__(self) -> None:
        self.frames: dict[str, list[pl.DataFrame]] = {"events": [], "items": [], "users": []}
        self.ids: set[str] = set()

    def bulk_events(self, frame: pl.DataFrame) -> Ack:
        self.frames["events"].append(frame)
        if "event_id" not in frame.columns:
            return Ack(accepted=frame.height)
        named = frame["event_id"].drop_nulls().to_list()
        new = set(named) - self.ids
        self.ids |= new
        return Ack(accepted=frame.height - len(named) + len(new), duplicates=len(named) - len(new))

    def bulk_items(self, frame: pl.DataFrame) -> None:
        self.frames["items"].append(frame)

    def bulk_users(self, frame: pl.DataFrame) -> None:
        self.frames["users"].append(frame)

    def table(self, name: str) -> pl.DataFrame:
        return pl.concat(self.frames[name], how="diagonal_relaxed")


def load(tmp_path: Path, content: bytes | str, name: str = "events.csv", *, table: str = "events", **more: object) -> tuple[Shelf, ImportReport, list[Rejected]]:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    shelf = Shelf()
    scenario = more.pop("scenario", SHOP)
    report = import_files(shelf, scenario, **{table: [path]}, quarantine=tmp_path / "quarantine", now_us=NOW_US, **more)  # type: ignore[arg-type]
    for one in report.files:
        assert one.read == one.loaded + one.duplicates + one.quarantined
    rejected = read_quarantine(Path(report.quarantine)) if report.quarantine else []
    assert len(rejected) == report.total("quarantined")
    return shelf, report, rejected


# ---- damage -------------------------------------------------------------------------------------------------------------------
Row = dict[str, str]
Damage = tuple[str, str, Callable[[Row], bytes]]  # column, reason, the damaged line


def line(row: Row) -> bytes:
    return ",".join(row[name] for name in COLUMNS).encode()


def cell(name: str, text: str) -> Callable[[Row], bytes]:
    return lambda row: line({**row, name: text})


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


DAMAGE: dict[str, Damage] = {
    "GBK bytes": ("item_id", "not valid text", lambda row: line({**row, "item_id": "@"}).replace(b"@", "红鞋".encode("gbk"))),
    "Latin-1 byte": ("session_id", "not valid text", lambda row: line({**row, "session_id": "@"}).replace(b"@", b"caf\xe9")),
    "NUL byte": ("user_id", "NUL byte", cell("user_id", "u\x001")),
    "too few columns": ("value", "too few columns", lambda row: b",".join(line(row).split(b",")[:4])),
    "one word": ("item_id", "too few columns", lambda row: b"EOF"),
    "too many columns": ("", "too many columns", lambda row: line(row) + b",1"),
    "decimal comma": ("", "too many columns", cell("value", "3,50")),
    "empty user": ("user_id", "empty", cell("user_id", "")),
    "blank item": ("item_id", "empty", cell("item_id", "   ")),
    "word for nothing": ("user_id", "empty", cell("user_id", "null")),
    "empty event": ("event", "empty", cell("event", "")),
    "empty time": ("time", "empty", cell("time", "")),
    "long id": ("user_id", "too long", cell("user_id", "u" * 257)),
    "long event": ("event", "too long", cell("event", "e" * 65)),
    "long session": ("session_id", "too long", cell("session_id", "s" * 257)),
    "control character": ("item_id", "control character", cell("item_id", "i\x071")),
    "quote never closed": ("item_id", "broken quotes", lambda row: line({**row, "item_id": '"' + row["item_id"]})),
    "text after quote": ("session_id", "broken quotes", cell("session_id", '"s"1')),
    "10 MB field": ("session_id", "field too long", cell("session_id", "x" * 10_000_000)),
    "word for time": ("time", "not a time", cell("time", "yesterday")),
    "month 13": ("time", "not a time", cell("time", "2024-13-01")),
    "30 February": ("time", "not a time", cell("time", "2024-02-30 10:00:00")),
    "hour 25": ("time", "not a time", cell("time", "2024-02-03 25:00:00")),
    "time zero": ("time", "not a plausible time", cell("time", "0")),
    "negative time": ("time", "not a time", cell("time", "-1700000000")),
    "zero date": ("time", "not a plausible time", cell("time", "0001-01-01T00:00:00Z")),
    "future": ("time", "in the future", cell("time", "2031-01-01T00:00:00Z")),
    "future in ms": ("time", "in the future", cell("time", "1999999999999")),
    "word for value": ("value", "not a number", cell("value", "cheap")),
    "NaN": ("value", "not finite", cell("value", "NaN")),
    "infinity": ("value", "not finite", cell("value", "inf")),
    "overflow": ("value", "not finite", cell("value", "1e999")),
    "negative quantity": ("value", "negative", cell("value", "-2")),
    "negative position": ("position", "negative", cell("position", "-1")),
    "broken position": ("position", "not a whole number", cell("position", "1.5")),
    "word for position": ("position", "not a number", cell("position", "first")),
    "context no JSON": ("context", "not a JSON object", cell("context", "{a:1}")),
    "context a list": ("context", "not a JSON object", cell("context", quoted("[1]"))),
    "long event_id": ("event_id", "too long", cell("event_id", "x" * 300)),
}

FINE: list[Callable[[Row], bytes]] = [
    cell("item_id", '"a, b"'),
    cell("session_id", quoted('say "hi"')),
    cell("context", quoted('{"page":\n\n"home"}')),
    cell("context", quoted('{"page": "home", "n": [1, 2]}')),
    cell("item_id", '12" board'),
    cell("user_id", "  张三  "),
    cell("time", "2024-05-05T10:00:00+08:00"),
    cell("time", "1714900000123"),
    cell("time", "1714900000123456"),
    cell("time", "1714900000"),
    cell("time", "2024/5/5 10:00"),
    cell("time", "05 May 2024 10:00:00"),
    cell("value", "$3.50"),
    cell("event", "dance"),
    lambda row: line({**row, "event": "return", "value": "-1"}),
    lambda row: line(row) + b"\r",
]


def base(i: int) -> Row:
    values = (f"u{i % 997}", f"i{i % 313}", "buy", "2024-05-05 10:00:00", "2.5", f"会话{i // 7}", "3", "", f"e{i}")
    return dict(zip(COLUMNS, values, strict=True))


def damaged_csv(n: int, share: float, seed: int) -> tuple[bytes, set[tuple[int, str, str]], int]:
    """(file, what must be rejected, number of good rows)."""
    rng = random.Random(seed)
    lines, expected, good, number = [",".join(COLUMNS).encode()], set(), 0, 1
    kinds = list(DAMAGE)
    damaged = {at: kinds[k % len(kinds)] for k, at in enumerate(sorted(rng.sample(range(n), int(n * share))))}
    for i in range(n):
        number += 1
        row = base(i)
        if i in damaged:
            kind = damaged[i]
            if kind == "10 MB field" and any(k == kind for at, k in damaged.items() if at < i):
                kind = "NaN"  # one such field is enough for a file
            column, reason, damage = DAMAGE[kind]
            lines.append(damage(row))
            expected.add((number, column, reason))
        else:
            lines.append(rng.choice(FINE)(row) if rng.random() < 0.02 else line(row))
            good += 1
            number += lines[-1].count(b"\n")
    return b"\n".join(lines) + b"\n", expected, good


def found(rejected: list[Rejected]) -> set[tuple[int, str, str]]:
    return {(row.line, row.column, row.reason) for row in rejected}


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_kind_of_damage_alone(tmp_path: Path, kind: str) -> None:
    column, reason, damage = DAMAGE[kind]
    rows = [line(base(i)) for i in range(6)]
    rows[3] = damage(base(3))
    shelf, report, rejected = load(tmp_path, b"\n".join([",".join(COLUMNS).encode(), *rows]))
    assert found(rejected) == {(5, column, reason)}
    assert rejected[0].file == str(tmp_path / "events.csv")
    assert rejected[0].expected
    assert shelf.table("events")["event_id"].to_list() == ["e0", "e1", "e2", "e4", "e5"]
    assert (report.total("read"), report.total("loaded")) == (6, 5)
    assert Path(report.quarantine or "").stat().st_size < 10_000


@pytest.mark.promise("I1")
def test_a_file_of_100k_rows_with_one_percent_damage(tmp_path: Path) -> None:
    content, expected, good = damaged_csv(100_000, 0.01, seed=11)
    assert len(DAMAGE) >= 30
    started = time.process_time()
    shelf, report, rejected = load(tmp_path, content)
    used_s = time.process_time() - started
    assert found(rejected) == expected
    assert len(rejected) == len(expected) == 1000
    assert report.total("loaded") == good == 99_000
    assert shelf.table("events").height == good
    assert used_s < 10  # seen: under 1 s
    print(report)


@pytest.mark.promise("I1")
def test_ignoring_errors_would_not_pass(tmp_path: Path) -> None:
    """The control: what the lenient mode of a CSV reader does to the same file."""
    content, expected, good = damaged_csv(5000, 0.02, seed=11)
    path = tmp_path / "lenient.csv"
    path.write_bytes(content)
    lenient = pl.read_csv(path, ignore_errors=True, truncate_ragged_lines=True, infer_schema=False, encoding="utf8-lossy", quote_char=None)
    assert lenient.height > good + len(expected) / 2


def test_blocks_do_not_change_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, expected, good = damaged_csv(3000, 0.05, seed=5)
    monkeypatch.setattr("daogou.data.readers.source.BLOCK_BYTES", 1009)
    shelf, report, rejected = load(tmp_path, content)
    assert found(rejected) == expected
    assert shelf.table("events").height == good
    assert report.total("read") == 3000


# ---- JSON lines ---------------------------------------------------------------------------------------------------------------
def document(row: Row, **changes: object) -> bytes:
    whole = {name: text for name, text in row.items() if text} | changes
    return json.dumps(whole, ensure_ascii=False).encode()


JSON_DAMAGE: dict[str, Damage] = {
    "not JSON": ("", "not a JSON object", lambda row: b"{user_id: 1}"),
    "cut off": ("", "not a JSON object", lambda row: document(row)[:-5]),
    "a list": ("", "not a JSON object", lambda row: b'["u", "i"]'),
    "a number": ("", "not a JSON object", lambda row: b"17"),
    "NaN literal": ("", "not a JSON object", lambda row: document(row, value=1).replace(b'"value": 1', b'"value": NaN')),
    "two objects": ("", "not a JSON object", lambda row: document(row) + document(row)),
    "GBK": ("", "not valid text", lambda row: document(row, session_id="@").replace(b"@", "红鞋".encode("gbk"))),
    "NUL": ("", "NUL byte", lambda row: document(row) + b"\0"),
    "escaped NUL": ("user_id", "NUL byte", lambda row: document(row, user_id="a\0b")),
    "deep": ("", "not a JSON object", lambda row: b'{"context": ' + b"[" * 100_000),
    "no user": ("user_id", "empty", lambda row: document({**row, "user_id": ""})),
    "null item": ("item_id", "empty", lambda row: document(row, item_id=None)),
    "object for an id": ("user_id", "not text", lambda row: document(row, user_id={"id": 1})),
    "list for an id": ("item_id", "not text", lambda row: document(row, item_id=["a"])),
    "boolean for an id": ("user_id", "not text", lambda row: document(row, user_id=True)),
    "word for a value": ("value", "not a number", lambda row: document(row, value="cheap")),
    "boolean for a value": ("value", "not a number", lambda row: document(row, value=True)),
    "object for a value": ("value", "not a number", lambda row: document(row, value={"amount": 1})),
    "negative": ("value", "negative", lambda row: document(row, value=-1)),
    "position": ("position", "not a whole number", lambda row: document(row, position=0.5)),
    "time": ("time", "not a time", lambda row: document(row, time="soon")),
    "time as object": ("time", "not a time", lambda row: document(row, time={"s": 1})),
    "future": ("time", "in the future", lambda row: document(row, time=1_999_999_999)),
    "context": ("context", "not a JSON object", lambda row: document(row, context=[1, 2])),
    "10 MB": ("session_id", "field too long", lambda row: document(row, session_id="x" * 10_000_000)),
}


@pytest.mark.parametrize("kind", JSON_DAMAGE)
def test_each_kind_of_damage_in_json_lines(tmp_path: Path, kind: str) -> None:
    column, reason, damage = JSON_DAMAGE[kind]
    rows = [document(base(i)) for i in range(6)]
    rows[3] = damage(base(3))
    shelf, report, rejected = load(tmp_path, b"\n".join([b"", *rows]), "events.jsonl")
    assert found(rejected) == {(5, column, reason)}
    assert shelf.table("events")["event_id"].to_list() == ["e0", "e1", "e2", "e4", "e5"]
    assert (report.total("read"), report.total("loaded")) == (6, 5)


@pytest.mark.promise("I1")
def test_json_lines_of_100k_rows_with_one_percent_damage(tmp_path: Path) -> None:
    rng = random.Random(3)
    kinds = [kind for kind in JSON_DAMAGE if kind not in ("10 MB", "deep")]
    lines, expected = [], set()
    for i in range(100_000):
        if i % 100 == 50:
            column, reason, damage = JSON_DAMAGE[rng.choice(kinds)]
            lines.append(damage(base(i)))
            expected.add((i + 1, column, reason))
        else:
            lines.append(document(base(i), value=rng.choice([1, 2.5, "3", None]), position=rng.choice([0, 7, None]), context=rng.choice([None, {"a": [1]}])))
    _, report, rejected = load(tmp_path, b"\n".join(lines), "events.jsonl")
    assert found(rejected) == expected
    assert report.total("loaded") == 99_000
