"""Search by nearness: every item's text, or photo, as a vector, compared with the question's. Rows that may not be shown are left out before the choice.

No approximate index is needed up to some hundred thousand items: the strongest 128 dimensions of all are compared, and the best of them exactly.

Axes: I items, D dimensions, P strongest of them, N a choice of items.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from daogou.contract import Encoder, Mask, Progress, Scores
from daogou.encode import cache, stamp
from daogou.errors import DaogouError
from daogou.selection import best

log = structlog.get_logger("daogou.index")

BATCH = 64  # items encoded in one go
SPARSE = 0.25
"""Share of allowed rows below which only those are compared."""
STRONGEST = 128
"""Dimensions of the first look."""
SMALL = 4096
"""Items up to which all dimensions are compared at once."""
SAMPLE = 20_000
"""Items from which the strongest dimensions are learned."""
WIDER, AT_LEAST = 4, 400
"""How many times as many as are asked for are compared exactly, and at least how many."""
REMEMBERED = 512
"""Questions whose vectors are kept: people who type, page on and remove chips ask the same again."""

Reading = tuple[Encoder, float]
"""An encoder and what the likeness it sees weighs."""


class Meaning:
    """Vectors over item codes. Methods may be called from any thread; a changed item counts for the next search.

    Several encoders look at the same things side by side; their likenesses add up, each times its weight over the sum of weights.
    """

    def __init__(
        self,
        readings: Sequence[Reading],
        codes: Sequence[int],
        things: Sequence[str | bytes],
        n_items: int,
        *,
        cached: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """
        Args:
            codes: of the items that have something to read; the others are never found.
            things: their texts or photos; read one by one, so that it need not hold them all.
            cached: directory of vectors by content; only what changed is encoded anew.
        """
        total = sum(weight for _, weight in readings)
        self._readings = [(one, float(np.sqrt(weight / total))) for one, weight in readings]
        self._lock = threading.Lock()
        self._asked: dict[str, Scores | None] = {}
        dim = sum(one.dim for one, _ in readings)
        vectors_ND, mask_N = np.zeros((0, dim), np.float32), np.zeros(0, np.bool_)
        if len(things):
            vectors_ND, mask_N = self._side_by_side([cache.encode(one, things, cached, progress) for one, _ in readings])
        at_N = np.asarray(codes, np.int64)
        self._known_I = np.zeros(n_items, np.bool_)
        self._known_I[at_N] = mask_N
        self._axes_DP = _axes(vectors_ND[mask_N]) if n_items > SMALL else None
        self._vectors_ID = np.zeros((n_items, dim), np.float32 if self._axes_DP is None else np.float16)
        self._vectors_ID[at_N] = vectors_ND
        self._first_IP = self._vectors_ID
        if self._axes_DP is not None:
            self._first_IP = np.zeros((n_items, self._axes_DP.shape[1]), np.float32)
            self._first_IP[at_N] = vectors_ND @ self._axes_DP

    def __len__(self) -> int:
        return len(self._known_I)

    @property
    def stamp(self) -> str:
        """Which encoders these vectors are of, and with what weights."""
        return " ".join(f"{stamp(one)}*{root:.4f}" for one, root in self._readings)

    @property
    def known(self) -> int:
        """How many items can be found."""
        return int(self._known_I.sum())

    def put(self, things: Iterable[tuple[int, str | bytes | None]]) -> None:
        """Adds or replaces items; None takes one out."""
        rows = list(things)
        if not rows:
            return
        vectors_ND, mask_N = self._side_by_side([one.encode([thing or "" for _, thing in rows]) for one, _ in self._readings])
        codes = np.array([code for code, _ in rows], np.int64)
        with self._lock:
            whole = self._first_IP is self._vectors_ID
            if (most := int(codes.max()) + 1) > len(self._known_I):
                spare = max(most, len(self._known_I) * 5 // 4) - len(self._known_I)  # room, so that adding many one by one stays cheap
                self._vectors_ID, self._known_I = _longer(self._vectors_ID, spare), _longer(self._known_I, spare)
                self._first_IP = self._vectors_ID if whole else _longer(self._first_IP, spare)
            self._vectors_ID[codes], self._known_I[codes] = vectors_ND, mask_N
            if self._axes_DP is not None:
                self._first_IP[codes] = vectors_ND @ self._axes_DP

    def vector(self, thing: str | bytes) -> Scores | None:
        """[D] of a question; None where there is nothing to read in it, or a server that reads texts does not answer in time."""
        if isinstance(thing, bytes):
            return self._vector(thing)
        with self._lock:
            if thing in self._asked:
                return self._asked[thing]
        try:
            found = self._vector(thing)
        except DaogouError:  # whoever failed has said so in the log; words find without it
            return None
        with self._lock:
            while len(self._asked) >= REMEMBERED:
                del self._asked[next(iter(self._asked))]
            self._asked[thing] = found
        return found

    def of(self, code: int) -> Scores | None:
        """[D] of an item."""
        return np.asarray(self._vectors_ID[code], np.float32) if code < len(self._known_I) and self._known_I[code] else None

    def search(self, vector_D: Scores, k: int, allowed_I: Mask | None = None) -> list[tuple[int, float]]:
        """Code and cosine of the best k allowed items, best first."""
        with self._lock:
            first_IP, vectors_ID, known_I = self._first_IP, self._vectors_ID, self._known_I
        may_I = known_I if allowed_I is None else known_I & _fitted(allowed_I, len(known_I))
        codes = np.flatnonzero(may_I)
        if not len(codes) or k < 1:
            return []
        looked = vector_D if self._axes_DP is None else vector_D @ self._axes_DP
        wanted = min(k if self._axes_DP is None else max(WIDER * k, AT_LEAST), len(codes))
        if len(codes) < SPARSE * len(known_I):
            found, scores = best((first_IP[codes] @ looked)[None], np.ones((1, len(codes)), np.bool_), wanted, -np.inf)
            near = codes[found[0]]
        else:
            found, scores = best((first_IP @ looked)[None], may_I[None], wanted, -np.inf)
            near = found[0].astype(np.int64)
        score_N = scores[0] if self._axes_DP is None else vectors_ID[near].astype(np.float32) @ vector_D
        order = np.lexsort((near, -score_N))[:k]
        return [(int(near[n]), float(score_N[n])) for n in order]

    def likeness(self, vector_D: Scores, codes: Sequence[int]) -> Scores:
        """[N] cosine of some items; 0 where an item has no vector."""
        with self._lock:
            vectors_ID, known_I = self._vectors_ID, self._known_I
        at_N = np.asarray(codes, np.int64)
        out_N = np.zeros(len(at_N), np.float32)
        there_N = at_N < len(known_I)
        out_N[there_N] = (vectors_ID[at_N[there_N]].astype(np.float32) @ vector_D) * known_I[at_N[there_N]]
        return out_N

    def _vector(self, thing: str | bytes) -> Scores | None:
        # An encoder that is a server has an encoding of its own for what someone waits for.
        vectors_1D, mask_1 = self._side_by_side([getattr(one, "question", one.encode)([thing]) for one, _ in self._readings])
        return np.asarray(vectors_1D[0]) if mask_1[0] else None

    def _side_by_side(self, parts: Sequence[tuple[Scores, Mask]]) -> tuple[Scores, Mask]:
        """[N, D] unit vectors, and where every encoder sees something."""
        mask_N = np.logical_and.reduce([mask for _, mask in parts])
        if len(parts) == 1:
            return parts[0][0], mask_N
        blocks = [root * vectors for (vectors, _), (_, root) in zip(parts, self._readings, strict=True)]
        return np.concatenate(blocks, axis=1) * mask_N[:, None], mask_N


def _axes(vectors_ND: Scores) -> Scores | None:
    """[D, P] the directions in which the items differ most and that keep most of a product; None where there are no more dimensions than that."""
    if vectors_ND.shape[1] <= STRONGEST or not len(vectors_ND):
        return None
    some_ND = vectors_ND[:: len(vectors_ND) // SAMPLE + 1]
    _, axes_DD = np.linalg.eigh((some_ND.T @ some_ND).astype(np.float64))
    return np.ascontiguousarray(axes_DD[:, ::-1][:, :STRONGEST], np.float32)


def _longer(rows: NDArray[Any], spare: int) -> NDArray[Any]:
    return np.concatenate([rows, np.zeros((spare, *rows.shape[1:]), rows.dtype)])


def _fitted(mask_I: Mask, n: int) -> Mask:
    if len(mask_I) >= n:
        return mask_I[:n]
    return np.concatenate([mask_I, np.zeros(n - len(mask_I), np.bool_)])


class Upkeep:
    """Keeps the vectors of a live catalogue in a thread of its own: encoding is slow, and nobody who asks should wait for it.

    Until the first pass is done `meaning` is None, and search goes without it. Items that change later are found by their old text until they are read again.
    """

    def __init__(self, make: Callable[[Progress | None], Meaning], text_of: Callable[[int], str | bytes | None]) -> None:
        """
        Args:
            make: builds the vectors of the whole catalogue.
            text_of: the text or photo of one item as it is now; None = it is gone.
        """
        self._make, self._text_of = make, text_of
        self._changed: set[int] = set()
        self._lock = threading.Lock()
        self._reading = threading.Lock()  # held while something is read: who comes back from `now` finds what another thread had begun
        self._worker: threading.Thread | None = None
        self._failed = False
        self.meaning: Meaning | None = None

    @property
    def failed(self) -> bool:
        """Whether reading has been given up."""
        return self._failed

    def begun(self) -> Meaning | None:
        """What has been read; begins to read the catalogue, unless that was begun or has failed."""
        with self._lock:
            if self._worker is None and self.meaning is None and not self._failed:
                self._run()
        return self.meaning

    def now(self, progress: Progress | None = None) -> Meaning:
        """Reads what is left and comes back when it is done.

        Raises:
            DaogouError: the encoder cannot be had.
        """
        with self._reading:
            if self.meaning is None:
                self.meaning = self._make(progress)
            self._catch_up(self.meaning)
            return self.meaning

    def changed(self, codes: Iterable[int]) -> None:
        """These items have another text now."""
        with self._lock:
            self._changed.update(codes)
            if self.meaning is not None and self._worker is None:
                self._run()

    def _run(self) -> None:
        self._worker = threading.Thread(target=self._work, name="daogou-meaning", daemon=True)
        self._worker.start()

    def _work(self) -> None:
        try:
            while True:
                self.now()
                with self._lock:
                    if not self._changed:
                        self._worker = None
                        return
        except Exception as e:  # whatever an encoder does wrong, search goes on by words
            log.warning("search goes without what could not be read", error=type(e).__name__, found=str(e)[:300])
            with self._lock:
                self._failed, self._worker = True, None

    def _catch_up(self, meaning: Meaning) -> None:
        while True:
            with self._lock:
                some = [self._changed.pop() for _ in range(min(BATCH, len(self._changed)))]
            if not some:
                return
            meaning.put([(code, self._text_of(code)) for code in some])
