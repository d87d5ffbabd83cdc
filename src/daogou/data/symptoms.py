"""What is wrong with a dataset, or worth knowing. Every finding has a number and says what to do."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from daogou.contract import Mask, Times
from daogou.data.overview import Overview, distinct
from daogou.data.times import DAY_US, SECOND_US

Severity = Literal["error", "warning", "info"]

BURST_S = 60  # a shopper's minute with …
BURST_ACTIONS = 40  # … so many actions at different moments is no person's (a basket has one moment, and counts once)
CROWD_SHARE = 0.005  # of all events at one moment: an import date, not behaviour
CROWD_USERS = 20
GAP_FACTOR = 20  # a silence so many times longer than nearly all others
GAP_MIN_US = 2 * DAY_US
HEAVY_SHARE = 0.2  # of all events by a hundredth of the users
STRAY_SHARE = 0.005  # at either end, further away than the rest is long: a wrong clock
TIED_SHARE = 0.3


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong or worth knowing."""

    code: str
    severity: Severity
    what: str
    number: int
    "Events, users, items or gaps concerned."
    share: float
    "The same as a share of all of them, 0–1 (of gaps: of the time)."
    advice: str


class Text(NamedTuple):
    """How a finding reads; words in braces are filled in."""

    severity: Severity
    what: str
    advice: str


TEXTS = {
    "no-events": Text("warning", "there is no event yet", "import events; until then only newest and search can answer"),
    "no-signal": Text("error", "no event teaches anything", "give an event a positive weight under [events] of the scenario"),
    "unknown-event": Text("warning", "events that the scenario does not list ({names})", "list them under [events], with 0 if they should teach nothing"),
    "duplicate": Text(
        "warning",
        "events equal in user, item, name, time and session",
        "if they are replays give events an event_id; if they are real put the quantity into value",
    ),
    "ties": Text(
        "warning",
        "events at the same moment as the one before, of the same user",
        "the clock is coarse: their order is the order of the file; import finer times, or sessions",
    ),
    "baskets": Text("info", "events at the same moment as the one before, of the same user", "sessions explain it; order inside one is the order of the file"),
    "no-dates": Text(
        "warning", "events without a real date (running numbers)", "import times; without them there is no time split, no freshness and no season"
    ),
    "future": Text("error", "events in the future", "mend the clock or the unit of the time, and import again"),
    "stray": Text("warning", "events far from all others ({low} to {high})", "a wrong clock or unit; check them before trusting a split by time"),
    "crowd": Text("warning", "events of many users at one moment ({when})", "the date of an import or a default; give them their real time or leave them out"),
    "gap": Text(
        "warning", "gaps without any event, the longest {days:.1f} days from {when}", "events were lost, or the shop was closed: import what is missing"
    ),
    "single-event": Text("info", "users with a single event", "nothing can be held out for them; they are served, and not measured"),
    "burst": Text(
        "warning",
        f"users with {BURST_ACTIONS} or more actions within {BURST_S} s",
        "probably programs or shared accounts: leave them out of training",
    ),
    "heavy": Text(
        "warning", "users who make {part:.0%} of all events", "max_events_per_user bounds what is learned from one of them; look whether they are people"
    ),
    "no-entry": Text(
        "warning",
        "items with events but without an entry in the catalogue",
        "import items: without title, price and availability they cannot be shown or filtered",
    ),
    "no-item-events": Text("info", "items in the catalogue without any event", "only content, search and newest can reach them"),
    "no-title": Text("warning", "items in the catalogue without a title", "a page cannot show them; import titles"),
    "no-price": Text("info", "items in the catalogue without a price above 0", "a filter on price leaves them out"),
    "before-created": Text("warning", "events before their item was created", "`created` is wrong or was overwritten by an update; a split by time would leak"),
    "after-removal": Text("warning", "events after their item's removal ({column})", "the removal is wrong, or something still shows the item"),
}


