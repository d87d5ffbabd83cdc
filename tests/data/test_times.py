"""Every shape of time that files come in, and what is said about it."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daogou.data.times import TimeReader

FLOOR_US = 10**8 * 10**6
MOMENT = datetime(2024, 1, 31, 12, 34, 56, tzinfo=UTC)
DAY = datetime(2024, 1, 31, tzinfo=UTC)


def read(*cells: object) -> tuple[list[int | None], list[str | None], list[str]]:
    reader = TimeReader("time", floor_us=FLOOR_US, latest_us=None)
    times, reasons = reader.read(pl.Series(cells))
    return times.to_list(), reasons.to_list(), reader.notes()


def us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-31T12:34:56Z", MOMENT),
        ("2024-01-31T12:34:56.5Z", MOMENT + timedelta(seconds=0.5)),
        ("2024-01-31 12:34:56.123456", MOMENT + timedelta(microseconds=123456)),
        ("2024-01-31T20:34:56+08:00", MOMENT),
        ("2024-01-31T20:34:56+0800", MOMENT),
        ("2024-01-31 07:04:56-05:30", MOMENT),
        ("2024-01-31T20:34:56+08", MOMENT),
        ("2024-01-31", DAY),
        ("2024/1/31", DAY),
        ("2024.01.31 9:05", DAY + timedelta(hours=9, minutes=5)),
        ("2024年1月31日 12:34:56", MOMENT),
        ("20240131", DAY),
        ("20240131123456", MOMENT),
        ("20240131T123456Z", MOMENT),
        ("31.01.2024", DAY),
        ("31.1.2024 12:34:56", MOMENT),
        ("01/31/2024", DAY),
        ("31/01/2024", DAY),
        ("1/31/2024 12:34:56 PM", MOMENT),
        ("1/31/2024 12:34:56 AM", MOMENT - timedelta(hours=12)),
        ("05/05/2024", datetime(2024, 5, 5, tzinfo=UTC)),
        ("31-Jan-2024", DAY),
        ("31 January 2024 12:34:56", MOMENT),
        ("Wed, 31 Jan 2024 12:34:56 GMT", MOMENT),
        ("Wed, 31 Jan 2024 13:34:56 +0100", MOMENT),
        ("Jan 31, 2024", DAY),
        ("January 31, 2024 12:34:56", MOMENT),
        ("1706704496", MOMENT),
        ("1706704496.25", MOMENT + timedelta(seconds=0.25)),
        ("1706704496000", MOMENT),
        ("1706704496000001", MOMENT + timedelta(microseconds=1)),
        ("1706704496000001999", MOMENT + timedelta(microseconds=1)),
        ("1.706704496e9", MOMENT),
    ],
)
def test_one_shape(text: str, moment: datetime) -> None:
    times, reasons, notes = read(text)
    assert times == [us(moment)]
    assert reasons == [None]
    assert len(notes) <= 2
    assert ("without a zone" in "".join(notes)) == (not any(zone in text[8:] for zone in ("Z", "GMT", "+", "-05:30")) and not text.startswith(("1706", "1.7")))


def test_shapes_may_be_mixed_in_a_column() -> None:
    times, reasons, notes = read("2024-01-31T12:34:56Z", "1706704496", "1706704496000", "20240131123456", None, "31.01.2024 12:34:56", "1706704496.0")
    assert times == [us(MOMENT)] * 4 + [None] + [us(MOMENT)] * 2
    assert reasons == [None] * 7
    assert "time: 2 rows read as seconds since 1970" in notes
    assert "time: 1 rows read as milliseconds since 1970" in notes


@pytest.mark.parametrize(
    "text",
    [
        "soon",
        "12:30",
        "2024-02-30",
        "2024-13-01",
        "2024-00-10",
        "2024-01-31 24:00:00",
        "2024-01-31 12:60",
        "2024-01-31 12:34:56 CET",
        "--",
        "2024-01-31x",
        "-1706704496",
    ],
)
def test_no_time(text: str) -> None:
    times, reasons, _ = read("2024-01-31", text)
    assert times == [us(DAY), None]
    assert reasons == [None, "not a time"]


def test_slashed_dates_follow_the_cells_that_are_certain() -> None:
    assert read("01/02/2024", "31/01/2024")[0][0] == us(datetime(2024, 2, 1, tzinfo=UTC))
    times, _, notes = read("01/02/2024", "01/31/2024")
    assert times[0] == us(datetime(2024, 1, 2, tzinfo=UTC))
    assert "time: 2 rows name the month before the day" in notes


def test_slashed_dates_without_a_certain_one_are_not_guessed() -> None:
    for cells in (["01/02/2024", "03/04/2024"], ["01/02/2024", "31/01/2024", "01/31/2024"]):
        assert read(*cells)[1][0] == "day and month cannot be told apart"


def test_what_one_batch_shows_holds_for_the_next() -> None:
    reader = TimeReader("time", floor_us=FLOOR_US, latest_us=None)
    reader.read(pl.Series(["31/01/2024"]))
    times, reasons = reader.read(pl.Series(["01/02/2024"]))
    assert times[0] == us(datetime(2024, 2, 1, tzinfo=UTC))
    assert reasons[0] is None


def test_typed_columns() -> None:
    assert read(datetime(2024, 1, 31, 12, 34, 56))[0] == [us(MOMENT)]
    assert read(1706704496, 1706704496000)[0] == [us(MOMENT)] * 2
    assert read(1706704496.5, float("nan"), float("inf"))[1] == [None, "not a time", "not a time"]
    assert read(True, False)[1] == ["not a time"] * 2


def test_a_zero_among_dates_is_damage_and_a_column_of_small_numbers_is_an_order() -> None:
    assert read(0, 1706704496)[1] == ["not a plausible time", None]
    assert read("0", "2024-01-31", "2024-01-31")[1][0] == "not a plausible time"
    times, reasons, notes = read(0, 1, 2, 10)
    assert times == [0, 10**6, 2 * 10**6, 10**7]
    assert reasons == [None] * 4
    assert "running numbers" in notes[0]


def test_latest() -> None:
    reader = TimeReader("time", floor_us=FLOOR_US, latest_us=us(MOMENT))
    assert reader.read(pl.Series(["2024-01-31T12:34:56Z", "2024-01-31T12:34:57Z"]))[1].to_list() == [None, "in the future"]


MOMENTS = st.datetimes(datetime(1980, 1, 1), datetime(2099, 1, 1)).map(lambda m: m.replace(tzinfo=UTC))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(MOMENTS, min_size=1, max_size=5), st.sampled_from([1, 10**3, 10**6, 10**9]))
def test_any_moment_in_any_unit(moments: list[datetime], per_second: int) -> None:
    wanted = [us(m) for m in moments]
    numbers = [w * per_second // 10**6 for w in wanted]
    exact = [n * 10**6 // per_second if per_second <= 10**6 else n // 1000 for n in numbers]
    assert read(*numbers)[0] == exact
    assert read(*map(str, numbers))[0] == exact


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(MOMENTS, min_size=1, max_size=5), st.sampled_from([-720, -150, 0, 330, 840]))
def test_any_moment_as_iso_text_in_any_zone(moments: list[datetime], offset_minutes: int) -> None:
    shift = timedelta(minutes=offset_minutes)
    sign, minutes = "-" if offset_minutes < 0 else "+", abs(offset_minutes)
    texts = [(m + shift).strftime("%Y-%m-%dT%H:%M:%S.%f") + f"{sign}{minutes // 60:02}:{minutes % 60:02}" for m in moments]
    assert read(*texts)[0] == [us(m) for m in moments]
