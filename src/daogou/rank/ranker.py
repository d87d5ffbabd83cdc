"""The learned ranker: the retrievers' best items, put into the order that a model of their features has learned.

    candidates   the union of every retriever's and the blend's `depth` best
    order        by the ranker; everything else follows in the blend's order

Axes: B queries, C candidates, F features, I items, N examples, Q groups of examples.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from daogou import plugins, selection
from daogou.config import Config
from daogou.contract import Codes, Mask, Queries, Recommender, Run, Scores
from daogou.errors import ReleaseError
from daogou.rank.blend import ROWS, Blend, Part
from daogou.rank.facts import Facts
from daogou.rank.features import Features

DEPTH = 100
"""Items that each retriever proposes."""
FACTS, HEAD = "facts.safetensors", "ranked.json"


class Examples(NamedTuple):
    """What a ranker learns from: the candidates of Q queries, one query after the other."""

    features_NF: Scores
    gain_N: Scores
    "1 for an item that was taken, else 0."
    sizes_Q: NDArray[np.int64]
    names: tuple[str, ...]
    "Of the features."
    weight_N: Scores | None = None
    "How much each counts (rank/examined.py); None = all alike."

    def of(self, queries: NDArray[np.int64]) -> "Examples":
        """The examples of some queries, in their order."""
        ends = np.cumsum(self.sizes_Q)
        rows = np.concatenate([np.arange(ends[q] - self.sizes_Q[q], ends[q]) for q in queries]) if len(queries) else np.zeros(0, np.int64)
        return Examples(self.features_NF[rows], self.gain_N[rows], self.sizes_Q[queries], self.names, None if self.weight_N is None else self.weight_N[rows])


class Ranker(Protocol):
    """A model of (features → relevance), registered under ``daogou.rankers``. Scores are comparable within one query."""

    config: Config

    def fit(self, examples: Examples, run: Run, watch: Examples | None = None) -> Self: ...  # stops early on `watch`
    def agreed(self, fits: Sequence[Self]) -> Self: ...  # an unfitted one with what fits that stopped early agree on
    def predict(self, features_NF: Scores) -> Scores: ...  # [N]
    def contributions(self, features_NF: Scores) -> Scores | None: ...  # [N, F + 1] exact shares of each score and the rest; None = cannot
    def unstorable(self) -> str: ...  # "" or why it cannot be part of a release; asked before any work
    def save(self, directory: Path) -> None: ...
    @classmethod
    def load(cls, directory: Path) -> Self: ...


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """``ranked.json``: everything about a ranker in a release but its weights."""

    kind: str
    models: tuple[str, ...]
    weights: dict[str, float]
    repeats: bool
    request_time: bool
    depth: int
    features: tuple[str, ...]


class Ranked:
    """A scorer: the blend of several recommenders, its head reordered by a ranker.

    Args:
        models: every retriever that is asked, by name; the order is that of the features.
        weights: those of the blend; a model with weight 0 still proposes items and gives features.
        ranker: None while it is to be learned.
        request_time: whether features may read the moment of the question.
        kind: the ranker's plugin, by which a release finds it again.
    """

    def __init__(
        self,
        models: Mapping[str, Recommender],
        weights: Mapping[str, float],
        facts: Facts,
        ranker: Ranker | None,
        *,
        repeats: bool,
        request_time: bool,
        depth: int = DEPTH,
        kind: str = "",
    ) -> None:
        self.models, self.ranker, self.facts, self.depth, self.kind = dict(models), ranker, facts, depth, kind
        self.blend = Blend(models, weights, repeats=repeats)
        self.features = Features(self.models, facts, depth=depth, repeats=repeats, request_time=request_time)
        self._asked = Blend(models, dict.fromkeys(models, 1.0), repeats=repeats)

    @property
    def n_items(self) -> int:
        return self._asked.n_items

    # ---- steps, in the order in which a question takes them
    def part(self, name: str, queries: Queries) -> Part:
        """What one model says, with its weight in the blend (which may be 0)."""
        return self._asked.part(name, queries)._replace(weight=self.blend.weights.get(name, 0.0))

    def blended(self, parts: Sequence[Part], n_queries: int) -> Scores:
        """[B, I] the blend's scores."""
        total_BI = self.blend.total([part for part in parts if part.weight > 0], n_queries)
        return np.pad(total_BI, ((0, 0), (0, self.n_items - total_BI.shape[1])), constant_values=-np.inf)

    def candidates(self, parts: Sequence[Part], blend_BI: Scores, open_BI: Mask) -> Codes:
        """[B, C] distinct codes, −1 after them: every model's and the blend's `depth` best open items. `open_BI` has B rows, or one for all."""
        lists = [selection.best(np.ascontiguousarray(scores), np.ascontiguousarray(open_BI[:, : scores.shape[1]]), min(self.depth, scores.shape[1]), above)[0]
                 for scores, above in [*((part.scores_BI, self._above(part)) for part in parts), (blend_BI, -np.inf)]]  # fmt: skip
        codes = np.sort(np.concatenate(lists, axis=1), axis=1)[:, ::-1]
        codes[:, 1:][codes[:, 1:] == codes[:, :-1]] = -1
        codes = np.sort(codes, axis=1)[:, ::-1]
        return np.ascontiguousarray(codes[:, : max(1, int((codes >= 0).sum(axis=1).max(initial=0)))])

    def _above(self, part: Part) -> float:
        return 0.0 if getattr(self.models[part.name], "positive_only", False) else -np.inf

    def order(self, parts: Sequence[Part], queries: Queries, blend_BI: Scores, candidates: Codes) -> Scores:
        """[B, C] the ranker's scores of candidates, −inf for −1."""
        if self.ranker is None:
            raise ReleaseError("there is no ranker", fix="daogou train")
        seen_BCF = self.features.of(parts, queries, blend_BI, candidates)
        there_BC = candidates >= 0
        out_BC = np.full(candidates.shape, -np.inf, np.float32)
        if there_BC.any():
            out_BC[there_BC] = self.ranker.predict(seen_BCF[there_BC])
        if np.isnan(out_BC).any():
            raise ReleaseError("the ranker answers NaN", fix="daogou train")
        return out_BC

    def score(self, queries: Queries) -> Scores:
        """[B, I]; the candidates first, by the ranker, then the rest in the blend's order; −inf where nobody has evidence. Memory: 4·B·I bytes and some
        for 64 rows."""
        out_BI = np.full((len(queries), self.n_items), -np.inf, np.float32)
        for first in range(0, len(queries), ROWS):
            some = queries[first : first + ROWS]
            out_BI[first : first + ROWS] = self.ordered([self.part(name, some) for name in self.models], some, self.open(some))
        return out_BI

    def ordered(self, parts: Sequence[Part], queries: Queries, open_BI: Mask) -> Scores:
        """[B, I] as `score`, from what each of the models has said and with candidates among the open items."""
        blend_BI = self.blended(parts, len(queries))
        codes = self.candidates(parts, blend_BI, open_BI)
        return _on_top(blend_BI, codes, self.order(parts, queries, blend_BI, codes))

    def open(self, queries: Queries) -> Mask:
        """[B, I] what may be proposed: what exists and, unless repeats count, is not in the history."""
        known_I = self.facts.known_I[: self.n_items]
        return np.tile(known_I, (len(queries), 1)) if self.blend.repeats else known_I & ~queries.history.seen(self.n_items)

    # ---- files
    def over(self, models: Mapping[str, Recommender], facts: Facts) -> Self:
        """The same ranker over newer fits of the same models."""
        f, blend = self.features, self.blend
        return type(self)(models, blend.weights, facts, self.ranker, repeats=blend.repeats, request_time=f.request_time, depth=self.depth, kind=self.kind)

    def save(self, directory: Path) -> None:
        """Everything but the models: ``ranked.json``, ``facts.safetensors`` and the ranker's own files."""
        assert self.ranker is not None
        directory.mkdir(parents=True, exist_ok=True)
        time, names = self.features.request_time, self.features.names
        head = Head(
            kind=self.kind,
            models=tuple(self.models),
            weights=self.blend.weights,
            repeats=self.blend.repeats,
            request_time=time,
            depth=self.depth,
            features=names,
        )
        (directory / HEAD).write_bytes(msgspec.json.format(msgspec.json.encode(head, order="sorted"), indent=1))
        (self.facts.recent() if time and self.facts.real else self.facts).save(directory / FACTS)
        self.ranker.save(directory)

    @classmethod
    def load(cls, directory: Path, models: Mapping[str, Recommender]) -> Self:
        """
        Raises:
            ReleaseError: damaged, or the features of this version are others.
        """
        try:
            head = msgspec.json.decode((directory / HEAD).read_bytes(), type=Head)
            facts = Facts.load(directory / FACTS)
            ranker: Any = plugins.load("ranker", head.kind).load(directory)
            made = cls(
                {name: models[name] for name in head.models},
                head.weights,
                facts,
                ranker,
                repeats=head.repeats,
                request_time=head.request_time,
                depth=head.depth,
                kind=head.kind,
            )
            found = made.features.names
        except Exception as e:  # every way in which foreign bytes can be wrong
            raise ReleaseError(f"cannot load it ({type(e).__name__}: {e})", fix="train again, or roll back to an earlier release", where=str(directory)) from e
        if found != head.features:
            odd = sorted(set(found) ^ set(head.features)) or ["their order"]
            raise ReleaseError(f"a ranker of other features: {', '.join(odd[:5])}", fix="daogou train", where=str(directory))
        return made


def _on_top(blend_BI: Scores, codes_BC: Codes, order_BC: Scores) -> Scores:
    """[B, I] the candidates with the ranker's scores, all others below them."""
    finite = np.isfinite(blend_BI)
    high_B = np.max(blend_BI, axis=1, initial=0.0, where=finite)
    there = codes_BC >= 0
    low_B = np.min(order_BC, axis=1, initial=0.0, where=there)
    out_BI = blend_BI - (high_B - low_B + 1.0)[:, None]
    row = np.repeat(np.arange(len(codes_BC)), there.sum(axis=1))
    out_BI[row, codes_BC[there]] = order_BC[there]
    return np.asarray(out_BI, np.float32)
