"""Dataset → training part, validation and test: every protocol by which models are compared.

All of them reduce to one cut per user: what lies before it is history, what lies after it may be a target. Vocabularies are kept, so codes
agree between the parts. Nothing here knows a model or a metric.

    time           one cut in time for everyone; weights see only what lies before it. The honest default
    leave-one-out  each user's last event is the test, the one before it validation. Only to compare with papers: weights see others' future
    user-split     held-out users: the first share of their events is folded in, the rest are targets (Liang et al. 2018, strong generalisation)
    cold-items     held-out items: none of their events is learned from
    cold-users     held-out users about whom nothing but registration is known

Axes: B queries, E events, I items, U users, T positions of target events.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from daogou.contract import Mask, Queries, Times
from daogou.data.dataset import Dataset
from daogou.data.histories import Histories
from daogou.errors import DataError, UnknownName, UsageError

Protocol = Literal["time", "leave-one-out", "user-split", "cold-items", "cold-users"]
Which = Literal["all", "last"]
Positions = NDArray[np.int64]

DAY_US = 86_400_000_000
TEST_QUANTILE = 0.9  # of event times: where the test window starts unless its length is given
HELD_OUT = 0.1  # share of users or items held out for validation, and again for test


@dataclass(frozen=True, slots=True)
class Targets:
    """B questions and their right answers: row b of `wanted` holds the distinct items that query b should be answered with."""

    queries: Queries
    wanted: Histories
    known_I: Mask | None = None
    "Items that are candidates (None = all): those that existed at the cut."

    def __len__(self) -> int:
        return len(self.wanted)

    def __getitem__(self, rows: slice | NDArray[Any]) -> "Targets":
        """The questions of some rows, in that order."""
        return Targets(self.queries[rows], self.wanted[rows], self.known_I)


@dataclass(frozen=True)
class Split:
    """Fit on `train`, choose on `validation`; then, with everything frozen, report on `test`: strict with the weights of `train`, or refit on `refit`."""

    train: Dataset
    validation: Targets
    test: Targets
    refit: Dataset
    "Train and validation together: everything that is known when the test starts."
    about: dict[str, Any]
    "Protocol, windows and counts, ready for JSON."
    apart: Mapping[str, Targets] = field(default_factory=dict)
    "Test targets reported in rows of their own: `no-history` (users first seen after the cut: guests) and `new-items` (items first seen after it)."

    @property
    def known_I(self) -> Mask | None:
        """The candidates of the test."""
        return self.test.known_I


def split(
    data: Dataset,
    protocol: Protocol = "time",
    *,
    test_days: float = 0,
    goal: Sequence[str] = (),
    repeats: bool = False,
    seed: int = 0,
    fold_in: float = 0.8,
    targets: Which = "all",
    share: float = HELD_OUT,
) -> Split:
    """Cuts `data` by `protocol`.

    Args:
        test_days: length of the test window of `time`, in days; 0 starts it at the 0.9 quantile of event times. Validation is as long, before it; where
            there are not so many days (with 0 alone), it has as many events.
        goal: events that count as targets; empty takes every event of positive weight.
        repeats: whether items that are already in the history count as targets. If not, they must be masked when ranking.
        seed: which users or items are held out (user-split, cold-items, cold-users).
        fold_in: share of a held-out user's events that is history (user-split), by time.
        targets: `all` asks once per user, at the cut, for every item of the window; `last` asks for the last event of the window alone, right before it.
        share: share of users or items held out for validation, and as many again for test.

    Raises:
        UsageError: an unknown protocol or event name, or a share outside (0, 0.5).
        DataError: nothing is left to train on or to test with.
    """
    if protocol not in get_args(Protocol):
        raise UnknownName("protocol", protocol, get_args(Protocol), field="protocol")
    for name, value, high in (("share", share, 0.5), ("fold_in", fold_in, 1.0)):
        if not 0 < value < high:
            raise UsageError(f"{name} is {value}", expected=f"a number between 0 and {high}, both excluded", fix="give a fraction such as 0.1", field=name)
    view = _View.of(data, goal, repeats)
    if protocol == "time":
        parts = _by_time(view, test_days, targets)
    elif protocol == "leave-one-out":
        parts = _leave_one_out(view)
    elif protocol == "user-split":
        parts = _user_split(view, fold_in, share, seed)
    elif protocol == "cold-items":
        parts = _cold_items(view, share, seed)
    else:
        parts = _cold_users(view, share, seed)
    return _checked(parts, protocol, goal, repeats)


# ---- what all protocols share ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _View:
    """The events, with what every protocol asks of them."""

    data: Dataset
    signal_E: Mask  # what histories consist of
    goal_E: Mask  # what may be a target
    first_E: Positions  # position of the first event of the same user with the same item, among signal and goal events
    repeats: bool

    @classmethod
    def of(cls, data: Dataset, goal: Sequence[str], repeats: bool) -> "_View":
        e = data.events
        for name in goal:
            if name not in data.event_names:
                raise UnknownName("event", name, data.event_names, field="goal")
        signal = data.weight_E > 0
        wanted = np.isin(e.kind, [data.event_names.index(name) for name in goal]) if goal else signal
        touched = np.flatnonzero(signal | wanted)
        key = e.user[touched].astype(np.int64) * max(data.n_items, 1) + e.item[touched]
        order = np.argsort(key, kind="stable")
        starts = np.flatnonzero(np.diff(key[order], prepend=-1))  # positions ascend within a key, so the first of each run is the earliest
        first = np.arange(len(e), dtype=np.int64)
        first[touched[order]] = np.repeat(touched[order[starts]], np.diff(starts, append=len(order)))
        return cls(data, signal, wanted, first, repeats)

    @property
    def user_E(self) -> NDArray[np.int32]:
        return self.data.events.user

    @property
    def position_E(self) -> Positions:
        return np.arange(len(self.data.events), dtype=np.int64)

    def before(self, cut_U: Positions) -> Mask:
        """[E] events that lie before their user's cut."""
        return self.position_E < cut_U[self.user_E]

    def targets(self, candidates: Mask, cut_U: Positions) -> Positions:
        """Events of `candidates` [E] that may be targets after the cuts: goals, each item once a user, without what the history holds unless repeats count."""
        index = np.flatnonzero(candidates & self.goal_E)
        if not self.repeats:
            index = index[self.first_E[index] >= cut_U[self.user_E[index]]]
        return self.distinct(index)

    def last(self, candidates: Mask) -> Positions:
        """The newest goal event of each user among `candidates` [E]; unless repeats count, one with an item that the user did not have before."""
        index = np.flatnonzero(candidates & self.goal_E & (self.repeats | (self.first_E == self.position_E)))
        final: Mask = np.diff(self.user_E[index], append=-1) != 0
        return index[final]

    def distinct(self, index: Positions) -> Positions:
        """The earliest event of each user and item."""
        _, first = np.unique(self.first_E[index], return_index=True)
        return np.sort(index[first])

    def ask(self, history: Dataset, index: Positions, now_U: Times, known_I: Mask | None, *, guests: bool = False) -> Targets:
        """One query for each user of the target events, with what `history` knows of them. `guests` hides the user code: the model never met them."""
        e = self.data.events
        users, row = np.unique(e.user[index], return_inverse=True)
        queries = history.queries(users.astype(np.int32), now=now_U[users])
        if guests:
            queries = replace(queries, user_B=np.full(len(users), -1, np.int32))
        wanted = Histories.group(row, len(users), e.item[index], e.time[index], np.ones(len(index), np.float32))
        return Targets(queries, wanted, known_I)


