"""What a dataset is good for: which protocols can measure on it, which kinds of model can learn from it, and why."""

from collections.abc import Iterator
from typing import Literal

import msgspec
import numpy as np
import polars as pl

from daogou.data.overview import Overview, distinct
from daogou.data.times import DAY_US

MIN_USERS = 50  # below this an interval over users says little
MIN_SPLIT_USERS = 200  # of which a tenth is held out as a whole
MIN_DAYS = 7
MIN_REPEATS = 0.05
RATING_LEVELS = 20


class Use(msgspec.Struct, frozen=True):
    """Whether the data can carry a protocol or a kind of model, and why."""

    kind: Literal["protocol", "model"]
    name: str
    possible: bool
    why: str


class Fitness:
    """Judges a dataset by what is in it."""

    def __init__(self, view: Overview) -> None:
        self.view, self.data, self.events = view, view.data, view.data.events

    def uses(self) -> Iterator[Use]:
        """Every protocol and kind of model, possible or not."""
        view = self.view
        yield self._time_split()
        three, five = int((view.signal_by_user >= 3).sum()), int((view.signal_by_user >= 5).sum())
        yield _use("protocol", "leave-one-out", three >= MIN_USERS, f"{three:,} users have three or more events that teach", f"{MIN_USERS} wanted")
        yield _use("protocol", "user-split", five >= MIN_SPLIT_USERS, f"{five:,} users have five or more events that teach", f"{MIN_SPLIT_USERS} wanted")
        described, registered = _share(view.described[view.by_item > 0]), _share(view.registered[view.by_user > 0])
        yield _use("protocol", "cold-items", described >= 0.5, f"{described:.0%} of the items with events are described in the catalogue", "half wanted")
        yield _use("protocol", "cold-users", registered >= 0.2, f"{registered:.0%} of the users with events have registration attributes", "a fifth wanted")
        yield _use("model", "popularity", bool(view.signal.any()), f"{int(view.signal.sum()):,} events teach")
        yield self._taste()
        yield self._order()
        yield self._repurchase()
        yield self._sessions()
        yield self._ratings()
        yield self._content()
        yield self._off_policy()

    def _time_split(self) -> Use:
        if not self.view.dated:
            return _use("protocol", "time", False, "events have no dates")
        e, n_users = self.events, self.data.n_users
        days = float(e.time.max() - e.time.min()) / DAY_US
        late = e.time > int(np.quantile(e.time, 0.9))
        both = int(((np.bincount(e.user[late], minlength=n_users) > 0) & (np.bincount(e.user[~late], minlength=n_users) > 0)).sum())
        why = f"{days:,.0f} days; {both:,} users act both before and within the last tenth of the events"
        return _use("protocol", "time", days >= MIN_DAYS and both >= MIN_USERS, why, f"{MIN_DAYS} days and {MIN_USERS} users wanted")

    def _taste(self) -> Use:
        several = int((self.view.signal_by_user >= 2).sum())
        per_item = float(self.view.signal.sum()) / max(int((self.view.by_item > 0).sum()), 1)
        why = f"{several:,} users with two or more events that teach, {per_item:.1f} of these an item"
        return _use("model", "taste (item–item, factors)", several >= MIN_USERS and per_item >= 2, why, f"{MIN_USERS} users and 2 an item wanted")

    def _order(self) -> Use:
        moments = np.bincount(self.events.user[~self.view.tied], minlength=self.data.n_users)
        ordered, tied = int((moments >= 3).sum()), _share(self.view.tied)
        why = f"{ordered:,} users act at three or more moments" + (f", {tied:.0%} of the events share one with another" if tied else "")
        return _use("model", "order (sequences)", ordered >= MIN_USERS, why, f"{MIN_USERS} wanted")

    def _repurchase(self) -> Use:
        """The same item at another moment; at the same moment it is one act."""
        e, signal = self.events, self.view.signal
        acts = pl.DataFrame({"user": e.user[signal], "item": e.item[signal], "time": e.time[signal]}).n_unique() if signal.any() else 0
        share = (acts - self.view.pairs(signal)) / max(acts, 1)
        why = f"{share:.1%} of what people do they had done with the same item before"
        return _use("model", "repurchase", share >= MIN_REPEATS, why, "too few repeats")

    def _sessions(self) -> Use:
        session = self.events.session[self.events.session >= 0]
        if not len(session):
            return _use("model", "baskets and sessions", False, "events carry no session_id")
        wide = int((np.bincount(session) >= 2).sum())
        return _use("model", "baskets and sessions", wide >= MIN_USERS, f"{wide:,} sessions with two or more events", f"{MIN_USERS} wanted")

    def _ratings(self) -> Use:
        """Few levels, in halves at the finest, on most events that teach: prices and quantities are not that."""
        value = self.events.value[self.view.signal]
        given = value[~np.isnan(value)]
        if not len(given):
            return _use("model", "ratings", False, "events that teach carry no value")
        levels = distinct(given)
        graded = 2 <= levels <= RATING_LEVELS and 2 * len(given) >= len(value) and bool(np.all(given * 2 == np.round(given * 2)))
        return _use("model", "ratings", graded, f"values take {levels:,} levels")

    def _content(self) -> Use:
        table, n = self.data.item_table, max(self.data.n_items, 1)
        filled = {name: table[name].count() / n for name in ("title", "description", "category", "brand") if name in table.columns and table[name].count()}
        if not filled:
            return _use("model", "content", False, "items carry no text")
        return _use("model", "content", True, ", ".join(f"{name} for {share:.0%} of the items" for name, share in filled.items()))

    def _off_policy(self) -> Use:
        recorded = [name for name in self.data.event_names if self.data.weights.get(name) == 0]
        if not recorded:
            return _use("model", "off-policy evaluation", False, "what people were shown is not recorded (an event of weight 0)")
        return _use("model", "off-policy evaluation", True, f"recorded without teaching: {', '.join(recorded)}")


def _use(kind: Literal["protocol", "model"], name: str, possible: bool, why: str, wanted: str = "") -> Use:
    return Use(kind, name, possible, why if possible or not wanted else f"{why} ({wanted})")


def _share(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    return float(mask.mean()) if len(mask) else 0.0
