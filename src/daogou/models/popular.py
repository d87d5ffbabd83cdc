"""Popular: what many want lately, in the shopper's segment. The floor under every list and the fallback of every placement."""

from typing import Annotated, Any, NamedTuple, Self

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from daogou.config import Config, hyper
from daogou.contract import Queries, Reason, Run, Scores
from daogou.data.dataset import Dataset
from daogou.errors import TrainingError
from daogou.families import Base, State

DAY_US = 86_400_000_000
UNITS = 1 << 20  # fixed point: integers add and subtract exactly, floats do not
EVERYONE = ("", "")


class PopularConfig(Config, frozen=True):
    half_life_days: Annotated[float, hyper("Age at which an event counts half.", 1, 365, log=True, unit="days", gt=0)] = 14.0
    segments: Annotated[tuple[str, ...], Meta(description="Registration attributes whose groups get lists of their own; empty = one list for all.")] = ()
    shrinkage: Annotated[float, hyper("Decayed events that everyone's list weighs against a segment's own.", 1, 1e4, log=True, unit="events", ge=0)] = 300.0


class Tally(NamedTuple):
    """Weight of the events of each (segment, item, day), sorted by that key; segment 0 is everyone. Sums over users, in whole units."""

    segments: list[tuple[str, str]]  # (attribute, value), sorted; EVERYONE sorts first
    segment: NDArray[np.int64]
    item: NDArray[np.int64]
    day: NDArray[np.int64]
    units: NDArray[np.int64]


class Popular(Base):
    """score_i = c_i · mean over the shopper's segments s of lift_si, with c the decayed counts of events (half-life h days, end of the data T)

        c_i = Σ_e weight_e · 2^(−(T − t_e)/h)      lift_si = (c_si + m·p_i) / ((C_s + m)·p_i),  p_i = c_i / C

    so that a segment with few events (C_s ≪ m) falls back to everyone's list (Dirichlet smoothing: Zhai & Lafferty 2001).
    Days are whole UTC days. A shopper of whom no segment is known gets everyone's list; items without events score 0 and are not retrieved.

    Memory: 4·S·I bytes for S segments; the statistics 32 bytes for each (segment, item, day) that occurs. Additive: exact.
    There is no explanation from the history: the reason is popularity itself.
    """

    Settings = PopularConfig
    config: PopularConfig
    positive_only = True

    def _fit(self, data: Dataset, run: Run) -> None:
        self._learn(_tally(data, self.config.segments))

    def forget(self, data: Dataset) -> Self:
        """Takes the events of `data` out again; equals a fit that never saw them."""
        statistics = self.statistics
        if statistics is None:
            raise TrainingError("its statistics were not kept", fix="train again")
        left = _subtract(_unpack(statistics), _tally(data, self.config.segments))
        if not len(left.units):
            raise TrainingError("nothing would be left to recommend from", fix="delete the release instead")
        self._learn(left)
        return self

    def _learn(self, tally: Tally) -> None:
        self._statistics = _pack(tally)
        self._segments = {name: s for s, name in enumerate(tally.segments)}
        weight_N = tally.units / UNITS * 2.0 ** ((tally.day - tally.day.max()) / self.config.half_life_days)
        shape = (len(tally.segments), self.n_items)
        count_SI = np.bincount(tally.segment * self.n_items + tally.item, weight_N, shape[0] * shape[1]).reshape(shape)
        share_I = count_SI[0] / count_SI[0].sum()
        smooth_SI = count_SI[1:] + self.config.shrinkage * share_I
        total_S = count_SI[1:].sum(axis=1, keepdims=True) + self.config.shrinkage
        lift_SI = np.divide(smooth_SI, total_S * share_I, out=np.ones_like(smooth_SI), where=share_I > 0)
        self.scores_SI = np.vstack([count_SI[:1], count_SI[0] * lift_SI]).astype(np.float32)

    def _score(self, queries: Queries) -> Scores:
        mix_BS = np.zeros((len(queries), len(self._segments)), np.float32)
        for name in self.config.segments:
            for b, value in enumerate(queries.attributes.get(name, ())):
                if (s := self._segments.get((name, _label(value)))) is not None:
                    mix_BS[b, s] = 1.0
        known_B = mix_BS.sum(axis=1)
        mix_BS[known_B == 0, 0] = 1.0
        return np.asarray((mix_BS / np.maximum(known_B, 1.0)[:, None]) @ self.scores_SI, np.float32)

    def explain(self, queries: Queries, item: int) -> list[Reason]:
        """Nothing of the history causes it."""
        return []

    def _state(self) -> State:
        return {"scores": self.scores_SI, "segments": _bytes([list(name) for name in self._segments])}

    def _restore(self, state: State) -> None:
        self.scores_SI = np.asarray(state["scores"])
        self._segments = {(a, v): s for s, (a, v) in enumerate(_names(state["segments"]))}


