from itertools import product

import numpy as np
import pytest

from daogou.data.histories import Histories
from daogou.errors import TrainingError
from daogou.pairs import UNITS, Scales, _followed, co_counts, support, to_float, transitions, without


def random_histories(rng, n_items, users=12, longest=13):
    rows = [rng.integers(0, n_items, rng.integers(0, longest + 1)) for _ in range(users)]
    return Histories.of(rows, weights=[rng.uniform(0.1, 3, len(row)) for row in rows])


def random_scales(rng):
    n = int(rng.integers(1, 4))
    return Scales(rng.uniform(0.2, 0.999, n), rng.integers(1, 9, n), int(rng.integers(1, 5)), float(rng.uniform(0.3, 1)))


def dense(sums, n_rows):
    """The symmetric G and R as float64, in units of one."""
    both = sums.toarray() / UNITS
    upper = both[:, :n_rows]
    assert not np.tril(upper, -1).any(), "the lower triangle is not kept"
    return upper + np.triu(upper, 1).T, both[:, n_rows:]


def by_rows(history, scales, kept_I):
    """G and R row by row, as the definition says."""
    n_items, n_scales = len(kept_I), len(scales.decay_S)
    gram, cross = np.zeros((n_scales * n_items,) * 2), np.zeros((n_scales * n_items, n_items))
    for u in range(len(history)):
        item = history.item[history.start[u] : history.start[u + 1]]
        weight = history.weight[history.start[u] : history.start[u + 1]].astype(np.float64)
        for t in range(len(item) - 1):
            phi, y = np.zeros((n_scales, n_items)), np.zeros(n_items)
            for s, j in product(range(n_scales), range(t + 1)):
                if t - j < scales.window_S[s]:
                    phi[s, item[j]] += scales.decay_S[s] ** (t - j) * weight[j] * kept_I[item[j]]
            for d in range(1, min(scales.horizon, len(item) - 1 - t) + 1):
                y[item[t + d]] += scales.future_decay ** (d - 1) * kept_I[item[t + d]]
            gram += np.outer(phi, phi)
            cross += np.outer(phi, y)
    return gram, cross


@pytest.mark.parametrize("seed", range(60))
def test_transitions_equal_the_sum_over_rows(seed):
    rng = np.random.default_rng(seed)
    n_items, scales = int(rng.integers(1, 7)), random_scales(rng)
    history, kept_I = random_histories(rng, n_items), rng.random(n_items) < 0.8
    gram, cross = dense(transitions(history, scales, kept_I), len(scales.decay_S) * n_items)
    expected_gram, expected_cross = by_rows(history, scales, kept_I)
    for found, expected in ((gram, expected_gram), (cross, expected_cross)):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * max(1.0, expected.max(initial=0)))


def test_transitions_of_a_long_history_with_the_usual_scales():
    rng = np.random.default_rng(7)
    scales = Scales(np.exp(-1 / np.array([1.2, 12.0, 40.0])), np.array([8, 60, 150]), 1, 1.0)
    history = Histories.of([rng.integers(0, 9, 400), rng.integers(0, 9, 61)])
    gram, cross = dense(transitions(history, scales, np.ones(9, np.bool_)), 27)
    expected_gram, expected_cross = by_rows(history, scales, np.ones(9, np.bool_))
    np.testing.assert_allclose(gram, expected_gram, rtol=1e-9)
    np.testing.assert_allclose(cross, expected_cross, rtol=1e-9)
    assert np.linalg.eigvalsh(gram).min() > -1e-6, "a Gram matrix of features: the windows do not make it indefinite"


