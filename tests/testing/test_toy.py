import numpy as np
import pytest

from daogou.testing.toy import checkerboard, held_out, random_dataset


def test_the_diagonal_is_held_out_and_everything_else_of_the_parity_is_there():
    data = checkerboard(9, 8)
    seen = data.histories.seen(8)
    for u in range(9):
        expected = {i for i in range(8) if i % 2 == u % 2} - {held_out(data)[u]}
        assert set(np.flatnonzero(seen[u])) == expected


def test_the_held_out_item_follows_the_newest():
    data = checkerboard(24, 12)
    newest = data.histories.tail(1).item
    np.testing.assert_array_equal((newest + 2) % 12, held_out(data))


@pytest.mark.parametrize("n_items", [7, 4])
def test_a_board_that_has_no_answer_is_refused(n_items):
    with pytest.raises(ValueError, match="even"):
        checkerboard(4, n_items)


def test_random_data_has_what_real_data_has():
    data = random_dataset(0)
    assert len(data.events) == 800 and data.n_users == 40 and data.n_items == 30
    assert (data.events.session >= 0).all() and data.weight_E.min() == 0 and len(np.unique(data.weight_E)) == 4
    assert data.histories.lengths[-1] == 0 and not (data.events.item == 29).any()
    pairs = data.events.user.astype(np.int64) * 30 + data.events.item
    assert len(np.unique(pairs)) < len(pairs), "there are repeats"
    same = random_dataset(0)
    np.testing.assert_array_equal(same.events.item, data.events.item)
    assert not np.array_equal(random_dataset(1).events.item, data.events.item)
