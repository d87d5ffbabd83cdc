"""ALS: matrix factorisation of implicit feedback; item vectors for search and similarity, and a taste that a guest's history is folded into."""

from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal

import numba
import numpy as np
import scipy.sparse as sp
from msgspec import Meta, field
from numpy.typing import NDArray

from daogou.config import Config, hyper
from daogou.contract import Queries, Reason, Run, Scores
from daogou.data.dataset import Dataset
from daogou.data.histories import Histories
from daogou.encode.items import Blocks, item_vectors
from daogou.factors import NOTHING, half_sweep, random_factors
from daogou.families import State, Vectors
from daogou.networks.attributes import Attributes


class AlsConfig(Config, frozen=True):
    embedding_size: Annotated[int, hyper("Length D of the vectors.", 16, 512, log=True, ge=1)] = 64
    epochs: Annotated[int, hyper("Sweeps over users and items.", 5, 30, ge=1)] = 16
    unobserved: Annotated[float, hyper("Weight w₀ of every pair as a zero, against 1 for an observed one.", 0.003, 1, log=True, gt=0)] = 0.1
    l2: Annotated[float, hyper("Penalty λ on the vectors, scaled by frequency.", 3e-4, 0.1, log=True, gt=0)] = 0.003
    frequency_exponent: Annotated[float, hyper("Exponent ν of the frequency in the penalty; 1 = as often as the vector is used.", 0, 1, ge=0)] = 1.0
    recency: Annotated[float, hyper("Decay of a history when answering, in events; 0 = no decay.", 0, 30, unit="events", ge=0)] = 0.0
    steps: Annotated[int, Meta(ge=1, description="Conjugate gradient steps of each solve; they start from the last sweep's vector.")] = 3
    attributes: Annotated[tuple[Literal["items", "users"], ...], Meta(description="Whose attributes say what their vectors are like; empty = nobody's.")] = ()
    attributes_l2: Annotated[float, hyper("Penalty of the maps from attributes, relative to the mean square of one.", 0.001, 1, log=True, gt=0)] = 0.01
    likeness: Annotated[Blocks, Meta(description="How attributes of items become numbers.")] = field(default_factory=Blocks)


