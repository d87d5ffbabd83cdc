from importlib.util import find_spec

import numpy as np
import pytest

if find_spec("keras") is None:
    pytest.skip("the extra 'deep' is not installed", allow_module_level=True)

import polars as pl

from daogou.contract import Run
from daogou.data.dataset import from_frames
from daogou.data.histories import Histories
from daogou.models.sasrec import SasRec, SasRecConfig
from daogou.networks import sequence, weights
from daogou.testing.contract import asked
from daogou.testing.toy import checkerboard, random_dataset

TINY = {"dimensions": 16, "length": 12, "blocks": 1, "epochs": 4, "negatives": 16, "learning_rate": 1e-2}


def of_lengths(*lengths):
    """Histories whose items tell where they stand: row r holds 100 r, 100 r + 1, …"""
    return Histories.of([range(100 * r, 100 * r + n) for r, n in enumerate(lengths)])


def batches(histories, n_items=1000, **settings):
    return sequence._Batches(histories, n_items, SasRecConfig(**settings), lambda time_BT: ())


def test_an_epoch_holds_one_window_of_every_history_and_next_codes_are_shifted():
    made = batches(of_lengths(2, 5, 1, 9, 33, 0, 41), length=40, batch_tokens=80, negatives=7)
    epoch, found = list(made(np.random.default_rng(0))), []
    assert len(epoch) == made.steps and {codes.shape for codes, *_ in epoch} == {(8, 10), (2, 40)}
    for codes, wanted, negatives, log_q in epoch:
        assert negatives.shape == (7,) and (negatives >= 1).all() and (negatives <= 1000).all() and not log_q.any()
        for c, w in zip(codes, wanted, strict=True):
            if w.any():
                assert (c > 0).tolist() == (w > 0).tolist() and (np.diff((c > 0).astype(int)) >= 0).all(), "padding is on the left"
                found.append([*(c[c > 0] - 1).tolist(), int(w[-1]) - 1])
    assert sorted(found) == [list(range(100 * r, 100 * r + n)) for r, n in enumerate((2, 5, 1, 9, 33, 0, 41)) if n > 1]


@pytest.mark.parametrize(("share", "first"), [(1.0, {5}), (0.0, set(range(6)))])
def test_long_histories_give_their_newest_window_or_any(share, first):
    made, rng, found = batches(of_lengths(10), length=4, newest_share=share, batch_tokens=32), np.random.default_rng(0), []
    for _ in range(100):
        ((codes, wanted, *_),) = made(rng)
        assert (np.diff(codes[0]) == 1).all() and (wanted[0] == codes[0] + 1).all()
        found.append(int(codes[0, 0]) - 1)
    assert set(found) == first


def test_the_same_generator_gives_the_same_batches():
    made = batches(of_lengths(3, 9, 12, 40), length=12, popular_share=0.5)
    for a, b in zip(made(np.random.default_rng(4)), made(np.random.default_rng(4)), strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_popular_negatives_are_drawn_as_often_as_log_q_says():
    count = np.array([0, 10, 90])
    made = batches(Histories.of([[1] * 10 + [2] * 90]), 3, length=4, negatives=30_000, popular_share=0.5)
    (_, _, negatives, log_q), *_ = made(np.random.default_rng(0))
    expected = 0.5 / 3 + 0.5 * count / 100
    np.testing.assert_allclose(np.bincount(negatives, minlength=4)[1:] / 30_000, expected, atol=0.01)
    np.testing.assert_allclose(log_q, [0, *np.log(3 * expected)], rtol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 5, 33, 600])
def test_padded_batches_have_few_shapes_and_every_row_once(n):
    rng = np.random.default_rng(n)
    histories = Histories.of([rng.integers(0, 9, rng.integers(0, 60)) for _ in range(n)])
    rows, shapes = [], set()
    for chosen, codes, times in sequence._padded(histories, np.arange(n) + 1000, 40):
        assert (times[: len(chosen), -1] == chosen + 1000).all()
        shapes.add(codes.shape)
        rows += chosen.tolist()
        for row, line in zip(chosen, codes, strict=False):
            newest = histories[row : row + 1].item[-40:] + 1
            assert line[line > 0].tolist() == newest.tolist() and (line[-len(newest) :] > 0).all()
    assert sorted(rows) == np.flatnonzero(histories.lengths).tolist()
    assert shapes <= {(1, 40), (32, 40), (256, 10), (256, 20), (256, 40)}


