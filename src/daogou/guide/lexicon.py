"""What colours, seasons, people, occasions, goods and makers are called in Chinese and English, and how people ask: the files of `words/`."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import msgspec

from daogou.guide.tokens import Names, is_cjk, key

ROLES = {"category": "goods", "gender": "genders", "color": "colors", "season": "seasons", "occasion": "occasions", "brand": "brands"}
"""What an attribute may be for the one who asks, and the file that has its words."""


class Topic(NamedTuple):
    """Concepts of one kind. `covers` says which concepts stand for several others."""

    role: str
    names: frozenset[tuple[str, ...]]
    "What an attribute of this kind is called, as keys."
    called: Mapping[str, tuple[str, ...]]
    concepts: Names[str]
    covers: Mapping[str, tuple[str, ...]]


@cache
def topics() -> dict[str, Topic]:
    """All topics by role."""
    out = {}
    for role, file in ROLES.items():
        raw = _read(file)
        concepts: dict[str, list[str]] = raw["concepts"]
        called = {concept: tuple(names) for concept, names in concepts.items()}
        found = Names((name, concept) for concept, names in concepts.items() for name in names)
        out[role] = Topic(role, frozenset(key(name) for name in raw["names"]), called, found, {k: tuple(v) for k, v in raw.get("any", {}).items()})
    return out


@cache
def attribute_names() -> dict[str, tuple[str, ...]]:
    """What attributes are called, by role."""
    named = {role: tuple(_read(file)["names"]) for role, file in ROLES.items()}
    own = {role: tuple(names) for role, names in _read("phrases")["attributes"].items()}
    return {role: tuple(dict.fromkeys([*named.get(role, ()), *own.get(role, ())])) for role in {**named, **own}}


@cache
def phrases() -> dict[str, Names[str]]:
    """How people ask, by what is meant."""
    return {meant: Names((name, name) for name in names) for meant, names in _read("phrases").items() if meant != "attributes"}


@cache
def listed(meant: str) -> tuple[str, ...]:
    """The phrases of one meaning in the order of the file."""
    return tuple(_read("phrases")[meant])


def shown(names: tuple[str, ...], chinese: bool) -> str:
    """The first of the names in a language; "" where there is none."""
    return next((name for name in names if is_cjk(name) == chinese), "")


@cache
def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.toml.decode((resources.files("daogou.guide") / "words" / f"{name}.toml").read_bytes())
    return found
