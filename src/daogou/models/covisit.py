"""CoVisit: what is looked at or bought together, in one visit or shortly one after the other."""

from typing import Annotated, Any, Self

import numba
import numpy as np
import scipy.sparse as sp
from msgspec import Meta
from numpy.typing import NDArray

from daogou.config import Config, hyper
from daogou.contract import Run
from daogou.data.dataset import Dataset
from daogou.data.histories import Histories
from daogou.errors import TrainingError
from daogou.families import Inputs, ItemItem, newest_of_item

HOUR_US = 3_600_000_000
UNITS = 1 << 20  # fixed point: integers add and subtract exactly, floats do not


class CoVisitConfig(Config, frozen=True):
    window: Annotated[int, hyper("How many events before it an event is paired with.", 3, 50, log=True, unit="events", ge=1)] = 20
    hours: Annotated[float, hyper("Longest time between paired events where the visit is not known.", 1, 8760, log=True, unit="hours", gt=0)] = 24.0
    decay: Annotated[float, hyper("Exponent of the distance: a pair d steps apart counts d^−decay.", 0, 2, ge=0)] = 0.75
    backward: Annotated[float, hyper("Weight of the earlier item as an answer to the later one; the other way weighs 1.", 0, 1, ge=0)] = 0.5
    popularity: Annotated[float, hyper("Exponent of an item's weight by which its scores are divided; 0 = raw rates, larger = rarer items.", 0, 1, ge=0)] = 0.3
    shrinkage: Annotated[
        float,
        hyper("Events added to an item's own before rates are taken, so that chance pairs of rare items stay low.", 0.1, 100, log=True, unit="events", ge=0),
    ] = 10.0
    recency: Annotated[
        float, hyper("Decay of the history when answering: the newest event counts 1, one `recency` events older 1/e.", 0.5, 50, log=True, unit="events", gt=0)
    ] = 5.0
    neighbours: Annotated[int, Meta(ge=1, description="Items kept for each item.")] = 200


