"""What items carry: each value of each attribute that describes is a trait, whatever kind of attribute says it.

    category     every step of the path (`Shoes`, `Shoes > Running`)
    tag          each of the values joined by `|`
    number       the band between two quantiles of the catalogue, written `10..25`
    flag         `true` or `false`
    text         the whole text where many items share it (a size), else its words (a title)

Traits of texts and bands are counted from the catalogue as it was when they were last built; `Traits.mask` says which items carry a value now.

Axes: I items, T traits, N distinct texts of a column.
"""

import re
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from daogou.catalogue import Catalogue
from daogou.contract import Mask
from daogou.filters import Column, Numbers, Words, path_levels
from daogou.index.lexical import words

ITEM = "item_id"
"""The attribute of a correction that speaks of one item."""
NOT_TASTE = (ITEM, "available", "currency", "image", "created")
ORDER = ("category", "tag", "number", "flag", "text")
"""Kinds that describe, those that say most first: what a text says of the same events again is left out of tastes."""
BANDS = 5
SHARED = 10.0
"""Items for each distinct text from which on a text is a value, not a sentence."""
FEWEST = 2
"""Items that must carry a trait: what only one has says nothing beyond the item."""
FEWEST_WORDS = 5
MOST_WORDS = 0.2
"""Share of the items; a word that more of them have is no style."""
SHORTEST = 3
"""Signs of a Latin word."""
EMPTY = frozenset("and the for with from your you our are this that its per not non all new plus including".split())  # noqa: SIM905
EMPTY_SIGNS = frozenset("的了和是在与之及或个也都")
FRESH_S = 600.0
"""How long counts may be old while the catalogue changes."""
KEPT_MASKS = 64

_BAND = re.compile(r"(-?[\d.]+(?:e[+-]?\d+)?)?\.\.(-?[\d.]+(?:e[+-]?\d+)?)?")
_CJK_WORD = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")


class Trait(NamedTuple):
    """A value of an attribute."""

    attribute: str
    value: str


class Table(NamedTuple):
    """Every trait that several items carry. Column t of `carries_IT` belongs to `traits[t]`; `attribute_T` numbers `attributes`."""

    traits: tuple[Trait, ...]
    carries_IT: sp.csr_matrix
    attributes: tuple[str, ...]
    attribute_T: NDArray[np.int64]
    known_IA: NDArray[np.bool_]  # [I, attributes] whether the item has a value at all


class Traits:
    """The traits of a live catalogue. Every method may be called from any thread.

    Args:
        left_out: attributes that are not part of any profile.
    """

    def __init__(self, catalogue: Catalogue, left_out: Collection[str] = ()) -> None:
        self.catalogue = catalogue
        kinds = {name: kind for name, kind in catalogue.kinds.items() if name not in (*NOT_TASTE, *left_out) and kind in ORDER}
        self.kinds = dict(sorted(kinds.items(), key=lambda pair: ORDER.index(pair[1])))
        self._held: OrderedDict[tuple[str, str], NDArray[np.bool_]] = OrderedDict()
        self._lock = threading.Lock()
        self._table: tuple[Table, int, float] | None = None

    # ---- which items carry a value
    def mask(self, attribute: str, value: str) -> Mask:
        """[I] items that carry the value now; none for an attribute that is not part of profiles."""
        with self.catalogue.lock:
            n_items = len(self.catalogue)
            if attribute == ITEM:
                out_I = np.zeros(n_items, np.bool_)
                code = self.catalogue.items.code(value)
                out_I[[code] if code >= 0 else []] = True
                return out_I
            kind = self.kinds.get(attribute)
            if kind is None:
                return np.zeros(n_items, np.bool_)
            column = self.catalogue.column(attribute)
            if isinstance(column, Numbers):
                return _of_number(column, kind, value)[:n_items]
            return (self._holding(attribute, column, value) if kind == "text" else column.any_of([value]))[:n_items]

    def _holding(self, attribute: str, column: Words, value: str) -> Mask:
        """Items whose text holds the words of `value` in a row. Each distinct text is looked at once; new ones are added as they come."""
        wanted = _spelt(value)
        with self._lock:
            hit_N = self._held.pop((attribute, wanted), np.zeros(0, np.bool_))
            first, n_texts = len(hit_N), int(column.codes_I.max(initial=-1)) + 1
            if first < n_texts:
                new = [wanted in _spelt(column.text(number)) for number in range(first, n_texts)]
                hit_N = np.concatenate([hit_N, np.array(new, np.bool_)])
            self._held[attribute, wanted] = hit_N
            while len(self._held) > KEPT_MASKS:
                self._held.popitem(last=False)
        return np.asarray(np.append(hit_N, False)[column.codes_I] if n_texts else np.zeros(len(column.codes_I), np.bool_))

    # ---- all of them
    def table(self) -> Table:
        """The traits as they were counted last: now, or less than `FRESH_S` ago."""
        with self._lock:
            kept = self._table
        if kept is not None and (kept[1] == self.catalogue.version or time.monotonic() < kept[2]):
            return kept[0]
        version, built = self.catalogue.version, self._counted()
        with self._lock:
            self._table = built, version, time.monotonic() + FRESH_S
        return built

    def _counted(self) -> Table:
        with self.catalogue.lock:
            there_I = self.catalogue.listed_I
            columns = [(name, kind, self.catalogue.column(name)) for name, kind in self.kinds.items()]
            blocks = [(name, *_block(column, kind, there_I)) for name, kind, column in columns]
        traits: list[Trait] = []
        matrices: list[sp.csr_matrix] = []
        numbers: list[int] = []
        for number, (name, values, carries_IV) in enumerate(blocks):
            traits += [Trait(name, value) for value in values]
            numbers += [number] * len(values)
            matrices.append(carries_IV)
        known_IA = np.stack([np.asarray(m.getnnz(axis=1) > 0) for m in matrices], axis=1) if matrices else np.zeros((len(there_I), 0), np.bool_)
        carries_IT = sp.hstack(matrices).tocsr() if matrices else sp.csr_matrix(np.zeros((len(there_I), 0), np.float32))
        return Table(tuple(traits), carries_IT.astype(np.float32), tuple(name for name, _, _ in blocks), np.array(numbers, np.int64), known_IA)


