"""The one door for models, readers, encoders and rankers: entry points. The built-in ones come through it too.

``[project.entry-points."daogou.models"]`` in pyproject.toml maps a name to ``module:Class``; nothing is imported before it is asked for.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from daogou.errors import MissingExtra, UnknownName

GROUPS = {"model": "daogou.models", "reader": "daogou.readers", "encoder": "daogou.encoders", "ranker": "daogou.rankers"}


@cache
def _points(kind: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUPS[kind])}


def names(kind: str) -> list[str]:
    """What is installed under `kind` (one of `GROUPS`), sorted."""
    return sorted(_points(kind))


def load(kind: str, name: str) -> Any:
    """The class or function registered under that name.

    Raises:
        UnknownName: nothing is registered under it; says what is.
        MissingExtra: it needs an optional part that is not installed.
    """
    points = _points(kind)
    if name not in points:
        raise UnknownName(kind, name, points)
    point = points[name]
    try:
        return point.load()
    except ModuleNotFoundError as e:
        if e.name and not e.name.startswith("daogou"):
            extra = point.extras[0] if point.extras else "all"
            raise MissingExtra(f"{e.name}, which the {kind} {name!r} needs,", extra) from e
        raise
