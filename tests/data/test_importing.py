"""Files with 35 kinds of damage: every damaged row is found with line, column and reason, every other row is loaded, and the counts add up."""

import gzip
import json
import random
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec
import polars as pl
import pytest

from daogou.data.loading import ImportReport, load_files
from daogou.data.quarantine import Rejected, read_quarantine
from daogou.data.rows import Ack
from daogou.errors import DataError, UsageError
from daogou.scenario import Attributes, Columns, Placement, Scenario
from daogou.store import Store
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


def load(
    tmp_path: Path, content: bytes | str, name: str = "events.csv", *, table: str = "events", **more: object
) -> tuple[Shelf, ImportReport, list[Rejected]]:
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
    monkeypatch.setattr("daogou.data.readers.source.BLOCK_BYTES", 20_011)
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


# ---- the whole import ---------------------------------------------------------------------------------------------------------
HEAD = "user_id,item_id,event,time\n"
ROW = "u1,i1,buy,1714900000\n"


def test_missing_columns_say_which_and_how_to_map_them(tmp_path: Path) -> None:
    with pytest.raises(DataError) as e:
        load(tmp_path, "uid,product_sku,ts,price\nu,i,1714900000,3\n")
    text = str(e.value)
    assert "no column 'user_id', 'item_id', 'event', 'time' (found: uid, product_sku, ts, price)" in text
    assert "[columns.events]" in text
    for line_of_fix in ('"uid" = "user_id"', '"product_sku" = "item_id"', '"ts" = "time"', '"=NAME OF THE EVENT" = "event"'):
        assert line_of_fix in text
    assert e.value.where.endswith("events.csv")


def test_the_mapping_from_the_error_works(tmp_path: Path) -> None:
    content = "uid,product_sku,ts,price\nu,i,1714900000,3\n"
    mapping = {"uid": "user_id", "product_sku": "item_id", "ts": "time", "=buy": "event", "price": "value"}
    by_flag = load(tmp_path, content, columns={"events": mapping})[0].table("events")
    scenario = Scenario(name="x", events=SHOP.events, placements=SHOP.placements, models=SHOP.models, columns=Columns(events=mapping))
    by_scenario = load(tmp_path, content, scenario=scenario)[0].table("events")
    assert by_flag.equals(by_scenario)
    assert by_flag.row(0, named=True) == {"user_id": "u", "item_id": "i", "event": "buy", "time": 1714900000 * 10**6, "value": 3.0}


def test_a_mapping_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'qty' is to be 'quantity', which does not exist"):
        load(tmp_path, "user_id,item_id,event,time,qty\n", columns={"events": {"qty": "quantity"}})


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'a' appears twice"):
        load(tmp_path, "user_id,a,a\n")
    with pytest.raises(DataError, match="both"):
        load(tmp_path, "user_id,uid,item_id,event,time\n", columns={"events": {"uid": "user_id"}})


def test_unknown_columns_are_reported_once_and_declared_ones_kept(tmp_path: Path) -> None:
    content = "item_id,weight,colour,tags\n1,2.5,red,a|b\n2,,blue,\n"
    shelf, report, _ = load(tmp_path, content, "items.csv", table="items")
    assert shelf.table("items").to_dict(as_series=False) == {"item_id": ["1", "2"], "weight": [2.5, None], "tags": ["a|b", None]}
    assert [note for note in report.files[0].notes if "colour" in note] == ["column 'colour' is not kept: give it a kind under [attributes.items]"]


