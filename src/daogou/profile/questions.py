"""What to ask someone of whom nothing is known: the items, or values, whose answers tell tastes apart best.

Where people have taken things, an option is an item, and the answer to it is whether one would take it. People are unit rows of who took what, in their
first directions T [U, D], and their answers R [U, N]. Options are chosen one after the other, each the one that takes most of the variance of T that is
left, as often as it is picked:

    next = argmax_c a_c ‖Tᵀ r_c‖² / ‖r_c‖²          a_c = share of people who took c; T and all r then lose what r_c explains

Without a_c this is forward selection for a linear regression with many outputs (orthogonal least squares, Chen, Billings and Luo 1989): least squared error
of what is believed of people after their answers, as in the bootstrapping trees of Golbandi, Koren and Lempel 2011 (equation 2), but everyone is asked
the same, so that a page can show all at once. With it popularity and information weigh together, as Rashid et al. 2002 and 2008 found best: who picks
nothing has told nothing (benchmarks/onboarding.py has the figures).

A catalogue without events asks for values instead: three attributes, each the one that splits the goods most beside those already asked (joint entropy).

Axes: U people, I items, N options, D dimensions.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from daogou.contract import Codes, Mask
from daogou.data.histories import Histories
from daogou.profile.traits import Table, Trait

QUESTIONS, OPTIONS = 3, 6
ASKED = QUESTIONS * OPTIONS
SPARE = 2
"""So many times as many options are chosen as are shown: some will be sold out when they are asked."""
PEOPLE = 5000
"""Of whom tastes are learned, at most."""
LEAST_TAKEN = 5
"""Different items that one of them has taken."""
LEAST_PEOPLE = 20
"""Who must have taken an option: of fewer, its being asked might tell something."""
CANDIDATES = 400
DIMENSIONS = 32
RIDGE = 1e-3
KNOWN = 0.5
"""Share of the goods that must have an attribute at all to be asked for it."""


class Chosen(NamedTuple):
    """Options in the order of choice, and how much of the tastes' variance is explained with each."""

    options: Codes
    explained: NDArray[np.float64]


def choose(histories: Histories, askable_I: Mask, *, wanted: int = ASKED * SPARE, seed: int = 0) -> Chosen:
    """The items to ask for; none where too few people are known.

    Args:
        histories: everybody's.
        askable_I: [I] items that may be asked for.
    """
    taken_UI = taken(histories, len(askable_I), seed)
    count_I = np.asarray(taken_UI.sum(axis=0))[0]
    able = np.flatnonzero(askable_I & (count_I >= LEAST_PEOPLE))
    candidates = np.sort(able[np.lexsort((able, -count_I[able]))[:CANDIDATES]])
    if not len(candidates):
        return Chosen(np.zeros(0, np.int32), np.zeros(0))
    taste_UD = _tastes(taken_UI, seed)
    places, explained = _forward(taste_UD, taken_UI[:, candidates].toarray().astype(np.float64), min(wanted, len(candidates)))
    return Chosen(candidates[places].astype(np.int32), explained)


def taken(histories: Histories, n_items: int, seed: int) -> sp.csr_matrix:
    """[U, I] 0 or 1: who took what, of those with enough; a sample where they are many."""
    taken_UI = histories.matrix(n_items)
    taken_UI.data[:] = 1.0
    enough = np.flatnonzero(np.diff(taken_UI.indptr) >= LEAST_TAKEN)
    if len(enough) > PEOPLE:
        enough = np.sort(np.random.default_rng(seed).choice(enough, PEOPLE, replace=False))
    return taken_UI[enough]


