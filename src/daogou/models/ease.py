"""EASE: taste from whole histories, in closed form."""

from typing import Annotated, Self

import numpy as np
import scipy.sparse as sp
from msgspec import Meta
from numpy.typing import NDArray

from daogou.config import Config, hyper
from daogou.contract import Run
from daogou.data.dataset import Dataset
from daogou.data.histories import Histories
from daogou.families import Inputs, ItemItem, newest_of_item
from daogou.linalg import inverse, neighbour_regression
from daogou.pairs import co_counts, support, to_float, without


class EaseConfig(Config, frozen=True):
    l2: Annotated[float, hyper("Penalty on the weights; larger is smoother.", 10, 3000, log=True, unit="squared interactions", gt=0)] = 300.0
    dropout: Annotated[float, hyper("EDLAE: share of a history hidden while learning; penalises popular items more.", 0, 0.6, ge=0, lt=1)] = 0.0
    recency: Annotated[float, hyper("A history's events fade by 1/e in so many events; 0 = never.", 0, 20, unit="events", ge=0)] = 0.0
    min_support: Annotated[int, Meta(ge=1, description="Events an item needs to be learned from and recommended.")] = 1
    dense_items: Annotated[int, Meta(ge=0, description="Largest catalogue for which the full I × I system is solved; above it, neighbours only.")] = 6_000
    neighbours: Annotated[int, hyper("Items that each target is regressed on in the large-catalogue form.", 50, 300, ge=1)] = 100


class Ease(ItemItem):
    """scores = x B with P = (XᵀX + Λ)⁻¹, B_ij = −P_ij / P_jj, B_jj = 0 (Steck, WWW 2019, eq. 8), Λ_ii = l2 + p/(1−p)·(XᵀX)_ii (EDLAE: Steck, NeurIPS 2020)

    X holds each item of a shopper's history once, with the weight of its newest event. When serving, an event of age a (0 = newest) counts
    e^(−a/recency): the weights stay those of taste, and the newest interest comes first. Above `dense_items`, column i of B is the regression of i on
    its `neighbours` alone (`linalg.neighbour_regression`), at a cost linear in the catalogue.

    Memory: 8·I² bytes while fitting, 4·I² serving; above `dense_items` 12 bytes for each pair of items of one history, 8·I·`neighbours` serving.
    Additive: XᵀX in whole units of 2⁻³², so that forgetting gives the very bytes of a fit without the person. Items below `min_support` take part
    in no sum; forgetting only ever lowers the support, so no pair that a fit without the person would need is missing.
    """

    Settings = EaseConfig
    config: EaseConfig

    def _fit(self, data: Dataset, run: Run) -> None:
        support_I = support(data.histories, data.n_items)
        self._learn(co_counts(data.histories, support_I >= self.config.min_support, run.threads), support_I, run.threads)

    def forget(self, data: Dataset) -> Self:
        """Takes the people whose events are `data` out again; equals a fit that never saw them."""
        gone_I, everything = support(data.histories, self.n_items), np.ones(self.n_items, np.bool_)
        gone = co_counts(data.histories, everything)
        self._learn(*without(self.statistics, gone, gone_I, self.config.min_support), threads=1)
        return self

    def _learn(self, counts: sp.csr_matrix, support_I: NDArray[np.int64], threads: int) -> None:
        self._statistics = {"moments": counts, "support": support_I}
        gram_II, p = to_float(counts), self.config.dropout
        l2_I = (self.config.l2 + p / (1 - p) * gram_II.diagonal()).astype(np.float32)
        if self.n_items > self.config.dense_items:
            self.weights_FI = neighbour_regression(gram_II, gram_II, l2_I, self.config.neighbours, symmetric=True, threads=threads)
            return
        weights_II = inverse(gram_II, l2_I, threads=threads)
        weights_II /= -weights_II.diagonal()
        np.fill_diagonal(weights_II, 0)
        self.weights_FI = weights_II

    def _inputs(self, history: Histories) -> Inputs:
        newest = newest_of_item(history, self.n_items)
        fade = np.exp(-history.age[newest] / self.config.recency) if self.config.recency else 1.0
        return Inputs(newest, history.item[newest].astype(np.int64), (history.weight[newest] * fade).astype(np.float32))
