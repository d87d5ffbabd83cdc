"""N-grams: hashed runs of characters, the text encoder that needs nothing. It compares spelling, so it crosses no language and knows no synonym."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from zlib import crc32

import numpy as np

from daogou.contract import Mask, Scores
from daogou.encode.texts import encoded

_CJK = r"\u2e80-\u2fdf\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_RUN = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")
_IS_CJK = re.compile(f"[{_CJK}]")
_LATIN, _HAN = (3, 4, 5), (1, 2)


class NGram:
    """Signed feature hashing (Weinberger et al. 2009) of character n-grams: 3 to 5 with the ends of words, of Chinese, Japanese and Korean signs 1 and 2.

    A run that occurs c times counts 1 + ln c.
    """

    id = "ngram"
    kind = "text"
    dim = 512
    version = "1"
    weights = ""

    def encode(self, things: Sequence[str | bytes]) -> tuple[Scores, Mask]:
        return encoded(things, self.dim, self._hashed)

    def _hashed(self, texts: list[str]) -> Scores:
        out_ND = np.zeros((len(texts), self.dim), np.float32)
        for n, text in enumerate(texts):
            for gram, count in Counter(_grams(text)).items():
                code = crc32(gram.encode())
                out_ND[n, code % self.dim] += (1.0 if code & 1 << 31 else -1.0) * (1 + np.log(count))
        return out_ND


def _grams(text: str) -> Iterator[str]:
    for run in _RUN.findall(unicodedata.normalize("NFKC", text).lower()):
        sizes, signs = (_HAN, run) if _IS_CJK.match(run) else (_LATIN, f"^{run}$")
        for size in sizes:
            yield from (signs[n : n + size] for n in range(len(signs) - size + 1))
