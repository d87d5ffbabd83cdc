"""The family of networks that judge pairs: a user vector and an item vector go in, the logit of an interaction comes out.

The family owns the two tables, negatives, the loss and cold start; a model owns the network between the vectors and the logit.

People without a row (guests, later customers) and items without an event are answered by ridge regression in closed form: the rows learned are regressed
on what is known without them (mean item vector of the history and attributes; attributes), and the regression stands in. So the network stays what
it is, and the last click counts at once.

Axes: B queries or examples, C candidates, I items, U users, W width of a vector, F features.
"""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import numpy as np
import scipy.sparse as sp
from msgspec import Meta
from numpy.typing import NDArray

from daogou.config import hyper
from daogou.contract import Codes, Queries, Reason, Run, Scores
from daogou.data.dataset import Dataset
from daogou.factors import factorise
from daogou.families import Base, State
from daogou.networks import loop, weights
from daogou.networks.attributes import Attributes
from daogou.networks.backend import Inference, keras, require
from daogou.networks.held_out import guests, hold_out, ndcg

require()

FEW, BLOCK = 16, 1024  # queries (or 1) and items judged at once: few shapes, because each costs a compilation
SWEEPS = 12  # of the factorisation that embeddings may start from
RIDGE = 1.0  # of the regressions for cold rows
TRIES = 10  # for a negative without an event
ARRAYS = ("users", "items", "cold_user", "scale")


class PairConfig(loop.LoopConfig, frozen=True):
    dimensions: Annotated[int, hyper("Length of an embedding.", 8, 128, log=True, ge=1)] = 32
    negatives: Annotated[int, hyper("Random items without an event for each event, drawn anew in each epoch.", 1, 8, ge=1)] = 4
    batch_size: Annotated[int, hyper("Examples of a batch, negatives included.", 256, 4096, log=True, unit="examples", ge=2)] = 1024
    l2: Annotated[float, hyper("L2 of the embeddings of an example, beside its loss: whoever is in many examples is held by many.", 0, 0.02, ge=0)] = 0.0
    warm_start: Annotated[bool, Meta(description="Whether embeddings start from a matrix factorisation in closed form, not from random numbers.")] = False
    start_unobserved: Annotated[float, Meta(gt=0, description="Of that factorisation: weight of every pair as a zero, against 1 for an observed one.")] = 0.3
    start_l2: Annotated[float, Meta(gt=0, description="Of that factorisation: penalty on the factors, scaled by frequency.")] = 0.005
    attributes: Annotated[bool, Meta(description="Whether cold people and items are answered from their attributes.")] = True
    holdout_users: Annotated[int, Meta(ge=0, description="Users whose last event is held out for early stopping.")] = 300


