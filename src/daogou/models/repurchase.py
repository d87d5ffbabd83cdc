"""Repurchase: what this shopper is due to buy again."""

from typing import Annotated, Any, NamedTuple

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from daogou.config import Config, hyper
from daogou.contract import Due, Queries, Reason, Run, Scores
from daogou.data.dataset import Dataset
from daogou.data.histories import Histories
from daogou.errors import TrainingError
from daogou.families import Base, State

DAY_US = 86_400_000_000
SHORTEST_DAYS = 0.5  # two purchases closer than this are one need
PRIOR = np.array([-3.0, 0.0, 1.0, 0.0, 0.0, 0.5, 0.0])  # what is believed before any data: decayed counts and the item's own rate

Values = NDArray[np.float64]


class RepurchaseConfig(Config, frozen=True):
    half_life_days: Annotated[float, hyper("Age at which a purchase counts half.", 10, 365, log=True, unit="days", gt=0)] = 90.0
    horizon_days: Annotated[
        float,
        hyper("Time within which the item is to be bought again; that much of the newest data teaches the coefficients.", 7, 56, log=True, unit="days", gt=0),
    ] = 28.0
    min_weight: Annotated[float, hyper("Smallest event weight that is a purchase.", unit="event weight", gt=0)] = 0.5
    gap_shrinkage: Annotated[
        float, hyper("Gaps of the item that weigh against the shopper's own, and of all items against the item's.", 0.5, 20, log=True, unit="gaps", gt=0)
    ] = 3.0
    l2: Annotated[float, hyper("Pull of the coefficients towards the prior; without data they are the prior.", 0.1, 1000, log=True, gt=0)] = 10.0


class Pairs(NamedTuple):
    """One row for each (query, item) that was bought: P rows ordered by query, then item."""

    row: NDArray[np.int64]
    item: NDArray[np.int64]
    times: Values  # how often, at different moments
    decayed: Values  # Σ 2^(−age/half-life)
    elapsed_days: Values  # since the newest
    log_gaps: Values  # sum of the logarithms of the times − 1 gaps in days


