"""Times as they come in files to int64 microseconds UTC.

Numbers tell their unit by their size: plausible seconds, milliseconds, microseconds and nanoseconds since 1970 do not overlap. Dates come in five
shapes, each with or without a time of day and a zone: 2024-01-31 (also with ``/ . 年``), 20240131, 31.01.2024, 01/31/2024, 31 Jan 2024. Without zone
means UTC. What was assumed is counted in `TimeReader.notes()`, never kept quiet.
"""

from collections import Counter

import polars as pl

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
EARLIEST_NUMBER_S = 10**8  # 1973-03-03; smaller numbers are zeros, counters or something else, not times since 1970
MAX_TIME_US = 4_102_444_800 * SECOND_US  # year 2100

UNITS = (("seconds", 10**11, 1_000_000, 1), ("milliseconds", 10**14, 1000, 1), ("microseconds", 10**17, 1, 1), ("nanoseconds", 2**63 - 1, 1, 1000))
"""(name, numbers below this, times, over)."""

ZONE = r"\s*(?P<zone>Z|z|UTC|GMT|[+-]\d{2}:?(?:\d{2})?)?$"
CLOCK = r"(?:[T,\s]+(?P<h>\d{1,2}):(?P<mi>\d{2})(?::(?P<s>\d{2})(?:[.,](?P<frac>\d{1,9}))?)?\s*(?P<half>[AaPp][Mm])?)?" + ZONE
YEAR_FIRST = r"^(?P<y>\d{4})\s*[-/.年]\s*(?P<mo>\d{1,2})\s*[-/.月]\s*(?P<d>\d{1,2})\s*日?" + CLOCK
COMPACT = r"^(?P<y>(?:19|20)\d{2})(?P<mo>\d{2})(?P<d>\d{2})(?:T?(?P<h>\d{2})(?P<mi>\d{2})(?P<s>\d{2})(?P<frac>)(?P<half>))?(?P<zone>Z)?$"
DAY_FIRST = r"^(?P<d>\d{1,2})\.\s*(?P<mo>\d{1,2})\.\s*(?P<y>\d{4})" + CLOCK
SLASHED = r"^(?P<a>\d{1,2})[/-](?P<b>\d{1,2})[/-](?P<y>\d{4})" + CLOCK
DAY_NAMED = r"^(?:[A-Za-z]{3,9},?\s+)?(?P<d>\d{1,2})[-\s](?P<mo>[A-Za-z]{3})[a-z]*[-,\s]+(?P<y>\d{4})" + CLOCK
MONTH_NAMED = r"^(?P<mo>[A-Za-z]{3})[a-z]*\.?\s+(?P<d>\d{1,2}),?\s+(?P<y>\d{4})" + CLOCK
MONTHS = {name: str(i) for i, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)}

EXPECTED = "seconds, ms, µs or ns since 1970, or a date such as 2024-01-31T12:34:56Z"


