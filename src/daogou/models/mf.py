"""MF: ratings as a product of vectors with biases; and the same factors for lists, by pairwise or softmax losses."""

from typing import Annotated, Any, Literal, NamedTuple

import numba
import numpy as np
import scipy.sparse as sp
from msgspec import Meta
from numpy.typing import NDArray

from daogou.config import Config, hyper
from daogou.contract import Codes, Queries, Run, Scores, TopK
from daogou.data.dataset import Dataset
from daogou.errors import TrainingError
from daogou.families import Base, State, top_k
from daogou.networks.attributes import Attributes

KNOWN = ("mu", "user_bias", "item_bias", "users", "items", "history", "user_features", "item_features", "user_feature_bias", "item_feature_bias")


class MfConfig(Config, frozen=True):
    loss: Annotated[
        Literal["rating", "bpr", "softmax"],
        Meta(description="`rating`: squared error of `value`; `bpr`: pairs of items (Rendle 2009); `softmax`: the whole catalogue, multinomial."),
    ] = "rating"
    dimensions: Annotated[int, hyper("Length D of the vectors.", 8, 256, log=True, ge=1)] = 64
    epochs: Annotated[int, hyper("Passes over the events.", 10, 100, ge=1)] = 30
    learning_rate: Annotated[float, hyper("Step length, falling linearly to a tenth.", 1e-3, 0.1, log=True, gt=0)] = 0.01
    l2: Annotated[float, hyper("Penalty λ on vectors, for each event (softmax: for each person).", 1e-3, 0.3, log=True, ge=0)] = 0.02
    bias_l2: Annotated[float, hyper("Penalty on biases.", 1e-3, 0.3, log=True, ge=0)] = 0.05
    history: Annotated[bool, Meta(description="Whether what a person did, rated or not, moves their vector (SVD++): guests are answered from it.")] = True
    attributes: Annotated[bool, Meta(description="Whether attributes of people and items have biases and vectors, too: cold ones are answered from them.")] = (
        True
    )
    row_dropout: Annotated[
        float, hyper("Share of people whose own row is left out in an epoch, so that history and attributes answer alone.", 0, 0.5, ge=0, lt=1)
    ] = 0.0