def test_items_in_every_kind_of_cell(tmp_path: Path) -> None:
    content = (
        "item_id;title;category;price;available;created;weight;fresh\n"
        '1;"Shoe; red";Shoes>Running;"1.234,50 EUR";yes;2020-01-01;1,5;是\n'
        "2; ;A  >  B;$5;out of stock;;NULL;0\n"
        "3;x;;-5;true;;;\n"
        "4;x;;5;maybe;;;\n"
        "5;x;;NaN;true;;;\n"
        "6;x;;5;true;0001-01-01;;\n"
        "7;x;;5;true;;heavy;\n"
    )
    shelf, report, rejected = load(tmp_path, content, "items.csv", table="items")
    first, second = shelf.table("items").rows(named=True)
    assert first == {
        "item_id": "1", "title": "Shoe; red", "category": "Shoes > Running", "price": 1234.5, "available": True,
        "created": 1577836800 * 10**6, "weight": 1.5, "fresh": True, "currency": "EUR",
    }  # fmt: skip
    assert (second["title"], second["category"], second["price"], second["currency"]) == (None, "A > B", 5.0, "USD")
    assert (second["available"], second["created"], second["weight"], second["fresh"]) == (False, None, None, False)
    assert found(rejected) == {
        (4, "price", "negative"),
        (5, "available", "not true or false"),
        (6, "price", "not finite"),
        (7, "created", "not a plausible time"),
        (8, "weight", "not a number"),
    }
    assert any("separated by ';'" in note for note in report.files[0].notes)


def test_lists_and_objects_of_json_lines(tmp_path: Path) -> None:
    rows = [
        {"item_id": 1, "category": ["Shoes", "Running"], "tags": ["a", "b"], "available": True, "price": 5},
        {"item_id": "2", "category": "X", "tags": [], "available": "no", "price": "5"},
        {"item_id": 3, "tags": {"a": 1}},
    ]
    shelf, _, rejected = load(tmp_path, "\n".join(json.dumps(row) for row in rows), "items.jsonl", table="items")
    table = shelf.table("items")
    assert table["item_id"].to_list() == ["1", "2"]
    assert table["category"].to_list() == ["Shoes > Running", "X"]
    assert table["tags"].to_list() == ["a|b", None]
    assert table["available"].to_list() == [True, False]
    assert found(rejected) == {(3, "tags", "not text")}


def test_items_named_twice_count_once_and_the_later_row_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daogou.data.readers.source.BLOCK_BYTES", 64)
    content = "item_id,title\n" + "".join(f"{i % 7},title {i}\n" for i in range(20))
    shelf, report, _ = load(tmp_path, content, "items.csv", table="items")
    assert (report.total("read"), report.total("loaded"), report.total("duplicates")) == (20, 7, 13)
    assert len(shelf.frames["items"]) > 1
    last = {row["item_id"]: row["title"] for row in shelf.table("items").rows(named=True)}
    assert last["6"] == "title 13"
    assert last["0"] == "title 14"


def test_replayed_events_are_duplicates(tmp_path: Path) -> None:
    _, report, _ = load(tmp_path, "user_id,item_id,event,time,event_id\nu,i,buy,1714900000,a\nu,i,buy,1714900000,a\nu,i,buy,1714900001,b\n")
    assert (report.total("read"), report.total("loaded"), report.total("duplicates")) == (3, 2, 1)


def test_what_was_assumed_is_said(tmp_path: Path) -> None:
    _, report, _ = load(tmp_path, "User ID,item_id,event,time,colour\nu,i,dance,1714900000123,red\nu,i,buy,2024-05-05,red\n")
    notes = "\n".join(report.files[0].notes)
    assert "column 'User ID' taken as 'user_id'" in notes
    assert "time: 1 rows read as milliseconds since 1970" in notes
    assert "time: 1 rows without a zone, taken as UTC" in notes
    assert "event 'dance' (1 rows) is not in the scenario: stored, teaches nothing" in notes
    assert "column 'colour' is not kept" in notes


