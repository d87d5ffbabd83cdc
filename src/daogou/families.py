"""What models of one kind share, so that a model file holds its formula or its network and nothing else.

A family owns ids, masks, top-k, saving, erasure bookkeeping and the default explanation. It does not know any model by name.

    Base       scores come from `_score(queries) -> [B, I]`
    ItemItem   a history becomes sparse features, features times a weight matrix become scores; explanations are exact
    Vectors    a history becomes a vector (fold-in), its product with item vectors the scores

Axes: B queries, I items, F features, E events, K list length, D dimensions.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, cast

import msgspec
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from daogou.config import Config
from daogou.contract import Codes, Mask, Queries, Reason, Run, Scores, TopK
from daogou.data.dataset import Dataset
from daogou.data.histories import Histories
from daogou.errors import ReleaseError, TrainingError
from daogou.products import sparse_dense
from daogou.selection import best

State = dict[str, "NDArray[Any] | sp.csr_matrix"]

EXPLAINED_EVENTS = 20  # a left-out explanation scores the query once for each of the newest events: bounded
ROUNDING = 1e-6  # a relative change of the score below this is float32 noise, not a cause
SINGLES = 8  # up to so many queries scipy's product has the lower overhead


def top_k(scores_BI: Scores, k: int, allowed: Mask | None = None, *, positive: bool = False) -> TopK:
    """The k best columns of each row, best first, equal scores in order of code.

    `allowed` ([I] or [B, I]) counts before the choice. NaN, −inf and, with `positive`, scores ≤ 0 are never chosen; free places hold −1.
    """
    allowed_BI = np.ones((1, scores_BI.shape[1]), np.bool_) if allowed is None else np.atleast_2d(np.asarray(allowed, np.bool_))
    codes, scores = best(np.asarray(scores_BI, np.float32), allowed_BI, k, 0.0 if positive else -np.inf)
    return TopK(codes, scores)


class Base(ABC):
    """A recommender whose scores for the whole catalogue come from `_score`."""

    Settings: ClassVar[type[Config]] = Config
    positive_only: ClassVar[bool] = False
    "Whether a score ≤ 0 means no evidence, so that such an item is never retrieved (co-visitation, repurchase)."
    needs_events: ClassVar[bool] = True
    "Whether it has nothing to say without events (False: content, which a catalogue alone can teach)."
    config: Any
    n_items: int = 0

    def __init__(self, config: Config | None = None, **settings: Any) -> None:
        self.config = msgspec.convert(settings, self.Settings) if config is None else config
        self._statistics: State | None = None
        self._home: Path | None = None

    # ---- hooks of a model
    @abstractmethod
    def _fit(self, data: Dataset, run: Run) -> None: ...

    @abstractmethod
    def _score(self, queries: Queries) -> Scores:
        """[B, I]; −inf where the model can say nothing."""

    @abstractmethod
    def _state(self) -> State:
        """What serving needs; arrays by name."""

    @abstractmethod
    def _restore(self, state: State) -> None: ...

    def _check(self, data: Dataset) -> None:
        if not len(data.histories.item):
            raise TrainingError(
                f"{type(self).__name__} was given no event that teaches anything",
                expected="at least one event of positive weight",
                fix="import events, or give their names a weight under [events] of the scenario",
            )

    # ---- Recommender
    def fit(self, data: Dataset, run: Run | None = None) -> Self:
        """Learns from `data`; a second fit forgets the first.

        Raises:
            TrainingError: nothing to learn from, or the result is not finite.
        """
        self._check(data)
        self.n_items = data.n_items
        self._statistics, self._home = None, None
        self._fit(data, run or Run())
        for name, array in self._state().items():
            values = array.data if sp.issparse(array) else array
            if np.issubdtype(values.dtype, np.floating) and np.isnan(values).any():
                raise TrainingError(
                    f"{type(self).__name__}: {name} holds NaN after training", fix="check values and hyperparameters (learning rate, penalties)"
                )
        return self

    def recommend(self, queries: Queries, k: int, allowed: Mask | None = None) -> TopK:
        return top_k(self._score(queries), k, allowed, positive=self.positive_only)

    def score(self, queries: Queries, candidates: Codes | None = None) -> Scores:
        """[B, C] scores of candidates [B, C] (−1 and unknown items score −inf), or of the whole catalogue [B, I]."""
        scores_BI = self._score(queries)
        if candidates is None:
            return scores_BI
        known = (candidates >= 0) & (candidates < self.n_items)
        return np.where(known, np.take_along_axis(scores_BI, np.where(known, candidates, 0).astype(np.int64), 1), -np.inf).astype(np.float32)

    def similar(self, items: Codes, k: int) -> TopK:
        """The best answers to a history of just that item; never the item itself. Unknown items get an empty row."""
        known = (items >= 0) & (items < self.n_items)
        history = Histories.of([[code] if ok else [] for code, ok in zip(items.tolist(), known, strict=True)])
        allowed = ~history.seen(self.n_items) & known[:, None]
        return self.recommend(_guests(history), k, allowed)

    def explain(self, queries: Queries, item: int) -> list[Reason]:
        """By how much the score falls when one item of the history is left out (the newest events only)."""
        history = queries.history
        if item < 0 or item >= self.n_items:
            return []
        known = history.item[(history.item >= 0) & (history.item < self.n_items)]
        items = np.unique(known[-EXPLAINED_EVENTS:])
        if not len(items):
            return []
        rows = [history.keep(history.item != left) for left in items]
        joined = Histories(
            np.concatenate([[0], np.cumsum([len(r.item) for r in rows])]).astype(np.int64),
            *(np.concatenate([getattr(r, name) for r in rows]) for name in ("item", "time", "weight")),
        )
        many = queries[np.zeros(len(items), np.int64)]
        many = Queries(history=joined, user_B=many.user_B, now_B=many.now_B, context=many.context, attributes=many.attributes)
        score, others = (np.where(np.isfinite(s), s, 0.0) for s in (self._score(queries)[0, item], self._score(many)[:, item]))
        change = np.where(np.isclose(score, others, rtol=ROUNDING, atol=0.0), 0.0, score - others)
        return _strongest([Reason(int(i), float(c), "left-out") for i, c in zip(items, change, strict=True)])

    def save(self, directory: Path) -> None:
        """Writes ``config.json``, ``weights.safetensors`` and, for additive models, ``statistics.safetensors`` (not read by serving)."""
        directory.mkdir(parents=True, exist_ok=True)
        head = {"n_items": self.n_items, "config": msgspec.to_builtins(self.config)}
        (directory / "config.json").write_bytes(msgspec.json.format(msgspec.json.encode(head), indent=1))
        _write(directory / "weights.safetensors", self._state())
        if (statistics := self.statistics) is not None:
            _write(directory / "statistics.safetensors", statistics)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """
        Raises:
            ReleaseError: files are missing, damaged or of other settings.
        """
        try:
            head = msgspec.json.decode((directory / "config.json").read_bytes())
            model = cls(msgspec.convert(head["config"], cls.Settings))
            model.n_items = int(head["n_items"])
            model._restore(_read(directory / "weights.safetensors"))
        except ReleaseError:
            raise
        except Exception as e:  # every way in which foreign bytes can be wrong
            raise ReleaseError(f"cannot load it ({type(e).__name__}: {e})", fix="train again, or roll back to an earlier release", where=str(directory)) from e
        model._home = directory
        return model

    @property
    def statistics(self) -> State | None:
        """The sums over users of an additive model (None for others); read from the release when first asked for."""
        if self._statistics is None and self._home is not None and (self._home / "statistics.safetensors").exists():
            self._statistics = _read(self._home / "statistics.safetensors")
        return self._statistics


class Inputs(NamedTuple):
    """Features of every event of a batch, not yet summed: event `event_N` gives feature `feature_N` the value `value_N`."""

    event_N: NDArray[np.int64]
    feature_N: NDArray[np.int64]
    value_N: Scores


class ItemItem(Base):
    """scores = φ(history) · W with sparse φ [B, F] and W [F, I], dense or sparse. Memory: 4·F·I bytes dense."""

    weights_FI: "NDArray[np.float32] | sp.csr_matrix"

    def _inputs(self, history: Histories) -> Inputs:
        """The features of the history's events; here: each item once, with the weight of its newest event."""
        newest = newest_of_item(history, self.n_items)
        return Inputs(newest, history.item[newest].astype(np.int64), history.weight[newest])

    def _features(self, history: Histories) -> sp.csr_matrix:
        """φ [B, F]: the inputs of each query summed."""
        inputs = self._inputs(history)
        return sp.csr_matrix((inputs.value_N, (history.row[inputs.event_N], inputs.feature_N)), shape=(len(history), self.weights_FI.shape[0]))

    def _score(self, queries: Queries) -> Scores:
        phi_BF = self._features(queries.history)
        if sp.issparse(self.weights_FI):
            return np.asarray((phi_BF @ self.weights_FI).todense(), np.float32)
        return sparse_dense(phi_BF, self.weights_FI) if len(queries) > SINGLES else np.asarray(phi_BF @ self.weights_FI, np.float32)

    def explain(self, queries: Queries, item: int) -> list[Reason]:
        """Exact: the score is the sum of these contributions (source items merged)."""
        if item < 0 or item >= self.n_items:
            return []
        inputs = self._inputs(queries.history)
        share_N = inputs.value_N * entries(self.weights_FI, inputs.feature_N, item)
        items, where = np.unique(queries.history.item[inputs.event_N], return_inverse=True)
        share_I = np.bincount(where, share_N, len(items))
        return _strongest([Reason(int(items[n]), float(share_I[n]), "exact") for n in np.flatnonzero(share_I)])

    def _state(self) -> State:
        return {"weights": self.weights_FI}

    def _restore(self, state: State) -> None:
        self.weights_FI = state["weights"]