def test_an_item_without_an_event_is_never_answered():
    data = random_dataset(3)
    model = SasRec(**TINY).fit(data, Run(seed=1))
    unseen = np.flatnonzero(np.bincount(data.histories.item, minlength=data.n_items) == 0)
    assert len(unseen) and (model.score(data.queries())[:, unseen] == -np.inf).all()
    assert not np.isin(model.recommend(data.queries(), data.n_items).codes_BK, unseen).any()


def test_an_unknown_item_in_a_history_changes_nothing():
    data = random_dataset(3)
    model = SasRec(**TINY).fit(data, Run(seed=1))
    known, strange = ([[1, 2]], [[1, data.n_items - 1, 2, data.n_items + 4, -1]])
    np.testing.assert_array_equal(*(model.score(asked(Histories.of(rows), data)) for rows in (known, strange)))


def test_histories_of_one_event_teach_no_order_and_the_model_says_nothing(capsys):
    rows = [(f"u{u}", f"i{u % 3}", "buy", u) for u in range(5)]
    data = from_frames(pl.DataFrame(rows, schema=["user_id", "item_id", "event", "time"], orient="row"))
    model = SasRec(**TINY).fit(data)
    assert (model.score(data.queries()) == -np.inf).all() and (model.recommend(data.queries(), 2).codes_BK == -1).all()
    assert "nothing to learn an order from" in capsys.readouterr().out


def test_one_user_is_enough():
    data = from_frames(pl.DataFrame({"user_id": ["a"] * 30, "item_id": [f"i{n % 3}" for n in range(30)], "event": ["buy"] * 30, "time": list(range(30))}))
    # One step an epoch, from blocks that at first add nothing.
    model = SasRec(**{**TINY, "epochs": 200, "holdout_users": 0, "dropout": 0.0}).fit(data)
    assert model.score(asked(Histories.of([[0], [0, 1], [0, 1, 2]]), data)).argmax(axis=1).tolist() == [1, 2, 0]


def test_a_resumed_fit_gives_the_weights_of_an_unbroken_one(tmp_path):
    data, told = random_dataset(5), []

    def interrupt(step, done, total):
        told.append(step)
        if "epoch 3" in step:
            raise KeyboardInterrupt

    def fitted(**run):
        return SasRec(**TINY).fit(data, Run(seed=2, **run))

    with pytest.raises(KeyboardInterrupt):
        fitted(checkpoint=tmp_path, progress=interrupt)
    again = []
    resumed = fitted(checkpoint=tmp_path, progress=lambda step, *_: again.append(step))
    assert "epoch 3/4" in again[0]
    for mine, theirs in zip(resumed._state().values(), fitted()._state().values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_checkpoint_of_other_data_or_settings_is_left_alone(tmp_path):
    told = []
    for seed, more in ((5, {}), (6, {}), (5, {"dropout": 0.1})):
        SasRec(**TINY, **more).fit(random_dataset(seed), Run(seed=2, checkpoint=tmp_path, progress=lambda step, *_: told.append(step)))
    assert sum("epoch 1/" in step for step in told) >= 3


@pytest.mark.parametrize("settings", [{"negatives": 0}, {"negatives": 8}, {"negatives": 8, "popular_share": 0.5}, {"warm_start": False}])
def test_every_loss_learns_the_order(settings):
    data = checkerboard()
    model = SasRec(**{**TINY, "epochs": 40, "patience": 40, "dropout": 0.0, **settings}).fit(data, Run(seed=1))
    right = (model.recommend(data.queries(), 1, ~data.histories.seen(data.n_items)).codes_BK[:, 0] == np.arange(24) % 12).mean()
    assert right > 0.9


def test_a_warm_start_brings_neighbours_together():
    data = checkerboard(60, 12)
    vectors = sequence._cooccurrence_vectors(data.histories, 12, 4, 0)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 0.5, rtol=1e-4)
    cosine = 4 * vectors @ vectors.T
    assert cosine[::2, ::2].mean() > 0.5 and abs(cosine[::2, 1::2]).max() < 0.2


def test_a_single_question_compiles_nothing_new():
    data = random_dataset(3)
    model = SasRec(**TINY).fit(data, Run(seed=1))
    for n in (1, 3, 9):
        model.score(asked(Histories.of([list(range(n))]), data))
    assert model._last_states._call._cache_size() <= 2 + 1  # (1, L), (32, L), and the shape of the validation window


def test_weights_carry_no_running_names():
    data = random_dataset(3)
    first, second = (SasRec(**TINY).fit(data, Run(seed=1)) for _ in range(2))
    assert weights.read(first._encoder).keys() == weights.read(second._encoder).keys()
