"""Texts and photos turned into vectors. Encoders are plugins: one file, one line in pyproject.

    encoder("use")                                   the one of that name, loaded once a process
    encoder("openai", url=…, model=…)                with the settings of its constructor
    text_encoder("use")                              the same, but n-grams stand in where it cannot be loaded

Whatever an encoder cannot read (empty text, a broken photo) has no vector: its row of the mask is False, and of the vectors 0.
"""

import re
import threading
from typing import Any

import structlog

from daogou import plugins
from daogou.contract import Encoder
from daogou.errors import ConfigError, MissingExtra

log = structlog.get_logger("daogou.encode")

FALLBACK = "ngram"

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
