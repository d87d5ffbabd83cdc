"""Every error daogou raises on purpose, and nothing else.

    DaogouError
    ├── UsageError          the command or request was put wrongly                    (exit 2, HTTP 400)
    │   ├── UnknownName     a model, placement, attribute, reader … that does not exist
    │   └── FilterError     a filter expression that does not parse or does not type
    ├── ConfigError         a scenario or project file that cannot be read
    ├── DataError           files or tables that cannot be used as a whole
    ├── StoreError          the store cannot answer now
    │   ├── StoreBusy       its queue is full: try again after `retry_after_s`        (HTTP 503)
    │   └── StoreLocked     another process writes
    ├── ReleaseError        a release that is missing, damaged or refused by the gate
    ├── TrainingError       a model that could not be fitted
    └── MissingExtra        an optional part that is not installed

An error is a small manual: what was found, what was expected, how to mend it, and where.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class DaogouError(Exception):
    """Base of the tree. `str()` reads ``where: found (expected …); fix``.

    `field` names the offending field of a request or file where there is one.
    """

    def __init__(self, found: str, *, expected: str = "", fix: str = "", where: str = "", field: str = "") -> None:
        self.found, self.expected, self.fix, self.where, self.field = found, expected, fix, where, field
        text = f"{where}: {found}" if where else found
        if expected:
            text += f" (expected {expected})"
        if fix:
            text += f"; {fix}"
        super().__init__(text)


class UsageError(DaogouError):
    """The command or the request was put wrongly; nothing was changed."""


class UnknownName(UsageError):
    """A name that does not exist. Says which do, and which is nearest.

    The known names are kept in `known` for callers that answer in a structure of their own.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "", field: str = "") -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        near = get_close_matches(name, self.known, n=1)
        super().__init__(
            f"no {kind} named {name!r}",
            expected="one of " + (", ".join(self.known) or "none: nothing is installed"),
            fix=f"did you mean {near[0]!r}?" if near else "",
            where=where,
            field=field,
        )


class FilterError(UsageError):
    """A filter expression that does not parse, or compares what cannot be compared."""


class ConfigError(DaogouError):
    """A scenario or project file that cannot be read; `where` has file, line and key."""


class DataError(DaogouError):
    """Files or tables that cannot be used as a whole (single bad rows go to quarantine instead)."""


class StoreError(DaogouError):
    """The store cannot answer now. Nothing was half-written."""


class StoreBusy(StoreError):
    """The writer's queue is full or the disk refuses; the caller may try again after `retry_after_s`."""

    def __init__(self, found: str, *, retry_after_s: float = 1.0, fix: str = "try again later", where: str = "") -> None:
        self.retry_after_s = retry_after_s
        super().__init__(found, fix=fix, where=where)


class StoreLocked(StoreError):
    """Another process holds the write lock of this store."""


class ReleaseError(DaogouError):
    """A release that is missing, damaged, of another schema, or refused by the publishing gate."""


class TrainingError(DaogouError):
    """A model could not be fitted; the live release stays as it is."""


class MissingExtra(DaogouError):
    """An optional part is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed", fix=f"pip install 'daogou[{extra}]'")
