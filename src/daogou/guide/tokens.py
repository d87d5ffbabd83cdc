"""Texts cut into tokens with their places: a Latin word or a number is one, each Chinese, Japanese or Korean sign is one.

Both languages then have one way to be matched: the longest run of tokens that something is called by.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

_CJK = r"\u2e80-\u2fdf\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+(?:'[a-z]+)?")
T = TypeVar("T")
_POSSESSIVE = ("'s", "'")
BREAKS = frozenset(",.;!?，。；！？、\n|/()（）")
_INSTEAD = {"Cc": " ", "Cs": " ", "Co": " ", "Cn": " ", "Cf": ""}
_SAME = str.maketrans({"’": "'", "‘": "'", "＇": "'", "`": "'"})


class Token(NamedTuple):
    """`key` is what is compared (folded, singular); `start` and `end` are places in the cleaned text."""

    key: str
    start: int
    end: int


def clean(text: str) -> str:
    """Unicode NFKC, lower case, one kind of apostrophe, no control signs, nothing that is not seen (marks of direction, joiners), spaces single."""
    folded = unicodedata.normalize("NFKC", text).lower().translate(_SAME)
    return re.sub(r"\s+", " ", "".join(_INSTEAD.get(unicodedata.category(sign), sign) for sign in folded)).strip()


def tokens(cleaned: str) -> list[Token]:
    """The tokens of a cleaned text, in order."""
    return [Token(singular(match.group()), match.start(), match.end()) for match in _TOKEN.finditer(cleaned)]


def key(text: str) -> tuple[str, ...]:
    """What a name is found by."""
    return tuple(token.key for token in tokens(clean(text)))


def singular(word: str) -> str:
    """An English plural or possessive as its singular; other words as they are. Both sides of a comparison pass here, so that it need only be consistent."""
    for end in _POSSESSIVE:
        word = word.removesuffix(end)
    if not word.isascii() or len(word) < 4 or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def is_cjk(text: str) -> bool:
    """Whether there is a Chinese sign in it."""
    return any("\u3400" <= sign <= "\u9fff" for sign in text)


class Names(Generic[T]):
    """Things by what they are called; finds the longest name that begins at a token."""

    def __init__(self, names: Iterable[tuple[str, T]] = ()) -> None:
        self._of: dict[tuple[str, ...], list[T]] = {}
        self._longest: dict[str, int] = {}
        "Of the names that begin with a token: most places of a text begin none, and should cost nothing."
        for name, thing in names:
            self.add(name, thing)

    def add(self, name: str, thing: T) -> None:
        parts = key(name)
        if parts:
            found = self._of.setdefault(parts, [])
            if thing not in found:
                found.append(thing)
            self._longest[parts[0]] = max(self._longest.get(parts[0], 0), len(parts))

    def exact(self, name: str) -> list[T]:
        """What has exactly this name."""
        return self._of.get(key(name), [])

    def at(self, found: list[Token], n: int) -> tuple[list[T], int]:
        """The things whose name begins at token `n`, and the number of tokens of the longest such name (0 = none)."""
        for length in range(min(self._longest.get(found[n].key, 0), len(found) - n), 0, -1):
            if things := self._of.get(tuple(token.key for token in found[n : n + length])):
                return things, length
        return [], 0
