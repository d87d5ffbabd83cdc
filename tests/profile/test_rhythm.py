"""Hours, weekdays and gaps in the business's own time zone."""

from datetime import UTC, datetime

import numpy as np
import pytest

from daogou.errors import ConfigError
from daogou.profile.rhythm import rhythm, zone


def times(*texts: str) -> np.ndarray:
    return np.array([int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e6) for text in texts], np.int64)


def test_days_hours_and_the_median_gap() -> None:
    found = rhythm(times("2024-01-01T09:10", "2024-01-01T09:50", "2024-01-01T18:00", "2024-01-08T09:00", "2024-01-10T23:30"), UTC)
    assert found is not None
    assert found.days == 3 and found.gap_days == 4.5  # 7 and 2 days
    assert found.weekdays == (2, 0, 1, 0, 0, 0, 0)  # two Mondays, a Wednesday
    assert found.hours[9] == 2 and found.hours[18] == 1 and sum(found.hours) == 4  # two events of one hour are one


def test_the_time_zone_moves_the_day() -> None:
    late = times("2024-01-07T20:00")  # a Sunday in Greenwich, Monday 4 o'clock in Shanghai
    here, there = rhythm(late, UTC), rhythm(late, zone("Asia/Shanghai"))
    assert here is not None and there is not None
    assert here.weekdays[6] == there.weekdays[0] == 1 and there.hours[4] == 1


def test_too_little_has_no_gap_and_nothing_no_rhythm() -> None:
    assert rhythm(times(), UTC) is None
    two = rhythm(times("2024-01-01T00:00", "2024-01-02T00:00"), UTC)
    assert two is not None and two.gap_days is None and two.days == 2


def test_an_unknown_zone_is_a_clear_error() -> None:
    for name in ("Mars/Base", "", "../etc/passwd"):
        with pytest.raises(ConfigError, match="no time zone"):
            zone(name)
