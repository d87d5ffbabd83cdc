"""Content: what goods are like, against what a shopper's goods are like. Knows goods that nobody has taken yet, and needs no event to begin with."""

from typing import Annotated, Any

import numpy as np
import scipy.sparse as sp
from msgspec import Meta
from numpy.typing import NDArray

from daogou.config import hyper
from daogou.contract import Queries, Reason, Run, Scores
from daogou.data.dataset import Dataset
from daogou.data.histories import Histories
from daogou.encode import from_arrays, to_arrays
from daogou.encode.items import Blocks, item_vectors, taught
from daogou.errors import TrainingError
from daogou.families import State, Vectors


class ContentConfig(Blocks, frozen=True):
    recency: Annotated[float, hyper("Decay of a history, in events.", 2, 100, log=True, unit="events", gt=0)] = 30.0
    learned: Annotated[float, hyper("Share of what events teach about which content goes together; the rest is likeness.", 0, 1, ge=0, le=1)] = 0.4
    l2: Annotated[float, hyper("Penalty of the map, relative to the mean square of a dimension.", 0.003, 3, log=True, gt=0)] = 0.03
    handover: Annotated[float, Meta(ge=0, description="Events κ after which an item's own events count as much as its content.")] = 3.0


class Content(Vectors):
    """score_i = p · (I + s·G) f_i with item vectors F [I, D] of all attributes, and the profile p = Σ_j ω_j f_j / Σ_j ω_j, ω_j = w_j e^(−age_j/recency)

    G, the map from content to what is taken together, is a ridge regression on both sides (cold-start map of items as in Gantner et al. 2010),

        G = argmin ‖C − F G Fᵀ‖² = (FᵀF + λ)⁻¹ Fᵀ C F (FᵀF + λ)⁻¹      C_ij = n_ij / √(n_i n_j), C_ii = 0

    over items with events; n_ij counts the people who took both. s makes both parts vary equally over the catalogue, times learned/(1−learned).
    Without events s = 0, and likeness alone answers. `similar` is likeness alone: "looks like this".

    It is a stand-in (contract.StandIn): where an item has few events, a blend lets it speak for the models that need them.

    Memory: 4·I·D bytes, and 8·(I + U)·D while fitting; C itself is never held. Explanation: exact.
    Not a sum over users: a person is erased by training again.
    """

    Settings = ContentConfig
    config: ContentConfig
    needs_events = False
    _own: dict[str, Any] | None = None
    _kept: dict[str, NDArray[Any]] = {}

    def prepare(self, data: Dataset, run: Run) -> None:
        """Teaches the encoders that must learn from the shop's photos, so that every later fit finds them in `run.vectors`: minutes once, not in each fit."""
        taught(data.item_table, data.item_kinds, self.config, run)

    @property
    def encoders(self) -> dict[str, Any]:
        """The encoders that the shop's photos taught, by name: a photo that is asked with is seen as the goods were.

        Raises:
            MissingExtra: what they need is not installed.
        """
        if self._own is None:
            self._own = from_arrays(self._kept)
        return self._own

    def _check(self, data: Dataset) -> None:
        if not data.n_items:
            raise TrainingError("there is no item", expected="items with titles or other attributes", fix="import a catalogue")

    def _fit(self, data: Dataset, run: Run) -> None:
        self._own, self._kept = taught(data.item_table, data.item_kinds, self.config, run), {}
        self.vectors_ID = item_vectors(
            data.item_table, data.item_kinds, self.config, cached=run.vectors, photos=run.photos, progress=run.progress, own=self._own
        )
        self.support_I = np.bincount(data.histories.item, minlength=self.n_items).astype(np.float32)
        self.map_DD = np.eye(self.vectors_ID.shape[1], dtype=np.float32)
        if self.config.learned > 0 and self.support_I.any():
            self.map_DD += self._learned(data.histories)

    def _learned(self, histories: Histories) -> Scores:
        """s·G [D, D]"""
        some_ID = self.vectors_ID * (self.support_I > 0)[:, None]
        gram_DD = some_ID.T.astype(np.float64) @ some_ID
        gram_DD += (self.config.l2 * np.trace(gram_DD) / len(gram_DD) + 1e-9) * np.eye(len(gram_DD))
        taken_UI = histories.matrix(self.n_items)
        taken_UI.data[:] = 1.0
        n_I = np.asarray(taken_UI.sum(axis=0), np.float64)[0]
        scaled_UI = sp.csr_matrix(taken_UI @ sp.diags(1 / np.sqrt(np.maximum(n_I, 1))))
        mean_UD = scaled_UI @ some_ID  # FᵀCF without C: the pairs are summed as products of people
        own_ID = some_ID * np.sqrt(n_I > 0)[:, None]
        cross_DD = mean_UD.T.astype(np.float64) @ mean_UD - own_ID.T.astype(np.float64) @ own_ID
        map_DD = np.asarray(np.linalg.solve(gram_DD, np.linalg.solve(gram_DD, cross_DD).T), np.float64)
        likeness, learned = (_spread(some_ID, self.vectors_ID, m) for m in (None, map_DD))
        share = self.config.learned / max(1 - self.config.learned, 1e-6)
        return np.asarray(map_DD * (share * likeness / learned if learned > 0 else 0.0), np.float32)

    def _fold_in(self, queries: Queries) -> Scores:
        return np.asarray(self._weights(queries.history) @ self.vectors_ID @ self.map_DD, np.float32)

    def _score(self, queries: Queries) -> Scores:
        """−inf where nothing is known of the item or of the history."""
        scores_BI = super()._score(queries)
        told_I = self._told_I
        known_B = (self._weights(queries.history) @ told_I.astype(np.float32)) > 0
        scores_BI[~known_B] = -np.inf
        scores_BI[:, ~told_I] = -np.inf
        return scores_BI

    def explain(self, queries: Queries, item: int) -> list[Reason]:
        """Exact: the score is the sum of these shares."""
        if item < 0 or item >= self.n_items or not self._told_I[item]:
            return []
        weights_I = self._weights(queries.history[:1]).tocoo()
        share_N = weights_I.data * (self.vectors_ID[weights_I.col] @ (self.map_DD @ self.vectors_ID[item]))
        reasons = [Reason(int(i), float(w), "exact") for i, w in zip(weights_I.col, share_N, strict=True) if w]
        return sorted(reasons, key=lambda r: (-r.weight, r.item))

    @property
    def trust_I(self) -> Scores:
        """[I] n/(n + κ): how far models that learn from events may be believed on each item."""
        return np.asarray(self.support_I / np.maximum(self.support_I + self.config.handover, 1e-6), np.float32)

    @property
    def _told_I(self) -> NDArray[np.bool_]:
        """[I] whether anything is known of the item."""
        return np.asarray(self._norms() > 0)

    def _weights(self, history: Histories) -> sp.csr_matrix:
        """[B, I] ω, summing to 1 in each row."""
        weights_BI = history.matrix(self.n_items, history.weight * np.exp(-history.age / self.config.recency))
        total_B = np.asarray(weights_BI.sum(axis=1))[:, 0]
        return sp.csr_matrix(sp.diags(np.divide(1.0, total_B, out=np.zeros_like(total_B), where=total_B > 0)) @ weights_BI)

    def _state(self) -> State:
        return {"vectors": self.vectors_ID, "map": self.map_DD, "support": self.support_I, **(to_arrays(self._own) if self._own is not None else self._kept)}

    def _restore(self, state: State) -> None:
        super()._restore(state)
        self.map_DD, self.support_I = np.asarray(state["map"]), np.asarray(state["support"])
        self._own, self._kept = None, {name: np.asarray(array) for name, array in state.items() if name.startswith("encoder.")}


def _spread(some_ID: Scores, all_ID: Scores, map_DD: NDArray[np.float64] | None) -> float:
    """Root mean square over items of f_i M f_j about its mean, for a sample of the items with events."""
    known = np.flatnonzero(some_ID.any(axis=1))
    sample = some_ID[known[:: max(1, len(known) // 256)]]
    scores = (sample if map_DD is None else sample @ map_DD) @ all_ID.T
    return float(np.sqrt(np.mean((scores - scores.mean(axis=1, keepdims=True)) ** 2))) if len(known) else 0.0
