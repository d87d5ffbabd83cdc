"""Words that were misspelt: the known word one slip away (a letter too many, too few, another, or two that changed places; Damerau 1964).

Every known word is a bit mask of its letters and a length; one pass over these leaves few words to compare letter by letter.
"""

from collections.abc import Callable, Iterable

import numpy as np

SHORTEST = 4
"""Letters of a word that may be misspelt: one slip in three letters makes another word."""


class Spelling:
    """The words of an index. Not to be changed while it is asked: whoever owns it holds a lock."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        self._seen: set[str] = set()
        self._words: list[str] = []
        self._masks_W, self._lengths_W = np.zeros(0, np.uint64), np.zeros(0, np.int16)
        self._new: list[str] = []
        self.add(words)

    def add(self, words: Iterable[str]) -> None:
        """Only words that could be meant by a misspelt one are kept: letters, and not too short."""
        for word in words:
            if word not in self._seen and len(word) >= SHORTEST - 1 and word.isascii() and word.isalpha():
                self._seen.add(word)
                self._new.append(word)

    def nearest(self, word: str, times: Callable[[str], int]) -> str | None:
        """The known word one slip away that is most in use, rather one with the same first letter; None where there is none.

        Args:
            times: how often a word is in use; 0 = no more.
        """
        if len(word) < SHORTEST or not (word.isascii() and word.isalpha()):
            return None
        self._take_in()
        away_W = np.bitwise_count(self._masks_W ^ np.uint64(_mask(word)))
        near = np.flatnonzero((away_W <= 2) & (np.abs(self._lengths_W - len(word)) <= 1))
        close = [(self._words[w][0] == word[0], n, self._words[w]) for w in near if one_slip(word, self._words[w]) and (n := times(self._words[w]))]
        return max(close, key=lambda found: (found[0], found[1], found[2]))[2] if close else None

    def _take_in(self) -> None:
        if self._new:
            self._words += self._new
            self._masks_W = np.concatenate([self._masks_W, np.array([_mask(word) for word in self._new], np.uint64)])
            self._lengths_W = np.concatenate([self._lengths_W, np.array([len(word) for word in self._new], np.int16)])
            self._new = []


def _mask(word: str) -> int:
    out = 0
    for letter in word:
        out |= 1 << (ord(letter) % 64)
    return out


def one_slip(a: str, b: str) -> bool:
    """Whether one edit turns `a` into `b`: an insertion, a deletion, a substitution or a transposition of neighbours."""
    if abs(len(a) - len(b)) > 1 or a == b:
        return False
    first = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    rest_a, rest_b = a[first:], b[first:]
    if len(a) > len(b):
        return rest_a[1:] == rest_b
    if len(a) < len(b):
        return rest_a == rest_b[1:]
    return rest_a[1:] == rest_b[1:] or (rest_a[:2] == rest_b[1::-1] and rest_a[2:] == rest_b[2:])