def entries(weights_FI: "NDArray[np.float32] | sp.csr_matrix", rows_N: NDArray[np.int64], column: int) -> Scores:
    """[N] the weights of some rows in one column. A sparse matrix is read row by row: its columns cost a pass over everything it holds."""
    if not sp.issparse(weights_FI):
        return np.asarray(weights_FI[rows_N, column], np.float32)
    rows, place_N = np.unique(rows_N, return_inverse=True)
    some = weights_FI[rows]
    at = np.flatnonzero(some.indices == column)
    values = np.zeros(len(rows), np.float32)
    np.add.at(values, np.searchsorted(some.indptr, at, side="right") - 1, some.data[at])
    return values[place_N]


class Vectors(Base):
    """scores = p · Qᵀ: item vectors Q [I, D] and a query vector folded in from the history. Memory: 4·I·D bytes."""

    vectors_ID: Scores
    _measured: tuple[Scores, Scores] | None = None

    @abstractmethod
    def _fold_in(self, queries: Queries) -> Scores:
        """[B, D]"""

    def _score(self, queries: Queries) -> Scores:
        return np.asarray(self._fold_in(queries) @ self.vectors_ID.T, np.float32)

    def similar(self, items: Codes, k: int) -> TopK:
        """By cosine of the item vectors."""
        norm_I = self._norms()
        known = (items >= 0) & (items < self.n_items)
        rows = np.where(known, items, 0)
        length_I = np.maximum(norm_I, 1e-12)
        scores = np.asarray((self.vectors_ID[rows] / length_I[rows, None]) @ self.vectors_ID.T / length_I, np.float32)
        learned = norm_I > 0
        allowed = learned[None, :] & (known & learned[rows])[:, None]
        allowed[np.arange(len(items)), rows] = False
        return top_k(scores, k, allowed)

    def _norms(self) -> Scores:
        """[I] lengths of the item vectors, taken once for each set of them."""
        if self._measured is None or self._measured[0] is not self.vectors_ID:
            self._measured = self.vectors_ID, np.linalg.norm(self.vectors_ID, axis=1)
        return self._measured[1]

    def _state(self) -> State:
        return {"vectors": self.vectors_ID}

    def _restore(self, state: State) -> None:
        self.vectors_ID = np.asarray(state["vectors"])


