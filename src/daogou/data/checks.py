"""One table's columns from whatever a file calls and writes them to what the contract says; rows that cannot be used, with the reason.

Vectorised: a column becomes (clean values, reason where a cell is wrong). The first wrong cell of a row, in order of the contract, rejects it.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

import msgspec
import polars as pl

from daogou.contract import EVENTS, ITEMS, USERS
from daogou.data.money import parse_money
from daogou.data.quarantine import FOUND_CHARS, Rejected, raw_row, shorten
from daogou.data.readers.batch import MAX_FIELD_CHARS, NESTED, Batch
from daogou.data.times import DAY_US, EARLIEST_NUMBER_S, EXPECTED, SECOND_US, TimeReader
from daogou.errors import DataError
from daogou.scenario import Scenario

TABLES: dict[str, dict[str, str]] = {"events": EVENTS, "items": ITEMS, "users": USERS}
MAX_CHARS = {"user_id": 256, "item_id": 256, "event": 64, "session_id": 256, "request_id": 256, "event_id": 256}
NOT_NEGATIVE = {"value", "price", "position"}
CLOCK_TOLERANCE_US = DAY_US  # clocks and zones differ; beyond a day it is a wrong time
OLDEST_THING_US = -5_364_662_400 * SECOND_US  # the year 1800: books and films are older than 1970, zero dates are much older

NO_VALUE = r"(?i)^(null|none|nan|undefined|nil|n/a|\\n)$"  # what programs write for nothing
USUAL_NAMES = {
    "user_id": ("uid", "user", "visitor", "member"),
    "item_id": ("iid", "item", "sku", "asin"),
    "time": ("ts", "timestamp", "date", "created_at"),
    "event": ("type", "action", "behavior", "event_type"),
}
"What other programs call a column; only ever used to guess in an error."
TRUE = ("true", "t", "yes", "y", "1", "1.0", "on", "是", "有", "in stock", "in_stock", "available")
FALSE = ("false", "f", "no", "n", "0", "0.0", "off", "否", "无", "out of stock", "out_of_stock", "unavailable")


class Column(NamedTuple):
    """Clean values, and the reason why a cell is wrong (null where it is not)."""

    values: pl.Series
    reason: pl.Series
    expected: str


class Checked(NamedTuple):
    """Good rows in the columns of the contract, and the others."""

    rows: pl.DataFrame
    rejected: list[Rejected]


class Checks:
    """Checks the batches of one table of one file. What is assumed on the way is in `notes()`.

    `columns` renames (``{"column in the file": "daogou column"}``) and comes before the scenario's own; a name that begins with ``=`` is no column but
    a value, the same for every row: ``{"=view": "event"}``.
    """

    def __init__(self, table: str, scenario: Scenario, *, file: str, now_us: int, columns: Mapping[str, str] | None = None) -> None:
        self.table, self.file, self.now_us = table, file, now_us
        attributes = {"items": scenario.attributes.items, "users": scenario.attributes.users}.get(table, {})
        self.kinds = {**TABLES[table], **{name: kind for name, kind in attributes.items() if name not in TABLES[table]}}
        self.renames = {**getattr(scenario.columns, table), **(columns or {})}
        self.weights = scenario.events
        self._times: dict[str, TimeReader] = {}
        self._notes: dict[str, None] = {}
        self._unknown_events: dict[str, int] = {}
        self._first = True

    def __call__(self, batch: Batch) -> Checked:
        """
        Raises:
            DataError: a required column is missing from the file, or two columns have become one.
        """
        names = self._names(batch.rows)
        constants = {target: name[1:] for name, target in self.renames.items() if name.startswith("=") and target not in names}
        if batch.nameless and "event" not in names:
            constants.setdefault("event", self._strongest())
        if self._first:
            self._require({*names, *constants}, batch.rows.columns)
            self._first = False
        found: dict[str, pl.Series] = {target: batch.rows[name] for target, name in names.items()}
        found |= {target: pl.repeat(value, batch.rows.height, dtype=pl.String, eager=True) for target, value in constants.items()}
        checked: dict[str, Column] = {}
        for name, kind in self.kinds.items():
            if name in found:
                checked[name] = self._column(name, kind, found[name])
            elif kind.endswith("*"):  # a later batch of a file without fixed columns
                nothing = pl.repeat(None, batch.rows.height, dtype=pl.String, eager=True)
                checked[name] = self._column(name, kind, nothing)
        self._currency(found, checked)
        if self.table == "events" and "value" in checked:
            checked["value"] = self._value(checked["value"], checked["event"].values)
        done = self._separate(batch, names, checked)
        self._count_events(done.rows)
        return done

    def notes(self) -> list[str]:
        """What was assumed, left out or is worth knowing, each once."""
        times = [note for reader in self._times.values() for note in reader.notes()]
        strange = [f"event {name!r} ({n} rows) is not in the scenario: stored, teaches nothing" for name, n in self._unknown_events.items()]
        return [*self._notes, *times, *strange]

    def _strongest(self) -> str:
        name = max(self.weights, key=lambda event: self.weights[event])
        self._notes.setdefault(f"events have no name in this format: taken as {name!r}, the scenario's strongest")
        return name

    # ---- names
    def _names(self, rows: pl.DataFrame) -> dict[str, str]:
        """daogou's column → the file's."""
        names: dict[str, str] = {}
        for name in rows.columns:
            target = self._target(name)
            if target is None:
                known = "give it a kind under [attributes." + self.table + "]" if self.table != "events" else "events carry no further columns"
                self._notes.setdefault(f"column {name!r} is not kept: {known}")
            elif target in names:
                raise DataError(
                    f"both {names[target]!r} and {name!r} are {target!r}", fix=f"rename one of them, or mend [columns.{self.table}]", where=self.file
                )
            else:
                names[target] = name
        return names

    def _target(self, name: str) -> str | None:
        if name in self.renames:
            target: str = self.renames[name]
            if target not in self.kinds:
                raise DataError(
                    f"column {name!r} is to be {target!r}, which does not exist",
                    expected="one of " + ", ".join(self.kinds),
                    fix=f"declare it under [attributes.{self.table}], or mend [columns.{self.table}]",
                    where=self.file,
                )
            return target
        if name in self.kinds:
            return name
        plain = name.strip().lower().replace(" ", "_").replace("-", "_")
        if plain in self.kinds and plain not in self.renames.values():
            self._notes.setdefault(f"column {name!r} taken as {plain!r}")
            return plain
        return None

    def _require(self, names: set[str], found: list[str]) -> None:
        required = [name for name, kind in self.kinds.items() if kind.endswith("*")]
        missing = [name for name in required if name not in names]
        if not missing:
            return
        free = [name for name in found if name not in self.renames and name not in self.kinds]
        lines = [f'"{self._guess(name, free) or "NAME IN YOUR FILE"}" = "{name}"' for name in missing]
        fix = f"map it in the scenario: [columns.{self.table}] {'; '.join(lines)}"
        if "event" in missing:
            fix += ' (a file of one kind of event: "=NAME OF THE EVENT" = "event")'
        raise DataError(
            f"no column {', '.join(map(repr, missing))} (found: {', '.join(found) or 'none'})",
            expected="columns " + ", ".join(required),
            fix=fix,
            where=self.file,
        )

    def _guess(self, name: str, free: list[str]) -> str | None:
        by_plain = {column.strip().lower().replace(" ", "_"): column for column in free}
        for usual in USUAL_NAMES.get(name, ()):
            if usual in by_plain:
                return by_plain[usual]
        near = get_close_matches(name, by_plain, n=1, cutoff=0.7)
        if near:
            return by_plain[near[0]]
        inside = [column for plain, column in by_plain.items() if any(usual in plain.split("_") for usual in USUAL_NAMES.get(name, ()))]
        return inside[0] if inside else None

    # ---- cells
    def _column(self, name: str, kind: str, raw: pl.Series) -> Column:
        required = kind.endswith("*")
        kind = kind.removesuffix("*")
        raw = raw.alias(name)
        if raw.dtype == pl.String:
            raw = raw.str.strip_chars()
            raw = raw.set(raw == "", None)
        column = self._time(name, raw) if kind == "time" else KINDS[kind](raw)
        if not required:
            return column
        empty = raw.is_null()
        if raw.dtype == pl.String:
            empty = empty | raw.str.contains(NO_VALUE).fill_null(False)
        return Column(column.values, _first_reason([(empty, "empty")], column.reason), f"a {name}: {column.expected}")

    def _time(self, name: str, raw: pl.Series) -> Column:
        if name not in self._times:
            happened = self.table == "events"
            floor = EARLIEST_NUMBER_S * SECOND_US if happened else OLDEST_THING_US
            self._times[name] = TimeReader(name, floor_us=floor, latest_us=self.now_us + CLOCK_TOLERANCE_US if happened else None)
        if raw.dtype == pl.String:
            raw = _without_markers(raw)
        return Column(*self._times[name].read(raw), EXPECTED)

    def _value(self, value: Column, event: pl.Series) -> Column:
        """Values below zero belong to events that take something back, and to no others."""
        takes_back = event.is_in([name for name, weight in self.weights.items() if weight < 0])
        wrong = (value.values < 0) & ~takes_back
        expected = "0 or more; what takes something back is an event of its own, with a negative weight"
        return Column(value.values, _first_reason([(wrong, "negative")], value.reason), expected if bool(wrong.any()) else value.expected)

    def _currency(self, found: dict[str, pl.Series], checked: dict[str, Column]) -> None:
        """Fills `currency` from prices written with their currency."""
        if self.table != "items" or "price" not in found or found["price"].dtype != pl.String:
            return
        written = _by_value(found["price"], lambda text: (parse_money(text) or (0, None))[1], pl.String)
        if not written.count():
            return
        self._notes.setdefault("currency taken from the text of the price where it has no column")
        if "currency" in checked:
            old = checked["currency"]
            checked["currency"] = Column(old.values.fill_null(written), old.reason, old.expected)
        else:
            checked["currency"] = Column(written.alias("currency"), _no_reason(len(written)), "a currency")

    def _count_events(self, rows: pl.DataFrame) -> None:
        if self.table == "events":
            for name, n in rows["event"].value_counts().iter_rows():
                if name not in self.weights:
                    self._unknown_events[name] = self._unknown_events.get(name, 0) + n

    # ---- rows
    def _separate(self, batch: Batch, names: Mapping[str, str], checked: Mapping[str, Column]) -> Checked:
        rows = pl.DataFrame([column.values.alias(name) for name, column in checked.items()])
        wrong = {name: column for name, column in checked.items() if column.reason.null_count() < batch.rows.height}
        if not wrong:
            return Checked(rows, [])
        bad = pl.select(pl.any_horizontal(*(column.reason.is_not_null() for column in wrong.values()))).to_series()
        rejected = [self._rejected(batch, names, wrong, int(i)) for i in bad.arg_true()]
        return Checked(rows.filter(~bad), rejected)

    def _rejected(self, batch: Batch, names: Mapping[str, str], wrong: Mapping[str, Column], i: int) -> Rejected:
        name, column = next((name, column) for name, column in wrong.items() if column.reason[i] is not None)
        row = batch.rows.row(i, named=True)
        own = names.get(name, name)
        value = row.get(own)
        found = "" if value is None else shorten(str(value).removeprefix(NESTED), FOUND_CHARS)
        return Rejected(batch.file, int(batch.lines[i]), own, column.reason[i], found, column.expected, raw_row(row))


# ---- kinds: raw column (text stripped, never empty text; or typed) → Column
def _text(raw: pl.Series) -> Column:
    """Text of an id, a title, a name. Numbers are written out, whole ones without a point."""
    expected = f"text of at most {MAX_CHARS.get(raw.name, MAX_FIELD_CHARS)} characters"
    if raw.dtype == pl.Boolean and raw.name in MAX_CHARS:
        return Column(raw.cast(pl.String), _first_reason([(raw.is_not_null(), "not text")], None, len(raw)), expected)
    if raw.dtype.is_float():
        whole = raw.cast(pl.Int64, strict=False)
        return Column(
            pl.select(pl.when(whole.cast(pl.Float64) == raw).then(whole.cast(pl.String)).otherwise(raw.cast(pl.String))).to_series(),
            _first_reason([(~raw.is_finite(), "not finite")], None, len(raw)),
            expected,
        )
    if raw.dtype != pl.String:
        return Column(raw.cast(pl.String), _no_reason(len(raw)), expected)
    limit = MAX_CHARS.get(raw.name)
    bad = [(raw.str.starts_with(NESTED), "not text"), (raw.str.contains("\0", literal=True), "NUL byte")]
    if limit is not None:
        bad += [(raw.str.len_chars() > limit, "too long"), (raw.str.contains(r"\p{Cc}"), "control character")]
    else:
        bad.append((raw.str.len_bytes() > 4 * MAX_FIELD_CHARS, "field too long"))
    return Column(raw, _first_reason(bad, None, len(raw)), expected)


def _number(raw: pl.Series) -> Column:
    """A number, finite; also an amount of money as people write it."""
    if raw.dtype == pl.Boolean or isinstance(raw.dtype, pl.Datetime):
        return Column(_nulls(raw, pl.Float64), _first_reason([(raw.is_not_null(), "not a number")], None, len(raw)), "a number")
    numbers = raw.cast(pl.Float64, strict=False)
    if raw.dtype == pl.String:
        raw = _without_markers(raw, keep_nan=True)
        unread = raw.set(numbers.is_not_null(), None)
        if unread.count():
            numbers = numbers.fill_null(_by_value(unread, lambda text: (parse_money(text) or (None, None))[0], pl.Float64))
    bad = [(raw.is_not_null() & numbers.is_null(), "not a number"), (~numbers.is_finite(), "not finite")]
    expected = "a number"
    if raw.name in NOT_NEGATIVE - {"value"}:
        bad.append((numbers < 0, "negative"))
        expected = "a number, 0 or more"
    return Column(numbers, _first_reason(bad, None, len(raw)), expected)


def _integer(raw: pl.Series) -> Column:
    """A whole number, 0 or more."""
    number = _number(raw)
    whole = number.values.fill_nan(None).cast(pl.Int64, strict=False)
    fraction = number.reason.is_null() & number.values.is_not_null() & (whole.is_null() | (whole.cast(pl.Float64) != number.values).fill_null(False))
    return Column(whole, _first_reason([(fraction, "not a whole number")], number.reason), "a whole number, 0 or more")


def _flag(raw: pl.Series) -> Column:
    """true or false, in the usual spellings."""
    expected = "true or false (also yes/no, 1/0, on/off, 是/否)"
    if raw.dtype == pl.Boolean:
        return Column(raw, _no_reason(len(raw)), expected)
    text = _without_markers(raw.cast(pl.String).str.strip_prefix(NESTED).str.to_lowercase().alias(raw.name))
    flags = text.replace_strict({**dict.fromkeys(TRUE, True), **dict.fromkeys(FALSE, False)}, default=None, return_dtype=pl.Boolean)
    return Column(flags, _first_reason([(text.is_not_null() & flags.is_null(), "not true or false")], None, len(raw)), expected)


def _tag(raw: pl.Series) -> Column:
    """One value or several joined by ``|``; lists of the file are joined."""
    return _joined(raw, "|")


def _category(raw: pl.Series) -> Column:
    """A path, most general first, with `` > `` between its steps; lists of the file are paths."""
    column = _joined(raw, " > ")
    return Column(column.values.str.replace_all(r"\s*>\s*", " > "), column.reason, "a path such as A > B")


def _joined(raw: pl.Series, sign: str) -> Column:
    if raw.dtype == pl.String:
        nested = raw.str.starts_with(NESTED).fill_null(False)
        if nested.any():
            joined = _by_value(raw.set(~nested, None), lambda text: _join(text, sign), pl.String)
            raw = raw.set(joined.is_not_null(), None).fill_null(joined)
            raw = raw.set(raw == "", None)
    return _text(raw)


def _join(text: str, sign: str) -> str | None:
    cells = msgspec.json.decode(text.removeprefix(NESTED))
    if not isinstance(cells, list) or any(isinstance(cell, dict | list) for cell in cells):
        return None
    return sign.join(str(cell) for cell in cells if cell is not None)


def _json(raw: pl.Series) -> Column:
    """A JSON object, as text."""
    text = raw.cast(pl.String).str.strip_prefix(NESTED)
    wrong = _by_value(text, lambda cell: None if _is_object(cell) else True, pl.Boolean)
    return Column(text, _first_reason([(wrong, "not a JSON object")], None, len(raw)), 'a JSON object: {"name": value}')


def _is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.MsgspecError, RecursionError):
        return False


KINDS: dict[str, Callable[[pl.Series], Column]] = {
    "text": _text, "image": _text, "tag": _tag, "category": _category, "number": _number, "integer": _integer, "flag": _flag, "json": _json,
}  # fmt: skip


def _without_markers(raw: pl.Series, *, keep_nan: bool = False) -> pl.Series:
    """Null for what programs write where there is no value; NaN stays where it would be a damaged number."""
    empty = raw.str.contains(NO_VALUE).fill_null(False)
    if keep_nan:
        empty = empty & (raw.str.to_lowercase() != "nan").fill_null(True)
    return raw.set(empty, None)


def _by_value(raw: pl.Series, function: Callable[[str], Any], dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    """`function` of each distinct cell: for the few that no vectorised way can read."""
    distinct = raw.drop_nulls().unique()
    values = pl.Series([function(text) for text in distinct], dtype=dtype)
    return raw.replace_strict(distinct, values, default=None, return_dtype=dtype)


def _nulls(like: pl.Series, dtype: type[pl.DataType]) -> pl.Series:
    return pl.repeat(None, len(like), dtype=dtype, eager=True).alias(like.name)


def _no_reason(n: int) -> pl.Series:
    return pl.repeat(None, n, dtype=pl.String, eager=True)


def _first_reason(checks: list[tuple[pl.Series, str]], otherwise: pl.Series | None, n: int = 0) -> pl.Series:
    """The first reason whose mask holds, then `otherwise`."""
    out = pl.lit(_no_reason(n) if otherwise is None else otherwise)
    for mask, reason in reversed(checks):
        if mask.any():
            out = pl.when(mask.fill_null(False)).then(pl.lit(reason)).otherwise(out)
    return pl.select(out.alias("reason")).to_series()
