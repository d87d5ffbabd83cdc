"""What all text encoders share: what counts as text, how much of it, and vectors only for that."""

from collections.abc import Callable, Sequence

import numpy as np

from daogou.contract import Mask, Scores

MOST_CHARACTERS = 2_000
"""The beginning of a text says what it is about; the cost of the rest would be the reader's choice, not ours."""


def readable(thing: str | bytes) -> str:
    """The text an encoder reads: no NUL (C strings end there), no ends of space, not endlessly long; "" where there is no letter or digit."""
    if isinstance(thing, bytes):
        return ""
    text = thing[:MOST_CHARACTERS].replace("\0", " ").strip()
    return text if any(sign.isalnum() for sign in text) else ""


def encoded(things: Sequence[str | bytes], dim: int, encode: Callable[[list[str]], Scores]) -> tuple[Scores, Mask]:
    """Unit vectors [n, dim] of what is readable, each text encoded once, and where there is one."""
    texts = [readable(thing) for thing in things]
    distinct = sorted({text for text in texts if text})
    out_ND, mask_N = np.zeros((len(texts), dim), np.float32), np.zeros(len(texts), np.bool_)
    if not distinct:
        return out_ND, mask_N
    raw_MD = np.asarray(encode(distinct), np.float32)
    length_M = np.linalg.norm(raw_MD, axis=1)
    good_M = np.isfinite(length_M) & (length_M > 1e-12)
    unit_MD = np.divide(raw_MD, length_M[:, None], out=np.zeros_like(raw_MD), where=good_M[:, None])
    place = {text: m for m, text in enumerate(distinct)}
    for n, text in enumerate(texts):
        if text and good_M[place[text]]:
            out_ND[n], mask_N[n] = unit_MD[place[text]], True
    return out_ND, mask_N