def test_progress_ends_at_the_total(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daogou.data.readers.source.BLOCK_BYTES", 4096)
    seen: list[tuple[str, float, float | None]] = []
    load(tmp_path, HEAD + ROW * 2000, progress=lambda step, done, total: seen.append((step, done, total)))
    assert len(seen) > 5
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert seen[-1] == ("events: events.csv", 2000, 2000)
    assert all(total is not None and abs(total - 2000) < 200 for _, _, total in seen)


def test_the_report_reads_as_text_and_as_json(tmp_path: Path) -> None:
    _, report, _ = load(tmp_path, HEAD + ROW + "u1,,buy,1714900000\n")
    text = str(report)
    assert "1 of 2 rows loaded" in text
    assert "1 rows are in" in text
    assert "item_id: empty" in text
    assert msgspec.json.decode(msgspec.json.encode(report), type=ImportReport) == report


def test_nothing_is_quarantined_without_damage(tmp_path: Path) -> None:
    _, report, _ = load(tmp_path, HEAD + ROW)
    assert report.quarantine is None
    assert not (tmp_path / "quarantine").exists()


def test_running_numbers_instead_of_times_keep_their_order(tmp_path: Path) -> None:
    shelf, report, _ = load(tmp_path, HEAD + "".join(f"u,i{i},buy,{i}\n" for i in range(5)))
    assert shelf.table("events")["time"].is_sorted()
    assert any("running numbers" in note for note in report.files[0].notes)


def test_nothing_to_import(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to import"):
        import_files(Shelf(), SHOP, quarantine=tmp_path)


def test_a_store_that_is_real(tmp_path: Path) -> None:
    content, _, good = damaged_csv(3000, 0.05, seed=8)
    (tmp_path / "e.csv").write_bytes(content)
    (tmp_path / "i.jsonl").write_text('{"item_id": "i1", "title": "One", "weight": 2, "tags": ["a"]}\n')
    (tmp_path / "u.tsv").write_text("user_id\tage\tconsent\nu1\t30\tyes\nu2\t40\tno\n")
    with Store.open(f"sqlite:///{tmp_path}/s.sqlite3") as store:
        for again in (False, True):
            report = import_files(
                store, SHOP, events=tmp_path / "e.csv", items=tmp_path / "i.jsonl", users=tmp_path / "u.tsv", quarantine=tmp_path / "q", now_us=NOW_US
            )
            events = next(one for one in report.files if one.table == "events")
            assert events.read == 3000 == events.loaded + events.duplicates + events.quarantined
            assert (events.loaded, events.duplicates) == ((0, good) if again else (good, 0))
        data = store.snapshot(SHOP.events, attributes=SHOP.attributes)
        item, user = store.item("i1"), store.user("u1")
    assert item is not None
    assert (item.title, item.attributes) == ("One", {"weight": 2.0, "tags": "a"})
    assert user is not None
    assert (user.consent, user.attributes) == (True, {"age": "30"})
    assert len(data.events) > 2000


def test_load_files_gives_a_dataset_without_a_store(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(HEAD + ROW + "u2,i2,view,1714900001\n")
    data, report = load_files(SHOP, events=tmp_path / "e.csv", quarantine=tmp_path / "q", now_us=NOW_US)
    assert (len(data.events), data.n_users, data.n_items) == (2, 2, 2)
    assert report.total("read") == report.total("loaded") == 2


# ---- files as a whole ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("encoding", "note"), [("utf-8-sig", "byte order mark"), ("utf-16", "UTF-16"), ("utf-16-le", "no byte order mark"), ("gb18030", "GB18030")]
)
def test_encodings_are_recognised_and_said(tmp_path: Path, encoding: str, note: str) -> None:
    content = HEAD + "".join(f"用户{i},红色跑鞋{i},buy,1714900000\r\n" for i in range(50))
    shelf, report, rejected = load(tmp_path, content.encode(encoding))
    assert shelf.table("events")["item_id"].to_list() == [f"红色跑鞋{i}" for i in range(50)]
    assert not rejected
    assert any(note in text for text in report.files[0].notes)


def test_windows_1252(tmp_path: Path) -> None:
    content = HEAD + "".join(f"Zoë{i},café crème {i},buy,1714900000\n" for i in range(50))
    shelf, report, _ = load(tmp_path, content.encode("cp1252"))
    assert shelf.table("events")["item_id"][3] == "café crème 3"
    assert any("CP1252" in text for text in report.files[0].notes)


def test_some_gbk_lines_do_not_change_the_encoding_of_a_file(tmp_path: Path) -> None:
    lines = [f"用户{i},鞋{i},buy,1714900000".encode("gbk" if i == 7 else "utf-8") for i in range(20)]
    shelf, _, rejected = load(tmp_path, HEAD.encode() + b"\n".join(lines))
    assert found(rejected) == {(9, "user_id", "not valid text")}
    assert shelf.table("events")["user_id"][0] == "用户0"


def test_line_ends_of_an_old_mac(tmp_path: Path) -> None:
    shelf, report, _ = load(tmp_path, (HEAD + ROW * 3).replace("\n", "\r"))
    assert shelf.table("events").height == 3
    assert any("CR" in note for note in report.files[0].notes)


@pytest.mark.parametrize("name", ["events.csv.gz", "events.csv"])
def test_gzip_by_suffix_or_content(tmp_path: Path, name: str) -> None:
    shelf, report, _ = load(tmp_path, gzip.compress((HEAD + ROW * 100).encode()), name)
    assert shelf.table("events").height == 100
    assert report.files[0].format == "csv"


def test_a_gzip_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daogou.data.readers.source.FREE_BYTES", 1 << 20)
    monkeypatch.setattr("daogou.data.readers.source.BLOCK_BYTES", 1 << 18)
    with pytest.raises(DataError, match="unpacks to more than 200 times its size"):
        load(tmp_path, gzip.compress(HEAD.encode() + b"u,i,buy,1714900000\n" * 200_000, 9), "events.csv.gz")


def test_a_cut_gzip_file_names_the_damage(tmp_path: Path) -> None:
    rng = random.Random(0)
    text = HEAD + "".join(f"u{rng.random()},i,buy,1714900000\n" for _ in range(2000))
    with pytest.raises(DataError, match="the gzip file is damaged"):
        load(tmp_path, gzip.compress(text.encode())[:-500], "events.csv.gz")


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "e.csv", "empty"),
        (b"\n\n", "e.csv", "no header"),
        (b"PK\x03\x04xx", "e.csv", "spreadsheet or a zip"),
        (b"PAR1xxxx", "e.csv", "Parquet"),
        (b"xxxx", "e.parquet", "not a readable Parquet"),
        (b"[{}]", "e.jsonl", "one JSON array"),
        (b"x", "e.xml", "says no format"),
        (b"x", "e", "says no format"),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, content: bytes, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(tmp_path, content, name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for name in ("no.csv", "no.parquet", "no.jsonl"):
        with pytest.raises(DataError, match="no such file"):
            import_files(Shelf(), SHOP, events=tmp_path / name, quarantine=tmp_path)


def test_parquet_is_typed_and_checked_alike(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "user_id": [1.0, 2.0, None, 4.5],
            "item_id": [7, 8, 9, 10],
            "event": ["buy"] * 4,
            "time": [datetime(2024, 5, 5), datetime(2024, 5, 6), datetime(2024, 5, 7), datetime(2024, 5, 8)],
            "value": [1, 2, 3, 4],
            "context": [{"page": "home"}] * 4,
            "photo": [b"x"] * 4,
        }
    )
    frame.write_parquet(tmp_path / "e.parquet")
    shelf, report, rejected = load(tmp_path, (tmp_path / "e.parquet").read_bytes(), "e.parquet")
    assert shelf.table("events")["user_id"].to_list() == ["1", "2", "4.5"]
    assert shelf.table("events")["item_id"].to_list() == ["7", "8", "10"]
    assert shelf.table("events")["time"][0] == 1714867200 * 10**6
    assert json.loads(shelf.table("events")["context"][0]) == {"page": "home"}
    assert found(rejected) == {(3, "user_id", "empty")}
    notes = "\n".join(report.files[0].notes)
    assert "'photo' holds bytes" in notes
    assert "no time zone" in notes
