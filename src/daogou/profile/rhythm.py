"""When somebody comes, and how often: counted over the days and hours of their events in the business's own time zone."""

from datetime import UTC, datetime, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from daogou.contract import Times
from daogou.errors import ConfigError

DAY_US = 86_400_000_000
FEWEST_DAYS = 3
"""Days with an event from which on there is something to say of how often."""


class Rhythm(NamedTuple):
    """`hours` [24] and `weekdays` [7, Monday first] count days on which something was done then, so that one long list is one visit."""

    hours: tuple[int, ...]
    weekdays: tuple[int, ...]
    days: int
    "Days with an event."
    gap_days: float | None
    "Median of the days from one such day to the next; None with too few."
    first: int
    last: int


def zone(name: str) -> tzinfo:
    """
    Raises:
        ConfigError: there is no such time zone.
    """
    try:
        return ZoneInfo(name) if name != "UTC" else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError) as e:
        fix = "write it as Europe/Berlin or Asia/Shanghai; where the machine has no zones at all, install tzdata"
        raise ConfigError(f"no time zone {name!r}", expected="a name of the tz database", fix=fix, where="[profile] of the scenario", field="timezone") from e


def rhythm(time_E: Times, where: tzinfo) -> Rhythm | None:
    """None without an event.

    Args:
        time_E: ascending, µs UTC.
    """
    if not len(time_E):
        return None
    moments = sorted({(at.date().toordinal(), at.hour) for at in (datetime.fromtimestamp(time / 1e6, where) for time in time_E.tolist())})
    day_N = np.unique([day for day, _ in moments])
    hours = np.bincount([hour for _, hour in moments], minlength=24)
    weekdays = np.bincount((day_N - 1) % 7, minlength=7)  # ordinal 1 was a Monday
    gap = float(np.median(np.diff(day_N))) if len(day_N) >= FEWEST_DAYS else None
    return Rhythm(tuple(hours.tolist()), tuple(weekdays.tolist()), len(day_N), gap, int(time_E[0]), int(time_E[-1]))