def test_what_follows_has_the_closed_form():
    decay, future, window, horizon = 0.7, 0.6, 5, 3
    table = _followed(Scales(np.array([decay]), np.array([window]), horizon, future))[0]
    for d in range(1, window + horizon):
        low, high = max(0, d - horizon), min(d - 1, window - 1)  # ages of the event at the rows that have the target ahead
        n = high - low + 1
        assert table[d] == pytest.approx(decay**low * future ** (d - 1 - high) * (decay**n - future**n) / (decay - future), rel=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_co_counts_hold_each_item_once_with_its_newest_weight(seed):
    rng = np.random.default_rng(seed)
    n_items = int(rng.integers(1, 70))
    history, kept_I = random_histories(rng, n_items, users=20, longest=30), rng.random(n_items) < 0.8
    x = np.zeros((len(history), n_items))
    for u in range(len(history)):
        for e in range(history.start[u], history.start[u + 1]):
            x[u, history.item[e]] = history.weight[e] * kept_I[history.item[e]]
    gram, _ = dense(co_counts(history, kept_I), n_items)
    np.testing.assert_allclose(gram, x.T @ x, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("kind", ["co_counts", "transitions"])
def test_threads_change_nothing_and_entries_are_in_order(kind):
    rng = np.random.default_rng(1)
    history, kept_I = random_histories(rng, 300, users=200, longest=60), rng.random(300) < 0.9
    sums = [summed(kind, history, kept_I, threads) for threads in (1, 3)]
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(sums[0], name), getattr(sums[1], name))
    assert sums[0].has_sorted_indices and sums[0].data.all()


def summed(kind, history, kept_I, threads=1):
    scales = Scales(np.array([0.5, 0.9]), np.array([3, 10]), 2, 0.6)
    return co_counts(history, kept_I, threads) if kind == "co_counts" else transitions(history, scales, kept_I, threads)


@pytest.mark.parametrize("kind", ["co_counts", "transitions"])
@pytest.mark.parametrize("min_support", [1, 9])
def test_subtracting_people_gives_the_sums_of_the_others(kind, min_support):
    rng = np.random.default_rng(2)
    history = random_histories(rng, 40, users=60)
    gone, left = history[:20], history[20:]
    support_I = support(history, 40)
    assert ((support_I >= min_support) & (support(left, 40) < min_support)).any() == (min_support > 1), "some items fall below the minimum"
    statistics = {"moments": summed(kind, history, support_I >= min_support), "support": support_I}
    moments, left_I = without(statistics, summed(kind, gone, np.ones(40, np.bool_)), support(gone, 40), min_support)
    never = summed(kind, left, left_I >= min_support)
    np.testing.assert_array_equal(left_I, support(left, 40))
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(moments, name), getattr(never, name))
        assert getattr(moments, name).dtype == getattr(never, name).dtype


def test_what_cannot_be_subtracted_is_an_error():
    history = Histories.of([[0, 1, 2], [1, 2]])
    every, stranger = np.ones(3, np.bool_), Histories.of([[2, 0, 0]])
    statistics = {"moments": co_counts(history, every), "support": support(history, 3)}
    with pytest.raises(TrainingError, match="not kept"):
        without(None, co_counts(history, every), support(history, 3), 1)
    with pytest.raises(TrainingError, match="nothing would be left"):
        without(statistics, co_counts(history, every), support(history, 3), 1)
    with pytest.raises(TrainingError, match="not among those"):
        without(statistics, co_counts(stranger, every), support(stranger, 3), 1)
    with pytest.raises(TrainingError, match="not among those"):
        support(Histories.of([[0, 3]]), 3)


def test_sums_beyond_the_exact_range_are_an_error():
    heavy = Histories.of([[0, 0, 1]], weights=[[40_000.0, 40_000.0, 1.0]])
    with pytest.raises(TrainingError, match="not exact"):
        co_counts(heavy, np.ones(2, np.bool_))
    with pytest.raises(TrainingError, match="not exact"):
        summed("transitions", heavy, np.ones(2, np.bool_))


def test_the_largest_sums_in_range_are_exact():
    rows = [[0] * 50] * 40
    scales = Scales(np.array([0.999]), np.array([50]), 1, 1.0)
    history = Histories.of(rows, weights=[[20.0] * 50] * 40)
    gram, _ = dense(transitions(history, scales, np.ones(1, np.bool_)), 1)
    np.testing.assert_allclose(gram, by_rows(history, scales, np.ones(1, np.bool_))[0], rtol=1e-9)
    assert gram[0, 0] > 2**23


def test_nobody_and_nothing_kept():
    for history, kept in ((Histories.empty(3), True), (Histories.empty(0), True), (Histories.of([[0, 1, 0]]), False)):
        for kind in ("co_counts", "transitions"):
            assert summed(kind, history, np.full(2, kept)).nnz == 0


def test_floats_are_in_units_of_one():
    sums = to_float(co_counts(Histories.of([[0, 1], [0, 1], [0]]), np.ones(2, np.bool_)))
    assert sums.dtype == np.float32
    np.testing.assert_array_equal(sums.toarray(), [[3, 2], [0, 2]])