def _known(data: Dataset, before_E: Mask, cut: int) -> Mask:
    """[I] items that existed at the cut: some event before it names them, or the catalogue says they were created by then."""
    known = np.bincount(data.events.item[before_E], minlength=data.n_items) > 0
    if "created" in data.item_table.columns and data.item_table["created"].dtype.is_numeric():
        known |= (data.item_table["created"].cast(pl.Int64) < cut).fill_null(False).to_numpy()
    return known if data.known_I is None else known & data.known_I


def _part(data: Dataset, keep_E: Mask, known_I: Mask | None) -> Dataset:
    return replace(data.where(keep_E), known_I=known_I)


# ---- protocols ------------------------------------------------------------------------------------------------------------------
def _by_time(view: _View, test_days: float, which: Which) -> Split:
    data, time = view.data, view.data.events.time
    cuts = _windows(time[view.signal_E | view.goal_E], test_days)
    validation, _, train = _window(view, *cuts[:2], which)
    test, apart, refit = _window(view, *cuts[1:], which)
    about = {
        "targets": which,
        "train_until": _date(cuts[0]),
        "validation_days": round((cuts[1] - cuts[0]) / DAY_US, 3),
        "test_from": _date(cuts[1]),
        "test_until": _date(cuts[2] - 1),
        "known_items": int(test.known_I.sum()) if test.known_I is not None else data.n_items,
    }
    return Split(train, validation, test, refit, about, apart)