class Repurchase(Base):
    """score = P(bought again within the horizon) = σ(β · x), for items of the history alone; other items are never retrieved

        x = (1, ln n, ln Σ_e 2^(−age_e/h), ln r, ln² r, logit ρ_i, ln g),     r = days since the last purchase / g

    n purchases so far; g the usual gap: the shopper's own gaps shrunk to the item's (geometric means); ρ_i the share of the item's buyers
    who bought it again. β by logistic regression: what was known one horizon before the end of the data against what was bought in it.
    Decayed counts after TIFU-KNN (Hu et al., SIGIR 2020), time against the usual gap as in Bhagat et al. 2018 ("Buy It Again", KDD).

    Memory: 8·I bytes. Explanation, exact: the whole score comes from the item's own purchases. Not a sum over users: erased by training again.
    """

    Settings = RepurchaseConfig
    config: RepurchaseConfig

    def _fit(self, data: Dataset, run: Run) -> None:
        bought = self._purchases(data.histories)
        if not len(bought.item):
            raise TrainingError("no event is a purchase", expected=f"some event of weight ≥ {self.config.min_weight}", fix="lower min_weight of repurchase")
        cut = data.end - int(self.config.horizon_days * DAY_US)
        known, later = bought.keep(bought.time <= cut), bought.keep(bought.time > cut)
        self._usual(known)
        pairs = self._pairs(known, np.full(len(known), cut))
        again = np.isin(pairs.row * self.n_items + pairs.item, later.row * self.n_items + later.item)
        self.coefficients = _logistic(self._inputs(pairs), again.astype(np.float64), self.config.l2)
        self._usual(bought)

    def _usual(self, bought: Histories) -> None:
        """ln g_i and logit ρ_i of every item, shrunk to those of all items."""
        pairs, n, c = self._pairs(bought, np.zeros(len(bought), np.int64)), self.n_items, self.config
        gaps_I, gap_count_I = np.bincount(pairs.item, pairs.log_gaps, n), np.bincount(pairs.item, pairs.times - 1, n)
        buyers_I, again_I = np.bincount(pairs.item, minlength=n), np.bincount(pairs.item, pairs.times > 1, n)
        any_gap = gaps_I.sum() / gap_count_I.sum() if gap_count_I.any() else np.log(c.horizon_days)
        any_rate = (again_I.sum() + 1) / (buyers_I.sum() + 2)
        self.gap_I = ((gaps_I + c.gap_shrinkage * any_gap) / (gap_count_I + c.gap_shrinkage)).astype(np.float32)
        rate_I = (again_I + 10 * any_rate) / (buyers_I + 10)
        self.rate_I = np.log(rate_I / (1 - rate_I)).astype(np.float32)

    def _purchases(self, history: Histories) -> Histories:
        return history.keep((history.weight >= self.config.min_weight) & (history.item >= 0) & (history.item < self.n_items))

    def _pairs(self, bought: Histories, now_B: NDArray[np.int64]) -> Pairs:
        row = bought.row
        key = row * self.n_items + bought.item
        order = np.lexsort((bought.time, key))
        key, time, row = key[order], bought.time[order], row[order]
        moment = np.diff(key, prepend=-1).astype(bool) | np.diff(time, prepend=time[:1] - 1).astype(bool)
        key, time, row = key[moment], time[moment], row[moment]
        first = np.flatnonzero(np.diff(key, prepend=-1))
        times = np.diff(first, append=len(key))
        pair = np.repeat(np.arange(len(first)), times)
        age_days = np.maximum(now_B[row] - time, 0) / DAY_US
        follows = np.diff(pair, prepend=-1) == 0
        gap_days = np.diff(time, prepend=time[:1]) / DAY_US
        log_gap = np.where(follows, np.log(np.maximum(gap_days, SHORTEST_DAYS)), 0.0)
        return Pairs(
            row[first],
            key[first] % self.n_items,
            times.astype(np.float64),
            np.bincount(pair, 2.0 ** (-age_days / self.config.half_life_days), len(first)).astype(np.float64),
            np.maximum(age_days[first + times - 1], SHORTEST_DAYS),
            np.bincount(pair, log_gap, len(first)).astype(np.float64),
        )

    def _inputs(self, p: Pairs) -> Values:
        """x [P, 7]"""
        shrinkage = self.config.gap_shrinkage
        gap = (p.log_gaps + shrinkage * self.gap_I[p.item]) / (p.times - 1 + shrinkage)
        due = np.log(p.elapsed_days) - gap
        columns = (np.ones(len(p.item)), np.log(p.times), np.log(p.decayed + 1e-6), due, due**2, self.rate_I[p.item], gap)
        return np.stack(columns, axis=1)

    def due(self, queries: Queries) -> list[Due]:
        """The items of a single query, likeliest first, with the gap g that the model believes in."""
        pairs = self._pairs(self._purchases(queries.history[:1]), queries.now_B[:1])
        x_PF = self._inputs(pairs)
        chance_P, gap_P = _sigmoid((x_PF * self.coefficients).sum(axis=1)), np.exp(x_PF[:, -1])
        order = np.lexsort((pairs.item, -chance_P))
        return [Due(int(pairs.item[p]), int(pairs.times[p]), float(gap_P[p]), float(chance_P[p])) for p in order]

    def _score(self, queries: Queries) -> Scores:
        pairs = self._pairs(self._purchases(queries.history), queries.now_B)
        out_BI = np.full((len(queries), self.n_items), -np.inf, np.float32)
        out_BI[pairs.row, pairs.item] = _sigmoid((self._inputs(pairs) * self.coefficients).sum(axis=1))
        return out_BI

    def explain(self, queries: Queries, item: int) -> list[Reason]:
        """The item itself, if it was bought."""
        if item < 0 or item >= self.n_items:
            return []
        score = float(self._score(queries)[0, item])
        return [Reason(item, score, "exact")] if np.isfinite(score) else []

    def _state(self) -> State:
        return {"coefficients": self.coefficients, "gap": self.gap_I, "rate": self.rate_I}

    def _restore(self, state: State) -> None:
        self.coefficients, self.gap_I, self.rate_I = (np.asarray(state[name]) for name in ("coefficients", "gap", "rate"))


def _sigmoid(x: Values) -> Values:
    return 1.0 / (1.0 + np.exp(-np.clip(x, -30.0, 30.0)))


def _logistic(x_PF: Values, y_P: Values, l2: float) -> Values:
    """Coefficients of largest posterior under a normal prior around PRIOR."""

    def loss(beta: Values) -> tuple[float, Values]:
        logit_P, away = x_PF @ beta, beta - PRIOR
        value = np.logaddexp(0.0, logit_P).sum() - y_P @ logit_P + 0.5 * l2 * away @ away
        return float(value), x_PF.T @ (_sigmoid(logit_P) - y_P) + l2 * away

    fitted: Any = scipy.optimize.minimize(loss, PRIOR, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return np.asarray(fitted.x, np.float64)