def _tastes(taken_UI: sp.csr_matrix, seed: int) -> NDArray[np.float64]:
    """[U, D] centred; the basis by subspace iteration (Halko, Martinsson and Tropp 2011, algorithm 4.4)."""
    unit_UI = sp.csr_matrix(sp.diags(1 / np.sqrt(np.maximum(np.diff(taken_UI.indptr), 1))) @ taken_UI).astype(np.float64)
    draw_ID = np.random.default_rng(seed).standard_normal((unit_UI.shape[1], min(DIMENSIONS, *unit_UI.shape)))
    for _ in range(4):
        draw_ID = np.linalg.qr(unit_UI.T @ (unit_UI @ draw_ID))[0]
    taste_UD = np.asarray(unit_UI @ draw_ID)
    return np.asarray(taste_UD - taste_UD.mean(axis=0))


def _forward(taste_UD: NDArray[np.float64], answer_UN: NDArray[np.float64], wanted: int) -> tuple[list[int], NDArray[np.float64]]:
    """Forward selection; the share of the variance explained after each choice."""
    rate_N = answer_UN.mean(axis=0)
    left_UD, rest_UN = taste_UD.copy(), answer_UN - rate_N
    total, floor = float((left_UD**2).sum()), RIDGE * max(len(rest_UN), 1)
    places: list[int] = []
    explained: list[float] = []
    for _ in range(wanted):
        length_N = (rest_UN**2).sum(axis=0)
        gain_N = rate_N * ((left_UD.T @ rest_UN) ** 2).sum(axis=0) / (length_N + floor)
        gain_N[places] = -1.0
        best = int(np.argmax(gain_N))
        if length_N[best] <= floor:
            break
        unit_U = rest_UN[:, best] / np.sqrt(length_N[best])
        left_UD -= np.outer(unit_U, unit_U @ left_UD)
        rest_UN -= np.outer(unit_U, unit_U @ rest_UN)
        places.append(best)
        explained.append(1 - float((left_UD**2).sum()) / max(total, 1e-12))
    return places, np.array(explained)


# ---- a catalogue without events
def of_catalogue(table: Table, allowed_I: Mask) -> list[list[Trait]]:
    """Questions for values, each of one attribute, most informative first."""
    rows = np.flatnonzero(allowed_I[: table.carries_IT.shape[0]])
    asked: list[list[Trait]] = []
    joint_N = np.zeros(len(rows), np.int64)
    left = [sets for attribute in range(len(table.attributes)) for sets in _value_sets(table, attribute, rows)]
    while left and len(asked) < QUESTIONS:
        entropies = [_entropy(joint_N * (OPTIONS + 1) + _labels(table, places, rows)) for places in left]
        best = int(np.argmax(entropies))
        if entropies[best] <= _entropy(joint_N) + 1e-9:
            break
        places = left[best]
        joint_N = np.unique(joint_N * (OPTIONS + 1) + _labels(table, places, rows), return_inverse=True)[1]
        asked.append([table.traits[t] for t in places])
        left = [one for one in left if table.attribute_T[one[0]] != table.attribute_T[places[0]]]
    return asked


def _value_sets(table: Table, attribute: int, rows: NDArray[np.int64]) -> list[list[int]]:
    """The most common values of an attribute, of a path at each depth; none where too few goods have any."""
    own = np.flatnonzero(table.attribute_T == attribute)
    if not len(own) or not len(rows) or table.known_IA[rows, attribute].mean() < KNOWN:
        return []
    count = np.asarray(table.carries_IT[rows][:, own].sum(axis=0))[0]
    depth = np.array([table.traits[t].value.count(">") for t in own])
    out = []
    for level in np.unique(depth):
        here = np.flatnonzero((depth == level) & (count > 0))
        best = here[np.lexsort((here, -count[here]))[:OPTIONS]]
        if len(best) > 1:
            out.append([int(own[n]) for n in best])
    return out


def _labels(table: Table, places: list[int], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """[N] which of the values each item has, 0 = none of them."""
    carries = table.carries_IT[rows][:, places].toarray() > 0
    return np.asarray(np.where(carries.any(axis=1), carries.argmax(axis=1) + 1, 0), np.int64)


def _entropy(labels_N: NDArray[np.int64]) -> float:
    _, times = np.unique(labels_N, return_counts=True)
    share = times / max(len(labels_N), 1)
    return float(-(share * np.log2(share)).sum())