class Als(Vectors):
    """iALS with frequency-scaled regularisation (Rendle, Krichene, Zhang, Koren 2021, arXiv 2110.14037; Hu, Koren, Volinsky 2008)

        L = Σ_ui∈S c_ui (p_uᵀq_i − 1)² + w₀ Σ_ui (p_uᵀq_i)² + λ [Σ_u (n_u + w₀ I)^ν ‖p_u‖² + Σ_i (n_i + w₀ U)^ν ‖q_i‖²]

    with c = log₂(1 + sum of event weights), n = Σ c of a row. Each sweep solves for every p_u, then for every q_i

        A_u p_u = Σ_i c_ui q_i,     A_u = Σ_i c_ui q_i q_iᵀ + w₀ QᵀQ + λ (n_u + w₀ I)^ν · Id

    by warm conjugate gradients (Takács, Pilászy, Tikk 2011). Only Q is kept: a shopper's vector is solved exactly from the history when asked, so guests
    and new clicks need no training. Same seed, same bytes, whatever the number of threads.

    With `attributes` a vector is not drawn to 0 but to what its attributes f let expect, ‖q_i − f_i M‖² in the place of ‖q_i‖² and the same for people, where M
    is a ridge regression of the vectors on the attributes, taken anew after each half sweep (regression-based latent factors: Agarwal & Chen, KDD 2009).
    What has no event is f_i M alone: goods that nobody took and people who have just registered have a vector, too.

    Memory: 4·(U + I)·D bytes in training, 4·I·D after. Explanation, exact: score_i = Σ_j c_j · q_iᵀ A⁻¹ q_j.
    Not a sum over users: a person is erased by training again.
    """

    Settings = AlsConfig
    config: AlsConfig

    def _fit(self, data: Dataset, run: Run) -> None:
        c = self.config
        seen_UI = _confidence(data.histories, data.n_items)
        seen_IU = seen_UI.T.tocsr()
        rng = np.random.default_rng(run.seed)
        users, items = random_factors(seen_UI, seen_IU, c.embedding_size, rng)
        of_users, of_items = self._expected(data, run, seen_UI, seen_IU)
        with ThreadPoolExecutor(max(1, run.threads)) as pool:
            for epoch in range(c.epochs):
                self._half(pool, seen_UI, items, users, of_users)
                self._half(pool, seen_IU, users, items, of_items)
                if run.progress is not None:
                    run.progress("als", epoch + 1, c.epochs)
        self.vectors_ID = items
        self._cold = np.flatnonzero(np.diff(seen_IU.indptr) == 0).astype(np.int32)
        self._prepare()
        self.vectors_ID[self._cold] = of_items.all(self._cold) if of_items else 0.0
        self._map_FD = of_users.map_FD if of_users else NOTHING

    def _expected(self, data: Dataset, run: Run, seen_UI: sp.csr_matrix, seen_IU: sp.csr_matrix) -> "tuple[Expected | None, Expected | None]":
        """What attributes let expect of people and of items, where they are asked."""
        c = self.config
        of_users = of_items = None
        self._read = Attributes.of(data.user_table) if "users" in c.attributes else Attributes()
        if self._read.width:
            of_users = Expected(self._read.table(data.user_table), self._ridges(seen_UI), seen_UI, c.attributes_l2)
        if "items" in c.attributes:
            known_IF = item_vectors(data.item_table, data.item_kinds, c.likeness, cached=run.vectors, photos=run.photos, progress=run.progress)
            of_items = Expected(known_IF, self._ridges(seen_IU), seen_IU, c.attributes_l2)
        return of_users, of_items

    def _ridges(self, seen: sp.csr_matrix) -> NDArray[np.float64]:
        return np.asarray(self._ridge(np.asarray(seen.sum(axis=1), np.float64)[:, 0], seen.shape[1]))

    def _half(self, pool: ThreadPoolExecutor, seen: sp.csr_matrix, fixed: Scores, solved: Scores, expected: "Expected | None" = None) -> None:
        """Improves the rows of `solved` in place, given the other side, and then what is expected of them."""
        c = self.config
        mean_ND = NOTHING if expected is None or expected.map_FD is NOTHING else expected.all()
        half_sweep(pool, seen, fixed, solved, c.unobserved, self._ridges(seen), mean_ND=mean_ND, steps=c.steps)
        if expected is not None:
            expected.learn(solved)

    def _ridge(self, frequency: Any, n_other: int) -> Any:
        c = self.config
        return c.l2 * (frequency + c.unobserved * n_other) ** c.frequency_exponent

    def _prepare(self) -> None:
        """w₀ QᵀQ over the items that could have been taken."""
        warm_ID = np.delete(self.vectors_ID, self._cold, axis=0) if len(self._cold) else self.vectors_ID
        self._gram_DD = self.config.unobserved * (warm_ID.T.astype(np.float64) @ warm_ID)

    def _state(self) -> State:
        told: State = {"cold": self._cold, "map": self._map_FD, "read": self._read.to_array()} if self.config.attributes else {}
        return {**super()._state(), **told}

    def _restore(self, state: State) -> None:
        super()._restore(state)
        self._cold, self._map_FD, self._read = np.zeros(0, np.int32), NOTHING, Attributes()
        if self.config.attributes:
            self._cold, self._map_FD, self._read = np.asarray(state["cold"]), np.asarray(state["map"]), Attributes.from_array(state["read"])
        self._prepare()

    def _weighted(self, queries: Queries) -> sp.csr_matrix:
        history = queries.history
        decay = np.exp(-history.age / self.config.recency) if self.config.recency else None
        return _confidence(history, self.n_items, decay)

    def _fold_in(self, queries: Queries) -> Scores:
        seen_BI = self._weighted(queries)
        ridge_B = self._ridge(np.asarray(seen_BI.sum(axis=1), np.float64)[:, 0], self.n_items)
        mean_BD = self._read.encode(queries.attributes, len(queries)) @ self._map_FD if len(self._map_FD) else NOTHING
        vectors_BD: Scores = _exact(seen_BI.indptr, seen_BI.indices, seen_BI.data, self.vectors_ID, self._gram_DD, ridge_B, mean_BD)
        return vectors_BD

    def explain(self, queries: Queries, item: int) -> list[Reason]:
        """Exact: the score is the sum of these shares. Where attributes of people are read they are a part of it, and items are left out one by one."""
        if len(self._map_FD):
            return super().explain(queries, item)
        seen_BI = self._weighted(queries)
        if item < 0 or item >= self.n_items or not seen_BI.nnz:
            return []
        c_N, q_ND = seen_BI.data.astype(np.float64), self.vectors_ID[seen_BI.indices].astype(np.float64)
        a_DD = self._gram_DD + (q_ND.T * c_N) @ q_ND + np.diag(np.repeat(self._ridge(c_N.sum(), self.n_items), q_ND.shape[1]))
        share_N = c_N * (q_ND @ np.linalg.solve(a_DD, self.vectors_ID[item].astype(np.float64)))
        reasons = [Reason(int(i), float(w), "exact") for i, w in zip(seen_BI.indices, share_N, strict=True) if w]
        return sorted(reasons, key=lambda r: (-r.weight, r.item))