class Symptoms:
    """Looks for what is wrong; `removed` names the item attribute that holds the time of removal."""

    def __init__(self, view: Overview, now_us: int, removed: str) -> None:
        self.view, self.data, self.events, self.now_us, self.removed = view, view.data, view.data.events, now_us, removed

    def findings(self) -> Iterator[Finding]:
        """In no particular order; none where nothing is wrong."""
        if not self.view.n:
            text = TEXTS["no-events"]
            yield Finding("no-events", text.severity, text.what, 0, 0.0, text.advice)
        else:
            yield from self._rows()
            yield from self._clock()
            yield from self._people()
            yield from self._leaks()
        yield from self._catalogue()

    def _rows(self) -> Iterator[Finding]:
        e, all_E = self.events, np.ones(self.view.n, np.bool_)
        if not self.view.signal.any():
            yield from _found("no-signal", all_E)
        unlisted = [name not in self.data.weights for name in self.data.event_names]
        names = ", ".join(name for name, strange in zip(self.data.event_names, unlisted, strict=True) if strange)
        yield from _found("unknown-event", np.array(unlisted, np.bool_)[e.kind], names=names)
        whole = pl.DataFrame({"user": e.user, "item": e.item, "kind": e.kind, "time": e.time, "session": e.session})
        yield from _found("duplicate", ~whole.select(pl.struct(pl.all()).is_first_distinct()).to_series().to_numpy())
        if self.view.tied.mean() > TIED_SHARE:
            yield from _found("baskets" if (e.session >= 0).any() else "ties", self.view.tied)

    def _clock(self) -> Iterator[Finding]:
        if not self.view.dated:
            yield from _found("no-dates", np.ones(self.view.n, np.bool_))
            return
        future = self.events.time > self.now_us + DAY_US
        yield from _found("future", future)
        times = np.sort(self.events.time[~future])
        yield from self._strays(times, future)
        yield from self._crowds()
        yield from self._gaps(times)

    def _strays(self, times: Times, future: Mask) -> Iterator[Finding]:
        """A few events far before or after all others, those in the future aside."""
        cut = max(int(STRAY_SHARE * len(times)), 1)
        if len(times) <= 20:
            return
        low, high = int(times[cut]), int(times[-cut - 1])
        far = max(high - low, 30 * DAY_US)
        stray = (self.events.time < low - far) | (self.events.time > high + far)
        yield from _found("stray", stray & ~future, low=moment(low), high=moment(high))

    def _crowds(self) -> Iterator[Finding]:
        e = self.events
        moments, counts = np.unique(e.time, return_counts=True)
        crowded = moments[counts >= max(CROWD_SHARE * self.view.n, CROWD_USERS)]
        if not len(crowded) or np.median(counts) >= CROWD_USERS:  # a coarse clock makes every moment a crowd
            return
        at = np.isin(e.time, crowded)
        if distinct(e.user[at]) >= CROWD_USERS:
            yield from _found("crowd", at, when=moment(int(crowded[0])))

    def _gaps(self, times: Times) -> Iterator[Finding]:
        """Silences within the time that holds nearly all events."""
        cut = int(STRAY_SHARE * len(times))
        inner = times[cut : len(times) - cut]
        gaps = np.diff(inner)
        if len(gaps) < 100:
            return
        usual = max(float(np.quantile(gaps, 0.99)), 3600 * SECOND_US)
        long = gaps > max(GAP_FACTOR * usual, GAP_MIN_US)
        if long.any():
            text, longest = TEXTS["gap"], int(np.argmax(gaps))
            what = text.what.format(days=gaps[longest] / DAY_US, when=moment(int(inner[longest])))
            yield Finding("gap", text.severity, what, int(long.sum()), float(gaps[long].sum() / gaps.sum()), text.advice)

    def _people(self) -> Iterator[Finding]:
        by_user = self.view.by_user[self.view.by_user > 0]
        yield from _found("single-event", by_user == 1)
        yield from _found("burst", self._bursts()[self.view.by_user > 0])
        top = np.argsort(-by_user, kind="stable")[: max(len(by_user) // 100, 1)]
        part = float(by_user[top].sum() / self.view.n)
        if len(by_user) >= 100 and part > HEAVY_SHARE:
            yield from _found("heavy", np.isin(np.arange(len(by_user)), top), part=part)

    def _bursts(self) -> Mask:
        """[U] users with too many different moments in a window of a minute."""
        out = np.zeros(self.data.n_users, np.bool_)
        if self.view.dated:
            user = self.events.user[~self.view.tied].astype(np.int64)
            second = self.events.time[~self.view.tied] // SECOND_US
            second -= second.min()
            line = user * (int(second.max()) + BURST_S + 1) + second  # one ascending axis on which users do not touch
            within = np.searchsorted(line, line + BURST_S) - np.arange(len(line))
            out[user[within >= BURST_ACTIONS]] = True
        return out

    def _catalogue(self) -> Iterator[Finding]:
        described, active = self.view.described, self.view.by_item > 0
        yield from _found("no-entry", active & ~described)
        yield from _found("no-item-events", ~active & described)
        table = self.data.item_table
        if "title" in table.columns:
            yield from _found("no-title", described & (table["title"].fill_null("").str.strip_chars() == "").to_numpy())
        if "price" in table.columns and table["price"].count():
            yield from _found("no-price", described & ~(table["price"].cast(pl.Float64).fill_null(0.0) > 0).to_numpy())

    def _leaks(self) -> Iterator[Finding]:
        if not self.view.dated:
            return
        e = self.events
        if (created := self._item_times("created", otherwise=-(1 << 62))) is not None:
            yield from _found("before-created", e.time < created[e.item] - DAY_US)
        if (removed := self._item_times(self.removed, otherwise=1 << 62)) is not None:
            yield from _found("after-removal", e.time > removed[e.item] + DAY_US, column=self.removed)

    def _item_times(self, name: str, *, otherwise: int) -> NDArray[np.int64] | None:
        """[I] a time of each item; None where the table has no such column."""
        table = self.data.item_table
        if name not in table.columns or not table[name].dtype.is_integer():
            return None
        return table[name].cast(pl.Int64).fill_null(otherwise).to_numpy()


def _found(code: str, mask: Mask, **words: object) -> Iterator[Finding]:
    """The finding, if the mask has any."""
    if mask.any():
        text = TEXTS[code]
        yield Finding(code, text.severity, text.what.format(**words), int(mask.sum()), float(mask.mean()), text.advice)


def moment(time_us: int) -> str:
    """A time for people, UTC."""
    return str(np.datetime64(time_us, "us").astype("datetime64[s]")).replace("T", " ")
