"""Sums over pairs of events of one shopper, as sparse integer matrices: what the linear models keep of the people they learned from.

    co_counts     Σ_u x_u x_uᵀ                    of whole histories (EASE)
    transitions   [Σ φ φᵀ | Σ φ yᵀ]               of decayed histories and what followed (transition)

Every coefficient is rounded to a whole number of 2⁻³² (`UNITS`) before it is added. Integers add and subtract exactly and in any order, so taking a
person's pairs away leaves the very matrix of a world without that person; floats would differ in the last digit.

A row of the matrix belongs to an item (at a scale), and is summed at one go from all places where the item occurs, in an array that stays in the
cache. So rows come out sorted, threads share nothing, and no list of pairs is ever held: memory is that of the result, time that of the pairs.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numba import njit
from numpy.typing import NDArray

from daogou.contract import Mask
from daogou.data.histories import Histories
from daogou.errors import TrainingError

UNITS = float(2**32)
CHUNKS_PER_THREAD = 16  # popular items cost more: small chunks keep all threads busy to the end


class Scales(NamedTuple):
    """How far and how strongly each of S decays looks back, and what counts as following. All in events."""

    decay_S: NDArray[np.float64]  # γ: factor per event
    window_S: NDArray[np.int64]  # w: events in a feature
    horizon: int  # h: events that count as following
    future_decay: float  # δ: factor per event of the future


def support(history: Histories, n_items: int) -> NDArray[np.int64]:
    """[I] in how many events each item occurs.

    Raises:
        TrainingError: there are events of later items, which are not among these.
    """
    if len(history.item) and int(history.item.max()) >= n_items:
        raise _strangers()
    return np.bincount(history.item, minlength=n_items).astype(np.int64)


def co_counts(history: Histories, kept_I: Mask, threads: int = 1) -> sp.csr_matrix:
    """The upper triangle of Σ_u x_u x_uᵀ [I, I] in units of 2⁻³²; x_u holds each item once, with the weight of its newest event.

    Items outside `kept_I` have no entries. Cost: Σ_u n_u² / 2 additions.
    """
    _check_range(history, len(kept_I), 1.0)
    start_U, item_N, weight_N = _distinct(history.start, history.item, history.weight, kept_I)
    item_N = _ranks(kept_I)[item_N]
    place_I, place_N = _places(item_N, np.ones(len(item_N), np.bool_), int(kept_I.sum()))
    user_N = np.repeat(np.arange(len(history), dtype=np.int32), np.diff(start_U))
    return _accumulate(_co_count_rows, (start_U, item_N, weight_N, user_N, place_I, place_N), place_I, kept_I, (1, 1), threads)


def transitions(history: Histories, scales: Scales, kept_I: Mask, threads: int = 1) -> sp.csr_matrix:
    """[G | R] in units of 2⁻³², F × (F + I) with F = S·I features; of the symmetric G the upper triangle.

    For a history i_1 … i_T with weights ω and scale s, φ_t^s = Σ_{j≤t, t−j<w_s} γ_s^{t−j} ω_j e_{i_j} and y_t = Σ_{1≤d≤h} δ^{d−1} e_{i_{t+d}}
    for t = 1 … T−1; G = Σ φφᵀ and R = Σ φyᵀ over all t and users. A pair of places j, k (m the later one) on scales a, b meets in
    n = min(T−m, w_a−(m−j), w_b−(m−k)) of those t and adds a geometric series,

        G_ab[i_j, i_k] += ω_j ω_k · γ_a^{m−j} γ_b^{m−k} · Σ_{r<n} (γ_a γ_b)^r

    Items outside `kept_I` have no entries, but keep their places in the order. Cost: events × windows.
    """
    most = max(float((decay ** np.arange(window)).sum()) for decay, window in zip(scales.decay_S, scales.window_S, strict=True))
    _check_range(history, len(kept_I), most * max(most, scales.horizon))
    n_scales, n_kept, counts_E = len(scales.decay_S), int(kept_I.sum()), kept_I[history.item]
    item_E, weight_E = _ranks(kept_I)[history.item], history.weight * counts_E
    place_I, place_E = _places(item_E, counts_E, n_kept)
    user_E = np.repeat(np.arange(len(history), dtype=np.int32), history.lengths)
    tables = (*_meetings(scales), UNITS * _followed(scales), scales.window_S, scales.horizon)
    arrays = (history.start, item_E, weight_E, counts_E, user_E, n_kept, place_I, place_E, *tables)
    return _accumulate(_transition_rows, arrays, place_I, kept_I, (n_scales, n_scales + 1), threads)


def without(statistics: Mapping[str, Any] | None, gone: sp.csr_matrix, gone_I: NDArray[np.int64], min_support: int) -> tuple[sp.csr_matrix, NDArray[np.int64]]:
    """`moments` and `support` of `statistics` after the pairs `gone`, summed over all items, and their support `gone_I` are taken away.

    Rows and columns of items below `min_support` go too. Support only ever falls, so no sum is missing that a fit without these people would have.

    Raises:
        TrainingError: the statistics were not kept, nothing would be left, or those people were never in them.
    """
    if statistics is None:
        raise TrainingError("its statistics were not kept", fix="train again")
    support_I = np.asarray(statistics["support"]) - gone_I
    if not support_I.any():
        raise TrainingError("nothing would be left to recommend from", fix="delete the release instead")
    moments, kept_I = sp.csr_matrix(statistics["moments"] - gone), support_I >= min_support
    row_kept, column_kept = (np.resize(kept_I, n) for n in moments.shape)  # a row for each item and scale; columns likewise
    moments.data[~(np.repeat(row_kept, np.diff(moments.indptr)) & column_kept[moments.indices])] = 0
    moments.eliminate_zeros()
    if (support_I < 0).any() or (moments.data < 0).any():
        raise _strangers()
    return moments, support_I


def _strangers() -> TrainingError:
    return TrainingError(
        "events to be forgotten are not among those it learned from",
        expected="the whole histories of some people, as they were when it was fitted",
        fix="take them from a snapshot of that time, or train again",
    )


def to_float(sums: sp.csr_matrix) -> sp.csr_matrix:
    """float32, in units of one."""
    return sp.csr_matrix((sums.data.astype(np.float32) * np.float32(1 / UNITS), sums.indices, sums.indptr), shape=sums.shape)


def _check_range(history: Histories, n_items: int, largest: float) -> None:
    """By Cauchy–Schwarz no sum exceeds the largest on the diagonal: an item's weights times the greatest value of a feature."""
    if not len(history.item):
        return
    heaviest = np.bincount(history.item, history.weight, n_items).max() * max(1.0, float(history.weight.max())) * largest
    if heaviest >= 2**31:
        raise TrainingError(
            f"sums of pairs of events may reach {heaviest:.3g}",
            expected="less than 2^31, from where on they are not exact",
            fix="give events smaller weights, or limit the events of a user",
        )