class Pairs(Base):
    """Binary cross-entropy on events against random negatives.

    Memory: 16 · (U + I) · W bytes in training, 4 in serving. Answering costs one pass of the network for each candidate: a re-ranker more than a
    retriever. Keeps a row for each person: erased by training again.
    """

    Settings = PairConfig
    config: Any
    by_epochs = True
    start_scale: ClassVar[float] = 2.0
    "By which factors are multiplied where embeddings start from them. 2: a product of embeddings is 4 for an event and 0 for the rest, like log-odds."

    @abstractmethod
    def _width(self) -> int:
        """W"""

    @abstractmethod
    def _network(self, k: Any) -> Any:
        """A Keras layer: vectors [..., W] of users and of items, whose leading axes broadcast, to logits [...]. Every layer of it is named."""

    # ---- fitting
    def _fit(self, data: Dataset, run: Run) -> None:
        k, c = keras(run.threads), self.config
        k.utils.set_random_seed(run.seed)
        self._about_users, self._about_items = (Attributes.of(t) if c.attributes else Attributes() for t in (data.user_table, data.item_table))
        self._item_features = self._about_items.table(data.item_table)
        user_features = self._about_users.table(data.user_table)
        known = data.histories
        keep_E, held = hold_out(known, c.holdout_users, run.seed, self.n_items)
        train, wanted_B = known.keep(keep_E), known.item[~keep_E]
        seen = train.matrix(self.n_items)
        seen.sort_indices()
        self._build(k, data.n_users)
        if c.warm_start:
            self._start(seen, run)

        def learned() -> None:
            self._read_tables()
            self._regress(seen, user_features)

        def validate() -> float:
            learned()
            return ndcg(self._score(guests(train[held], held)), train[held], wanted_B)

        batches = Examples(seen, c.negatives, c.batch_size)
        name = type(self).__name__.lower()
        of = loop.fingerprint(name, c, run.seed, self.n_items, data.n_users, train.start, train.item)
        loop.fit(self._objective, batches, batches.steps, c, run, validate=validate if len(held) else None, what=name, of=of)
        learned()

    def _build(self, k: Any, n_users: int) -> None:
        def table(n: int, name: str) -> Any:
            return k.layers.Embedding(n, self._width(), embeddings_initializer=k.initializers.RandomNormal(stddev=0.05), name=name)

        self._tables = table(n_users, "users"), table(self.n_items, "items")
        self._build_judge(k)
        self._objective = _objective(k, *self._tables, self._judge, self.config.l2)
        example = np.zeros(2, np.int32), np.zeros(2, np.int32), np.zeros(2, np.float32), np.ones(2, np.float32)
        self._objective(*example)

    def _start(self, seen: sp.csr_matrix, run: Run) -> None:
        """The first D places of each embedding from a factorisation of the events; whoever and whatever has none keeps random numbers there."""
        c = self.config
        binary: Any = sp.csr_matrix((np.ones(seen.nnz, np.float32), seen.indices, seen.indptr), shape=seen.shape)
        factors = factorise(binary, c.dimensions, epochs=SWEEPS, unobserved=c.start_unobserved, l2=c.start_l2, seed=run.seed, threads=run.threads)
        for table, factor_ND in zip(self._tables, factors, strict=True):
            values_NW, met = weights.array(table.embeddings).copy(), factor_ND.any(axis=1)
            values_NW[met, : c.dimensions] = self.start_scale * factor_ND[met]
            table.embeddings.assign(values_NW)

    def _build_judge(self, k: Any) -> None:
        """Built by itself, so that its variables are named alike in training and when it is loaded alone."""
        self._judge = _judge(k, self._network(k))
        one = np.zeros((1, self._width()), np.float32)
        self._judge(one, one)
        self._logits = Inference(self._judge)

    def _read_tables(self) -> None:
        self.users, self.items = (weights.array(table.embeddings).copy() for table in self._tables)

    def _regress(self, seen: sp.csr_matrix, user_features: sp.csr_matrix) -> None:
        """Rows of the tables from what is known without them; people count with all that is known, without their history, and without attributes."""
        able, sold = np.flatnonzero(np.diff(seen.indptr) > 0), np.bincount(seen.indices, minlength=self.n_items) > 0
        self.scale = np.sqrt(np.mean(self.items[sold] ** 2, keepdims=True)).astype(np.float32)  # so that one penalty suits vectors and attributes
        unseen: Any = sp.csr_matrix((len(able), self.n_items))
        unsaid: Any = sp.csr_matrix((len(able), user_features.shape[1]))
        ways = ((seen[able], user_features[able]), (unseen, user_features[able]), (seen[able], unsaid))
        self.cold_user = _ridge(np.concatenate([self._user_facts(*known) for known in ways]), np.concatenate([self.users[able]] * len(ways)))
        features = self._item_features.toarray()
        cold = ~sold & features.any(axis=1)
        self.items[cold] = _with_one(features[cold]) @ _ridge(_with_one(features[sold]), self.items[sold])
        self._known_I, self._active_U = sold | cold, np.diff(seen.indptr) > 0

    def _user_facts(self, seen: sp.csr_matrix, features: sp.csr_matrix) -> Scores:
        """[B, W + 1 + F + 1]: mean item vector (in units of `scale`) of the history, whether there is one, attributes, 1."""
        n_B1 = np.diff(seen.indptr)[:, None]
        ones = sp.csr_matrix((np.ones(seen.nnz, np.float32), seen.indices, seen.indptr), shape=seen.shape)
        mean_BW = (ones @ (self.items / self.scale)) / np.maximum(n_B1, 1)
        return _with_one(np.concatenate([mean_BW, n_B1 > 0, features.toarray()], axis=1))

    # ---- answering
    def _vectors(self, queries: Queries) -> Scores:
        """[B, W]"""
        history = queries.history
        ok = (history.item >= 0) & (history.item < self.n_items)
        ok[ok] = self._known_I[history.item[ok]]
        seen = history.keep(ok).matrix(self.n_items)
        seen.sort_indices()
        vectors_BW: Scores = (self._user_facts(seen, self._about_users.encode(queries.attributes, len(queries))) @ self.cold_user).astype(np.float32)
        inside = (queries.user_B >= 0) & (queries.user_B < len(self.users))
        own = np.flatnonzero(inside & self._active_U[np.where(inside, queries.user_B, 0)])
        vectors_BW[own] = self.users[queries.user_B[own]]
        return vectors_BW

    def _score(self, queries: Queries) -> Scores:
        everything = np.arange(self.n_items, dtype=np.int32)
        return self._judged(queries, np.broadcast_to(everything, (len(queries), self.n_items)), shared=True)

    def score(self, queries: Queries, candidates: Codes | None = None) -> Scores:
        """As every recommender; candidates cost only themselves."""
        return self._score(queries) if candidates is None else self._judged(queries, candidates, shared=False)

    def _judged(self, queries: Queries, codes_BC: Codes, *, shared: bool) -> Scores:
        """[B, C] logits; `shared`: every row of the codes is the same."""
        inside = (codes_BC >= 0) & (codes_BC < self.n_items)
        at_BC = np.where(inside, codes_BC, 0)
        users_BW, out_BC = self._vectors(queries), np.full(codes_BC.shape, -np.inf, np.float32)
        size, width = (1 if len(queries) == 1 else FEW), _width_of(codes_BC.shape[1])
        for first in range(0, len(queries), size):
            some = slice(first, min(first + size, len(queries)))
            x = np.zeros((size, 1, users_BW.shape[1]), np.float32)
            x[: some.stop - first, 0] = users_BW[some]
            for left in range(0, codes_BC.shape[1], width):
                block = at_BC[first : first + 1 if shared else some.stop, left : left + width]
                y = np.zeros((1 if shared else size, width, users_BW.shape[1]), np.float32)
                y[: len(block), : block.shape[1]] = self.items[block]
                out_BC[some, left : left + block.shape[1]] = self._logits(x, y)[: some.stop - first, : block.shape[1]]
        out_BC[~inside | ~self._known_I[at_BC]] = -np.inf
        return out_BC

    def explain(self, queries: Queries, item: int) -> list[Reason]:
        """As if the person had no row of their own: through the history."""
        return super().explain(replace(queries, user_B=np.full(len(queries), -1, np.int32)), item)

    # ---- files
    def _state(self) -> State:
        arrays: State = {name: getattr(self, name) for name in ARRAYS}
        about = {"about_users": self._about_users.to_array(), "known": self._known_I.astype(np.uint8), "active": self._active_U.astype(np.uint8)}
        return {**{f"network.{key}": value for key, value in weights.read(self._judge).items()}, **arrays, **about}

    def _restore(self, state: State) -> None:
        for name in ARRAYS:
            setattr(self, name, np.asarray(state[name]))
        self._about_users = Attributes.from_array(state["about_users"])
        self._known_I, self._active_U = (np.asarray(state[name]).astype(np.bool_) for name in ("known", "active"))
        self._build_judge(keras())
        weights.write(self._judge, {key.removeprefix("network."): np.asarray(value) for key, value in state.items() if key.startswith("network.")})
        one = np.zeros((1, 1, self._width()), np.float32), np.zeros((1, _width_of(self.n_items), self._width()), np.float32)
        self._logits(*one)  # compiled now, not while the first shopper waits


