"""SessionKnn: what followed in visits like this one."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from daogou.config import Config, hyper
from daogou.contract import Queries, Run, Scores
from daogou.data.dataset import Dataset
from daogou.data.histories import Histories
from daogou.families import Base, State

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000


class SessionKnnConfig(Config, frozen=True):
    neighbours: Annotated[int, hyper("Visits that an answer is taken from.", 50, 1000, log=True, unit="visits", ge=1)] = 200
    length: Annotated[int, hyper("Newest events of the shopper that are compared.", 2, 50, log=True, unit="events", ge=1)] = 15
    position_decay: Annotated[float, hyper("Events after which an older event counts 1/e.", 1, 20, log=True, unit="events", gt=0)] = 4.0
    age_days: Annotated[float, hyper("Age at which a visit counts 1/e.", 5, 500, log=True, unit="days", gt=0)] = 90.0
    distance_decay: Annotated[float, hyper("Steps from the last common item after which an item counts 1/e.", 1, 20, log=True, unit="events", gt=0)] = 4.0
    pause_minutes: Annotated[float, hyper("Pause that ends a visit, where the data does not number visits.", unit="minutes", gt=0)] = 30.0


class SessionKnn(Base):
    """score_i = Σ_s sim(q, s) · idf_i · e^(−|pos_s(i) − last_s| / distance_decay) over the `neighbours` visits s of largest

        sim(q, s) = e^(−age_s / age_days) · |s|^(−1/2) · Σ_j∈q∩s idf_j · e^(−age_j / position_decay)

    last_s is the newest position of s whose item the shopper has too. After STAN (Garg et al., SIGIR 2019) and V-STAN (Ludewig et al. 2019, session-rec).

    Memory: 16 bytes an event. The visits themselves are kept, without saying whose they were: erased by training again.
    Explanation: by leaving an item of the history out (the family's).
    """

    Settings = SessionKnnConfig
    config: SessionKnnConfig
    positive_only = True

    def _fit(self, data: Dataset, run: Run) -> None:
        e, signal = data.events, data.weight_E > 0
        user, item, time, session = (column[signal] for column in (e.user, e.item, e.time, e.session))
        pause = (np.diff(time, prepend=time[:1]) > self.config.pause_minutes * MINUTE_US) & (session < 0)
        starts = (np.diff(user, prepend=-1) != 0) | (np.diff(session, prepend=-2) != 0) | pause
        visit = np.cumsum(starts) - 1
        self.visits = Histories.group(visit, int(visit[-1]) + 1, item, time, np.ones(len(item), np.float32))
        self._prepare()

    def _prepare(self) -> None:
        n_visits = len(self.visits)
        self.has_VI = self.visits.matrix(self.n_items).sign()
        self.idf_I = np.log1p(n_visits / np.maximum(np.asarray(self.has_VI.sum(axis=0)).ravel(), 1.0))
        self.end_V = self.visits.time[self.visits.start[1:] - 1]
        self.shrink_V = self.visits.lengths**-0.5

    def _score(self, queries: Queries) -> Scores:
        recent = queries.history.tail(self.config.length)
        out_BI = np.zeros((len(queries), self.n_items), np.float32)
        for b in range(len(queries)):
            span = slice(recent.start[b], recent.start[b + 1])
            items = recent.item[span]
            known = (items >= 0) & (items < self.n_items)
            decay = np.exp(-recent.age[span] / self.config.position_decay)
            weight_I = np.zeros(self.n_items)
            np.maximum.at(weight_I, items[known], decay[known])
            self._add(out_BI[b], weight_I, int(queries.now_B[b]))
        return out_BI

    def _add(self, out_I: Scores, weight_I: NDArray[np.float64], now: int) -> None:
        """Adds the votes of the nearest visits."""
        likeness_V = np.asarray(self.has_VI @ (weight_I * self.idf_I)).ravel() * self.shrink_V
        near = np.flatnonzero(likeness_V)
        age_days = np.maximum(now - self.end_V[near], 0) / DAY_US
        likeness = likeness_V[near] * np.exp(-age_days / self.config.age_days)
        best = np.argsort(-likeness, kind="stable")[: self.config.neighbours]
        visits = self.visits[near[best]]
        if not len(visits.item):
            return
        common = np.where(weight_I[visits.item] > 0, np.arange(len(visits.item)), -1)
        last = np.maximum.reduceat(common, visits.start[:-1])[visits.row]
        distance = np.abs(np.arange(len(visits.item)) - last)
        np.add.at(out_I, visits.item, likeness[best][visits.row] * self.idf_I[visits.item] * np.exp(-distance / self.config.distance_decay))

    def _state(self) -> State:
        return {"start": self.visits.start, "item": self.visits.item, "time": self.visits.time}

    def _restore(self, state: State) -> None:
        start, item, time = (np.asarray(state[name]) for name in ("start", "item", "time"))
        self.visits = Histories(start, item, time, np.ones(len(item), np.float32))
        self._prepare()
