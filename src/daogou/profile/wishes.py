"""What people say of their profile, and what it does to the next answer.

    wrong   events with items that carry the value are left out of the history that models see, and such items stand behind all others that may be shown:
            the list holds them only where it would not be full without them
    more    a third of the list's places more than without it belong to items that carry the value, the best of them by the same scores and spread over
            the list, as far as there are such items; a list about the items on a page takes them from among the first `NEAR` times as many of its own
    more, of one item
            it counts as an event of weight `SAID` where the history lacks it, and items much like it are raised as above

The rules act on lists and not on scores, because scores of different models and people have no common scale. Taking a word back leaves no trace.

Axes: I items.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from daogou.contract import Mask
from daogou.data.rows import Correction
from daogou.profile.traits import ITEM, Traits

SAID = 0.4
"""Less than a deed counts: models of habits must not take a word for a purchase."""
EVERY = 3
NEAR = 3
MOST_RAISED = 12
"""Values that are raised at once: the newest."""
LIKE = 10
"""Items that "more" of one item raises beside it."""


class Wishes(NamedTuple):
    """Corrections in codes."""

    wrong_I: Mask | None = None
    more: tuple[Mask, ...] = ()
    "One mask for each value that more is wanted of."
    items: tuple[tuple[int, int], ...] = ()
    "Item and time (µs) of each item that more is wanted of."

    def __bool__(self) -> bool:
        return self.wrong_I is not None or bool(self.more)

    def is_wrong(self, code: int) -> bool:
        return self.wrong_I is not None and code < len(self.wrong_I) and bool(self.wrong_I[code])

    def wanted(self, codes: Iterable[int]) -> set[int]:
        """Those that more is wanted of."""
        return {code for code in codes if any(code < len(more_I) and more_I[code] for more_I in self.more)}


NONE = Wishes()


def wishes(said: Iterable[Correction], traits: Traits, similar: Callable[[int], Collection[int]]) -> Wishes:
    """
    Args:
        similar: codes of the items most like one.
    """
    wrong_I: Mask | None = None
    more: list[Mask] = []
    items: list[tuple[int, int]] = []
    for one in said:
        carries_I = traits.mask(one.attribute, one.value)
        if not carries_I.any():
            continue
        if one.says == "wrong":
            wrong_I = carries_I if wrong_I is None else _either(wrong_I, carries_I)
            continue
        if one.attribute == ITEM:
            code = int(np.flatnonzero(carries_I)[0])
            items.append((code, one.time))
            near = [other for other in similar(code) if other < len(carries_I)]
            carries_I[near] = True
        more.append(carries_I)
    if wrong_I is not None:
        items = [(code, time) for code, time in items if not (code < len(wrong_I) and wrong_I[code])]
    return Wishes(wrong_I, tuple(more), tuple(items))


def _either(a_I: Mask, b_I: Mask) -> Mask:
    """Masks of one catalogue that may have grown in between."""
    out_I = np.zeros(max(len(a_I), len(b_I)), np.bool_)
    out_I[: len(a_I)] |= a_I
    out_I[: len(b_I)] |= b_I
    return out_I


def within(mask_I: Mask | None, n_items: int) -> Mask:
    """The mask for a catalogue of another length: what came since carries nothing yet."""
    if mask_I is None:
        return np.zeros(n_items, np.bool_)
    if len(mask_I) >= n_items:
        return mask_I[:n_items]
    return np.append(mask_I, np.zeros(n_items - len(mask_I), np.bool_))


def raised(order: Sequence[int], wanted: Collection[int], others: Iterable[int], k: int) -> list[int]:
    """`order` with a third of its first k places more for what is wanted: every third place, the first of them the second of all.

    Args:
        wanted: those of `order` that are wanted already.
        others: what is wanted and not among the first k, best first.
    """
    window = list(order[:k])
    have = sum(code in wanted for code in window)
    extra = list(islice(others, min(k - have, math.ceil(k / EVERY))))
    surplus = max(0, len(window) + len(extra) - k)
    dropped = [code for code in reversed(window) if code not in wanted][:surplus][::-1]
    kept = [code for code in window if code not in dropped]
    out: list[int] = []
    while kept or extra:
        turn = bool(extra) and (not kept or len(out) == min(1, k - 1) or len(out) % EVERY == 1)
        out.append((extra if turn else kept).pop(0))
    return [*out, *dropped, *(code for code in order[k:] if code not in out)]


def reordered(order: Sequence[int], wished: Wishes, k: int) -> list[int]:
    """A list that keeps all its items: what is wrong last, and its first k places raised."""
    right = [code for code in order if not wished.is_wrong(code)]
    wanted = wished.wanted(right)
    out = raised(right, wanted, (code for code in right[k:] if code in wanted), k) if wanted else right
    return [*out, *(code for code in order if wished.is_wrong(code))]


def in_turn(pools: Sequence[Iterable[int]], leave: Collection[int]) -> Iterator[int]:
    """The best of each pool, then the second best of each, …; nothing twice, and nothing of `leave`."""
    seen = set(leave)
    going = [iter(pool) for pool in pools]
    while going:
        for pool in list(going):
            code = next((code for code in pool if code not in seen), None)
            if code is None:
                going.remove(pool)
            else:
                seen.add(code)
                yield code