class TimeReader:
    """Reads one column of a file, batch after batch; what its first batch shows about ambiguous shapes holds for the rest.

    `floor_us` is the earliest plausible time, `latest_us` the latest (None = any up to 2100).
    """

    def __init__(self, column: str, *, floor_us: int, latest_us: int | None) -> None:
        self.column, self.floor_us, self.latest_us = column, floor_us, latest_us
        self.seen: Counter[str] = Counter()
        self._day_first: bool | None = None  # of 01/02/2024
        self._counter: bool | None = None  # whether the column is a running number

    def read(self, raw: pl.Series) -> tuple[pl.Series, pl.Series]:
        """(int64 µs, reason why a cell is no usable time); null cells give null in both."""
        if raw.dtype == pl.Boolean:
            return _all_null(raw), pl.select(pl.when(raw.is_not_null()).then(pl.lit("not a time"))).to_series()
        if isinstance(raw.dtype, pl.Datetime):
            times = raw.dt.epoch("us")
            return times, self._implausible(times)
        if raw.dtype == pl.String:
            return self._text(raw)
        return self._numbers(raw, raw, raw.count())

    def notes(self) -> list[str]:
        """What was assumed so far, with the number of rows."""
        return [f"{self.column}: {count} rows {what}" for what, count in self.seen.most_common()]

    # ---- numbers
    def _numbers(self, raw: pl.Series, numbers: pl.Series, n_cells: int) -> tuple[pl.Series, pl.Series]:
        """`n_cells` is the number of filled cells of the column, numbers or not."""
        small = numbers.abs() < EARLIEST_NUMBER_S
        dated = numbers.is_between(19_000_101, 21_001_231) if numbers.dtype == pl.Int64 else pl.repeat(False, len(numbers), eager=True)
        if self._counter is None and len(numbers.drop_nulls()):
            self._counter = bool(2 * (small & ~dated & (numbers >= 0)).sum() > n_cells)
        if self._counter:
            ok = small & (numbers >= 0)
            self._count("are running numbers, too small to be times: only their order counts", ok)
            times = (numbers.fill_nan(None) * SECOND_US).cast(pl.Int64, strict=False).set(~ok.fill_null(False), None)
            return times, _reason([(raw.is_not_null() & times.is_null(), "not a time")], len(raw))
        stamps = (dated | numbers.is_between(19_000_101_000_000, 21_001_231_235_959)).fill_null(False)
        if numbers.dtype == pl.Int64 and stamps.any():
            compact = self._shape(numbers.set(~stamps, None).cast(pl.String), COMPACT)
            times = _first(compact, self._by_size(numbers.set(compact.is_not_null(), None)))
        else:
            times = self._by_size(numbers)
        reason = _reason([(raw.is_not_null() & times.is_null(), "not a time"), (small & ~dated, "not a plausible time")], len(raw))
        return times, _first(reason, self._implausible(times))

    def _by_size(self, numbers: pl.Series) -> pl.Series:
        """µs of each number by its magnitude."""
        frame = numbers.rename("x").to_frame()
        x, lower = pl.col("x"), 0
        out = pl.lit(None, dtype=pl.Int64)
        for name, upper, times, over in UNITS:
            here = (x >= lower) & (x < upper)
            self._count(f"read as {name} since 1970", frame.select(here & (x >= EARLIEST_NUMBER_S)).to_series())
            scaled = (x * times).round() if numbers.dtype.is_float() else x * times
            out = pl.when(here).then((scaled // over).cast(pl.Int64, strict=False)).otherwise(out)
            lower = upper
        return frame.select(out).to_series()

    # ---- text
    def _text(self, raw: pl.Series) -> tuple[pl.Series, pl.Series]:
        numeric = raw.str.contains(r"^[+-]?\d+(\.\d*)?([eE][+]?\d+)?$").fill_null(False)
        whole = raw.cast(pl.Int64, strict=False)  # apart from decimals: nanoseconds do not fit into floats
        times, problems = _all_null(raw), pl.repeat(None, len(raw), dtype=pl.String, eager=True)
        decimal = numeric & whole.is_null()
        for here, numbers in ((numeric & ~decimal, whole), (decimal, raw.cast(pl.Float64, strict=False))):
            if here.any():
                found = self._numbers(raw.set(~here, None), numbers.set(~here, None), raw.count())
                times, problems = _first(times, found[0]), _first(problems, found[1])
        if (~numeric & raw.is_not_null()).any():
            found = self._dates(raw.set(numeric, None))
            times, problems = _first(times, found[0]), _first(problems, found[1])
        return times, problems

    def _dates(self, raw: pl.Series) -> tuple[pl.Series, pl.Series]:
        times, zoned = _iso(raw)
        if not zoned:
            self._count("without a zone, taken as UTC", times.is_not_null())
        for pattern in (YEAR_FIRST, COMPACT, DAY_FIRST, DAY_NAMED, MONTH_NAMED):
            rest = raw.set(times.is_not_null(), None)
            if not rest.count():
                break
            times = _first(times, self._shape(rest, pattern))
        ambiguous = pl.repeat(False, len(raw), eager=True)
        rest = raw.set(times.is_not_null(), None)
        if rest.count():
            slashed, ambiguous = self._slashed(rest)
            times = _first(times, slashed)
        reason = _reason([(ambiguous, "day and month cannot be told apart"), (raw.is_not_null() & times.is_null(), "not a time")], len(raw))
        return times, _first(reason, self._implausible(times))

    def _shape(self, raw: pl.Series, pattern: str) -> pl.Series:
        """µs of the cells of this shape, null for others and for days that do not exist."""
        parts = raw.str.extract_groups(pattern).struct.unnest()
        times = _assemble(parts)
        self._count("without a zone, taken as UTC", times.is_not_null() & (parts["zone"].fill_null("") == ""))
        return times

    def _slashed(self, raw: pl.Series) -> tuple[pl.Series, pl.Series]:
        """01/31/2024 or 31/01/2024: cells above 12 tell which, for the others too unless they contradict each other."""
        parts = raw.str.extract_groups(SLASHED).struct.unnest()
        a, b = parts["a"].cast(pl.Int32), parts["b"].cast(pl.Int32)
        day_first, month_first = bool((a > 12).any()), bool((b > 12).any())
        if self._day_first is None and day_first != month_first:
            self._day_first = day_first
            self.seen["name the day before the month" if day_first else "name the month before the day"] = 0
        certain = (a > 12) | (b > 12) | (a == b)
        first_is_day = pl.select(pl.when(a > 12).then(True).when(b > 12).then(False).otherwise(pl.lit(self._day_first))).to_series()
        day = pl.select(pl.when(first_is_day.fill_null(True)).then(parts["a"]).otherwise(parts["b"])).to_series().rename("d")
        month = pl.select(pl.when(first_is_day.fill_null(True)).then(parts["b"]).otherwise(parts["a"])).to_series().rename("mo")
        times = _assemble(parts.with_columns(day, month))
        unknown = (a.is_not_null() & ~certain) if self._day_first is None else pl.repeat(False, len(raw), eager=True)
        times = times.set(unknown.fill_null(False), None)
        self._count("without a zone, taken as UTC", times.is_not_null() & (parts["zone"].fill_null("") == ""))
        for what in ("name the day before the month", "name the month before the day"):
            if what in self.seen:
                self._count(what, times.is_not_null())
        return times, unknown.fill_null(False)

    def _implausible(self, times: pl.Series) -> pl.Series:
        late = [] if self.latest_us is None else [(times > self.latest_us, "in the future")]
        return _reason([*late, ((times < self.floor_us) | (times > MAX_TIME_US), "not a plausible time")], len(times))

    def _count(self, what: str, rows: pl.Series) -> None:
        if n := int(rows.sum() or 0):
            self.seen[what] += n


def _all_null(like: pl.Series) -> pl.Series:
    return pl.repeat(None, len(like), dtype=pl.Int64, eager=True)


def _first(a: pl.Series, b: pl.Series) -> pl.Series:
    """`a`, and `b` where it is null."""
    return pl.select(pl.coalesce(a, b)).to_series()


ISO_SHAPES = (
    ("%Y-%m-%dT%H:%M:%S%.fZ", True),
    ("%Y-%m-%d %H:%M:%S%.f", False),
    ("%Y-%m-%dT%H:%M:%S%.f", False),
    ("%Y-%m-%dT%H:%M:%S%.f%z", True),
    ("%Y-%m-%d", False),
)


def _iso(raw: pl.Series) -> tuple[pl.Series, bool]:
    """The usual exact shapes, fast: whichever of them the first cell has, and whether it names a zone."""
    first = raw.drop_nulls().first() if raw.count() else None
    if isinstance(first, str):
        for shape, zoned in ISO_SHAPES:
            if pl.Series([first]).str.to_datetime(shape, strict=False, time_unit="us").null_count() == 0:
                return raw.str.to_datetime(shape, strict=False, time_unit="us").dt.epoch("us"), zoned
    return _all_null(raw), False


def _assemble(parts: pl.DataFrame) -> pl.Series:
    """µs from the text parts of dates."""
    month = pl.col("mo")
    named = month.str.to_lowercase().replace_strict(MONTHS, default=None, return_dtype=pl.String)
    month = pl.when(month.str.contains(r"^\d")).then(month).otherwise(named)
    hour = pl.col("h").cast(pl.Int32).fill_null(0)
    half = pl.col("half").str.to_lowercase()
    hour = pl.when(half == "pm").then(hour % 12 + 12).when(half == "am").then(hour % 12).otherwise(hour)
    day = (
        pl.format("{}-{}-{}", pl.col("y"), month.str.zfill(2), pl.col("d").str.zfill(2))
        .str.to_datetime("%Y-%m-%d", strict=False, time_unit="us")
        .dt.epoch("us")
    )
    minute, second = pl.col("mi").cast(pl.Int64).fill_null(0), pl.col("s").cast(pl.Int64).fill_null(0)
    fraction_us = (pl.lit("0.") + pl.when(pl.col("frac") == "").then(None).otherwise(pl.col("frac"))).cast(pl.Float64).fill_null(0) * SECOND_US
    zone = pl.col("zone").str.replace_all(":", "").str.extract(r"^([+-]\d{2,4})$")
    minutes = zone.str.slice(1, 2).cast(pl.Int64) * 60 + zone.str.slice(3, 2).replace("", "0").cast(pl.Int64, strict=False).fill_null(0)
    offset = pl.when(zone.str.starts_with("-")).then(-minutes).otherwise(minutes).fill_null(0)
    clock_ok = (hour < 24) & (minute < 60) & (second < 60)
    total = day + ((hour.cast(pl.Int64) * 60 + minute - offset) * 60 + second) * SECOND_US + fraction_us.round().cast(pl.Int64)
    return parts.select(pl.when(clock_ok).then(total)).to_series()


def _reason(checks: list[tuple[pl.Series, str]], n: int) -> pl.Series:
    """The first reason that holds for each row, null for rows without."""
    out = pl.lit(None, dtype=pl.String)
    for mask, reason in reversed(checks):
        out = pl.when(mask.fill_null(False)).then(pl.lit(reason)).otherwise(out)
    return pl.select(out.alias("reason") if checks else pl.repeat(None, n, dtype=pl.String)).to_series()
