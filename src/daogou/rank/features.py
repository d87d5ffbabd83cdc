"""What a ranker sees of a candidate. One function for training and serving, and it reads nothing but the question, the models' answers and `Facts`.

    of the models      z-score, rank, whether it was retrieved; the blend's score and rank; how many models agree; likeness to the newest events
    of person × item   how often, how long ago, how many events ago; time since then against the usual gap
    of person × group  share of the history with the same category, brand, …; price against the person's median; popularity against theirs
    of the item        popularity, trend over 1, 7 and 28 days, age
    of the question    length of the history; with `request_time` also days since the last event, hour and weekday

Axes: B queries, C candidates, F features, M models, E events of the histories, N = B·C pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daogou import selection
from daogou.contract import Codes, Queries, Recommender, Scores, Times
from daogou.data.histories import Histories
from daogou.families import ItemItem
from daogou.rank.blend import Part, evidence, taken
from daogou.rank.facts import DAY_US, WINDOWS_DAYS, Facts
from daogou.rank.normalise import moments, z_scores

HISTORY = 500  # newest events that are looked at: what serving reads
LIKE = {"like the last": 1, "like the last few": 5}  # newest events whose items a candidate may be like
RECENT = 20.0  # events: an event so much older counts 1/e in shares of a group and in the popularity a person is used to
HOUR_US = 3_600_000_000

Columns = dict[str, NDArray[Any]]


class Features:
    """The features of candidates.

    Args:
        models: the retrievers, by name.
        depth: ranks are counted so far; an item beyond was not retrieved.
        repeats: whether items of the history are candidates (they take part in ranks).
        request_time: whether the moment of the question may be used. Without it every question is taken to be asked right after the last event:
            what a protocol asks for whose request times would give the answer away (leave-one-out).
    """

    def __init__(self, models: Mapping[str, Recommender], facts: Facts, *, depth: int, repeats: bool, request_time: bool) -> None:
        self.models, self.facts, self.depth, self.repeats, self.request_time = models, facts, depth, repeats, request_time

    @property
    def names(self) -> tuple[str, ...]:
        """[F] in the order of the columns; like the columns themselves a function of models and facts alone."""
        nobody = Queries(history=Histories.empty(0), user_B=np.zeros(0, np.int32), now_B=np.zeros(0, np.int64), context=Histories.empty(0))
        parts = []
        for name, model in self.models.items():
            nothing = np.zeros((0, model.n_items), np.float32)
            parts.append(Part(name, 0.0, nothing, moments(nothing)))
        return tuple(self._columns(parts, nobody, np.zeros((0, len(self.facts.first_I)), np.float32), np.zeros((0, 1), np.int32)))

    def of(self, parts: Sequence[Part], queries: Queries, blend_BI: Scores, candidates: Codes) -> Scores:
        """[B, C, F] float32, NaN where something is not known; rows of candidates −1 mean nothing.

        Args:
            parts: what each model says of the queries, in the order of `models`.
            blend_BI: the blend's scores.
        """
        columns = self._columns(parts, queries, blend_BI, candidates)
        return np.stack([np.broadcast_to(column, candidates.shape).astype(np.float32) for column in columns.values()], axis=2)

    def _columns(self, parts: Sequence[Part], queries: Queries, blend_BI: Scores, candidates: Codes) -> Columns:
        codes = np.where(candidates >= 0, candidates, 0)
        moment_B = self._moment(queries)
        past = _Past(queries, len(self.facts.first_I))
        return (
            self._of_models(parts, queries, blend_BI, candidates)
            | self._of_pairs(past, codes, moment_B)
            | self._of_groups(past, codes)
            | self._of_items(past, codes, moment_B)
            | self._of_questions(past, moment_B)
        )

    def _moment(self, queries: Queries) -> Times:
        """[B] when the question is asked; counters have no moment, so that all of the facts is before it."""
        if not self.facts.real:
            return np.full(len(queries), self.facts.end + 1, np.int64)
        if self.request_time:
            return queries.now_B
        history = queries.history
        last_B = np.full(len(queries), self.facts.end, np.int64)
        some = history.lengths > 0
        last_B[some] = history.time[history.start[1:][some] - 1]
        return last_B + 1

    # ---- of the models
    def _of_models(self, parts: Sequence[Part], queries: Queries, blend_BI: Scores, candidates: Codes) -> Columns:
        open_BI = self._open(queries)
        out: Columns = {}
        votes = np.zeros(candidates.shape, np.float32)
        for part in parts:
            model = self.models[part.name]
            rank = _ranks(np.where(evidence(model, part), part.scores_BI, -np.inf), open_BI, candidates, self.depth)
            out[f"{part.name}: score"] = z_scores(taken(part.scores_BI, candidates), part.moments)
            out[f"{part.name}: rank"] = np.log1p(rank)
            out[f"{part.name}: retrieved"] = rank < self.depth
            votes += np.where(rank < self.depth, 1.0 / (rank + 10.0), 0.0)
            if isinstance(model, ItemItem):
                out |= {f"{part.name}: {name}": self._likeness(model, queries, n, candidates) for name, n in LIKE.items()}
        total = taken(blend_BI, candidates)
        out["blend: score"] = np.where(np.isfinite(total), total, np.nan)
        out["blend: rank"] = np.log1p(_ranks(blend_BI, open_BI, candidates, self.depth))
        out["votes"] = votes
        return out

    def _open(self, queries: Queries) -> NDArray[np.bool_]:
        n = len(self.facts.known_I)
        return np.tile(self.facts.known_I, (len(queries), 1)) if self.repeats else self.facts.known_I & ~queries.history.seen(n)

    @staticmethod
    def _likeness(model: Recommender, queries: Queries, n: int, candidates: Codes) -> Scores:
        """[B, C] what the model says when it knows nothing but the `n` newest events."""
        scores_BI = model.score(replace(queries, history=queries.history.tail(n)))
        return z_scores(taken(scores_BI, candidates), moments(scores_BI))

    # ---- of the person and the item
    def _of_pairs(self, past: "_Past", codes: Codes, moment_B: Times) -> Columns:
        times, last, age, first = past.of_items(codes)
        had = times > 0
        days = np.where(had, np.maximum(moment_B[:, None] - last, 0) / DAY_US, np.nan)
        own = np.log(np.maximum((last - first) / DAY_US, 1.0) / np.maximum(times - 1, 1))
        usual = np.where((times > 1) & (last > first), own, self.facts.gap_I[codes])
        return {
            "times": times,
            "share of the history": times / np.maximum(past.length_B, 1)[:, None],
            "days since": np.log1p(days),
            "events since": np.where(had, np.log1p(age), np.nan),
            "since, in usual gaps": np.log(np.maximum(days, 1.0)) - usual,
        }

    def _of_groups(self, past: "_Past", codes: Codes) -> Columns:
        out: Columns = {}
        for name, group_I in self.facts.groups.items():
            share, age = past.of_group(group_I, codes)
            out[f"same {name}: share"], out[f"same {name}: events since"] = share, np.log1p(age)
        return out

    def _of_items(self, past: "_Past", codes: Codes, moment_B: Times) -> Columns:
        facts = self.facts
        until_B = np.minimum(moment_B, facts.end + 1)
        item_N, until_N = codes.ravel(), np.repeat(until_B, codes.shape[1])
        total = facts.before(item_N, until_N)
        out: Columns = {"popularity": np.log1p(total).reshape(codes.shape)}
        rate = {days: (total - facts.before(item_N, until_N - days * DAY_US)) / days for days in WINDOWS_DAYS}
        age_days = np.maximum(until_N - facts.first_I[item_N], DAY_US) / DAY_US
        rate[0] = total / age_days
        if facts.real:
            for short, long in zip(WINDOWS_DAYS, (*WINDOWS_DAYS[1:], 0), strict=True):
                trend = np.log((rate[short] + 1 / 28) / (rate[long] + 1 / 28))
                out[f"trend: {short} days against {long or 'ever'}"] = trend.reshape(codes.shape)
            out["events a day"] = np.log1p(rate[7]).reshape(codes.shape)
            out["age"] = np.log(age_days).reshape(codes.shape)
        out["popularity against theirs"] = out["popularity"] - past.mean(facts, until_B)[:, None]
        if np.isfinite(facts.price_I).any():
            out["price"] = np.log1p(facts.price_I[codes])
            out["price against theirs"] = out["price"] - np.log1p(past.median(facts.price_I))[:, None]
        return out

    def _of_questions(self, past: "_Past", moment_B: Times) -> Columns:
        out: Columns = {"length of the history": np.log1p(past.length_B)[:, None], "variety of the history": past.variety_B[:, None]}
        if self.facts.real and self.request_time:
            some = past.length_B > 0
            days = np.where(some, np.maximum(moment_B - past.last_B, 0) / DAY_US, np.nan)
            out["days since the last event"] = np.log1p(days)[:, None]
            out["hour"] = (moment_B // HOUR_US % 24)[:, None]
            out["weekday"] = ((moment_B // DAY_US + 3) % 7)[:, None]  # 1970-01-01 was a Thursday; 0 = Monday
        return out


class _Past:
    """The newest events of a batch, looked up by item and by group."""

    def __init__(self, queries: Queries, n_items: int) -> None:
        history = queries.history.tail(HISTORY)
        history = history.keep((history.item >= 0) & (history.item < n_items))
        self.n_items, self.history, self.row_E, self.age_E = n_items, history, history.row, history.age
        self.length_B = history.lengths
        self.recent_E = np.exp(-self.age_E / RECENT)
        some = self.length_B > 0
        self.last_B = np.zeros(len(history), np.int64)
        self.last_B[some] = history.time[history.start[1:][some] - 1]
        self._key = self.row_E * n_items + history.item
        self._pairs, self._first, self._times = np.unique(self._key, return_index=True, return_counts=True)
        _, last = np.unique(self._key[::-1], return_index=True)
        self._last = len(self._key) - 1 - last
        self.variety_B = np.bincount(self._pairs // max(n_items, 1), minlength=len(history)) / np.maximum(self.length_B, 1)

    def of_items(self, codes: Codes) -> tuple[NDArray[np.int64], Times, NDArray[np.int64], Times]:
        """[B, C] how often the history holds the item, when last, how many events ago, and when first; 0 where never."""
        at, found = _lookup(self._pairs, np.arange(len(codes))[:, None] * np.int64(self.n_items) + codes)

        def pick(values: NDArray[Any]) -> NDArray[Any]:
            return np.where(found, values[at], 0) if len(values) else np.zeros(codes.shape, np.int64)

        return pick(self._times), pick(self.history.time[self._last]), pick(self.age_E[self._last]), pick(self.history.time[self._first])

    def of_group(self, group_I: Codes, codes: Codes) -> tuple[Scores, NDArray[Any]]:
        """[B, C] share of the recent history in the candidate's group, and how many events ago the newest of it was; NaN where the group is not known."""
        group_E = group_I[self.history.item]
        size = int(group_I.max(initial=0)) + 2
        keys, inverse = np.unique(self.row_E * size + group_E, return_inverse=True)
        weight = np.bincount(inverse, self.recent_E, len(keys))
        total_B = np.bincount(self.row_E, self.recent_E, len(self.history))
        newest = np.full(len(keys), np.iinfo(np.int64).max, np.int64)
        np.minimum.at(newest, inverse, self.age_E)
        group_BC = group_I[codes]
        at, found = _lookup(keys, np.arange(len(codes))[:, None] * np.int64(size) + group_BC)
        share = np.where(found, weight[at], 0.0) / np.maximum(total_B, 1e-9)[:, None] if len(keys) else np.zeros(codes.shape)
        age = np.where(found, newest[at], HISTORY) if len(keys) else np.full(codes.shape, HISTORY)
        return np.where(group_BC >= 0, share, np.nan), np.where(group_BC >= 0, age, np.nan)

    def mean(self, facts: Facts, until_B: Times) -> Scores:
        """[B] popularity that the person is used to, newest events first; NaN without a history."""
        popular_E = np.log1p(facts.before(self.history.item, until_B[self.row_E]))
        total, weight = (np.bincount(self.row_E, values, len(self.history)) for values in (self.recent_E * popular_E, self.recent_E))
        return np.asarray(np.divide(total, weight, out=np.full(len(total), np.nan), where=weight > 0), np.float32)

    def median(self, values_I: Scores) -> Scores:
        """[B] median of a known number over the history; NaN where it is known of nothing."""
        values = values_I[self.history.item]
        known = np.flatnonzero(np.isfinite(values))
        order = known[np.lexsort((values[known], self.row_E[known]))]
        count = np.bincount(self.row_E[order], minlength=len(self.history))
        start = np.cumsum(count) - count
        out = np.full(len(self.history), np.nan)
        some = count > 0
        low, high = (values[order[(start + half)[some]]] for half in ((count - 1) // 2, count // 2))
        out[some] = (low + high) / 2
        return out


def _lookup(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where `wanted` stand in sorted `keys`, and whether they do."""
    at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    return at, keys[at] == wanted if len(keys) else np.zeros(wanted.shape, np.bool_)


def _ranks(scores_BI: Scores, open_BI: NDArray[np.bool_], candidates: Codes, depth: int) -> NDArray[np.int64]:
    """[B, C] how many open items score higher than each candidate, at most `depth`, which also stands for no evidence."""
    n = scores_BI.shape[1]
    _, best_BK = selection.best(np.ascontiguousarray(scores_BI, np.float32), np.ascontiguousarray(open_BI[:, :n]), min(depth, n), -np.inf)
    own_BC = taken(scores_BI, candidates)
    rank = (best_BK[:, None, :] > own_BC[:, :, None]).sum(axis=2)
    return np.where(np.isfinite(own_BC), rank, depth)