def _windows(time_E: Times, test_days: float) -> tuple[int, int, int]:
    """Start of validation, start of test, end (exclusive), µs."""
    if not len(time_E):
        raise DataError("there is no event to split", expected="events of positive weight", fix="import events, or give their names a weight in the scenario")
    end = int(time_E.max()) + 1
    test = end - round(test_days * DAY_US) if test_days > 0 else int(np.quantile(time_E, TEST_QUANTILE, method="higher"))
    first, validation = int(time_E.min()), test - (end - test)
    if first >= validation and test_days <= 0:  # a few late events stretch the test window beyond everything before it
        validation = int(np.quantile(time_E, 2 * TEST_QUANTILE - 1, method="higher"))
    if not first < validation < test:
        raise DataError(
            f"no event lies before the validation window, which starts at {_date(validation)}",
            expected=f"a test window shorter than a third of the time that the events cover ({(end - first) / DAY_US:.1f} days)",
            fix="set a smaller test_days, or use the leave-one-out protocol for events without real times",
        )
    return validation, test, end


def _window(view: _View, start: int, end: int, which: Which) -> tuple[Targets, dict[str, Targets], Dataset]:
    """Targets in [start, end), those reported apart, and the dataset before it."""
    data, e = view.data, view.data.events
    before = e.time < start
    known_I = _known(data, before, start)
    history = _part(data, before, known_I)
    cut_U = np.searchsorted(e.user, np.arange(data.n_users)) + np.bincount(e.user[before], minlength=data.n_users)
    met_U = history.histories.lengths > 0
    window = ~before & (e.time < end)
    now_U = np.full(data.n_users, start, np.int64)
    if which == "all":
        index, asked = view.targets(window, cut_U), history
    else:
        index = view.last(window)
        cut_U[e.user[index]], now_U[e.user[index]] = index, e.time[index]
        asked = data.where(view.before(cut_U))
    known, met = known_I[e.item[index]], met_U[e.user[index]]
    test = view.ask(asked, index[known & met], now_U, known_I)
    apart = {
        "no-history": view.ask(asked, index[known & ~met], now_U, known_I, guests=True),
        "new-items": view.ask(asked, index[~known], now_U, None),
    }
    return test, {name: part for name, part in apart.items() if len(part)}, history


def _leave_one_out(view: _View) -> Split:
    """Who has no event before the validation target stays in the training part, entirely."""
    data, e = view.data, view.data.events
    last = view.last(np.ones(len(e), np.bool_))
    older = np.ones(len(e), np.bool_)
    older[last] = False
    second = view.last(older)
    first_signal_U = np.full(data.n_users, len(e), np.int64)
    signal = np.flatnonzero(view.signal_E)[::-1]
    first_signal_U[e.user[signal]] = signal
    second = second[first_signal_U[e.user[second]] < second]
    last = last[np.isin(e.user[last], e.user[second])]

    validation_U, test_U = (np.full(data.n_users, len(e), np.int64) for _ in range(2))
    validation_U[e.user[second]], test_U[e.user[last]] = second, last
    train, refit = (_part(data, view.before(cut_U), data.known_I) for cut_U in (validation_U, test_U))
    now_U = np.zeros((2, data.n_users), np.int64)
    now_U[0, e.user[second]], now_U[1, e.user[last]] = e.time[second], e.time[last]
    validation, test = view.ask(train, second, now_U[0], data.known_I), view.ask(refit, last, now_U[1], data.known_I)
    return Split(train, validation, test, refit, {"users_only_in_training": data.n_users - len(last)})