class CoVisit(ItemItem):
    """score_i = Σ_j e^(−age_j/recency) · w_j · R_ji, with rates R of pairs in one visit (or, where visits are not known, within `hours`)

        C_ji = Σ over pairs (j, then i) of w_i · d^(−decay)      R_ji = (C_ji + backward · C_ij) / ((n_j + shrinkage) · n_i^popularity)

    d is the distance in moments (events of one time are 1 apart), n the weight of an item's events. Co-visitation as in the leading entries of
    the OTTO challenge; division by popularity after Deshpande & Karypis 2004 (conditional probability). R_jj = 0: an item does not vote for itself.

    Memory: 8·`neighbours`·I bytes; the statistics 12 bytes for each pair of items that occurs. Additive: exact. Explanation: exact.
    """

    Settings = CoVisitConfig
    config: CoVisitConfig
    positive_only = True

    def _fit(self, data: Dataset, run: Run) -> None:
        self._learn(*self._count(data))

    def forget(self, data: Dataset) -> Self:
        """Takes the events of `data` out again; equals a fit that never saw them."""
        statistics = self.statistics
        if statistics is None:
            raise TrainingError("its statistics were not kept", fix="train again")
        pairs, events_I = self._count(data)
        pairs, events_I = sp.csr_matrix(statistics["pairs"]) - pairs, np.asarray(statistics["events"]) - events_I
        if not events_I.any():
            raise TrainingError("nothing would be left to recommend from", fix="delete the release instead")
        self._learn(pairs, events_I)
        return self

    def _count(self, data: Dataset) -> tuple[sp.csr_matrix, NDArray[np.int64]]:
        """C [I, I] and n [I] in units."""
        e, signal, c = data.events, data.weight_E > 0, self.config
        user, item, time, session = (column[signal] for column in (e.user, e.item, e.time, e.session))
        weight = np.rint(data.weight_E[signal].astype(np.float64) * UNITS).astype(np.int64)
        moment = np.cumsum(np.diff(time, prepend=time[:1]) != 0)
        span_us = int(min(c.hours * HOUR_US, np.iinfo(np.int64).max // 2))
        factor = (np.arange(1, len(item) + 2, dtype=np.float64)[: c.window] ** -c.decay).astype(np.float64)
        start = _partners(user, time, session, span_us, c.window)
        source, target, units = _pairs(item, moment, weight, start, factor)
        pairs = sp.csr_matrix((units, (source, target)), shape=(self.n_items, self.n_items))
        events_I = np.zeros(self.n_items, np.int64)
        np.add.at(events_I, item, weight)
        return pairs, events_I

    def _learn(self, pairs: sp.csr_matrix, events_I: NDArray[np.int64]) -> None:
        pairs.sum_duplicates()
        pairs.eliminate_zeros()
        self._statistics = {"pairs": pairs, "events": events_I}
        c, n_I = self.config, events_I / UNITS
        rates = sp.csr_matrix(pairs + pairs.T.multiply(c.backward))
        by_source, by_target = 1.0 / (UNITS * (n_I + c.shrinkage)), np.where(n_I > 0, n_I, 1.0) ** -c.popularity
        rates.data *= np.repeat(by_source, np.diff(rates.indptr)) * by_target[rates.indices]
        self.weights_FI = _best(rates, c.neighbours)

    def _inputs(self, history: Histories) -> Inputs:
        newest = newest_of_item(history, self.n_items)
        value = history.weight[newest] * np.exp(-history.age[newest] / self.config.recency)
        return Inputs(newest, history.item[newest].astype(np.int64), value.astype(np.float32))


def _best(rates: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """The k largest entries of each row, equal ones by code; float32, without zeros."""
    rates.sort_indices()
    rates.data = rates.data.astype(np.float32)
    rates.eliminate_zeros()
    kept = _kept(rates.indptr, rates.data, k)
    start = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])[rates.indptr]
    return sp.csr_matrix((rates.data[kept], rates.indices[kept], start), shape=rates.shape)


@numba.njit(cache=True)
def _kept(start: Any, value: Any, k: int) -> NDArray[np.bool_]:  # pragma: no cover (compiled)
    """[N] whether a value is among the k largest of its row."""
    kept = np.ones(len(value), np.bool_)
    for r in range(len(start) - 1):
        row = value[start[r] : start[r + 1]]
        if len(row) <= k:
            continue
        floor = np.sort(row)[len(row) - k]
        free = k - (row > floor).sum()
        for n in range(len(row)):
            if row[n] < floor or (row[n] == floor and free == 0):
                kept[start[r] + n] = False
            elif row[n] == floor:
                free -= 1
    return kept


@numba.njit(cache=True)
def _partners(user: Any, time: Any, session: Any, span_us: int, window: int) -> NDArray[np.int64]:  # pragma: no cover (compiled)
    """[E] position of the oldest event that each event is paired with; events are ordered by user and time."""
    start = np.empty(len(user), np.int64)
    for e in range(len(user)):
        s = e
        while s > 0 and e - (s - 1) <= window and user[s - 1] == user[e]:
            known = session[s - 1] >= 0 and session[e] >= 0
            if (known and session[s - 1] != session[e]) or (not known and time[e] - time[s - 1] > span_us):
                break
            s -= 1
        start[e] = s
    return start


@numba.njit(cache=True)
def _pairs(item: Any, moment: Any, weight: Any, start: Any, factor: Any) -> tuple[Any, Any, Any]:  # pragma: no cover (compiled)
    """Every (earlier, later) pair of different items with its units."""
    n = 0
    for e in range(len(item)):
        n += e - start[e]
    source, target, units = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int64)
    n = 0
    for e in range(len(item)):
        for s in range(start[e], e):
            if item[s] == item[e]:
                continue
            steps = max(1, moment[e] - moment[s])
            source[n], target[n] = item[s], item[e]
            units[n] = np.int64(np.rint(weight[e] * factor[steps - 1]))
            n += 1
    return source[:n], target[:n], units[:n]
