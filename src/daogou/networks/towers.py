"""The family of two-tower networks: one tower makes a vector of an item, the other of a shopper, and their product is the score.

Both see an item as what is known of it without events (content) and, where it has events, as a vector of its own. The own vectors of a random share of the
items are left out of every training step, on both sides, as if those items were new: so content learns to answer alone, and what is new is simply
an item without an own vector (DropoutNet, Volkovs et al. 2017).

The family owns content, batches, negatives, the loss and answering, which needs numpy alone; a model owns the towers.

Axes: B queries or examples, S scales of recency, L positions, C candidates of a batch, I items, F numbers of content, A of attributes, D dimensions.
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import scipy.sparse as sp
from msgspec import Meta
from numpy.typing import NDArray

from daogou.config import hyper
from daogou.contract import Mask, Queries, Run, Scores
from daogou.data.dataset import Dataset
from daogou.data.histories import Histories
from daogou.families import State, Vectors
from daogou.networks import loop, weights
from daogou.networks.attributes import Attributes
from daogou.networks.backend import keras, require
from daogou.networks.held_out import guests, hold_out, ndcg

require()

SCALES = (1.5, 15.0)
"""Events after which the weight of an older one falls to 1/e: what someone is after now, and what they like."""
SILENT = 0.2
"""Share of examples whose attributes are hidden, so that people who registered nothing are answered too."""


class TowerConfig(loop.LoopConfig, frozen=True):
    epochs: Annotated[int, Meta(ge=1, description="Passes over the examples at most.")] = 10
    learning_rate: Annotated[float, hyper("Peak step length of Adam.", 3e-4, 1e-2, log=True, gt=0)] = 2e-3
    weight_decay: Annotated[float, hyper("Decoupled L2 (AdamW).", 0, 0.3, ge=0)] = 0.02
    patience: Annotated[int, Meta(ge=1, description="Epochs without a better validation figure before it stops.")] = 3
    dimensions: Annotated[int, hyper("Length of the vectors.", 16, 256, log=True, ge=2)] = 64
    length: Annotated[int, hyper("Newest events that are looked at.", 10, 200, unit="events", ge=1)] = 50
    batch_size: Annotated[int, hyper("Examples of a step; each one's item is a negative of the others.", 128, 2048, log=True, unit="examples", ge=2)] = 512
    negatives: Annotated[int, hyper("Random items beside them, shared by the batch.", 64, 2048, log=True, ge=1)] = 512
    temperature: Annotated[float, hyper("Of the softmax; products of unit vectors are divided by it.", 0.03, 0.3, log=True, gt=0)] = 0.08
    unit: Annotated[bool, Meta(description="Whether vectors have unit length, so that the score is a cosine.")] = True
    left_out: Annotated[float, hyper("Share of items whose own vector is left out of a step.", 0, 0.8, ge=0, lt=1)] = 0.3
    dropout: Annotated[float, hyper("Share of inputs dropped while training.", 0.0, 0.5, ge=0, lt=1)] = 0.2
    examples: Annotated[int, Meta(ge=1, description="Events that one epoch learns from at most, drawn anew for each.")] = 100_000
    holdout_users: Annotated[int, Meta(ge=0, description="Users whose last event is held out for early stopping.")] = 1000


class Towers(Vectors):
    """Softmax over the batch's own items and shared random ones, each corrected by the log of how often it is expected among them (Yi et al. 2019).

    Memory: 4 · I · (F + D) bytes, 16 · I · D more in training; serving 4 · I · (F + 2 D). Keeps no row for a person.
    """

    Settings = TowerConfig
    config: Any

    @abstractmethod
    def _content(self, data: Dataset, run: Run) -> Scores:
        """[I, F] what is known of items without events; 0 where nothing is."""

    @abstractmethod
    def _towers(self, k: Any) -> tuple[Any, Any]:
        """Keras layers (named, as all of theirs are): content [C, F] and own vectors [C, D] → items [C, D]; and content [B, S, F] and own vectors [B, S, D]
        of the history by scale and attributes [B, A] → people [B, D]."""

    @abstractmethod
    def _items(self, weights: State, content_CF: Scores, own_CD: Scores) -> Scores:
        """The tower of items on arrays, by the weights of `_towers`."""

    @abstractmethod
    def _people(self, weights: State, content_BSF: Scores, own_BSD: Scores, attributes_BA: Scores) -> Scores:
        """The tower of people on arrays."""

    # ---- fitting
    def _fit(self, data: Dataset, run: Run) -> None:
        k, c = keras(run.threads), self.config
        k.utils.set_random_seed(run.seed)
        self._content_IF = self._content(data, run)
        self._about_users = Attributes.of(data.user_table)
        attributes_UA = self._about_users.table(data.user_table)
        known = data.histories
        keep_E, held = hold_out(known, c.holdout_users, run.seed, self.n_items)
        train, wanted_B = known.keep(keep_E), known.item[~keep_E]
        self._sold_I = np.bincount(train.item, minlength=self.n_items) > 0
        towers = self._towers(k)
        objective = _objective(k, self.n_items, *towers, c)
        batches = Examples(train, self._content_IF, attributes_UA, c)
        objective(*next(batches(np.random.default_rng(0))))

        def validate() -> float:
            self._learned(objective)
            asked = guests(train[held])
            return ndcg(self._score_with(asked, attributes_UA[held]), train[held], wanted_B)

        name = type(self).__name__.lower()
        of = loop.fingerprint(name, c, run.seed, self._content_IF, train.start, train.item, train.weight, attributes_UA.indices)
        loop.fit(objective, batches, batches.steps, c, run, validate=validate if len(held) else None, what=name, of=of)
        self._learned(objective)

    def _learned(self, objective: Any) -> None:
        """Takes the weights out of Keras, and the vectors of all items."""
        self._own_ID = weights.array(objective.own.embeddings)[1:] * self._sold_I[:, None]
        self._weights: State = {f"{name}.{key}": array for name, part in objective.towers.items() for key, array in _arrays(part).items()}
        self._set_vectors()

    def _set_vectors(self) -> None:
        vectors_ID = _unit(self._items(self._weights, self._content_IF, self._own_ID)) if self.config.unit else None
        vectors_ID = self._items(self._weights, self._content_IF, self._own_ID) if vectors_ID is None else vectors_ID
        self.vectors_ID = np.where(self._known_I[:, None], vectors_ID, 0).astype(np.float32)

    @property
    def _known_I(self) -> Mask:
        """Items that have an event or content."""
        return np.asarray(self._sold_I | self._content_IF.any(axis=1))

    # ---- answering
    def _fold_in(self, queries: Queries) -> Scores:
        return self._folded(queries.history, self._about_users.encode(queries.attributes, len(queries)))

    def _folded(self, history: Histories, attributes_BA: sp.csr_matrix) -> Scores:
        """[B, D] divided by the temperature, so that scores are logits."""
        known = (history.item >= 0) & (history.item < self.n_items)
        known[known] = self._known_I[history.item[known]]
        weights_SBI = recency(history.keep(known).tail(self.config.length), self.n_items)
        content_BSF, own_BSD = (np.stack([np.asarray(w @ rows) for w in weights_SBI], axis=1).astype(np.float32) for rows in (self._content_IF, self._own_ID))
        people_BD = self._people(self._weights, content_BSF, own_BSD, attributes_BA.toarray())
        return np.asarray((_unit(people_BD) if self.config.unit else people_BD) / self.config.temperature, np.float32)

    def _score(self, queries: Queries) -> Scores:
        """[B, I]; −inf for items of which nothing is known. Someone of whom nothing is known is answered as everyone."""
        return self._score_with(queries, self._about_users.encode(queries.attributes, len(queries)))

    def _score_with(self, queries: Queries, attributes_BA: sp.csr_matrix) -> Scores:
        scores_BI = np.asarray(self._folded(queries.history, attributes_BA) @ self.vectors_ID.T, np.float32)
        scores_BI[:, ~self._known_I] = -np.inf
        return scores_BI

    # ---- files
    def _state(self) -> State:
        about = {"content": self._content_IF, "own": self._own_ID, "sold": self._sold_I.astype(np.uint8), "about_users": self._about_users.to_array()}
        return {**about, **{f"tower.{name}": array for name, array in self._weights.items()}}

    def _restore(self, state: State) -> None:
        self._content_IF, self._own_ID = np.asarray(state["content"]), np.asarray(state["own"])
        self._sold_I, self._about_users = np.asarray(state["sold"]).astype(np.bool_), Attributes.from_array(state["about_users"])
        self._weights = {name.removeprefix("tower."): np.asarray(array) for name, array in state.items() if name.startswith("tower.")}
        self._set_vectors()


def recency(history: Histories, n_items: int) -> list[sp.csr_matrix]:
    """For each of `SCALES` [B, I]: weights of the events that fall with their age, summing to 1 in each row that has events."""
    out = []
    for scale in SCALES:
        weights_BI = history.matrix(n_items, history.weight * np.exp(-history.age / scale))
        total_B = np.asarray(weights_BI.sum(axis=1))[:, 0]
        out.append(sp.csr_matrix(sp.diags(np.divide(1.0, total_B, out=np.zeros_like(total_B), where=total_B > 0)) @ weights_BI))
    return out


def _unit(vectors: Scores) -> Scores:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9), np.float32)


def _arrays(layer: Any) -> dict[str, Scores]:
    """`NAME.kernel` and `NAME.bias` of every layer inside."""
    return {".".join(v.path.split("/")[-2:]): weights.array(v).copy() for v in layer.trainable_variables}


def _objective(k: Any, n_items: int, items: Any, people: Any, config: TowerConfig) -> Any:
    """(candidates [C] and their content [C, F]; history codes [B, L], weights [B, S, L] and content [B, S, F]; attributes [B, A]; log q [C]; own vectors in
    use [I + 1]) → mean cross-entropy. The wanted items are the first B candidates; code 0 is none."""
    ops = k.ops
    start = k.initializers.RandomNormal(stddev=0.1 * config.dimensions**-0.5)

    class Chosen(k.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="objective")
            self.own = k.layers.Embedding(n_items + 1, config.dimensions, embeddings_initializer=start, name="own")
            self.items, self.people = items, people
            self.drop = k.layers.Dropout(config.dropout, name="drop")

        @property
        def towers(self) -> dict[str, Any]:
            return {"items": self.items, "people": self.people}

        def build(self, *shapes: Any) -> None:
            """Its layers build themselves when first called."""

        def call(self, codes: Any, content: Any, history: Any, shares: Any, past: Any, attributes: Any, log_q: Any, used: Any, training: bool = False) -> Any:
            def own(c: Any) -> Any:
                return self.own(c) * ops.take(used, c)[..., None]

            def dropped(x: Any) -> Any:
                return self.drop(x, training=training)

            rows = self.people(dropped(past), dropped(ops.matmul(shares, own(history))), dropped(attributes))
            columns = self.items(dropped(content), dropped(own(codes)))
            if config.unit:
                rows, columns = (x / ops.sqrt(ops.sum(x * x, axis=-1, keepdims=True) + 1e-12) for x in (rows, columns))
            logits = ops.matmul(rows, ops.transpose(columns)) / config.temperature - log_q[None, :]
            n = ops.shape(shares)[0]
            place = ops.arange(ops.shape(codes)[0])
            # Whoever wanted the same item, or drew it, is no negative of it.
            twin = ops.logical_and(codes[None, :] == codes[:n][:, None], place[None, :] != place[:n][:, None])
            logits = ops.where(twin, -1e9, logits)
            real = ops.cast(codes[:n] > 0, "float32")
            own_logit = ops.sum(ops.where(place[None, :] == place[:n][:, None], logits, 0.0), axis=1)
            return ops.sum((ops.logsumexp(logits, axis=-1) - own_logit) * real) / ops.maximum(ops.sum(real), 1.0)

    return Chosen()


class Examples:
    """One epoch: events in random order, each with what its person had before it (for their first event: nothing)."""

    def __init__(self, histories: Histories, content_IF: Scores, attributes_UA: sp.csr_matrix, config: TowerConfig) -> None:
        self._h, self._content, self._attributes, self._config = histories, content_IF, attributes_UA, config
        self._row, self._n_items = histories.row, len(content_IF)
        self._own_I = np.bincount(histories.item, minlength=self._n_items)
        self._size = min(config.batch_size, max(2, len(histories.item)))
        self._many = min(config.examples, len(histories.item))
        self.steps = -(-self._many // self._size)

    def __call__(self, rng: np.random.Generator) -> Iterator[tuple[NDArray[Any], ...]]:
        order = rng.permutation(len(self._h.item))[: self._many]
        for first in range(0, self._many, self._size):
            yield self._batch(order[first : first + self._size], rng)

    def _batch(self, events: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        c, n, size = self._config, len(events), self._size
        past = self._past(events)
        weights_SBI = recency(past, self._n_items)
        content_BSF = np.zeros((size, len(SCALES), self._content.shape[1]), np.float32)
        content_BSF[:n] = np.stack([np.asarray(w @ self._content) for w in weights_SBI], axis=1)
        history_BL, shares_BSL = np.zeros((size, c.length), np.int32), np.zeros((size, len(SCALES), c.length), np.float32)
        history_BL[past.row, past.age] = past.item + 1
        for s, scale in enumerate(SCALES):
            shares_BSL[past.row, s, past.age] = past.weight * np.exp(-past.age / scale)
        shares_BSL /= np.maximum(shares_BSL.sum(axis=2, keepdims=True), 1e-12)
        attributes_BA = np.zeros((size, self._attributes.shape[1]), np.float32)
        attributes_BA[:n] = self._attributes[self._row[events]].toarray() * (rng.random((n, 1)) >= SILENT)
        drawn_N = rng.integers(0, self._n_items, c.negatives)
        codes_C = np.zeros(size + c.negatives, np.int32)
        codes_C[:n], codes_C[size:] = self._h.item[events] + 1, drawn_N + 1
        content_CF = self._content[np.maximum(codes_C - 1, 0)]
        # Expected copies of an item among the candidates: from the batch by its frequency, from the draw equally.
        expected_C = n * self._own_I[np.maximum(codes_C - 1, 0)] / max(len(self._h.item), 1) + c.negatives / self._n_items
        log_q_C = np.where(codes_C > 0, np.log(np.maximum(expected_C, 1e-9)), 1e9).astype(np.float32)
        used = (rng.random(self._n_items + 1) >= c.left_out).astype(np.float32)
        used[1:] *= self._own_I > 0
        used[0] = 0
        return codes_C, content_CF, history_BL, shares_BSL, content_BSF, attributes_BA, log_q_C, used

    def _past(self, events: NDArray[np.int64]) -> Histories:
        """What came before each event, the newest `length` of it."""
        begin = np.maximum(self._h.start[self._row[events]], events - self._config.length)
        count = events - begin
        start = np.concatenate([[0], np.cumsum(count)])
        take = np.repeat(begin - start[:-1], count) + np.arange(start[-1])
        return Histories(start, self._h.item[take], self._h.time[take], self._h.weight[take])
