import numpy as np

from daogou.train.nested import FOLDS, _folds


def test_all_questions_of_a_person_are_in_one_fold_and_guests_are_dealt_one_by_one() -> None:
    user_Q = np.array([5, 7, 5, -1, 9, 7, -1, -1, 5, -1, 11, 12], np.int32)
    fold_Q = _folds(user_Q, np.random.default_rng(0))
    for user in (5, 7):
        assert len(set(fold_Q[user_Q == user])) == 1
    assert np.bincount(np.unique(np.column_stack([np.where(user_Q < 0, -1 - np.arange(12), user_Q), fold_Q]), axis=0)[:, 1]).tolist() == [3] * FOLDS
    assert len(set(fold_Q[user_Q < 0])) > 1
