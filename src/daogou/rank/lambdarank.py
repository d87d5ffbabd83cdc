"""LambdaRank over gradient-boosted trees (Burges 2010; Ke et al. 2017, LightGBM), through LightGBM's scikit-learn interface. Saved as text, never pickled."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import lightgbm
import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from daogou.config import Config, hyper
from daogou.contract import Run, Scores
from daogou.errors import ReleaseError, TrainingError
from daogou.rank.ranker import Examples

FILE = "trees.txt"
ROWS_A_THREAD = 500_000
"""Examples below which one thread is faster: on a busy machine OpenMP's threads wait for each other by spinning (2 threads cost 9 times the CPU)."""


class LambdaRankConfig(Config, frozen=True):
    learning_rate: Annotated[float, hyper("Share of each tree's correction that is taken.", 0.02, 0.2, log=True, gt=0, le=1)] = 0.05
    trees: Annotated[int, hyper("Trees; early stopping may take fewer.", 50, 1000, log=True, unit="trees", ge=1)] = 500
    leaves: Annotated[int, hyper("Leaves of one tree.", 7, 127, log=True, unit="leaves", ge=2)] = 31
    smallest_leaf: Annotated[int, hyper("Fewest examples in a leaf.", 20, 500, log=True, unit="examples", ge=1)] = 100
    l2: Annotated[float, hyper("Penalty on the leaves' values.", 0.1, 100, log=True, ge=0)] = 10.0
    columns: Annotated[float, hyper("Share of the features that each tree sees.", 0.3, 1.0, gt=0, le=1)] = 0.6
    truncation: Annotated[int, hyper("Pairs count if one of them is among so many first places.", 10, 60, log=True, unit="places", ge=1)] = 20
    patience: Annotated[int, Meta(ge=1, description="Trees without improvement on watched queries after which it stops.")] = 40


class LambdaRank:
    """The gradient of each pair of candidates is weighted by how much NDCG would change if they swapped places. Explanation: exact (TreeSHAP)."""

    Settings = LambdaRankConfig

    def __init__(self, config: LambdaRankConfig | None = None, **settings: Any) -> None:
        self.config: LambdaRankConfig = msgspec.convert(settings, LambdaRankConfig) if config is None else config
        self.trees = self.config.trees
        "Trees of the fit; with watching, those up to the best round."
        self._booster: lightgbm.Booster | None = None

    def fit(self, examples: Examples, run: Run, watch: Examples | None = None) -> Self:
        """
        Raises:
            TrainingError: no query has both a taken and another candidate.
        """
        c = self.config
        useful = _informative(examples)
        if not len(useful):
            raise TrainingError("no query has a taken and another candidate", fix='more events, or rank = "blend"')
        taught = examples.of(useful)
        threads = min(run.threads, 1 + len(taught.gain_N) // ROWS_A_THREAD)
        model = lightgbm.LGBMRanker(
            objective="lambdarank", n_estimators=self.trees, learning_rate=c.learning_rate, num_leaves=c.leaves, min_child_samples=c.smallest_leaf,
            reg_lambda=c.l2, colsample_bytree=c.columns, lambdarank_truncation_level=c.truncation, random_state=run.seed, n_jobs=threads,
            deterministic=True, force_row_wise=True, verbose=-1,
        )  # fmt: skip
        watching: dict[str, Any] = {}
        if watch is not None and len(seen := _informative(watch)):
            watched = watch.of(seen)
            stop = lightgbm.early_stopping(c.patience, verbose=False)
            watching = {"eval_X": watched.features_NF, "eval_y": watched.gain_N, "eval_group": [watched.sizes_Q], "eval_at": [10], "callbacks": [stop]}
        names = [_plain(n) for n in range(len(examples.names))]
        model.fit(taught.features_NF, taught.gain_N, taught.weight_N, group=taught.sizes_Q, feature_name=names, **watching)
        self.trees = int(model.best_iteration_ or self.trees)
        self._booster = _from_text(_text(model.booster_, self.trees))  # what is served later is what is measured now
        return self

    def agreed(self, fits: Sequence[Self]) -> Self:
        """The median number of trees, which were right for fewer examples than there will be."""
        made = type(self)(self.config)
        made.trees = max(1, round(float(np.median([fit.trees for fit in fits])))) if fits else self.config.trees
        return made

    def predict(self, features_NF: Scores) -> Scores:
        return np.asarray(self._fitted.predict(features_NF, num_threads=1), np.float32)

    def contributions(self, features_NF: Scores) -> Scores | None:
        return np.asarray(self._fitted.predict(features_NF, pred_contrib=True, num_threads=1), np.float32)

    def gains(self) -> NDArray[np.float64]:
        """[F] share of the fit's whole gain that each feature's splits made."""
        gain = np.asarray(self._fitted.feature_importance("gain"), np.float64)
        return gain / max(float(gain.sum()), 1e-12)

    def unstorable(self) -> str:
        return ""

    def save(self, directory: Path) -> None:
        (directory / FILE).write_text(_text(self._fitted, self.trees), "utf-8")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """
        Raises:
            ReleaseError: the file is missing or no model.
        """
        made = cls()
        try:
            made._booster = _from_text((directory / FILE).read_text("utf-8"))
        except (OSError, UnicodeDecodeError, lightgbm.basic.LightGBMError) as e:
            raise ReleaseError(f"cannot load the trees ({e})", fix="daogou train", where=str(directory / FILE)) from e
        made.trees = made._booster.num_trees()
        return made

    @property
    def _fitted(self) -> lightgbm.Booster:
        if self._booster is None:
            raise TrainingError("this ranker was not fitted", fix="call fit first")
        return self._booster


def _informative(examples: Examples) -> Any:
    """Queries with both a taken and another candidate: only they have pairs."""
    start = np.cumsum(examples.sizes_Q) - examples.sizes_Q
    taken = np.add.reduceat(np.append(examples.gain_N, 0.0), start) if len(start) else np.zeros(0)
    taken = np.where(examples.sizes_Q > 0, taken, 0.0)
    return np.flatnonzero((taken > 0) & (taken < examples.sizes_Q))


def _plain(n: int) -> str:
    return f"f{n}"  # LightGBM allows no blanks and colons; names stand in ranked.json


def _text(booster: lightgbm.Booster, trees: int) -> str:
    """The trees alone: the list of parameters names the number of threads, which is no part of the model."""
    head, found, rest = booster.model_to_string(num_iteration=trees).partition("\nparameters:")
    return head + "\nparameters:\nend of parameters\n" + rest.partition("end of parameters\n")[2] if found else head


def _from_text(text: str) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=text)
