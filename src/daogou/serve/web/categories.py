"""The most general categories of the catalogue, largest first: what one can browse by."""

import threading
import time
import weakref
from collections import Counter

import numpy as np
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from daogou.catalogue import Catalogue
from daogou.filters import Words

FRESH_S = 60.0
"How long a count may be old while the catalogue changes; it is a menu, not an answer."
FEWEST = 2
"A category of fewer items is no place to browse."


class Menu:
    """Counts a catalogue when it has changed, and not more often than once in `FRESH_S`."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._counted: weakref.ref[Catalogue] | None = None  # a release that is gone must not stay in memory for a menu
        self._version, self._until = -1, 0.0
        self._lock = threading.Lock()

    def of(self, catalogue: Catalogue) -> list[str]:
        """Names of the top categories, those with most items first."""
        with self._lock:
            another = self._counted is None or self._counted() is not catalogue
            if another or (self._version != catalogue.version and time.monotonic() >= self._until):
                self._counted, self._version, self._until = weakref.ref(catalogue), catalogue.version, time.monotonic() + FRESH_S
                self._names = top(catalogue)
            return self._names


Shared = NamedDependency[SkipValidation[Menu]]
"""Annotation of a handler's argument `menu`."""


def top(catalogue: Catalogue) -> list[str]:
    """The first parts of the category paths of everything that is offered."""
    with catalogue.lock:
        column = catalogue.column("category")
        assert isinstance(column, Words)
        codes_I = column.codes_I[catalogue.offered_I[: len(column.codes_I)]]
    numbers, counts = np.unique(codes_I[codes_I >= 0], return_counts=True)
    sizes: Counter[str] = Counter()
    for number, count in zip(numbers, counts, strict=True):
        sizes[column.text(int(number)).partition(">")[0].strip()] += int(count)
    return [name for name, count in sorted(sizes.items(), key=lambda pair: (-pair[1], pair[0])) if name and count >= FEWEST]