class Mf(Base):
    """r̂_ui = μ + b_u + b_i + x_uᵀ y_i,   x_u = p_u + |N(u)|^−½ Σ_{j∈N(u)} h_j + Σ_f a_f,   y_i = q_i + Σ_g c_g

    Biased matrix factorisation (Koren, Bell, Volinsky 2009, eq. 4) with the implicit history of SVD++ (Koren 2008, eq. 15) and attributes f, g on both
    sides, which have biases, too. By stochastic gradient descent on (r − r̂)² + λ‖·‖² over events that carry a `value`, the newest of each pair; or, for
    lists, on −log σ(r̂_ui − r̂_uj) for a random j (BPR), or −log softmax over the catalogue with half of the history hidden (multinomial). Error of
    ratings is not quality of lists: the last two are for those.

    A guest has no p_u and b_u: history and attributes answer, and without either the biases of the items. An item without events and attributes scores
    −inf. Keeps a row for each person: erased by training again. Memory: 4·(U + 2·I + F)·D bytes.
    """

    Settings = MfConfig
    config: MfConfig

    # ---- fitting
    def _fit(self, data: Dataset, run: Run) -> None:
        c, rng = self.config, np.random.default_rng(run.seed)
        self._about_users, self._about_items = (Attributes.of(t) if c.attributes else Attributes() for t in (data.user_table, data.item_table))
        self._item_features = self._about_items.table(data.item_table)
        self._known_I = (np.bincount(data.histories.item, minlength=self.n_items) > 0) | (np.diff(self._item_features.indptr) > 0)
        self._start(data.n_users, rng)
        seen = data.histories.matrix(self.n_items)
        seen.data[:] = 1
        seen.sort_indices()
        known = _Known(seen, self._about_users.table(data.user_table), self._item_features)
        if c.loss == "rating":
            self._fit_ratings(data, known, run, rng)
        elif c.loss == "bpr":
            self._fit_pairs(known, run, rng)
        else:
            self._fit_softmax(known, run, rng)
        if not all(np.isfinite(getattr(self, name)).all() for name in KNOWN):
            raise TrainingError("mf: the vectors grew beyond all bounds", expected="finite numbers", fix="lower learning_rate, or look for extreme ratings")
        self._join()

    def _start(self, n_users: int, rng: np.random.Generator) -> None:
        d, about = self.config.dimensions, (self._about_users.width, self._about_items.width)

        def small(n: int) -> Scores:
            return rng.standard_normal((n, d), np.float32) * np.float32(0.1 / np.sqrt(d))

        self.users, self.items, self.history = small(n_users), small(self.n_items), np.zeros((self.n_items, d), np.float32)
        self.user_features, self.item_features = np.zeros((about[0], d), np.float32), np.zeros((about[1], d), np.float32)
        self.user_bias, self.item_bias = np.zeros(n_users, np.float32), np.zeros(self.n_items, np.float32)
        self.user_feature_bias, self.item_feature_bias = np.zeros(about[0], np.float32), np.zeros(about[1], np.float32)
        self.mu = np.zeros(1, np.float32)
        self.bounds = np.array([-np.inf, np.inf], np.float32)

    def _rates(self) -> Any:
        return self.config.learning_rate * np.linspace(1.0, 0.1, self.config.epochs)

    def _fit_ratings(self, data: Dataset, known: "_Known", run: Run, rng: np.random.Generator) -> None:
        user, item, value = _ratings(data)
        self.mu[0] = value.mean()
        self.bounds = np.array([value.min(), value.max()], np.float32)
        start = np.zeros(data.n_users + 1, np.int64)
        np.cumsum(np.bincount(user, minlength=data.n_users), out=start[1:])
        for epoch, rate in enumerate(self._rates()):
            own = rng.random(data.n_users) >= self.config.row_dropout
            shuffled = np.lexsort((rng.random(len(user)), user))
            self._pass(_rating_epoch, rng.permutation(data.n_users), own, start, item[shuffled], value[shuffled], *known.parts(), rate=rate)
            self._tell(run, epoch)

    def _fit_pairs(self, known: "_Known", run: Run, rng: np.random.Generator) -> None:
        for epoch, rate in enumerate(self._rates()):
            own = rng.random(len(self.users)) >= self.config.row_dropout
            self._pass(_pair_epoch, rng.permutation(len(self.users)), own, int(rng.integers(2**31)), *known.parts(), rate=rate)
            self._tell(run, epoch)

    def _pass(self, kernel: Any, *known: Any, rate: float) -> None:
        kernel(*known, *(getattr(self, name) for name in KNOWN), rate, self.config.l2, self.config.bias_l2, self.config.history)

    def _fit_softmax(self, known: "_Known", run: Run, rng: np.random.Generator) -> None:
        """Batches of people; gradients are divided by the root of their own sum of squares (Adagrad, Duchi 2011)."""
        c, seen = self.config, known.seen
        able = np.flatnonzero(np.diff(seen.indptr) > 0)
        groups = ("users", "items", "history", "user_features", "item_features", "item_bias", "item_feature_bias")
        squares = {name: np.full_like(getattr(self, name), 1e-3) for name in groups}
        for epoch, rate in enumerate(self._rates()):
            order = rng.permutation(able)
            for first in range(0, len(order), 64):
                rows = order[first : first + 64]
                for name, gradient in self._softmax_gradients(rows, known, rng).items():
                    where: Any = rows if name == "users" else slice(None)
                    gradient = gradient + (0 if "bias" in name else c.l2 / len(rows)) * getattr(self, name)[where]
                    squares[name][where] += gradient**2
                    getattr(self, name)[where] -= (5 * rate * gradient / np.sqrt(squares[name][where])).astype(np.float32)
            self._tell(run, epoch)

    def _softmax_gradients(self, rows: NDArray[np.int64], known: "_Known", rng: np.random.Generator) -> dict[str, Any]:
        c, wanted = self.config, known.seen[rows]
        shown = wanted.copy()
        shown.data = (rng.random(shown.nnz) < 0.5).astype(np.float32)  # what is shown is no target it could copy
        shown.eliminate_zeros()
        shown = _scaled(shown)
        own_B = (rng.random(len(rows)) >= c.row_dropout)[:, None].astype(np.float32)
        about = known.user_features[rows]
        x_BD = own_B * self.users[rows] + about @ self.user_features + (shown @ self.history if c.history else 0)
        y_ID = self.items + self._item_features @ self.item_features
        logits_BI = x_BD @ y_ID.T + self.item_bias + self._item_features @ self.item_feature_bias
        logits_BI -= logits_BI.max(axis=1, keepdims=True)
        np.exp(logits_BI, out=logits_BI)
        n_B1 = np.diff(wanted.indptr)[:, None]
        error_BI = logits_BI * (n_B1 / logits_BI.sum(axis=1, keepdims=True))
        error_BI[wanted.nonzero()] -= 1
        error_BI /= n_B1
        x_grad, y_grad, bias_grad = error_BI @ y_ID, error_BI.T @ x_BD, error_BI.sum(axis=0)
        found = {"users": own_B * x_grad, "items": y_grad, "item_bias": bias_grad}
        found |= {"user_features": about.T @ x_grad, "item_features": self._item_features.T @ y_grad, "item_feature_bias": self._item_features.T @ bias_grad}
        return found | ({"history": shown.T @ x_grad} if c.history else {})

    def _tell(self, run: Run, epoch: int) -> None:
        if run.progress:
            run.progress("mf", epoch + 1, self.config.epochs)

    # ---- answering
    def _join(self) -> None:
        """Item vectors and biases with their attributes' share."""
        self._vectors_ID = self.items + self._item_features @ self.item_features
        self._bias_I = self.mu[0] + self.item_bias + self._item_features @ self.item_feature_bias

    def _people(self, queries: Queries) -> tuple[Scores, Scores]:
        """[B, D] vectors and [B] biases."""
        about = self._about_users.encode(queries.attributes, len(queries))
        x_BD, bias_B = about @ self.user_features, about @ self.user_feature_bias
        if self.config.history:
            seen = queries.history.matrix(self.n_items)
            seen.data[:] = 1
            x_BD = x_BD + _scaled(seen) @ self.history
        own = np.flatnonzero((queries.user_B >= 0) & (queries.user_B < len(self.users)))
        x_BD[own] += self.users[queries.user_B[own]]
        bias_B[own] += self.user_bias[queries.user_B[own]]
        return x_BD, bias_B

    def _score(self, queries: Queries) -> Scores:
        x_BD, bias_B = self._people(queries)
        scores_BI = x_BD @ self._vectors_ID.T + self._bias_I + bias_B[:, None]
        scores_BI[:, ~self._known_I] = -np.inf
        return np.asarray(scores_BI, np.float32)

    @property
    def rates(self) -> bool:
        return self.config.loss == "rating"

    def predict(self, queries: Queries, items_B: Codes) -> Scores:
        """[B] expected ratings of one item for each query, within the bounds of the ratings learned from; an unknown item gets the person's mean."""
        x_BD, bias_B = self._people(queries)
        known = (items_B >= 0) & (items_B < self.n_items)
        at = np.where(known, items_B, 0)
        own = np.einsum("bd,bd->b", x_BD, self._vectors_ID[at]) + self._bias_I[at]
        rating_B: Scores = np.clip(np.where(known, own, self.mu[0]) + bias_B, *self.bounds).astype(np.float32)
        return rating_B

    def similar(self, items: Codes, k: int) -> TopK:
        """By cosine of the item vectors."""
        norm_I1 = np.linalg.norm(self._vectors_ID, axis=1, keepdims=True)
        unit_ID = self._vectors_ID / np.maximum(norm_I1, 1e-12)
        inside = (items >= 0) & (items < self.n_items)
        rows = np.where(inside, items, 0)
        allowed = self._known_I[None, :] & (inside & self._known_I[rows])[:, None]
        allowed[np.arange(len(items)), rows] = False
        return top_k(np.asarray(unit_ID[rows] @ unit_ID.T, np.float32), k, allowed)

    # ---- files
    def _state(self) -> State:
        about = {"about_users": self._about_users.to_array(), "about_items": self._about_items.to_array()}
        arrays: State = {name: getattr(self, name) for name in (*KNOWN, "bounds")}
        return {**arrays, **about, "known": self._known_I.astype(np.uint8), "features_of_items": self._item_features}

    def _restore(self, state: State) -> None:
        for name in (*KNOWN, "bounds"):
            setattr(self, name, np.asarray(state[name]))
        self._about_users, self._about_items = (Attributes.from_array(state[name]) for name in ("about_users", "about_items"))
        self._known_I, self._item_features = np.asarray(state["known"]).astype(np.bool_), sp.csr_matrix(state["features_of_items"])
        self._join()