def _tally(data: Dataset, attributes: tuple[str, ...]) -> Tally:
    history = data.histories
    user, item = history.row, history.item.astype(np.int64)
    day, units = history.time // DAY_US, np.rint(history.weight.astype(np.float64) * UNITS).astype(np.int64)
    names, segment_parts, event_parts = [EVERYONE], [np.zeros(len(item), np.int64)], [np.arange(len(item))]
    columns = data.attributes(np.arange(data.n_users, dtype=np.int32))
    for attribute in attributes:
        if attribute not in columns:
            raise TrainingError(f"no registration attribute {attribute!r} to make segments of", expected=", ".join(columns) or "some attribute of users")
        labels_U = np.array([_label(v) for v in columns[attribute]], dtype=np.str_)
        values, code_U = np.unique(labels_U, return_inverse=True)
        known = np.flatnonzero((labels_U != "")[user])
        segment_parts.append(len(names) + code_U[user[known]])
        event_parts.append(known)
        names += [(attribute, str(value)) for value in values]
    event = np.concatenate(event_parts)
    return _sum(names, np.concatenate(segment_parts), item[event], day[event], units[event])


def _subtract(a: Tally, b: Tally) -> Tally:
    both = [np.concatenate([x, y]) for x, y in zip((a.item, a.day, a.units), (b.item, b.day, -b.units), strict=True)]
    return _sum([*a.segments, *b.segments], np.concatenate([a.segment, b.segment + len(a.segments)]), *both)


def _sum(names: list[tuple[str, str]], segment: NDArray[np.int64], item: NDArray[np.int64], day: NDArray[np.int64], units: NDArray[np.int64]) -> Tally:
    """One row a key, in order, without zeros; segments sorted by name and only those that occur: the same sums always give the same Tally."""
    used = sorted({names[s] for s in np.unique(segment).tolist()} | {EVERYONE})
    place = {name: s for s, name in enumerate(used)}
    segment = np.array([place.get(name, -1) for name in names], np.int64)[segment]
    order = np.lexsort((day, item, segment))
    segment, item, day, units = segment[order], item[order], day[order], units[order]
    first = np.flatnonzero(np.diff(segment, prepend=-1) | np.diff(item, prepend=-1) | np.diff(day, prepend=day[:1] - 1))
    sums = np.add.reduceat(units, first) if len(first) else units
    keep = first[sums != 0]
    tally = Tally(used, segment[keep], item[keep], day[keep], sums[sums != 0])
    left = np.unique(tally.segment)
    if len(left) == len(used) or not len(left):
        return tally
    return tally._replace(segments=[used[s] for s in left], segment=np.searchsorted(left, tally.segment))


def _label(value: Any) -> str:
    """The name of a segment: "" = not known. 30 and 30.0 are the same."""
    if value is None or value != value:
        return ""
    return f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _pack(tally: Tally) -> State:
    return {"segments": _bytes([list(name) for name in tally.segments]), **{name: getattr(tally, name) for name in ("segment", "item", "day", "units")}}


def _unpack(state: State) -> Tally:
    columns = [np.asarray(state[name]) for name in ("segment", "item", "day", "units")]
    return Tally([(a, v) for a, v in _names(state["segments"])], *columns)


def _bytes(names: list[list[str]]) -> NDArray[np.uint8]:
    return np.frombuffer(msgspec.json.encode(names), np.uint8)


def _names(array: Any) -> list[list[str]]:
    return msgspec.json.decode(np.asarray(array, np.uint8).tobytes(), type=list[list[str]])