def _user_split(view: _View, fold_in: float, share: float, seed: int) -> Split:
    """Deviates from Liang et al. in one point: the fold-in is the earlier part of a user's events, not a random one."""
    data, e = view.data, view.data.events
    lengths_U = data.histories.lengths
    held_U = _held_out(np.flatnonzero(lengths_U >= 2), data.n_users, share, seed)
    folded_U = np.clip(np.ceil(fold_in * lengths_U), 1, np.maximum(lengths_U - 1, 1)).astype(np.int64)
    signal = np.flatnonzero(view.signal_E)
    some = lengths_U > 0
    cut_U = np.full(data.n_users, len(e), np.int64)
    cut_U[some] = signal[np.minimum(data.histories.start[:-1] + folded_U, len(signal) - 1)[some]]
    folded = data.where(view.before(cut_U))
    now_U = np.full(data.n_users, data.end, np.int64)
    now_U[held_U > 0] = e.time[cut_U[held_U > 0]]

    def ask(which: int) -> Targets:
        index = view.targets(~view.before(cut_U) & (held_U[e.user] == which), cut_U)
        return view.ask(folded, index, now_U, data.known_I, guests=True)

    train, refit = (_part(data, held_U[e.user] < last, data.known_I) for last in (1, 2))
    return Split(train, ask(1), ask(2), refit, {"seed": seed, "share": share, "fold_in": fold_in})


def _cold_users(view: _View, share: float, seed: int) -> Split:
    data, e = view.data, view.data.events
    held_U = _held_out(np.flatnonzero(data.histories.lengths > 0), data.n_users, share, seed)
    train, refit = (_part(data, held_U[e.user] < last, data.known_I) for last in (1, 2))
    start_U = np.searchsorted(e.user, np.arange(data.n_users)).astype(np.int64)
    now_U = e.time[np.minimum(start_U, len(e) - 1)]

    def ask(which: int) -> Targets:
        return view.ask(train, view.targets(held_U[e.user] == which, start_U), now_U, data.known_I, guests=True)

    return Split(train, ask(1), ask(2), refit, {"seed": seed, "share": share})


def _cold_items(view: _View, share: float, seed: int) -> Split:
    """A query's history holds every event with items that are not held out, whenever it was: taste is known, the item is not."""
    data, e = view.data, view.data.events
    held_I = _held_out(np.unique(e.item[view.goal_E]), data.n_items, share, seed)
    train, refit = (_part(data, held_I[e.item] < last, data.known_I) for last in (1, 2))
    now_U = np.full(data.n_users, data.end, np.int64)

    def ask(history: Dataset, which: int) -> Targets:
        met = history.histories.lengths[e.user] > 0
        index = view.distinct(np.flatnonzero(view.goal_E & met & (held_I[e.item] == which)))
        return view.ask(history, index, now_U, data.known_I)

    about = {"seed": seed, "share": share, "held_out_items": int((held_I == 2).sum())}
    return Split(train, ask(train, 1), ask(refit, 2), refit, about)


def _held_out(some: NDArray[Any], n: int, share: float, seed: int) -> NDArray[np.int8]:
    """[n] 0 = training, 1 = validation, 2 = test, drawn among the codes `some`."""
    each = max(1, round(share * len(some)))
    if len(some) < 3:
        raise DataError(f"{len(some)} can be held out or learned from", expected="at least 3", fix="import more events, or use another protocol")
    drawn = np.random.default_rng(seed).permutation(some)
    held = np.zeros(n, np.int8)
    held[drawn[:each]], held[drawn[each : 2 * each]] = 2, 1
    return held


def _checked(parts: Split, protocol: Protocol, goal: Sequence[str], repeats: bool) -> Split:
    for name, size in (("training", len(parts.train.histories.item)), ("validation", len(parts.validation)), ("test", len(parts.test))):
        if not size:
            raise DataError(
                f"the {protocol} protocol leaves nothing for {name}",
                expected="users with events before and after the cut" + ("" if repeats else ", with items that they did not have before"),
                fix="use another protocol or a longer test window" + ("" if repeats else ", or let repeats count where people take the same item again"),
            )
    about = {
        "protocol": protocol,
        "repeats": repeats,
        "goal": list(goal),
        **parts.about,
        "train_events": len(parts.train.events),
        "validation_users": len(parts.validation),
        "test_users": len(parts.test),
        "test_targets": len(parts.test.wanted.item),
        **{f"{name.replace('-', '_')}_users": len(part) for name, part in parts.apart.items()},
    }
    return replace(parts, about=about)


def _date(time_us: int) -> str:
    try:
        return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="seconds")
    except (OverflowError, OSError, ValueError):
        return f"{time_us} µs"
