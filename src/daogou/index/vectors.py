"""Search by meaning: every item's text as a vector, compared exactly with the question's. Rows that may not be shown are left out before the choice.

44,000 items of 512 dimensions are 90 MB and one product of a matrix with a vector; no approximate index is needed up to some hundred thousand.
"""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import structlog

from daogou.contract import Encoder, Mask, Progress, Scores
from daogou.encode import cache
from daogou.selection import best

log = structlog.get_logger("daogou.index")

BATCH = 64  # items encoded in one go
SPARSE = 0.25
"""Share of allowed rows below which only those are compared."""


class Meaning:
    """Vectors over item codes. Methods may be called from any thread; a changed item counts for the next search."""

    def __init__(
        self, encoder: Encoder, texts: Iterable[tuple[int, str]], n_items: int, *, cached: Path | None = None, progress: Progress | None = None
    ) -> None:
        """
        Args:
            texts: item code and its text; items without one are never found by meaning.
            cached: directory of vectors by content; only what changed is encoded anew.
        """
        self._encoder, self._cached = encoder, cached
        self._lock = threading.Lock()
        self._vectors_ID, self._known_I = np.zeros((n_items, encoder.dim), np.float32), np.zeros(n_items, np.bool_)
        rows = list(texts)
        if rows:
            codes = np.array([code for code, _ in rows], np.int64)
            self._vectors_ID[codes], self._known_I[codes] = cache.encode(encoder, [text for _, text in rows], cached, progress)

    def __len__(self) -> int:
        return len(self._known_I)

    def put(self, texts: Iterable[tuple[int, str | None]]) -> None:
        """Adds or replaces items; None takes one out."""
        rows = list(texts)
        if not rows:
            return
        vectors_ND, mask_N = self._encoder.encode([text or "" for _, text in rows])
        codes = np.array([code for code, _ in rows], np.int64)
        with self._lock:
            if (most := int(codes.max()) + 1) > len(self._known_I):
                spare = max(most, len(self._known_I) * 5 // 4) - len(self._known_I)  # room, so that adding many one by one stays cheap
                self._vectors_ID = np.concatenate([self._vectors_ID, np.zeros((spare, self._vectors_ID.shape[1]), np.float32)])
                self._known_I = np.concatenate([self._known_I, np.zeros(spare, np.bool_)])
            self._vectors_ID[codes], self._known_I[codes] = vectors_ND, mask_N

    def vector(self, text: str) -> Scores | None:
        """[D] of a question; None where there is nothing to read in it."""
        vector_1D, mask_1 = self._encoder.encode([text])
        return np.asarray(vector_1D[0]) if mask_1[0] else None

    def of(self, code: int) -> Scores | None:
        """[D] of an item."""
        return np.asarray(self._vectors_ID[code]) if code < len(self._known_I) and self._known_I[code] else None

    def search(self, vector_D: Scores, k: int, allowed_I: Mask | None = None) -> list[tuple[int, float]]:
        """Code and cosine of the best k allowed items, best first."""
        with self._lock:
            vectors_ID, known_I = self._vectors_ID, self._known_I
        may_I = known_I if allowed_I is None else known_I & _fitted(allowed_I, len(known_I))
        codes = np.flatnonzero(may_I)
        if not len(codes) or k < 1:
            return []
        if len(codes) < SPARSE * len(known_I):
            scores_N = vectors_ID[codes] @ vector_D
            order = np.lexsort((codes, -scores_N))[:k]
            return [(int(codes[n]), float(scores_N[n])) for n in order]
        found, scores = best((vectors_ID @ vector_D)[None], may_I[None], min(k, len(codes)), -np.inf)
        return [(int(code), float(score)) for code, score in zip(found[0], scores[0], strict=True) if code >= 0]


def _fitted(mask_I: Mask, n: int) -> Mask:
    if len(mask_I) >= n:
        return mask_I[:n]
    return np.concatenate([mask_I, np.zeros(n - len(mask_I), np.bool_)])


class Upkeep:
    """Keeps the vectors of a live catalogue in a thread of its own: encoding is slow, and nobody who asks should wait for it.

    Until the first pass is done `meaning` is None, and search goes by words. Items that change later are found by their old text until they are read again.
    """

    def __init__(self, make: Callable[[], Meaning], text_of: Callable[[int], str | None]) -> None:
        """
        Args:
            make: builds the vectors of the whole catalogue.
            text_of: the text of one item as it is now; None = it is gone.
        """
        self._make, self._text_of = make, text_of
        self._changed: set[int] = set()
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None
        self._failed = False
        self.meaning: Meaning | None = None

    def start(self) -> None:
        """Begins to read the catalogue, unless that was begun or has failed."""
        with self._lock:
            if self._worker is None and self.meaning is None and not self._failed:
                self._run()

    def now(self) -> Meaning:
        """Reads what is left and comes back when it is done.

        Raises:
            DaogouError: the encoder cannot be had.
        """
        if self.meaning is None:
            self.meaning = self._make()
        self._catch_up()
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
            log.warning("search goes by words alone", error=type(e).__name__, found=str(e)[:300])
            with self._lock:
                self._failed, self._worker = True, None

    def _catch_up(self) -> None:
        assert self.meaning is not None
        while True:
            with self._lock:
                some = [self._changed.pop() for _ in range(min(BATCH, len(self._changed)))]
            if not some:
                return
            self.meaning.put([(code, self._text_of(code)) for code in some])