class Expected:
    """f M for every row: M [F, D] the ridge regression of vectors on attributes, over the rows with events

        M = argmin Σ_i r_i ‖x_i − f_i M‖² + μ ‖M‖² = (Fᵀ R F + μ)⁻¹ Fᵀ R X,     r_i the penalty on row i

    which is the part of the loss that M is in; the matrix is inverted once, for neither F nor r changes.
    """

    def __init__(self, known_NF: Any, ridge_N: NDArray[np.float64], seen: sp.csr_matrix, l2: float) -> None:
        self.known_NF, sparse = known_NF, sp.issparse(known_NF)
        self._weight_N1 = (ridge_N * (np.diff(seen.indptr) > 0))[:, None]
        gram_FF: Any = self.known_NF.T @ (known_NF.multiply(self._weight_N1) if sparse else self._weight_N1 * self.known_NF)
        gram_FF = np.asarray(gram_FF.toarray() if sparse else gram_FF, np.float64)
        gram_FF += (l2 * np.trace(gram_FF) / len(gram_FF) + 1e-9) * np.eye(len(gram_FF))
        self._inverse_FF = np.linalg.inv(gram_FF)
        self.map_FD = NOTHING

    def learn(self, vectors_ND: Scores) -> None:
        """Fits M to the vectors as they are now."""
        self.map_FD = np.asarray(self._inverse_FF @ (self.known_NF.T @ (self._weight_N1 * vectors_ND)), np.float32)

    def all(self, rows: Any = slice(None)) -> Scores:
        """[N, D] of some rows."""
        return np.asarray(self.known_NF[rows] @ self.map_FD, np.float32)


def _confidence(history: Histories, n_items: int, decay: NDArray[np.float64] | None = None) -> sp.csr_matrix:
    """[B, I] log₂(1 + Σ weight), ordered."""
    seen = history.matrix(n_items, history.weight if decay is None else history.weight * decay)
    seen.sort_indices()
    seen.data = np.log2(1.0 + seen.data).astype(np.float32)
    return seen


@numba.njit(cache=True, nogil=True, fastmath=True)
def _exact(start: Any, index: Any, weight: Any, vectors: Any, dense: Any, ridge: Any, mean: Any) -> Any:  # pragma: no cover (compiled)
    """A⁻¹ (Σ c q + ridge · mean) for every row, by Cholesky in float64; rows without events give their mean."""
    dim = vectors.shape[1]
    out = np.zeros((len(start) - 1, dim), np.float32)
    for b in range(len(out)):
        if start[b] == start[b + 1]:
            if len(mean):
                out[b] = mean[b]
            continue
        a, x = dense.copy(), np.zeros(dim)
        for d in range(dim):
            a[d, d] += ridge[b]
        for n in range(start[b], start[b + 1]):
            v, w = vectors[index[n]].astype(np.float64), np.float64(weight[n])
            x += w * v
            for d in range(dim):
                share, row = w * v[d], a[d]
                for e in range(d + 1):
                    row[e] += share * v[e]
        if len(mean):
            for d in range(dim):
                x[d] += ridge[b] * mean[b, d]
        for d in range(dim):  # a becomes its lower factor L, x becomes L⁻¹ x
            for e in range(d):
                a[d, e] = (a[d, e] - _dot64(a[d, :e], a[e, :e])) / a[e, e]
            a[d, d] = np.sqrt(a[d, d] - _dot64(a[d, :d], a[d, :d]))
            x[d] = (x[d] - _dot64(a[d, :d], x[:d])) / a[d, d]
        for d in range(dim - 1, -1, -1):  # and now L⁻ᵀ x
            x[d] /= a[d, d]
            x[:d] -= x[d] * a[d, :d]
        out[b] = x.astype(np.float32)
    return out


@numba.njit(cache=True, nogil=True, fastmath=True)
def _dot64(a: Any, b: Any) -> Any:  # pragma: no cover (compiled)
    """aᵀb in float64, as `_dot`."""
    out = 0.0
    for d in range(len(a)):
        out += a[d] * b[d]
    return out
