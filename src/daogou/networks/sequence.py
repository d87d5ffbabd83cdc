"""The family of next-item networks: a history becomes states, a state times the shared item table becomes scores.

The family owns windows, length buckets, negatives, the loss, the warm start and inference; a model owns the layers between the item vectors
and the states. Input codes are item + 1, 0 is padding on the left.

Axes: B sequences, L positions, D dimensions, N negatives, I items.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence as Seq
from typing import Annotated, Any

import numpy as np
import scipy.sparse as sp
from msgspec import Meta
from scipy.sparse.linalg import svds

from daogou.config import hyper
from daogou.contract import Queries, Run, Scores
from daogou.data.dataset import Dataset
from daogou.data.histories import Histories
from daogou.families import Base, State
from daogou.networks import loop, weights
from daogou.networks.backend import inference, keras


class SequenceConfig(loop.LoopConfig):
    dimensions: Annotated[int, hyper("Width of the item vectors and states.", 32, 256, log=True, ge=4)] = 64
    length: Annotated[int, hyper("Newest events that the network sees.", 20, 200, unit="events", ge=2)] = 100
    dropout: Annotated[float, hyper("Share of activations dropped while training.", 0.0, 0.5, ge=0, lt=1)] = 0.2
    negatives: Annotated[int, hyper("Uniform negatives shared by a batch; 0 = the whole catalogue (full softmax).", 128, 4096, log=True, ge=0)] = 512
    batch_tokens: Annotated[int, Meta(ge=32, description="Positions in one batch; sequences of like length share one.")] = 6400
    warm_start: Annotated[bool, Meta(description="Whether item vectors start from a factorised co-occurrence matrix.")] = True
    holdout_users: Annotated[int, Meta(ge=0, description="Users whose last event is held out for early stopping.")] = 1000


class Sequence(Base):
    """A next-item network with softmax over shared negatives or the whole catalogue (memory: batch_tokens · (N or I) · 4 bytes)."""

    Settings = SequenceConfig
    config: Any

    @abstractmethod
    def _states(self, k: Any) -> Any:
        """A Keras layer or model: item vectors [B, L, D] and the mask of real positions [B, L] to states [B, L, D]. Every layer is named."""

    # ---- fitting
    def _fit(self, data: Dataset, run: Run) -> None:
        k = keras(run.threads)
        k.utils.set_random_seed(run.seed)
        self._build(k)
        known = data.histories
        train, held = _hold_out(known, self.config.holdout_users, run.seed)
        windows = _windows(train, self.config.length)
        if self.config.warm_start:
            start = _cooccurrence_vectors(train, self.n_items, self.config.dimensions, run.seed)
            self._table.embeddings.assign(np.vstack([np.zeros((1, self.config.dimensions), np.float32), start]))
        batches = _Batches(windows, self.n_items, self.config)
        validate = None if held is None else lambda: self._held_out_ndcg(*held)
        loop.fit(self._objective, batches, batches.steps, self.config, run, validate=validate, what=type(self).__name__.lower())
        self._compile()

    def _build(self, k: Any) -> None:
        c = self.config
        self._table = k.layers.Embedding(
            self.n_items + 1, c.dimensions, embeddings_initializer=k.initializers.RandomNormal(stddev=c.dimensions**-0.5), name="items"
        )
        self._encoder = _encoder(k, self._table, self._states(k), c)
        self._objective = _objective(k, self._encoder, self._table, c.negatives > 0)
        codes = np.ones((1, c.length), np.int32)
        self._encoder(codes)
        self._objective(codes, codes, np.ones(max(c.negatives, 1), np.int32))

    def _compile(self) -> None:
        self._run = inference(self._encoder)
        self._items_ID = weights.array(self._table.embeddings)[1:]

    def _held_out_ndcg(self, history: Histories, wanted: np.ndarray) -> float:
        self._compile()
        scores = self._score(_queries(history))
        scores[history.seen(self.n_items)] = -np.inf
        target = scores[np.arange(len(wanted)), wanted]
        rank = (scores > target[:, None]).sum(axis=1)
        return float(np.where(rank < 10, 1 / np.log2(rank + 2.0), 0).mean())

    # ---- answering
    def _score(self, queries: Queries) -> Scores:
        """[B, I] logits; a history without a known event scores −inf everywhere: the network has nothing to say."""
        known = queries.history.keep((queries.history.item >= 0) & (queries.history.item < self.n_items))
        out = np.full((len(queries), self.n_items), -np.inf, np.float32)
        for rows, codes_BL in _padded(known, self.config.length):
            states_BD = self._run(codes_BL)[: len(rows)]
            out[rows] = states_BD @ self._items_ID.T
        return out

    def _state(self) -> State:
        return dict(weights.read(self._encoder))

    def _restore(self, state: State) -> None:
        k = keras()
        self._build(k)
        weights.write(self._encoder, {name: np.asarray(array) for name, array in state.items()})
        self._compile()


def _encoder(k: Any, table: Any, states: Any, config: SequenceConfig) -> Any:
    """codes [B, L] → state after the last position [B, D], or all states when training."""

    class Encoder(k.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(name="encoder")
            self.items, self.states = table, states
            self.drop = k.layers.Dropout(config.dropout, name="input_dropout")

        def build(self, *shapes: Any) -> None:
            """As for the objective."""

        def every(self, codes: Any, training: bool) -> Any:
            return self.states(self.drop(self.items(codes), training=training), codes > 0, training=training)

        def call(self, codes: Any, training: bool = False) -> Any:
            return self.every(codes, training)[:, -1]

    return Encoder()


def _objective(k: Any, encoder: Any, table: Any, sampled: bool) -> Any:
    """(codes [B, L], next codes [B, L], negatives [N]) → mean cross-entropy over real positions.

    With uniform negatives the correction log q is the same for every item and cancels.
    """
    ops = k.ops

    class NextItem(k.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(name="objective")
            self.encoder, self.items = encoder, table

        def build(self, *shapes: Any) -> None:
            """Layers are built by the first call: shapes follow from the item table."""

        def call(self, codes: Any, wanted: Any, negatives: Any, training: bool = False) -> Any:
            states = ops.reshape(self.encoder.every(codes, training), (-1, table.output_dim))
            flat = ops.reshape(wanted, (-1,))
            real = ops.cast(flat > 0, "float32")
            if sampled:
                own = ops.sum(states * self.items(flat), axis=-1)
                others = ops.matmul(states, ops.transpose(self.items(negatives)))
                others = ops.where(negatives[None, :] == flat[:, None], -1e9, others)  # a target is never its own negative
                nll = ops.logaddexp(own, ops.logsumexp(others, axis=-1)) - own
            else:
                logits = ops.matmul(states, ops.transpose(self.items.embeddings[1:]))
                own = ops.take_along_axis(logits, ops.maximum(flat - 1, 0)[:, None], axis=1)[:, 0]
                nll = ops.logsumexp(logits, axis=-1) - own
            return ops.sum(nll * real) / ops.maximum(ops.sum(real), 1.0)

    return NextItem()


class _Batches:
    """One epoch of batches: windows of like length together, order and negatives from the generator. Shapes are few: each costs a compilation."""

    def __init__(self, windows: Seq[np.ndarray], n_items: int, config: SequenceConfig) -> None:
        self._n_items, self._negatives = n_items, max(config.negatives, 1)
        self._buckets: list[tuple[int, list[np.ndarray]]] = []
        bounds = buckets(config.length)
        for low, high in zip([0, *bounds], bounds, strict=False):
            inside = [w for w in windows if low < len(w) - 1 <= high]
            if inside:
                self._buckets.append((high, inside))
        self._rows = {high: max(1, config.batch_tokens // high) for high, _ in self._buckets}
        self.steps = sum(-(-len(inside) // self._rows[high]) for high, inside in self._buckets)

    def __call__(self, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        plan = []
        for b, (high, inside) in enumerate(self._buckets):
            order, rows = rng.permutation(len(inside)), self._rows[high]
            plan += [(b, order[s : s + rows]) for s in range(0, len(order), rows)]
        for n in rng.permutation(len(plan)):
            b, chosen = plan[n]
            high, inside = self._buckets[b]
            codes = np.zeros((self._rows[high], high), np.int32)
            wanted = np.zeros_like(codes)
            for row, w in enumerate(chosen):
                window = inside[w]
                codes[row, high - len(window) + 1 :], wanted[row, high - len(window) + 1 :] = window[:-1], window[1:]
            yield codes, wanted, rng.integers(1, self._n_items + 1, self._negatives, dtype=np.int32)


def buckets(length: int) -> list[int]:
    """Padded lengths in use: a quarter, a half and the whole."""
    return sorted({max(1, length // 4), max(1, length // 2), length})


def _windows(histories: Histories, length: int) -> list[np.ndarray]:
    """Codes (item + 1) cut from the end into windows of at most `length` steps that overlap by one event, so that each event is a target once."""
    out = []
    for b in range(len(histories)):
        row = histories.item[histories.start[b] : histories.start[b + 1]] + 1
        end = len(row)
        while end > 1:
            begin = max(0, end - length - 1)
            out.append(row[begin:end])
            end = begin + 1 if begin else 0
    return out


def _hold_out(histories: Histories, n_users: int, seed: int) -> tuple[Histories, tuple[Histories, np.ndarray] | None]:
    """Takes the last event of up to `n_users` (at most a third of those with three events) out of training, for early stopping."""
    able = np.flatnonzero(histories.lengths >= 3)
    n = min(n_users, len(able) // 3)
    if not n:
        return histories, None
    users = np.sort(np.random.default_rng([seed, 1]).choice(able, n, replace=False))
    last = histories.start[users + 1] - 1
    keep = np.ones(len(histories.item), np.bool_)
    keep[last] = False
    train = histories.keep(keep)
    return train, (train[users], histories.item[last])


def _padded(histories: Histories, length: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows that have an event, as left-padded codes of few shapes; the batch is padded too."""
    lengths = np.minimum(histories.lengths, length)
    bounds = buckets(length)
    for low, high in zip([0, *bounds], bounds, strict=False):
        rows = np.flatnonzero((lengths > low) & (lengths <= high))
        block = max(1, 25_600 // high)
        for s in range(0, len(rows), block):
            chosen = rows[s : s + block]
            part = histories[chosen].tail(high)
            size = 1 if len(chosen) == 1 else min(block, 1 << (len(chosen) - 1).bit_length())
            codes = np.zeros((size, high), np.int32)
            codes[part.row, high - 1 - part.age] = part.item + 1
            yield chosen, codes


def _cooccurrence_vectors(histories: Histories, n_items: int, dimensions: int, seed: int) -> np.ndarray:
    """[I, D] left singular vectors of the shifted positive PMI of items at most five events apart (Levy & Goldberg 2014), of norm ½.

    On ml-1m one epoch from here is worth about five from random vectors (docs/log.md).
    """
    row, item = histories.row, histories.item
    total = sp.csr_matrix((n_items, n_items), dtype=np.float32)
    for lag in range(1, 6):
        near = row[lag:] == row[:-lag]
        a, b = item[:-lag][near], item[lag:][near]
        total = total + sp.csr_matrix((np.full(len(a), 0.7 ** (lag - 1), np.float32), (a, b)), shape=(n_items, n_items))
    total = sp.coo_matrix(total + total.T)
    count = np.asarray(total.sum(axis=1)).ravel() + 1.0
    pmi = np.maximum(np.log(total.data * count.sum() / (count[total.row] * count[total.col])), 0)
    matrix = sp.csr_matrix((pmi, (total.row, total.col)), shape=(n_items, n_items))
    rng = np.random.default_rng([seed, 2])
    vectors = rng.normal(scale=0.5 * dimensions**-0.5, size=(n_items, dimensions))
    rank = min(dimensions, n_items - 1)
    if rank >= 1 and matrix.nnz:
        left, value, _ = svds(matrix.astype(np.float64), k=rank, v0=rng.normal(size=n_items))
        turned = (left * np.sqrt(value)) @ np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0][:rank]
        norm = np.linalg.norm(turned, axis=1, keepdims=True)
        vectors = np.where(norm > 1e-6, 0.5 * turned / np.maximum(norm, 1e-6), vectors)
    return vectors.astype(np.float32)


def _queries(history: Histories) -> Queries:
    n = len(history)
    return Queries(history=history, user_B=np.full(n, -1, np.int32), now_B=np.zeros(n, np.int64), context=Histories.empty(n))
