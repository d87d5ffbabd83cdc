"""Texts and photos turned into vectors. Encoders are plugins: one file, one line in pyproject.

    encoder("use")                                   the one of that name, loaded once a process
    encoder("openai", url=…, model=…)                with the settings of its constructor
    text_encoder("use")                              the same, but n-grams stand in where it cannot be loaded

Whatever an encoder cannot read (empty text, a broken photo) has no vector: its row of the mask is False, and of the vectors 0.
"""

import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import structlog

from daogou import plugins
from daogou.contract import Encoder, Run
from daogou.errors import ConfigError, MissingExtra

log = structlog.get_logger("daogou.encode")

FALLBACK = "ngram"


@runtime_checkable
class Learner(Protocol):
    """The class of an encoder of photos that the shop's own goods must teach first.

    What it learned is kept in `run.vectors` and found again there. `served` of what it returns are arrays from which ``Class(arrays=served)`` makes the
    same encoder: they travel with the release of the model that uses it.
    """

    def learned(self, files: Sequence[bytes], labels: Mapping[str, Sequence[str | None]], settings: Mapping[str, Any], run: Run) -> Any:
        """
        Args:
            labels: attribute → its value for each file; None = not known.
            settings: under `encoders` of the model that uses it.

        Raises:
            TrainingError: they teach nothing.
            MissingExtra: what learning needs is not installed.
        """


_loaded: dict[str, Encoder] = {}
_lock = threading.Lock()


def encoder(name: str, **settings: Any) -> Encoder:
    """The encoder of that name. Loading is slow and large, so each is loaded once a process.

    Raises:
        UnknownName: nothing is registered under it.
        MissingExtra: it needs a part that is not installed.
        ConfigError: settings that it does not take.
    """
    key = f"{name} {sorted(settings.items())!r}"
    with _lock:
        if key not in _loaded:
            make = plugins.load("encoder", name)
            try:
                _loaded[key] = make(**settings)
            except TypeError as e:
                raise ConfigError(f"the encoder {name!r} does not take these settings ({e})", fix="correct them where the encoder is chosen", field=name) from e
        return _loaded[key]


def text_encoder(name: str, **settings: Any) -> Encoder:
    """As `encoder`; where its package is missing, n-grams stand in and one warning says so.

    Raises:
        UnknownName: nothing is registered under it, which is a mistake and no missing part.
    """
    try:
        return encoder(name, **settings)
    except MissingExtra as e:
        with _lock:
            first = f"{FALLBACK} for {name}" not in _loaded
            _loaded[f"{FALLBACK} for {name}"] = stand_in = _loaded.get(f"{FALLBACK} for {name}") or plugins.load("encoder", FALLBACK)()
        if first:
            log.warning("n-grams stand in for an encoder: words are compared, not meanings", encoder=name, why=str(e))
        return stand_in


def stamp(one: Encoder) -> str:
    """What vectors must carry to be comparable: id, version and weights, fit for a file name."""
    return "-".join(re.sub(r"[^A-Za-z0-9.]+", "_", part) for part in (one.id, one.version, one.weights[:12]) if part)


def check_kind(one: Encoder, kind: str, field: str) -> Encoder:
    """`one`, if it reads what it is meant for.

    Raises:
        ConfigError: it does not.
    """
    if one.kind != kind:
        raise ConfigError(f"the encoder {one.id!r} reads {one.kind}", expected=f"one that reads {kind}", field=field)
    return one


def to_arrays(own: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Taught encoders by name as arrays for a model's file."""
    return {f"encoder.{name}.{key}": array for name, one in own.items() for key, array in one.served.items()}


def from_arrays(state: Mapping[str, Any]) -> dict[str, Any]:
    """The encoders in a model's file, by name.

    Raises:
        MissingExtra: what one needs is not installed.
        ReleaseError: its arrays are damaged.
    """
    kept: dict[str, dict[str, Any]] = {}
    for key, array in state.items():
        kind, _, rest = key.partition(".")
        name, _, part = rest.partition(".")
        if kind == "encoder":
            kept.setdefault(name, {})[part] = array
    return {name: plugins.load("encoder", name)(arrays=arrays) for name, arrays in kept.items()}