class _Known(NamedTuple):
    """What training knows of everyone."""

    seen: sp.csr_matrix  # [U, I] of ones
    user_features: sp.csr_matrix  # [U, F]
    item_features: sp.csr_matrix  # [I, G]

    def parts(self) -> tuple[Any, ...]:
        return tuple(part for m in self for part in ((m.indptr, m.indices) if m is self.seen else (m.indptr, m.indices, m.data)))


def _scaled(seen: sp.csr_matrix) -> sp.csr_matrix:
    """Rows of ones → rows of |N|^−½."""
    seen.data[:] = np.repeat(np.maximum(np.diff(seen.indptr), 1) ** -0.5, np.diff(seen.indptr))
    return seen


def _ratings(data: Dataset) -> tuple[Codes, Codes, Scores]:
    """User, item and value, ordered by user: the newest rating of each pair.

    Raises:
        TrainingError: no event carries a value.
    """
    e = data.events
    rated = np.flatnonzero(np.isfinite(e.value) & (data.weight_E > 0))
    if not len(rated):
        raise TrainingError(
            "mf was given no rating", expected="events of positive weight with a `value`", fix="import values, or set loss to 'softmax' or 'bpr'"
        )
    key = e.user[rated].astype(np.int64) * data.n_items + e.item[rated]
    _, last = np.unique(key[::-1], return_index=True)
    rated = rated[::-1][last]
    return e.user[rated], e.item[rated], e.value[rated]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _person(
    u: int, own: bool, use: bool, seen_p: Any, seen_i: Any, uf_p: Any, uf_i: Any, uf_x: Any, users: Any, history: Any, uf: Any, x: Any
) -> None:  # pragma: no cover (compiled)
    """x = x_u"""
    dim = len(x)
    for d in range(dim):
        x[d] = users[u, d] if own else np.float32(0)
    if use and seen_p[u + 1] > seen_p[u]:
        scale = np.float32(1.0 / np.sqrt(seen_p[u + 1] - seen_p[u]))
        for n in range(seen_p[u], seen_p[u + 1]):
            h = history[seen_i[n]]
            for d in range(dim):
                x[d] += scale * h[d]
    for n in range(uf_p[u], uf_p[u + 1]):
        a, w = uf[uf_i[n]], uf_x[n]
        for d in range(dim):
            x[d] += w * a[d]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _item(i: int, if_p: Any, if_i: Any, if_x: Any, items: Any, itf: Any, y: Any) -> None:  # pragma: no cover (compiled)
    """y = y_i"""
    dim = len(y)
    for d in range(dim):
        y[d] = items[i, d]
    for n in range(if_p[i], if_p[i + 1]):
        a, w = itf[if_i[n]], if_x[n]
        for d in range(dim):
            y[d] += w * a[d]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _bias(i: int, if_p: Any, if_i: Any, if_x: Any, item_bias: Any, itfb: Any) -> Any:  # pragma: no cover (compiled)
    total = item_bias[i]
    for n in range(if_p[i], if_p[i + 1]):
        total += if_x[n] * itfb[if_i[n]]
    return total


