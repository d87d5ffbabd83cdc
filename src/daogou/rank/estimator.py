"""Any scikit-learn estimator in the ranker's seat, by name: ``estimator = "sklearn.linear_model:LogisticRegression"``.

It is trained pointwise (or in groups, if its `fit` takes them) and asked for the probability of being taken, or for its prediction.

Pickled objects are code, so a release holds none. An estimator whose order is that of a linear function of the features is stored as that function;
any other takes part in `daogou evaluate`, and `daogou train` refuses it before any work. To serve another kind, register a ranker of your own under
``daogou.rankers`` that brings its own files.
"""

import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from daogou.config import Config
from daogou.contract import Run, Scores
from daogou.errors import ConfigError, ReleaseError, TrainingError
from daogou.rank.ranker import Examples

FILE = "linear.safetensors"
ALLOWED = "sklearn."


class EstimatorConfig(Config, frozen=True):
    estimator: Annotated[str, Meta(description="module:Class of scikit-learn.")] = "sklearn.linear_model:LogisticRegression"
    settings: Annotated[dict[str, Any], Meta(description="Its own arguments.")] = {}


class Estimator:
    """Features are standardised and unknown ones set to the mean first, because most estimators need both."""

    Settings = EstimatorConfig

    def __init__(self, config: EstimatorConfig | None = None, **settings: Any) -> None:
        self.config: EstimatorConfig = msgspec.convert(settings, EstimatorConfig) if config is None else config
        self._estimator: Any = None
        self._mean_F = self._scale_F = np.zeros(0, np.float32)
        self._weight_F: NDArray[np.float32] | None = None
        if config is not None or settings:
            self._new(0)

    def fit(self, examples: Examples, run: Run, watch: Examples | None = None) -> Self:
        """
        Raises:
            ConfigError: there is no such estimator, or not with these settings.
            TrainingError: it cannot learn from the examples.
        """
        x = examples.features_NF.astype(np.float64)
        known = np.isfinite(x)
        count = np.maximum(known.sum(axis=0), 1)
        self._mean_F = (np.where(known, x, 0.0).sum(axis=0) / count).astype(np.float32)
        spread = np.sqrt((np.where(known, x - self._mean_F, 0.0) ** 2).sum(axis=0) / count)
        self._scale_F = np.where(spread > 1e-9, 1.0 / np.maximum(spread, 1e-9), 0.0).astype(np.float32)
        self._estimator, self._weight_F = self._new(run.seed), None
        inputs = self._inputs(examples.features_NF)
        takes = inspect.signature(self._estimator.fit).parameters
        more: dict[str, Any] = {"group": examples.sizes_Q} if "group" in takes else {}
        if examples.weight_N is not None and "sample_weight" in takes:
            more["sample_weight"] = examples.weight_N
        try:
            self._estimator.fit(inputs, (examples.gain_N > 0).astype(np.int64), **more)
            self._weight_F = self._linear(inputs)
        except ValueError as e:
            raise TrainingError(f"{self.config.estimator} cannot be fitted: {e}", fix="check its settings, or take another ranker") from e
        return self

    def agreed(self, fits: Sequence[Self]) -> Self:
        return type(self)(self.config)

    def predict(self, features_NF: Scores) -> Scores:
        inputs = self._inputs(features_NF)
        if self._weight_F is not None:
            return np.asarray(inputs @ self._weight_F, np.float32)
        return np.asarray(self._answer(inputs), np.float32)

    def contributions(self, features_NF: Scores) -> Scores | None:
        if self._weight_F is None:
            return None
        return np.asarray(np.pad(self._inputs(features_NF) * self._weight_F, ((0, 0), (0, 1))), np.float32)

    def unstorable(self) -> str:
        """Tried on a handful of numbers."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(64, 3)).astype(np.float32)
        trial = type(self)(self.config).fit(Examples(x, (x[:, 0] + rng.normal(size=64) > 0).astype(np.float32), np.array([32, 32]), ("a", "b", "c")), Run())
        if trial._weight_F is not None:
            return ""
        return f"{self.config.estimator} is no linear function of the features, and a release holds no pickled objects"

    def save(self, directory: Path) -> None:
        if self._weight_F is None:
            raise ReleaseError(self.unstorable(), expected="a linear estimator, or lambdarank", fix="use it in daogou evaluate alone")
        save_file({"weight": self._weight_F, "mean": self._mean_F, "scale": self._scale_F}, directory / FILE)

    @classmethod
    def load(cls, directory: Path) -> Self:
        made = cls()
        arrays = load_file(directory / FILE)
        made._weight_F, made._mean_F, made._scale_F = arrays["weight"], arrays["mean"], arrays["scale"]
        return made

    # ---- parts
    def _new(self, seed: int) -> Any:
        kind, settings = self._class(), dict(self.config.settings)
        if "random_state" in inspect.signature(kind).parameters:
            settings.setdefault("random_state", seed)
        try:
            return kind(**settings)
        except TypeError as e:
            raise ConfigError(str(e), fix="leave the setting out, or correct its name", field="settings") from e

    def _class(self) -> Any:
        from sklearn.base import BaseEstimator

        path = self.config.estimator
        module, _, name = path.partition(":")
        wrong = ConfigError(
            f"{path!r} is no estimator of scikit-learn", expected='module:Class, such as "sklearn.linear_model:LogisticRegression"', field="estimator"
        )
        if not module.startswith(ALLOWED) or any(part.startswith("_") for part in (*module.split("."), name)):
            raise wrong
        try:
            kind = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as e:
            raise wrong from e
        if not (isinstance(kind, type) and issubclass(kind, BaseEstimator) and (hasattr(kind, "predict_proba") or hasattr(kind, "predict"))):
            raise wrong
        return kind

    def _inputs(self, features_NF: Scores) -> Scores:
        return np.asarray(np.nan_to_num((features_NF - self._mean_F) * self._scale_F, nan=0.0, posinf=0.0, neginf=0.0), np.float32)

    def _answer(self, inputs_NF: Scores) -> NDArray[Any]:
        if hasattr(self._estimator, "predict_proba"):
            return np.asarray(self._estimator.predict_proba(inputs_NF)[:, 1])
        return np.asarray(self._estimator.predict(inputs_NF), np.float64).reshape(-1)

    def _linear(self, inputs_NF: Scores) -> NDArray[np.float32] | None:
        """[F] the weights, if ordering by them is what the estimator does: seen on its own examples."""
        weight = np.asarray(getattr(self._estimator, "coef_", np.zeros(0)), np.float64).reshape(-1)
        if len(weight) != inputs_NF.shape[1] or not weight.any():
            return None
        some = inputs_NF[:: max(1, len(inputs_NF) // 5000)]
        value, answer = some @ weight, self._answer(some)
        order = np.argsort(value, kind="stable")
        follows = np.diff(answer[order]) >= -1e-6 * max(float(np.ptp(answer)), 1e-12)
        return weight.astype(np.float32) if follows.all() and np.ptp(answer) > 0 else None