def _width_of(n: int) -> int:
    return min(BLOCK, 1 << max(5, (n - 1).bit_length()))


def _judge(k: Any, network: Any) -> Any:
    """user vectors [..., W], item vectors [..., W] → logits [...]"""

    class Judge(k.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="judge")
            self.network = network

        def build(self, *shapes: Any) -> None:
            """Its layers build themselves when first called."""

        def call(self, users: Any, items: Any, training: bool = False) -> Any:
            return self.network(users, items, training=training)

    return Judge()


def joined(ops: Any, dense: Any, users: Any, items: Any) -> Any:
    """`dense` of users [..., W] and items [..., W] joined, every user beside every item: [p ; q] K = p K₁ + q K₂, so that each user and each item is
    multiplied once and not each pair."""
    width = users.shape[-1]
    if not dense.built:
        dense.build((None, width + items.shape[-1]))
    first, second = ops.matmul(users, dense.kernel[:width]), ops.matmul(items, dense.kernel[width:])
    return dense.activation(first + second + dense.bias)


def _objective(k: Any, users: Any, items: Any, judge: Any, l2: float) -> Any:
    """(user [E], item [E], label [E], weight [E]) → mean of binary cross-entropy + l2/2 · (‖p‖² + ‖q‖²), with the embeddings p and q of the example

    (the penalty of the matrix factorisation in Rendle, Krichene, Zhang, Anderson 2020, arXiv 2005.09683).
    """
    ops = k.ops

    class Interaction(k.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="objective")
            self.users, self.items, self.judge = users, items, judge

        def build(self, *shapes: Any) -> None:
            """Its layers build themselves when first called."""

        def call(self, user: Any, item: Any, label: Any, weight: Any, training: bool = False) -> Any:
            p, q = self.users(user), self.items(item)
            z = self.judge(p, q, training=training)
            loss = ops.maximum(z, 0.0) - z * label + ops.log1p(ops.exp(-ops.abs(z)))  # −log of σ(z) or of 1 − σ(z)
            if l2:
                loss += 0.5 * l2 * (ops.sum(p * p, axis=-1) + ops.sum(q * q, axis=-1))
            return ops.sum(loss * weight) / ops.maximum(ops.sum(weight), 1.0)

    return Interaction()


