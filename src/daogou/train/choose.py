"""Which models a training fits when its time is limited: cheap ones first, dear ones while there is time, and those that win nothing are not released.

What a fit costs is known from the live release, or from a rehearsal on a few shoppers, in proportion to the events: an upper bound, because models that
cost less than in proportion are the cheap ones. Every model that is fitted to be measured will be fitted once more for the release; that time is kept back.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from daogou.contract import Recommender, Run
from daogou.data.dataset import Dataset

REHEARSED_USERS = 300
WORTH_REHEARSING = 4
"""Times as many shoppers as are rehearsed with: below, everything is quick and is fitted in the scenario's order."""
CHEAP = 0.05
"""Share of the budget below which a model stays in the release without having to win: it is a fallback."""
ENOUGH_EVENTS, ENOUGH_SHOPPERS = 5, 500
"""So many events each of so many shoppers, or what a scenario only tries is not tried: a network learns no more from fewer than the closed forms do."""
Fresh = Mapping[str, Callable[[], Recommender]]


class Chooser:
    """The choices of one training.

    Args:
        budget_s: wall seconds for everything; 0 = no limit, every model is fitted and released.
        known_s: what fits cost last time.
        tried: models that must win on validation whatever they cost, and are left out where there are too few shoppers to learn from.
    """

    def __init__(
        self,
        budget_s: float,
        known_s: Mapping[str, float] | None = None,
        *,
        tried: Collection[str] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.budget_s, self.tried, self._clock = budget_s, frozenset(tried), clock
        self._ends = clock() + budget_s
        self.expected_s: dict[str, float] = dict(known_s or {})
        self._spent_s: dict[str, float] = {}
        self.notes: list[str] = []
        "What was decided, and why."

    @property
    def left_s(self) -> float:
        """Seconds that are neither spent nor kept back for fitting the models of the release."""
        return self._ends - self._clock() - sum(self._spent_s.values())

    def suited(self, fresh: Fresh, data: Dataset) -> Fresh:
        """Without the models that are only tried, where too few shoppers have a history."""
        shoppers = int((data.histories.lengths >= ENOUGH_EVENTS).sum())
        few = [name for name in fresh if name in self.tried and shoppers < ENOUGH_SHOPPERS]
        self.notes += [f"{name} was not tried: {shoppers} shoppers have {ENOUGH_EVENTS} events or more, {ENOUGH_SHOPPERS} are wanted" for name in few]
        return {name: make for name, make in fresh.items() if name not in few}

    def order(self, fresh: Fresh, data: Dataset, run: Run) -> list[str]:
        """The models, cheapest first; of equal cost in their given order."""
        if self.budget_s and data.n_users > WORTH_REHEARSING * REHEARSED_USERS:
            some = _slice(data, run.seed)
            scale = len(data.events) / max(len(some.events), 1)
            for name, make in fresh.items():
                if name not in self.expected_s:
                    self.expected_s[name] = scale * self._rehearsed(make, some, run)
        return sorted(fresh, key=lambda name: self.expected_s.get(name, 0.0)) if self.budget_s else list(fresh)

    def _rehearsed(self, make: Callable[[], Recommender], some: Dataset, run: Run) -> float:
        started = self._clock()
        try:
            make().fit(some, Run(seed=run.seed, threads=run.threads, vectors=run.vectors, photos=run.photos))
        except Exception:  # too few shoppers for this model, or broken: the real fit will tell
            return 0.0
        return self._clock() - started

    def refuses(self, name: str) -> bool:
        """Whether there is no time for this model, twice: to measure it and to release it."""
        expected = self.expected_s.get(name, 0.0)
        if not self.budget_s or (self.left_s > 0 and 2 * expected <= self.left_s):
            return False
        self.notes.append(f"{name} was not fitted: about {2 * expected:.0f} s are needed to measure and to release it, {max(self.left_s, 0):.0f} s are left")
        return True

    def fitted(self, name: str, seconds: float) -> None:
        """A model was fitted to be measured; as much is kept back for the release."""
        self._spent_s[name] = seconds

    def released(self, names: Sequence[str], needed: Collection[str], worthless: Callable[[str], str]) -> list[str]:
        """Those that are worth fitting on everything: what rankers need, what is cheap, and the dear or tried ones that win on validation.

        Args:
            names: the models that were measured.
            needed: models that placements or rankers use whatever they win.
            worthless: "" if answers are better with this model than without it, else why not; asked of dear models alone.
        """
        kept = []
        for name in names:
            cost = self._spent_s.get(name, 0.0)
            free = name not in self.tried and (not self.budget_s or cost <= CHEAP * self.budget_s)
            if free or name in needed or not (why := worthless(name)):
                kept.append(name)
            else:
                self.notes.append(f"{name} was not released: measured in {cost:.0f} s, {why}")
        return kept

    def summary(self, names: Sequence[str]) -> tuple[str, ...]:
        """The choices in words."""
        if not self.budget_s:
            return tuple(self.notes)
        order = sorted(names, key=lambda name: self._spent_s.get(name, 0.0))
        return (f"chosen within {self.budget_s / 60:g} minutes: {', '.join(order) or 'no model'}", *self.notes)


def _slice(data: Dataset, seed: int) -> Dataset:
    """The events of a few shoppers."""
    some = np.random.default_rng(seed).choice(data.n_users, min(REHEARSED_USERS, data.n_users), replace=False)
    return data.where(np.isin(data.events.user, some))
