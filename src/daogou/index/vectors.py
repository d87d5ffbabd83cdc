"""Search by meaning: every item's text as a vector, compared exactly with the question's. Rows that may not be shown are left out before the choice.

44,000 items of 512 dimensions are 90 MB and one product of a matrix with a vector; no approximate index is needed up to some hundred thousand.
"""

import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from daogou.contract import Encoder, Mask, Progress, Scores
from daogou.encode import cache
from daogou.selection import best

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
        with self._lock:
            most = max(code for code, _ in rows) + 1
            vectors_ID, known_I = self._vectors_ID.copy(), self._known_I.copy()
            if most > len(known_I):
                vectors_ID = np.concatenate([vectors_ID, np.zeros((most - len(known_I), vectors_ID.shape[1]), np.float32)])
                known_I = np.concatenate([known_I, np.zeros(most - len(known_I), np.bool_)])
            codes = np.array([code for code, _ in rows], np.int64)
            vectors_ID[codes], known_I[codes] = vectors_ND, mask_N
            self._vectors_ID, self._known_I = vectors_ID, known_I

    def vector(self, text: str) -> Scores | None:
        """[D] of a question; None where there is nothing to read in it."""
        vector_1D, mask_1 = self._encoder.encode([text])
        return np.asarray(vector_1D[0]) if mask_1[0] else None

    def of(self, code: int) -> Scores | None:
        """[D] of an item."""
        return np.asarray(self._vectors_ID[code]) if code < len(self._known_I) and self._known_I[code] else None

    def search(self, vector_D: Scores, k: int, allowed_I: Mask | None = None) -> list[tuple[int, float]]:
        """Code and cosine of the best k allowed items, best first."""
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