def newest_of_item(history: Histories, n_items: int) -> NDArray[np.int64]:
    """Positions of the newest event of each item in each row, ascending; events of unknown items are left out."""
    known = np.flatnonzero((history.item >= 0) & (history.item < n_items))
    key = history.row[known] * np.int64(n_items) + history.item[known]
    _, last = np.unique(key[::-1], return_index=True)
    return np.sort(known[::-1][last])


def _guests(history: Histories) -> Queries:
    n = len(history)
    return Queries(history=history, user_B=np.full(n, -1, np.int32), now_B=np.zeros(n, np.int64), context=Histories.empty(n))


def _strongest(reasons: list[Reason]) -> list[Reason]:
    return sorted((r for r in reasons if r.weight != 0), key=lambda r: (-r.weight, r.item))


def _write(path: Path, state: Mapping[str, Any]) -> None:
    """Arrays as they are; a sparse matrix as four arrays under its name. The same state gives the same bytes."""
    flat: dict[str, NDArray[Any]] = {}
    for name, array in sorted(state.items()):
        if sp.issparse(array):
            csr = cast(Any, array).tocsr()
            csr.sum_duplicates()
            flat |= {f"{name}.data": csr.data, f"{name}.indices": csr.indices, f"{name}.indptr": csr.indptr, f"{name}.shape": np.array(csr.shape, np.int64)}
        else:
            flat[name] = np.ascontiguousarray(array)
    save_file(flat, path)


def _read(path: Path) -> State:
    if not path.exists():
        raise ReleaseError("file is missing", fix="train again, or roll back to an earlier release", where=str(path))
    flat = load_file(path)
    state: State = {}
    for name, array in flat.items():
        stem, _, part = name.rpartition(".")
        if part == "data" and f"{stem}.indptr" in flat:
            state[stem] = sp.csr_matrix((array, flat[f"{stem}.indices"], flat[f"{stem}.indptr"]), shape=tuple(flat[f"{stem}.shape"].tolist()))
        elif not (part in ("indices", "indptr", "shape") and f"{stem}.data" in flat):
            state[name] = array
    return state
