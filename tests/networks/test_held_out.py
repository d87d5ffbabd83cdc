import numpy as np
import pytest

from daogou.data.histories import Histories
from daogou.networks.held_out import hold_out, ndcg
from daogou.testing.toy import random_dataset


def test_held_out_events_leave_training_and_no_item_is_lost():
    data = random_dataset(2)
    known = data.histories
    keep, users = hold_out(known, 1000, 0, data.n_items)
    assert 0 < len(users) <= (known.lengths >= 3).sum() // 3 and (~keep).sum() == len(users)
    assert np.flatnonzero(~keep).tolist() == (known.start[users + 1] - 1).tolist(), "the last event of each"
    assert set(known.item[keep].tolist()) == set(known.item.tolist())


def test_no_more_are_held_out_than_asked_for():
    data = random_dataset(2)
    assert len(hold_out(data.histories, 5, 0, data.n_items)[1]) == 5
    assert hold_out(data.histories, 0, 0, data.n_items)[0].all()


@pytest.mark.parametrize("rows", [[], [[1, 2], [3], [2, 2]], [[1, 2, 3], [4, 5, 6], [1, 1, 7]]])
def test_nobody_is_held_out_where_there_are_too_few(rows):
    keep, users = hold_out(Histories.of(rows), 1000, 0, 9)
    assert keep.all() and not len(users)


def test_ndcg_counts_only_items_that_are_new_to_the_history():
    scores = np.array([[9, 3, 2, 1], [1, 2, 3, 4], [-np.inf, 1, 1, 1]], np.float32)
    found = ndcg(scores, Histories.of([[0], [0], [1]]), np.array([1, 1, 0], np.int32))
    assert found == pytest.approx((1 + 1 / np.log2(4) + 0) / 3)