# ---- values
def _block(column: Column, kind: str, there_I: Mask) -> tuple[list[str], sp.csr_matrix]:
    """The values of one attribute and who carries them, [I, values]."""
    n_items = len(there_I)
    if isinstance(column, Numbers):
        values = np.where(there_I, column.values_I[:n_items], np.nan)
        if kind == "flag":
            return _matrix(["false", "true"], [(values == 0), (values > 0)], n_items)
        bands = _bands(values[np.isfinite(values)])
        return _matrix(bands, [_of_band(values, band) for band in bands], n_items)
    codes_I = np.where(there_I, column.codes_I[:n_items], -1)
    texts = [column.text(number) for number in range(int(codes_I.max(initial=-1)) + 1)]
    used_N = np.bincount(codes_I[codes_I >= 0], minlength=len(texts))
    return _spread(texts, used_N, codes_I, _parts(kind, used_N))


def _parts(kind: str, used_N: NDArray[np.int64]) -> Callable[[str], Iterable[str]]:
    if kind == "category":
        return path_levels
    if kind == "text":
        return _whole if used_N.sum() >= SHARED * np.count_nonzero(used_N) else _style
    return _several


def _several(text: str) -> list[str]:
    return [part for value in text.split("|") if (part := value.strip())]


def _whole(text: str) -> list[str]:
    return [text.strip()] if text.strip() else []


def _style(text: str) -> list[str]:
    """The words of a text that may say something of style: no numbers, no empty words; of Chinese runs the pairs of signs."""
    found = words(text, query=True)
    return [
        word for word in found if (not EMPTY_SIGNS & set(word) if _CJK_WORD.match(word) else word.isalpha() and len(word) >= SHORTEST and word not in EMPTY)
    ]


def _spread(
    texts: Sequence[str], used_N: NDArray[np.int64], codes_I: NDArray[np.int32], parts: Callable[[str], Iterable[str]]
) -> tuple[list[str], sp.csr_matrix]:
    of_text = [list(dict.fromkeys(parts(text))) if used else [] for text, used in zip(texts, used_N.tolist(), strict=True)]
    count = Counter[str]()
    for values, used in zip(of_text, used_N.tolist(), strict=True):
        for value in values:
            count[value] += used
    n_items = len(codes_I)
    low, high = (FEWEST_WORDS, MOST_WORDS * n_items) if parts is _style else (FEWEST, n_items)
    kept = {value: place for place, value in enumerate(sorted(value for value, n in count.items() if low <= n <= high))}
    where = [[kept[value] for value in values if value in kept] for values in of_text]
    start_N = np.concatenate([[0], np.cumsum([len(row) for row in where])]).astype(np.int64)
    index = np.array([place for row in where for place in row], np.int64)
    carries_NV = sp.csr_matrix((np.ones(len(index), np.float32), index, start_N), shape=(len(texts), len(kept)))
    empty = sp.csr_matrix(np.zeros((1, len(kept)), np.float32))
    return list(kept), sp.vstack([carries_NV, empty]).tocsr()[codes_I]  # −1 takes the last row


def _matrix(values: list[str], masks: list[Mask], n_items: int) -> tuple[list[str], sp.csr_matrix]:
    kept = [n for n, mask in enumerate(masks) if np.count_nonzero(mask) >= FEWEST]
    carries = np.stack([masks[n] for n in kept], axis=1) if kept else np.zeros((n_items, 0), np.bool_)
    return [values[n] for n in kept], sp.csr_matrix(carries.astype(np.float32))


# ---- numbers
def _bands(known: NDArray[np.float64]) -> list[str]:
    """At most `BANDS` bands of about equally many items, with edges of two digits, so that they stay while the catalogue changes a little."""
    if not len(known):
        return []
    edges = [float(f"{edge:.2g}") for edge in np.quantile(known, np.linspace(0, 1, BANDS + 1)[1:-1])]
    inner = [edge for edge in dict.fromkeys(edges) if known.min() < edge]
    return [f"{low}..{high}" for low, high in zip(["", *map(_digits, inner)], [*map(_digits, inner), ""], strict=True)]


def _digits(edge: float) -> str:
    return f"{edge:.12g}"


def band_edges(value: str) -> tuple[float, float] | None:
    """The edges of a band, −∞ or ∞ where it is open; None where it is none."""
    found = _BAND.fullmatch(value)
    if not found:
        return None
    try:
        return float(found[1] or "-inf"), float(found[2] or "inf")
    except ValueError:
        return None


def _of_band(values_I: NDArray[np.float64], band: str) -> Mask:
    edges = band_edges(band)
    if edges is None:
        return np.zeros(len(values_I), np.bool_)
    with np.errstate(invalid="ignore"):
        return np.asarray((values_I >= edges[0]) & (values_I < edges[1]))


def _of_number(column: Numbers, kind: str, value: str) -> Mask:
    if kind == "flag":
        return column.compare("=", {"true": 1.0, "false": 0.0}.get(value, float("nan")))
    return _of_band(column.values_I, value)


def _spelt(text: str) -> str:
    """A text as its words with a blank around each, so that whole words are found as pieces of text; Chinese signs have none between them."""
    return " " + " ".join(words(text, query=True)) + " "
