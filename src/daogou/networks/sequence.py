"""The family of next-item networks: a history becomes states, a state times the shared item table becomes scores.

The family owns windows, length buckets, negatives, the loss, the warm start and inference; a model owns the layers between the item vectors
and the states. Input codes are item + 1, 0 is padding on the left.

Axes: B sequences, L positions, T = L + 1 moments (those of the positions and that of what follows the last), D dimensions, N negatives, I items.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import numpy as np
import scipy.sparse as sp
import structlog
from msgspec import Meta
from numpy.typing import NDArray
from scipy.sparse.linalg import svds

from daogou.config import hyper
from daogou.contract import Codes, Queries, Run, Scores, Times
from daogou.data.dataset import Dataset
from daogou.data.histories import Histories
from daogou.families import Base, State
from daogou.networks import loop, weights
from daogou.networks.backend import Inference, keras, require
from daogou.networks.held_out import hold_out, ndcg

require()
log = structlog.get_logger("daogou.networks")

FEW, MANY = 32, 256  # rows of a compiled batch beside 1: few shapes, because each costs a compilation
SHORT = 16  # lengths up to this are not divided into buckets


class SequenceConfig(loop.LoopConfig, frozen=True):
    epochs: Annotated[int, Meta(ge=1, description="Passes over the people at most, one window of each.")] = 30
    learning_rate: Annotated[float, hyper("Peak step length of Adam.", 3e-4, 1e-2, log=True, gt=0)] = 2e-3
    patience: Annotated[int, Meta(ge=1, description="Epochs without a better validation figure before it stops.")] = 5
    dimensions: Annotated[int, hyper("Width of the item vectors and states.", 32, 256, log=True, ge=4)] = 64
    length: Annotated[int, hyper("Newest events that the network sees.", 20, 200, unit="events", ge=2)] = 100
    newest_share: Annotated[
        float, Meta(ge=0, le=1, description="How often the window that an epoch learns from a long history is the newest one; else it lies anywhere.")
    ] = 0.5
    dropout: Annotated[float, hyper("Share of activations dropped while training.", 0.0, 0.5, ge=0, lt=1)] = 0.2
    negatives: Annotated[int, hyper("Negatives shared by a batch; 0 = the whole catalogue (full softmax).", 128, 4096, log=True, ge=0)] = 512
    popular_share: Annotated[float, hyper("Share of the negatives drawn by popularity, the rest uniformly; corrected by log q.", 0.0, 0.8, ge=0, le=1)] = 0.0
    batch_tokens: Annotated[int, Meta(ge=32, description="Positions in one batch; sequences of like length share one.")] = 3200
    warm_start: Annotated[bool, Meta(description="Whether item vectors start from a factorised co-occurrence matrix.")] = True
    holdout_users: Annotated[int, Meta(ge=0, description="Users whose last event is held out for early stopping.")] = 1000


class Sequence(Base):
    """A next-item network with softmax over shared negatives or the whole catalogue.

    Memory while training: batch_tokens · (N or I) · 12 bytes beside 16 · I · D for the item table and its optimizer. Items without an event in
    training score −inf: nothing was learned of them.
    """

    Settings = SequenceConfig
    config: Any
    by_epochs = True

    @abstractmethod
    def _states(self, k: Any) -> Any:
        """A Keras layer: item vectors [B, L, D], the mask of real positions [B, L] and what `_told` gives to states [B, L, D]. Every layer of it is named."""

    def _told(self, time_BT: Times) -> tuple[Codes, ...]:
        """What the layer is told of time, from the moments of events, µs; 0 where there is padding. Column q + 1 is when the answer of position q is asked for:
        in training the time of the next event, when answering the time of the request. Here: nothing."""
        return ()

    # ---- fitting
    def _fit(self, data: Dataset, run: Run) -> None:
        k, c = keras(run.threads), self.config
        k.utils.set_random_seed(run.seed)
        self._build(k)
        known = data.histories
        keep_E, users = hold_out(known, c.holdout_users, run.seed, self.n_items)
        train, wanted_B, asked_B = known.keep(keep_E), known.item[~keep_E], known.time[~keep_E]
        name = type(self).__name__.lower()
        taught = train.lengths.max() > 1
        self._known_I = (np.bincount(train.item, minlength=self.n_items) > 0) & taught
        if not taught:
            log.warning("nothing to learn an order from: every history has one event", model=name, answers="none")
        else:
            if c.warm_start:
                vectors_ID = _cooccurrence_vectors(train, self.n_items, c.dimensions, run.seed)
                self._table.embeddings.assign(np.vstack([np.zeros((1, c.dimensions), np.float32), vectors_ID]))
            batches = _Batches(train, self.n_items, c, self._told)
            of = loop.fingerprint(name, c, run.seed, self.n_items, train.start, train.item, train.time)
            validate = (lambda: self._held_out_ndcg(train[users], asked_B, wanted_B)) if len(users) else None
            loop.fit(self._objective, batches, batches.steps, c, run, validate=validate, what=name, of=of)
        self._items_ID = weights.array(self._table.embeddings)[1:]

    def _build(self, k: Any) -> None:
        c = self.config
        self._table = k.layers.Embedding(
            self.n_items + 1, c.dimensions, embeddings_initializer=k.initializers.RandomNormal(stddev=0.5 * c.dimensions**-0.5), name="items"
        )
        self._encoder = _encoder(k, self._table, self._states(k), c)
        self._objective = _objective(k, self._encoder, self._table, c)
        codes, told = np.ones((1, c.length), np.int32), self._told(np.zeros((1, c.length + 1), np.int64))
        self._encoder(codes, *told)
        self._objective(codes, codes, np.ones(max(c.negatives, 1), np.int32), np.zeros(self.n_items + 1, np.float32), *told)
        self._last_states = Inference(self._encoder)

    def _held_out_ndcg(self, history: Histories, asked_B: Times, wanted_B: Codes) -> float:
        self._items_ID = weights.array(self._table.embeddings)[1:]
        return ndcg(self._score_histories(history, asked_B), history, wanted_B)

    # ---- answering
    def _score(self, queries: Queries) -> Scores:
        """[B, I] logits; a history without an item of training scores −inf everywhere: the network has nothing to say."""
        history = queries.history
        known = (history.item >= 0) & (history.item < self.n_items)
        known[known] = self._known_I[history.item[known]]
        return self._score_histories(history.keep(known), queries.now_B)

    def _score_histories(self, history: Histories, asked_B: Times) -> Scores:
        out_BI = np.full((len(history), self.n_items), -np.inf, np.float32)
        for rows, codes_BL, time_BT in _padded(history, asked_B, self.config.length):
            out_BI[rows] = self._last_states(codes_BL, *self._told(time_BT))[: len(rows)] @ self._items_ID.T
        out_BI[:, ~self._known_I] = -np.inf
        return out_BI

    def _state(self) -> State:
        return {**weights.read(self._encoder), "known": self._known_I.astype(np.uint8)}

    def _restore(self, state: State) -> None:
        self._build(keras())
        self._known_I = np.asarray(state["known"]).astype(np.bool_)
        weights.write(self._encoder, {name: np.asarray(array) for name, array in state.items() if name != "known"})
        self._items_ID = weights.array(self._table.embeddings)[1:]
        told = self._told(np.zeros((1, self.config.length + 1), np.int64))
        self._last_states(np.ones((1, self.config.length), np.int32), *told)  # compiled now, not while the first shopper waits


def _encoder(k: Any, table: Any, states: Any, config: SequenceConfig) -> Any:
    """codes [B, L], and what `_told` gives → state after the last position [B, D]; `every` gives all states, for training."""

    class Encoder(k.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="encoder")
            self.items, self.states = table, states
            self.drop = k.layers.Dropout(config.dropout, name="input_dropout")

        def build(self, *shapes: Any) -> None:
            """Its layers build themselves when first called: shapes follow from the item table."""

        def every(self, codes: Any, *told: Any, training: bool) -> Any:
            return self.states(self.drop(self.items(codes), training=training), codes > 0, *told, training=training)

        def call(self, codes: Any, *told: Any, training: bool = False) -> Any:
            return self.every(codes, *told, training=training)[:, -1]

    return Encoder()


def _objective(k: Any, encoder: Any, table: Any, config: SequenceConfig) -> Any:
    """(codes [B, L], next codes [B, L], negatives [N], log q [I + 1], what `_told` gives) → mean cross-entropy over real positions.

    Sampled softmax with one set of negatives for the batch, so that it is two products of matrices. Scores are corrected by the log of how often the
    sampler proposes an item, relative to uniform (Bengio & Senécal 2008); for uniform negatives that is 0.
    """
    ops = k.ops

    class NextItem(k.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="objective")
            self.encoder, self.items = encoder, table

        def build(self, *shapes: Any) -> None:
            """Its layers build themselves when first called."""

        def call(self, codes: Any, wanted: Any, negatives: Any, log_q: Any, *told: Any, training: bool = False) -> Any:
            states = ops.reshape(self.encoder.every(codes, *told, training=training), (-1, config.dimensions))
            flat = ops.reshape(wanted, (-1,))
            real = ops.cast(flat > 0, "float32")
            if config.negatives:
                own = ops.sum(states * self.items(flat), axis=-1) - ops.take(log_q, flat)
                others = ops.matmul(states, ops.transpose(self.items(negatives))) - ops.take(log_q, negatives)
                others = ops.where(negatives[None, :] == flat[:, None], -1e9, others)  # a target is never its own negative
                nll = ops.logaddexp(own, ops.logsumexp(others, axis=-1)) - own
            else:
                logits = ops.matmul(states, ops.transpose(self.items.embeddings[1:]))
                own = ops.take_along_axis(logits, ops.maximum(flat - 1, 0)[:, None], axis=1)[:, 0]
                nll = ops.logsumexp(logits, axis=-1) - own
            return ops.sum(nll * real) / ops.maximum(ops.sum(real), 1.0)

    return NextItem()


class _Batches:
    """One epoch of batches: one window of each history, windows of like length together. Shapes are few: each costs a compilation.

    What lies in a batch follows from the generator alone. Long histories give another window in each epoch, so that an epoch is short and nothing is lost.
    """

    def __init__(self, histories: Histories, n_items: int, config: SequenceConfig, told: Callable[[Times], tuple[Codes, ...]]) -> None:
        self._codes, self._time, self._told = histories.item + 1, histories.time, told
        some = histories.lengths > 1
        self._start, self._end = histories.start[:-1][some], histories.start[1:][some]
        self._length, self._newest = config.length, config.newest_share
        steps = np.minimum(self._end - self._start - 1, config.length)
        bounds = buckets(config.length)
        inside = [np.flatnonzero((steps > low) & (steps <= high)) for low, high in zip([0, *bounds], bounds, strict=False)]
        self._buckets = [(high, some, max(1, config.batch_tokens // high)) for high, some in zip(bounds, inside, strict=True) if len(some)]
        self.steps = sum(-(-len(some) // rows) for _, some, rows in self._buckets)
        self._n_items, self._negatives = n_items, max(config.negatives, 1)
        share, count_I = config.popular_share, np.bincount(histories.item, minlength=n_items)
        q_I = share * count_I / max(1, count_I.sum()) + (1 - share) / n_items
        self._cumulative = np.cumsum(q_I) if share else None
        self._log_q = np.append(0.0, np.log(np.maximum(q_I * n_items, 1e-9))).astype(np.float32)

    def __call__(self, rng: np.random.Generator) -> Iterator[tuple[Codes | Scores, ...]]:
        """Codes, next codes, negatives, log q, and what `told` makes of the moments."""
        plan = []
        for high, some, rows in self._buckets:
            order = rng.permutation(some)
            plan += [(high, rows, order[first : first + rows]) for first in range(0, len(order), rows)]
        for n in rng.permutation(len(plan)):
            high, rows, chosen = plan[n]
            codes_BT, time_BT = np.zeros((rows, high + 1), np.int32), np.zeros((rows, high + 1), np.int64)
            for b, r in enumerate(chosen):
                window = self._window(int(self._start[r]), int(self._end[r]), rng)
                first = high + 1 - (window.stop - window.start)
                codes_BT[b, first:], time_BT[b, first:] = self._codes[window], self._time[window]
            wanted_BL = codes_BT[:, 1:] * (codes_BT[:, :-1] > 0)  # the first event of a window follows nothing
            yield codes_BT[:, :-1], wanted_BL, self._draw(rng), self._log_q, *self._told(time_BT)

    def _window(self, start: int, end: int, rng: np.random.Generator) -> slice:
        """At most length + 1 events of the row that lies there."""
        spare = end - start - self._length - 1
        if spare <= 0:
            return slice(start, end)
        end = end if rng.random() < self._newest else end - int(rng.integers(spare + 1))
        return slice(end - self._length - 1, end)

    def _draw(self, rng: np.random.Generator) -> Codes:
        """[N] codes"""
        if self._cumulative is None:
            return rng.integers(1, self._n_items + 1, self._negatives, dtype=np.int32)
        drawn = np.searchsorted(self._cumulative, rng.random(self._negatives) * self._cumulative[-1], side="right")
        codes_N: Codes = (1 + np.minimum(drawn, self._n_items - 1)).astype(np.int32)
        return codes_N


def buckets(length: int) -> list[int]:
    """Padded lengths in use: a quarter, a half and the whole."""
    return [length] if length <= SHORT else sorted({length // 4, length // 2, length})


def _padded(histories: Histories, asked_B: Times, length: int) -> Iterator[tuple[NDArray[np.int64], Codes, Times]]:
    """Rows that have an event, as left-padded codes of few shapes, [1 or FEW, length] or [MANY, one of the buckets], and the moments that belong to them."""
    lengths = np.minimum(histories.lengths, length)
    some = np.flatnonzero(lengths)
    bounds = buckets(length)
    parts = (
        [(length, some)]
        if len(some) <= FEW
        else [(high, some[(lengths[some] > low) & (lengths[some] <= high)]) for low, high in zip([0, *bounds], bounds, strict=False)]
    )
    size = 1 if len(some) == 1 else FEW if len(some) <= FEW else MANY
    for high, rows in parts:
        for first in range(0, len(rows), size):
            chosen = rows[first : first + size]
            part = histories[chosen].tail(high)
            codes_BL, time_BT = np.zeros((size, high), np.int32), np.zeros((size, high + 1), np.int64)
            at = part.row, high - 1 - part.age
            codes_BL[at], time_BT[at] = part.item + 1, part.time
            time_BT[: len(chosen), -1] = asked_B[chosen]
            yield chosen, codes_BL, time_BT


def _cooccurrence_vectors(histories: Histories, n_items: int, dimensions: int, seed: int) -> Scores:
    """[I, D] left singular vectors of the positive PMI of items at most five events apart (Levy & Goldberg 2014), of norm ½; random where there is none.

    On ml-1m one epoch from here is worth about five from random vectors.
    """
    row, item = histories.row, histories.item
    counts: Any = sp.csr_matrix((n_items, n_items))
    for lag in range(1, 6):
        near = row[lag:] == row[:-lag]
        a, b = item[:-lag][near], item[lag:][near]
        counts = counts + sp.csr_matrix((np.full(len(a), 0.7 ** (lag - 1), np.float32), (a, b)), shape=(n_items, n_items))
    total = (counts + counts.T).tocoo()
    count_I = np.asarray(total.sum(axis=1)).ravel() + 1.0
    pmi = np.maximum(np.log(total.data * count_I.sum() / (count_I[total.row] * count_I[total.col])), 0)
    matrix = sp.csr_matrix((pmi, (total.row, total.col)), shape=(n_items, n_items))
    rng = np.random.default_rng([seed, 2])
    vectors_ID = rng.normal(scale=0.5 * dimensions**-0.5, size=(n_items, dimensions))
    rank = min(dimensions, n_items - 1)
    if rank >= 1 and matrix.nnz and matrix.data.any():
        left, value, _ = svds(matrix.astype(np.float64), k=rank, v0=rng.normal(size=n_items))
        turned = (left * np.sqrt(value)) @ np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0][:rank]
        norm = np.linalg.norm(turned, axis=1, keepdims=True)
        vectors_ID = np.where(norm > 1e-6, 0.5 * turned / np.maximum(norm, 1e-6), vectors_ID)
    return vectors_ID.astype(np.float32)