@numba.njit(cache=True, nogil=True, fastmath=True)
def _move_item(
    i: int, step: Any, x: Any, if_p: Any, if_i: Any, if_x: Any, items: Any, itf: Any, item_bias: Any, itfb: Any, rate: Any, l2: Any, bias_l2: Any
) -> None:  # pragma: no cover (compiled)
    """One gradient step of item i and its attributes; `step` = −∂loss/∂r̂."""
    q = items[i]
    for d in range(len(x)):
        q[d] += rate * (step * x[d] - l2 * q[d])
    item_bias[i] += rate * (step - bias_l2 * item_bias[i])
    for n in range(if_p[i], if_p[i + 1]):
        g, w = if_i[n], if_x[n]
        a = itf[g]
        for d in range(len(x)):
            a[d] += rate * (w * step * x[d] - l2 * a[d])
        itfb[g] += rate * (w * step - bias_l2 * itfb[g])


@numba.njit(cache=True, nogil=True, fastmath=True)
def _move_person(
    u: int,
    own: bool,
    use: bool,
    change: Any,
    times: int,
    seen_p: Any,
    seen_i: Any,
    uf_p: Any,
    uf_i: Any,
    uf_x: Any,
    users: Any,
    history: Any,
    uf: Any,
    rate: Any,
    l2: Any,
) -> None:  # pragma: no cover (compiled)
    """What the `times` steps on x_u were, carried to the parts of which it is the sum: once per person: a step on each h_j would cost |N| times as much."""
    dim = len(change)
    shrink = np.float32(1.0) - np.float32(min(0.5, rate * l2 * times))
    if own:
        for d in range(dim):
            users[u, d] = shrink * users[u, d] + change[d]
    if use and seen_p[u + 1] > seen_p[u]:
        scale = np.float32(1.0 / np.sqrt(seen_p[u + 1] - seen_p[u]))
        damp = shrink
        for n in range(seen_p[u], seen_p[u + 1]):
            h = history[seen_i[n]]
            for d in range(dim):
                h[d] = damp * h[d] + scale * change[d]
    for n in range(uf_p[u], uf_p[u + 1]):
        a, w = uf[uf_i[n]], uf_x[n]
        damp = shrink
        for d in range(dim):
            a[d] = damp * a[d] + w * change[d]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _rating_epoch(
    order: Any, own: Any, start: Any, item: Any, value: Any, seen_p: Any, seen_i: Any, uf_p: Any, uf_i: Any, uf_x: Any, if_p: Any, if_i: Any, if_x: Any,
    mu: Any, user_bias: Any, item_bias: Any, users: Any, items: Any, history: Any, uf: Any, itf: Any, ufb: Any, itfb: Any,
    rate: float, l2: float, bias_l2: float, use: bool,
) -> None:  # fmt: skip  # pragma: no cover (compiled)
    dim = users.shape[1]
    x, y, before = np.empty(dim, np.float32), np.empty(dim, np.float32), np.empty(dim, np.float32)
    step_length, decay, bias_decay = np.float32(rate), np.float32(l2), np.float32(bias_l2)
    for u in order:
        if start[u] == start[u + 1]:
            continue
        _person(u, own[u], use, seen_p, seen_i, uf_p, uf_i, uf_x, users, history, uf, x)
        before[:] = x
        bias = user_bias[u] if own[u] else np.float32(0)
        bias_before = bias
        about = np.float32(0)
        for n in range(uf_p[u], uf_p[u + 1]):
            about += uf_x[n] * ufb[uf_i[n]]
        for n in range(start[u], start[u + 1]):
            i = item[n]
            _item(i, if_p, if_i, if_x, items, itf, y)
            predicted = mu[0] + bias + about + _bias(i, if_p, if_i, if_x, item_bias, itfb)
            for d in range(dim):
                predicted += x[d] * y[d]
            error = value[n] - predicted
            _move_item(i, error, x, if_p, if_i, if_x, items, itf, item_bias, itfb, step_length, decay, bias_decay)
            for d in range(dim):
                x[d] += step_length * error * y[d]
            bias += step_length * (error - bias_decay * bias)
            for m in range(uf_p[u], uf_p[u + 1]):
                f = uf_i[m]
                ufb[f] += step_length * (uf_x[m] * error - bias_decay * ufb[f])
        if own[u]:
            user_bias[u] += bias - bias_before
        for d in range(dim):
            before[d] = x[d] - before[d]
        _move_person(u, own[u], use, before, start[u + 1] - start[u], seen_p, seen_i, uf_p, uf_i, uf_x, users, history, uf, step_length, decay)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _pair_epoch(
    order: Any, own: Any, seed: int, seen_p: Any, seen_i: Any, uf_p: Any, uf_i: Any, uf_x: Any, if_p: Any, if_i: Any, if_x: Any,
    mu: Any, user_bias: Any, item_bias: Any, users: Any, items: Any, history: Any, uf: Any, itf: Any, ufb: Any, itfb: Any,
    rate: float, l2: float, bias_l2: float, use: bool,
) -> None:  # fmt: skip  # pragma: no cover (compiled)
    np.random.seed(seed)
    dim, n_items = users.shape[1], len(items)
    x, y, z, without, change = (
        np.empty(dim, np.float32),
        np.empty(dim, np.float32),
        np.empty(dim, np.float32),
        np.empty(dim, np.float32),
        np.empty(dim, np.float32),
    )
    step_length, decay, bias_decay = np.float32(rate), np.float32(l2), np.float32(bias_l2)
    for u in order:
        first, last = seen_p[u], seen_p[u + 1]
        if first == last or last - first == n_items:
            continue
        _person(u, own[u], use, seen_p, seen_i, uf_p, uf_i, uf_x, users, history, uf, x)
        change[:] = 0
        scale = np.float32(1.0 / np.sqrt(last - first))
        for n in range(first, last):
            i = seen_i[n]
            j = np.random.randint(n_items)
            while seen_i[first + np.searchsorted(seen_i[first:last], j) % (last - first)] == j:
                j = np.random.randint(n_items)
            _item(i, if_p, if_i, if_x, items, itf, y)
            _item(j, if_p, if_i, if_x, items, itf, z)
            margin = _bias(i, if_p, if_i, if_x, item_bias, itfb) - _bias(j, if_p, if_i, if_x, item_bias, itfb)
            for d in range(dim):
                # The positive item itself leaves the history: else it would learn to name what it was shown.
                without[d] = x[d] + change[d] - (scale * history[i, d] if use else np.float32(0))
            # A loop of its own: one that also stores is compiled twice, and where memory lies would decide the order of the sum.
            for d in range(dim):
                margin += without[d] * (y[d] - z[d])
            step = np.float32(1.0 / (1.0 + np.exp(margin)))
            _move_item(i, step, without, if_p, if_i, if_x, items, itf, item_bias, itfb, step_length, decay, bias_decay)
            _move_item(j, -step, without, if_p, if_i, if_x, items, itf, item_bias, itfb, step_length, decay, bias_decay)
            for d in range(dim):
                change[d] += step_length * step * (y[d] - z[d])
        _move_person(u, own[u], use, change, last - first, seen_p, seen_i, uf_p, uf_i, uf_x, users, history, uf, step_length, decay)
