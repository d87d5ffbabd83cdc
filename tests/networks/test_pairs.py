from importlib.util import find_spec

import pytest

if find_spec("keras") is None:
    pytest.skip("the extra 'deep' is not installed", allow_module_level=True)

from dataclasses import replace

import numpy as np
import polars as pl
import scipy.sparse as sp

from daogou.contract import Run
from daogou.data.dataset import from_frames
from daogou.data.histories import Histories
from daogou.errors import TrainingError
from daogou.factors import factorise
from daogou.models.ncf import Ncf
from daogou.networks import loop, pairs
from daogou.testing.contract import asked, close
from daogou.testing.toy import random_dataset

TINY = {"dimensions": 4, "epochs": 2, "batch_size": 256}


def halves(n_users=80, n_items=40, cold_users=2, cold_items=2):
    """People and items of two sides who meet only their own; the last of each side have no event."""
    rng = np.random.default_rng(0)
    user, item = (a.ravel() for a in np.meshgrid(np.arange(n_users - cold_users), np.arange(n_items - cold_items), indexing="ij"))
    kept = ((user + item) % 2 == 0) & (rng.random(len(user)) < 0.4)
    events = pl.DataFrame({"user_id": [f"u{u}" for u in user[kept]], "item_id": [f"i{i}" for i in item[kept]], "event": "buy", "time": np.arange(kept.sum())})
    of = [
        pl.DataFrame({f"{name}_id": [f"{name[0]}{n}" for n in range(m)], "side": ["even", "odd"] * (m // 2)})
        for name, m in (("item", n_items), ("user", n_users))
    ]
    return from_frames(events, *of)


@pytest.fixture(scope="module")
def fitted():
    data = halves()
    return data, Ncf(dimensions=8, epochs=25, patience=25, learning_rate=1e-2, batch_size=512).fit(data, Run(seed=1))


def test_every_pair_once_and_negatives_without_an_event():
    seen = random_dataset(3).histories.matrix(30)
    seen.sort_indices()
    made = pairs.Examples(seen, 3, 100)
    batches = list(made(np.random.default_rng(0)))
    assert len(batches) == made.steps and {a.shape for batch in batches for a in batch} == {(100,)}
    user, item, label, weight = (np.concatenate(column) for column in zip(*batches, strict=True))
    real = weight > 0
    positive = sorted(zip(user[real & (label > 0)].tolist(), item[real & (label > 0)].tolist(), strict=True))
    assert positive == sorted(zip(*(a.tolist() for a in seen.nonzero()), strict=True))
    assert 2.5 * seen.nnz < (real & (label == 0)).sum() <= 3 * seen.nnz
    assert (np.asarray(seen[user[real & (label == 0)], item[real & (label == 0)]]) == 0).all()


def test_whoever_has_had_everything_has_no_negatives():
    made = pairs.Examples(sp.csr_matrix(np.ones((1, 3), np.float32)), 4, 100)
    ((_, _, label, weight),) = made(np.random.default_rng(0))
    assert weight.sum() == 3 and label[weight > 0].all()


def prefers(scores_BI, of_item):
    """Mean score of items of the even side above those of the odd, of each row."""
    return scores_BI[:, of_item % 2 == 0].mean(axis=1) - scores_BI[:, of_item % 2 == 1].mean(axis=1)


def test_a_cold_user_is_answered_from_attributes(fitted):
    data, model = fitted
    nobody = asked(Histories.empty(2), data)
    even, odd = prefers(model.score(replace(nobody, attributes={"side": np.array(["even", "odd"], object)})), np.arange(data.n_items))
    assert even > 1 and odd < -1


def test_a_guest_is_answered_from_the_history(fitted):
    data, model = fitted
    scores = model.score(asked(Histories.of([[0, 2, 4], [1, 3, 5]]), data))
    even, odd = prefers(scores, np.arange(data.n_items))
    assert even > 1 and odd < -1


def test_a_cold_item_is_judged_by_its_attributes(fitted):
    data, model = fitted
    even, odd = model.score(data.queries(np.array([0, 1], np.int32)))[:, -2:]
    assert even[0] > even[1] + 1 and odd[1] > odd[0] + 1


def test_without_attributes_a_cold_item_is_not_answered():
    data = halves()
    model = Ncf(**TINY, attributes=False).fit(data, Run(seed=1))
    assert (model.score(data.queries())[:, -2:] == -np.inf).all()
    assert np.isfinite(model.score(asked(Histories.empty(1), data))[:, :-2]).all(), "a guest without a history is judged as the mean of all"


def test_candidates_cost_only_themselves_and_score_as_in_the_catalogue(fitted):
    data, model = fitted
    queries, rng = data.queries(), np.random.default_rng(0)
    some = rng.integers(-1, data.n_items + 2, (len(queries), 7)).astype(np.int32)
    everything = np.concatenate([model.score(queries), np.full((len(queries), 3), -np.inf, np.float32)], axis=1)
    close(model.score(queries, some), np.take_along_axis(everything, some.astype(np.int64), 1))


def test_catalogues_larger_than_a_block(monkeypatch, fitted):
    data, model = fitted
    whole = model.score(data.queries())
    monkeypatch.setattr(pairs, "BLOCK", 32)
    close(model.score(data.queries()), whole)


def test_the_penalty_counts_the_embeddings_of_each_example():
    """An embedding in two examples counts twice, padding not at all."""
    data = random_dataset(3)
    plain, held = (Ncf(**TINY, l2=l2).fit(data, Run(seed=1)) for l2 in (0.0, 0.5))
    user, item = np.array([1, 1, 3], np.int32), np.array([4, 5, 6], np.int32)
    label, weight = np.array([1, 0, 1], np.float32), np.array([1, 1, 0], np.float32)
    for mine, learned in zip(plain._objective.weights, held._objective.weights, strict=True):
        mine.assign(learned)
    p, q = held.users[[1, 1]], held.items[[4, 5]]
    bare, whole = (float(m._objective(user, item, label, weight)) for m in (plain, held))
    assert whole - bare == pytest.approx(0.5 / 2 * ((p**2).sum() + (q**2).sum()) / 2, rel=1e-4)
    assert np.square(held.users).mean() < np.square(Ncf(**TINY).fit(data, Run(seed=1)).users).mean()


def test_embeddings_may_start_from_factors(monkeypatch):
    """Of whoever and whatever has events; the others keep random numbers."""
    monkeypatch.setattr(loop, "fit", lambda *parts, **named: loop.Fitted())
    data = halves()
    model = Ncf(dimensions=8, warm_start=True, start_unobserved=0.2, start_l2=0.01, holdout_users=0, attributes=False).fit(data, Run(seed=1))
    seen = data.histories.matrix(data.n_items)
    factors = factorise(seen, 8, epochs=pairs.SWEEPS, unobserved=0.2, l2=0.01, seed=1, threads=1)
    for found, factor in zip((model.users, model.items), factors, strict=True):
        np.testing.assert_allclose(found[:-2], Ncf.start_scale * factor[:-2], rtol=1e-5, atol=1e-6)
        assert found[-2:].all() and not factor[-2:].any()


def test_a_resumed_fit_gives_the_weights_of_an_unbroken_one(tmp_path):
    data = random_dataset(5)

    def interrupt(step, done, total):
        if "epoch 2" in step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Ncf(**TINY).fit(data, Run(seed=2, checkpoint=tmp_path, progress=interrupt))
    resumed, unbroken = Ncf(**TINY).fit(data, Run(seed=2, checkpoint=tmp_path)), Ncf(**TINY).fit(data, Run(seed=2))
    for mine, theirs in zip(resumed._state().values(), unbroken._state().values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_loss_that_is_no_number_names_the_model():
    with pytest.raises(TrainingError, match="ncf epoch 1/2: the loss became nan"):
        Ncf(**TINY, learning_rate=1e30, clip_norm=0.0, warmup_steps=0).fit(random_dataset(5), Run(seed=1))