class Examples:
    """One epoch: every pair with an event, and for each as many random items without one as asked for, shuffled. Batches are of one size."""

    def __init__(self, seen: sp.csr_matrix, negatives: int, batch_size: int) -> None:
        self._n_items = seen.shape[1]
        self._user = np.repeat(np.arange(seen.shape[0], dtype=np.int32), np.diff(seen.indptr))
        self._item = seen.indices.astype(np.int32)
        self._keys = self._user * np.int64(self._n_items) + self._item  # ascending
        self._negatives, self._size = negatives, batch_size
        self.steps = -(-len(self._keys) * (1 + self._negatives) // self._size)

    def __call__(self, rng: np.random.Generator) -> Iterator[tuple[NDArray[Any], ...]]:
        user, item, label, weight = self.whole(rng)
        order = rng.permutation(len(user))
        for first in range(0, len(order), self._size):
            chosen = order[first : first + self._size]
            yield tuple(np.pad(column[chosen], (0, self._size - len(chosen))) for column in (user, item, label, weight))

    def whole(self, rng: np.random.Generator) -> tuple[Codes, Codes, Scores, Scores]:
        """User, item, label and weight (0 = no such example) of an epoch, events first."""
        user = np.concatenate([self._user, np.repeat(self._user, self._negatives)])
        others, good = self._draw(user[len(self._user) :], rng)
        label = (np.arange(len(user)) < len(self._user)).astype(np.float32)
        weight = np.concatenate([np.ones(len(self._user)), good]).astype(np.float32)
        return user, np.concatenate([self._item, others]), label, weight

    def _draw(self, user: Codes, rng: np.random.Generator) -> tuple[Codes, NDArray[np.bool_]]:
        """Items without an event of the user; False where none was found (whoever has had everything)."""
        item = rng.integers(0, self._n_items, len(user), dtype=np.int32)
        bad = np.flatnonzero(self._has(user, item))
        for _ in range(TRIES):
            if not len(bad):
                break
            item[bad] = rng.integers(0, self._n_items, len(bad), dtype=np.int32)
            bad = bad[self._has(user[bad], item[bad])]
        good = np.ones(len(user), np.bool_)
        good[bad] = False
        return item, good

    def _has(self, user: Codes, item: Codes) -> NDArray[np.bool_]:
        key = user * np.int64(self._n_items) + item
        found: NDArray[np.bool_] = self._keys[np.minimum(np.searchsorted(self._keys, key), len(self._keys) - 1)] == key
        return found


def _with_one(facts: NDArray[Any]) -> Scores:
    return np.concatenate([facts, np.ones((len(facts), 1))], axis=1).astype(np.float32)


def _ridge(facts_NF: Scores, rows_NW: Scores) -> Scores:
    """[F, W] (XᵀX + λ)⁻¹ XᵀY"""
    x = facts_NF.astype(np.float64)
    solved: Scores = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ rows_NW).astype(np.float32)
    return solved
