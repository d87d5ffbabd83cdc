"""Which traits someone takes more often than others do.

For a trait v of the attribute a, over the shopper's events e with weights w_e,

    n_v = Σ_e w_e [item of e carries v]      n_a = Σ_e w_e [item of e has the attribute a at all]
    q_v = the same share over all events of everybody, and each item of the catalogue once with weight `EACH_ITEM`
    p_v = (n_v + κ q_v) / (n_a + κ)          the share of v, drawn towards everybody's by κ events
    lift = p_v / q_v                         how many times as often as others
    bits = p_v log₂ lift                     v's part of the divergence between this taste and everybody's: the order of the list

p_v is the mean under a Dirichlet prior of weight κ around everybody's shares, as for words of two corpora in Monroe, Colaresi and Quinn 2008
("Fightin' Words", section 3.5); with few events nothing stands out, however rare it is. Only what stands out upwards is a taste.

Axes: E events, I items, T traits.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daogou.contract import Codes, Scores, Times
from daogou.profile.traits import Table, Trait

PRIOR = 5.0  # κ, in events of weight 1
EACH_ITEM = 0.1
LEAST_LIFT = 1.25
MOST = 8  # of one attribute
LEAST_ITEMS = 2
"""Different items from which a taste follows, for those who have `KNOWN_FROM` or more: one item taken again and again is a habit."""
KNOWN_FROM = 10
SAME = 0.8
"""Share of events that two tastes have in common from which on the second says nothing new: a path and its last step, a kind and the word for it."""
SHOWN = 3  # items that stand for a taste


class Lived(NamedTuple):
    """The events that count, oldest first."""

    item_E: Codes
    time_E: Times
    weight_E: Scores
    event_E: Sequence[str]


class Taste(NamedTuple):
    """A trait that stands out, its place in the table, and what speaks for it."""

    trait: Trait
    place: int
    share: float
    "p_v"
    usual: float
    "q_v"
    lift: float
    bits: float
    events: dict[str, int]
    "How many events of each name."
    first: int
    last: int
    items: tuple[tuple[int, int], ...]
    "Item code and number of events, strongest first."
    n_items: int


def usual_shares(table: Table, taken_I: Scores) -> Scores:
    """[T] q: everybody's share of each trait among what has its attribute.

    Args:
        taken_I: weight of all events of everybody by item.
    """
    n_items = table.carries_IT.shape[0]
    weight_I = np.full(n_items, EACH_ITEM)
    weight_I[: len(taken_I)] += taken_I[:n_items]
    with_T = table.carries_IT.T @ weight_I
    with_A = table.known_IA.T.astype(np.float64) @ weight_I
    return np.asarray(with_T / np.maximum(with_A[table.attribute_T], 1e-12), np.float32)


def tastes(table: Table, usual_T: Scores, lived: Lived) -> list[Taste]:
    """What stands out, the attributes in their order and in each the strongest first."""
    inside = lived.item_E < table.carries_IT.shape[0]
    item_E, weight_E = lived.item_E[inside], lived.weight_E[inside].astype(np.float64)
    if not len(item_E):
        return []
    carries_ET = table.carries_IT[item_E]
    n_T = np.asarray(carries_ET.T @ weight_E)
    n_A = table.known_IA[item_E].T.astype(np.float64) @ weight_E
    share_T = (n_T + PRIOR * usual_T) / (n_A[table.attribute_T] + PRIOR)
    lift_T = np.divide(share_T, usual_T, out=np.zeros_like(share_T), where=usual_T > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        bits_T = np.where(lift_T >= LEAST_LIFT, share_T * np.log2(lift_T), 0.0)
    bits_T[n_T <= 0] = 0.0
    by_trait = carries_ET.tocsc()
    positions = np.flatnonzero(inside)
    fewest = LEAST_ITEMS if len(np.unique(item_E)) >= KNOWN_FROM else 1
    out: list[Taste] = []
    told: list[set[int]] = []
    for attribute in range(len(table.attributes)):
        own = np.flatnonzero((table.attribute_T == attribute) & (bits_T > 0))
        n_before = len(out)
        for t in own[np.lexsort((own, -bits_T[own]))].tolist():
            rows = np.sort(positions[by_trait.indices[by_trait.indptr[t] : by_trait.indptr[t + 1]]])
            if len(np.unique(lived.item_E[rows])) < fewest or any(_same(rows, other) for other in told):
                continue
            told.append(set(rows.tolist()))
            out.append(_taste(table.traits[t], t, lived, rows, float(share_T[t]), float(usual_T[t]), float(lift_T[t]), float(bits_T[t])))
            if len(out) - n_before == MOST:
                break
    return out


def _same(rows: NDArray[np.int64], other: set[int]) -> bool:
    both = sum(row in other for row in rows.tolist())
    return both >= SAME * (len(rows) + len(other) - both)


def _taste(trait: Trait, place: int, lived: Lived, rows: NDArray[np.int64], share: float, usual: float, lift: float, bits: float) -> Taste:
    events: dict[str, int] = {}
    for row in rows.tolist():
        events[lived.event_E[row]] = events.get(lived.event_E[row], 0) + 1
    items, where, times = np.unique(lived.item_E[rows], return_inverse=True, return_counts=True)
    weight = np.bincount(where, lived.weight_E[rows])
    strongest = np.lexsort((items, -weight))[:SHOWN]
    shown = tuple((int(items[n]), int(times[n])) for n in strongest)
    return Taste(trait, place, share, usual, lift, bits, events, int(lived.time_E[rows[0]]), int(lived.time_E[rows[-1]]), shown, len(items))