def _meetings(scales: Scales) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[S, S, N, D] twice, in units: what a pair adds to G_ab with D events between them and N rows left after the later one.

    The first: the event of scale b is the older one (or the same); the second: it is the newer one.
    """
    window_S, n = scales.window_S, int(scales.window_S.max())
    d_D, left_N = np.arange(n), np.arange(n + 1)
    shape = (len(window_S), len(window_S), n + 1, n)
    behind_SSND, ahead_SSND = np.zeros(shape), np.zeros(shape)
    for a, b in np.ndindex(shape[:2]):
        rate = scales.decay_S[a] * scales.decay_S[b]
        series_N = np.concatenate([[0.0], np.cumsum(rate**d_D)])
        for out, newer, older in ((behind_SSND, a, b), (ahead_SSND, b, a)):
            rows_ND = np.minimum(left_N[:, None], np.clip(np.minimum(window_S[newer], window_S[older] - d_D), 0, None))
            out[a, b] = UNITS * scales.decay_S[older] ** d_D * series_N[rows_ND]
    return behind_SSND, ahead_SSND


def _followed(scales: Scales) -> NDArray[np.float64]:
    """[S, D] what an event d places before a target adds to R: Σ over rows t that hold the event and have the target ahead within the horizon."""
    d_D = np.arange(int(scales.window_S.max()) + scales.horizon)
    out_SD = np.zeros((len(scales.decay_S), len(d_D)))
    for s, (decay, window) in enumerate(zip(scales.decay_S, scales.window_S, strict=True)):
        for age in range(int(window)):  # the row stands `age` places after the event, so the target d − age places ahead
            ahead = d_D - age
            ok = (ahead >= 1) & (ahead <= scales.horizon)
            out_SD[s, ok] += decay**age * scales.future_decay ** (ahead[ok] - 1)
    return out_SD


def _ranks(kept_I: Mask) -> NDArray[np.int32]:
    """[I] number among the kept items; 0 for the others. Kernels see kept items alone, so that a row of sums fits the cache."""
    return np.where(kept_I, np.cumsum(kept_I) - 1, 0).astype(np.int32)


def _accumulate(
    kernel: Callable[..., Any], arrays: tuple[Any, ...], place_I: NDArray[np.int64], kept_I: Mask, blocks: tuple[int, int], threads: int
) -> sp.csr_matrix:
    """Runs `kernel` over the rows of kept items, `blocks[0]` times, and puts the pieces into a matrix of `blocks` times all items."""
    codes, (row_blocks, column_blocks) = np.flatnonzero(kept_I), blocks
    n_items, n_kept = len(kept_I), len(codes)
    length_R = np.zeros(row_blocks * n_kept, np.int64)
    column_C = (np.arange(column_blocks)[:, None] * n_items + codes).ravel().astype(np.int32)

    def piece(chunk: tuple[int, int, int]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        indices, data = kernel(length_R, len(column_C), *chunk, *arrays)
        return column_C[indices], data

    with ThreadPoolExecutor(threads) as pool:
        pieces = list(pool.map(piece, [(block * n_kept, low, high) for block in range(row_blocks) for low, high in _chunks(place_I, threads)]))
    length_BI = np.zeros((row_blocks, n_items), np.int64)
    length_BI[:, codes] = length_R.reshape(row_blocks, n_kept)
    indices = np.concatenate([np.zeros(0, np.int32), *(indices for indices, _ in pieces)])
    data = np.concatenate([np.zeros(0, np.int64), *(data for _, data in pieces)])
    return sp.csr_matrix((data, indices, np.concatenate([[0], np.cumsum(length_BI)])), shape=(row_blocks * n_items, column_blocks * n_items))


def _chunks(place_I: NDArray[np.int64], threads: int) -> Iterator[tuple[int, int]]:
    """Ranges of items with about equally many events."""
    edges = np.searchsorted(place_I, np.linspace(0, place_I[-1], threads * CHUNKS_PER_THREAD + 1)[1:-1])
    yield from pairwise(np.unique([0, *edges, len(place_I) - 1]).tolist())


# ---- compiled -----------------------------------------------------------------------------------------------------------------
# Kernels hold no Python object and release the interpreter, so plain threads run them side by side.


@njit(cache=True, nogil=True)
def _places(item_N, counts_N, n_items):  # type: ignore[no-untyped-def]  # pragma: no cover (compiled)
    """Positions of the events that count of each item, in order: item i occurs at place_N[place_I[i] : place_I[i + 1]]."""
    place_I = np.zeros(n_items + 1, np.int64)
    for n in range(len(item_N)):
        place_I[item_N[n] + 1] += counts_N[n]
    for i in range(n_items):
        place_I[i + 1] += place_I[i]
    at_I = place_I[:-1].copy()
    place_N = np.empty(place_I[-1], np.int64)
    for n in range(len(item_N)):
        if counts_N[n]:
            place_N[at_I[item_N[n]]] = n
            at_I[item_N[n]] += 1
    return place_I, place_N


@njit(cache=True, nogil=True)
def _distinct(start_U, item_E, weight_E, kept_I):  # type: ignore[no-untyped-def]  # pragma: no cover (compiled)
    """Each kept item of a history once, with the weight of its newest event, in order of code."""
    newest_I = np.full(len(kept_I), -1, np.int64)
    start = np.zeros_like(start_U)
    item_N, weight_N = np.empty_like(item_E), np.empty_like(weight_E)
    n = 0
    for u in range(len(start_U) - 1):
        first = n
        for e in range(start_U[u], start_U[u + 1]):
            i = item_E[e]
            if kept_I[i]:
                if newest_I[i] < start_U[u]:
                    item_N[n] = i
                    n += 1
                newest_I[i] = e
        item_N[first:n].sort()
        for m in range(first, n):
            weight_N[m] = weight_E[newest_I[item_N[m]]]
        start[u + 1] = n
    return start, item_N[:n].copy(), weight_N[:n].copy()


@njit(cache=True, nogil=True)
def _emit(sum_C, touched_W, n, indices, data):  # type: ignore[no-untyped-def]  # pragma: no cover (compiled)
    """Writes the sums that are not zero to place n on, in order of columns, and clears them. `touched_W` says which blocks of 64 columns to look at."""
    for w in range(len(touched_W)):
        if touched_W[w]:
            touched_W[w] = False
            for c in range(w * 64, min(w * 64 + 64, len(sum_C))):
                if sum_C[c] != 0:
                    indices[n], data[n] = c, sum_C[c]
                    sum_C[c] = 0
                    n += 1
    return n


@njit(cache=True, nogil=True)
def _co_count_rows(  # type: ignore[no-untyped-def]
    length_R, n_columns, first_row, low, high, start_U, item_N, weight_N, user_N, place_I, place_N
):  # pragma: no cover (compiled)
    sum_C, touched_W = np.zeros(n_columns, np.int64), np.zeros(n_columns // 64 + 1, np.bool_)
    room = 0
    for i in range(low, high):
        pairs = 0
        for place in range(place_I[i], place_I[i + 1]):
            pairs += start_U[user_N[place_N[place]] + 1] - place_N[place]
        room += min(pairs, n_columns - i)
    n, indices, data = 0, np.empty(room, np.int32), np.empty(room, np.int64)
    for i in range(low, high):
        for place in range(place_I[i], place_I[i + 1]):
            j = place_N[place]
            weight, end = np.float64(weight_N[j]) * UNITS, start_U[user_N[j] + 1]
            item_K, weight_K = item_N[j:end], weight_N[j:end]  # codes ascend within a user: the upper triangle
            for k in range(len(item_K)):
                c = np.uint32(item_K[k])  # unsigned, here and below: numba need not look for negative indices
                touched_W[c >> np.uint32(6)] = True
                sum_C[c] += np.int64(weight * weight_K[k] + 0.5)
        before = n
        n = _emit(sum_C, touched_W, n, indices, data)
        length_R[first_row + i] = n - before
    return indices[:n].copy(), data[:n].copy()


@njit(cache=True, nogil=True)
def _transition_rows(  # type: ignore[no-untyped-def]
    length_R, n_columns, first_row, low, high, start_U, item_E, weight_E, counts_E, user_E, n_items, place_I, place_E,
    behind_SSND, ahead_SSND, followed_SD, window_S, horizon,
):  # pragma: no cover (compiled)  # fmt: skip
    n_scales, most = len(window_S), behind_SSND.shape[2] - 1
    a = first_row // n_items
    sum_C, touched_W = np.zeros(n_columns, np.int64), np.zeros(n_columns // 64 + 1, np.bool_)
    width = horizon + window_S[a:].sum() + (n_scales - a + 1) * window_S[a]  # what one place can touch
    room = 0
    for i in range(low, high):
        room += min((place_I[i + 1] - place_I[i]) * width, n_columns - first_row - i)
    n, indices, data = 0, np.empty(room, np.int32), np.empty(room, np.int64)
    for i in range(low, high):
        for b in range(a, n_scales):
            # The lower triangle and items that are not kept (their weight is 0) add 0: a branch would be a coin toss, and dearer.
            first, least, ahead_ND = np.uint32(b * n_items), i if a == b else 0, ahead_SSND[a, b]
            for place in range(place_I[i], place_I[i + 1]):
                j = place_E[place]
                end = start_U[user_E[j] + 1]
                begin, to = max(start_U[user_E[j]], j - window_S[b] + 1), min(end - 1, j + window_S[a])
                if j == end - 1:
                    continue  # the last event is a target and never a feature
                behind_D = behind_SSND[a, b, min(end - 1 - j, most)]
                item_K, weight_K = item_E[begin : j + 1], weight_E[begin : j + 1]
                for k in range(len(item_K)):
                    c = first + np.uint32(item_K[k])
                    touched_W[c >> np.uint32(6)] = True
                    sum_C[c] += np.int64((item_K[k] >= least) * behind_D[j - begin - k] * (np.float64(weight_E[j]) * weight_K[k]) + 0.5)
                item_K, weight_K = item_E[j + 1 : to], weight_E[j + 1 : to]
                for k in range(len(item_K)):
                    c = first + np.uint32(item_K[k])
                    touched_W[c >> np.uint32(6)] = True
                    ahead = ahead_ND[min(end - 2 - j - k, most), k + 1]
                    sum_C[c] += np.int64((item_K[k] >= least) * ahead * (np.float64(weight_E[j]) * weight_K[k]) + 0.5)
        first = np.uint32(n_scales * n_items)
        for place in range(place_I[i], place_I[i + 1]):
            j = place_E[place]
            to = min(start_U[user_E[j] + 1], j + window_S[a] + horizon)
            item_K, counts_K, followed_D = item_E[j + 1 : to], counts_E[j + 1 : to], followed_SD[a, 1:]
            for k in range(len(item_K)):
                c = first + np.uint32(item_K[k])
                touched_W[c >> np.uint32(6)] = True
                sum_C[c] += np.int64(counts_K[k] * followed_D[k] * np.float64(weight_E[j]) + 0.5)
        before = n
        n = _emit(sum_C, touched_W, n, indices, data)
        length_R[first_row + i] = n - before
    return indices[:n].copy(), data[:n].copy()
