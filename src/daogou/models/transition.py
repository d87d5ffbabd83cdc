"""Transition: what comes next, from several time scales at once, in closed form."""

from typing import Annotated, Self

import numpy as np
import scipy.sparse as sp
from msgspec import Meta
from numpy.typing import NDArray

from daogou.config import Config, hyper
from daogou.contract import Run
from daogou.data.dataset import Dataset
from daogou.data.histories import Histories
from daogou.families import Inputs, ItemItem
from daogou.linalg import neighbour_regression, ridge
from daogou.pairs import Scales, support, to_float, transitions, without

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class TransitionConfig(Config, frozen=True):
    """`tau`, `window` and `l2` have one value for each scale."""

    tau: Annotated[tuple[Positive, ...], hyper("A history's events fade by 1/e in so many events.", 1, 200, log=True, unit="events")] = (1.2, 12.0)
    window: Annotated[tuple[Count, ...], Meta(description="Newest events that count at all. Cost is proportional to it.")] = (8, 60)
    l2: Annotated[tuple[Positive, ...], hyper("Penalty on the weights; larger is smoother.", 5, 3000, log=True, unit="squared interactions")] = (100.0, 500.0)
    horizon: Annotated[int, hyper("Events that count as following; 1 = the next one alone.", 1, 60, ge=1)] = 1
    future_tau: Annotated[float, hyper("The following events fade by 1/e in so many events.", 1, 60, unit="events", gt=0)] = 2.0
    min_support: Annotated[int, Meta(ge=1, description="Events an item needs to be learned from and recommended.")] = 1
    dense_items: Annotated[int, Meta(ge=0, description="Largest catalogue for which the full system is solved; above it, each target has few features.")] = (
        6_000
    )
    neighbours: Annotated[int, hyper("Features that each target is regressed on in the large-catalogue form.", 50, 300, ge=1)] = 100

    def __post_init__(self) -> None:
        if not 0 < len(self.tau) == len(self.window) == len(self.l2):
            raise ValueError(f"tau, window and l2 have {len(self.tau)}, {len(self.window)} and {len(self.l2)} values: one for each scale is needed")


class Transition(ItemItem):
    """scores = φ_T W with W = (G + Λ)⁻¹ R: ridge regression from decayed histories to what follows, all scales jointly.

    A history i_1 … i_T with event weights ω gives on scale s (γ_s = e^(−1/tau_s)) the features φ_t^s = Σ_{j≤t, t−j<window_s} γ_s^(t−j) ω_j e_{i_j};
    G = Σ φ_t φ_tᵀ and R = Σ φ_t y_tᵀ over t = 1 … T−1 of all shoppers, with y_t the next event (or the decayed next `horizon` events); Λ = l2_s on
    block s. The transition half of SLIST (Choi et al., WWW 2021) with several scales, jointly; `pairs.transitions` says how G is summed. The diagonal
    is not forced to zero, so that repurchase is learned where it occurs.

    Features F = S·I. Memory: 4·(F² + 2·F·I) bytes and the statistics while fitting, 4·F·I serving. Above `dense_items`, target i is regressed on its
    `neighbours` best features alone (`linalg.neighbour_regression`), at a cost linear in the catalogue, 8·I·`neighbours` bytes serving; the statistics,
    12 bytes for each pair of items within a window, are then the largest part. Additive: G and R in whole units of 2⁻³², so that forgetting gives the
    very bytes of a fit without the person. Items below `min_support` take part in no sum (but keep their place in the order); forgetting only ever
    lowers the support, so no pair that a fit without the person would need is missing.
    """

    Settings = TransitionConfig
    config: TransitionConfig

    def _fit(self, data: Dataset, run: Run) -> None:
        support_I = support(data.histories, data.n_items)
        self._learn(transitions(data.histories, self._scales, support_I >= self.config.min_support, run.threads), support_I, run.threads)

    def forget(self, data: Dataset) -> Self:
        """Takes the people whose events are `data` out again; equals a fit that never saw them."""
        gone_I, everything = support(data.histories, self.n_items), np.ones(self.n_items, np.bool_)
        gone = transitions(data.histories, self._scales, everything)
        self._learn(*without(self.statistics, gone, gone_I, self.config.min_support), threads=1)
        return self

    def _learn(self, moments: sp.csr_matrix, support_I: NDArray[np.int64], threads: int) -> None:
        self._statistics = {"moments": moments, "support": support_I}
        both, n_features = to_float(moments), moments.shape[0]
        gram_FF, cross_FI = both[:, :n_features], both[:, n_features:]
        l2_F = np.repeat(np.array(self.config.l2, np.float32), self.n_items)
        if self.n_items > self.config.dense_items:
            self.weights_FI = neighbour_regression(gram_FF, cross_FI, l2_F, self.config.neighbours, threads=threads)
        else:
            self.weights_FI = ridge(gram_FF, cross_FI, l2_F, threads=threads)

    @property
    def _scales(self) -> Scales:
        return Scales(
            np.exp(-1 / np.array(self.config.tau)), np.array(self.config.window, np.int64), self.config.horizon, float(np.exp(-1 / self.config.future_tau))
        )

    def _inputs(self, history: Histories) -> Inputs:
        known = np.flatnonzero((history.item >= 0) & (history.item < self.n_items))
        parts = []
        for s, (decay, window) in enumerate(zip(self._scales.decay_S, self.config.window, strict=True)):
            event = known[history.age[known] < window]
            parts.append(
                (event, s * self.n_items + history.item[event].astype(np.int64), (history.weight[event] * decay ** history.age[event]).astype(np.float32))
            )
        return Inputs(*(np.concatenate(column) for column in zip(*parts, strict=True)))
