from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from daogou.contract import Queries, Run
from daogou.data.histories import Histories
from daogou.evaluate import evaluate
from daogou.factors import NOTHING, solve
from daogou.models.als import Als, Expected, _confidence
from daogou.testing.contract import RecommenderContract, asked, digest
from daogou.testing.toy import random_dataset


@pytest.fixture(scope="module")
def data():
    return random_dataset(7, n_users=600, n_items=50, n_events=9000)


def loss(model, data, users_UD):
    """L of the docstring, written out."""
    c, q_ID = model.config, model.vectors_ID.astype(np.float64)
    seen = _confidence(data.histories, data.n_items).toarray().astype(np.float64)
    s = users_UD @ q_ID.T
    n_u, n_i = seen.sum(axis=1), seen.sum(axis=0)
    ridge_u = (n_u + c.unobserved * data.n_items) ** c.frequency_exponent
    ridge_i = (n_i + c.unobserved * data.n_users) ** c.frequency_exponent
    penalty = c.l2 * (ridge_u @ (users_UD**2).sum(axis=1) + ridge_i @ (q_ID**2).sum(axis=1))
    return (seen * (s - 1) ** 2).sum() + c.unobserved * (s**2).sum() + penalty


def test_a_folded_in_vector_minimises_the_loss(data):
    model = Als(embedding_size=8).fit(data)
    users = model._fold_in(data.queries()).astype(np.float64)
    least, rng = loss(model, data, users), np.random.default_rng(0)
    for _ in range(20):
        assert loss(model, data, users + 1e-2 * rng.standard_normal(users.shape)) > least


def test_every_sweep_lowers_the_loss(data):
    found = []
    for epochs in (1, 2, 4, 8):
        model = Als(embedding_size=8, epochs=epochs).fit(data, Run(seed=3))
        found.append(loss(model, data, model._fold_in(data.queries()).astype(np.float64)))
    assert found == sorted(found, reverse=True) and found[0] > 1.01 * found[-1]


def test_many_conjugate_steps_solve_the_system(data):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((data.n_items, 8)).astype(np.float32)
    seen, gram = _confidence(data.histories, data.n_items), 0.1 * vectors.T @ vectors
    out, ridge = np.zeros((data.n_users, 8), np.float32), np.full(data.n_users, 0.5, np.float32)
    solve(seen.indptr, seen.indices, seen.data, vectors, gram.astype(np.float32), ridge, NOTHING, out, 0, data.n_users, 40)
    for u in (0, 5, 17):
        row = seen[u].toarray()[0]
        a = (vectors.T * row) @ vectors + gram + 0.5 * np.eye(8)
        np.testing.assert_allclose(out[u], np.linalg.solve(a, vectors.T @ row), rtol=2e-3, atol=1e-4)


def test_threads_change_nothing(data, tmp_path):
    for threads in (1, 2, 5):
        Als(embedding_size=16, epochs=3).fit(data, Run(seed=1, threads=threads)).save(tmp_path / str(threads))
    assert len({digest(tmp_path / name) for name in ("1", "2", "5")}) == 1


def test_seeds_change_the_start(data):
    a, b = (Als(embedding_size=8, epochs=1).fit(data, Run(seed=seed)).vectors_ID for seed in (0, 1))
    assert not np.array_equal(a, b)


def test_what_nobody_wanted_has_no_vector(data):
    model = Als(embedding_size=8).fit(data)
    assert not model.vectors_ID[-1].any()
    assert (model.similar(np.array([data.n_items - 1], np.int32), 3).codes_BK == -1).all()


def test_recency_weighs_the_newest_click(data):
    query = asked(Histories.of([[3, 3, 3, 8]]), data)
    flat, recent = (Als(embedding_size=8, recency=r).fit(data).score(query)[0] for r in (0.0, 0.5))
    assert recent[8] - recent[3] > flat[8] - flat[3]


class TestWithAttributes(RecommenderContract):
    def make(self):
        return Als(attributes=("items", "users"), likeness={"text_encoder": "ngram"})


def attributed(data, **settings):
    return Als(embedding_size=8, attributes=("items", "users"), likeness={"text_encoder": "ngram"}, **settings)


def test_attributes_draw_to_what_they_let_expect(data):
    """With a penalty that leaves nothing to a vector of its own, everyone is what their registration says; the fold-in is the minimum of the drawn loss."""
    model, queries = attributed(data, l2=0.05).fit(data), data.queries()
    mean_UD = (model._read.table(data.user_table) @ model._map_FD).astype(np.float64)
    c, q_ID, users = model.config, model.vectors_ID.astype(np.float64), model._fold_in(queries).astype(np.float64)
    seen = _confidence(data.histories, data.n_items).toarray().astype(np.float64)
    warm_ID = np.delete(q_ID, model._cold, axis=0)

    def drawn(p_UD):
        ridge_U = c.l2 * (seen.sum(axis=1) + c.unobserved * data.n_items) ** c.frequency_exponent
        fit = (seen * (p_UD @ q_ID.T - 1) ** 2).sum() + c.unobserved * ((p_UD @ warm_ID.T) ** 2).sum()
        return fit + ridge_U @ ((p_UD - mean_UD) ** 2).sum(axis=1)

    active_U1 = (data.histories.lengths > 0)[:, None]
    least, rng = drawn(users), np.random.default_rng(0)
    for _ in range(20):
        assert drawn(users + 1e-2 * rng.standard_normal(users.shape) * active_U1) > least
    strict = attributed(data, l2=1e5).fit(data)
    strict._map_FD = model._map_FD
    np.testing.assert_allclose(strict._fold_in(queries), mean_UD, atol=1e-3)


def test_the_map_is_the_ridge_regression_of_the_vectors_it_was_learned_from():
    rng = np.random.default_rng(0)
    known, vectors, ridge = rng.standard_normal((50, 4)).astype(np.float32), rng.standard_normal((50, 3)).astype(np.float32), rng.random(50) + 0.5
    seen = sp.csr_matrix(np.r_[np.ones((45, 2)), np.zeros((5, 2))])  # the last five did nothing
    weighted = (known.T * ridge)[:, :45]
    gram = weighted @ known[:45]
    wanted = np.linalg.solve(gram + 0.1 * np.trace(gram) / 4 * np.eye(4), weighted @ vectors[:45])
    for rows in (known, sp.csr_matrix(known)):
        expected = Expected(rows, ridge, seen, 0.1)
        expected.learn(vectors)
        np.testing.assert_allclose(expected.map_FD, wanted, rtol=1e-4, atol=1e-5)


def test_what_nobody_wanted_is_like_what_resembles_it(data):
    """The last item has no event; it is of the odd kind, which odd shoppers like four times as much."""
    model, cold = attributed(data).fit(data), data.n_items - 1
    assert model.vectors_ID[cold].any()
    scores_U = model.score(data.queries())[:, cold]
    odd_U = np.arange(data.n_users) % 2 == 1
    assert scores_U[odd_U & (data.histories.lengths > 0)].mean() > 1.5 * scores_U[~odd_U & (data.histories.lengths > 0)].mean()


def test_who_has_just_registered_is_like_those_who_registered_alike(data):
    model = attributed(data).fit(data)
    guests = Queries(history=Histories.empty(3), user_B=np.full(3, -1, np.int32), now_B=np.zeros(3, np.int64), context=Histories.empty(3))
    guests = replace(guests, attributes={"side": np.array(["odd", "even", None], object)})
    odd, even, unknown = model.score(guests)
    assert odd[1:-1:2].mean() - odd[:-1:2].mean() > 0.2 * odd.std() and even[:-1:2].mean() - even[1:-1:2].mean() > 0.2 * even.std()
    assert not unknown.any(), "of whom nothing is known nothing is said"


def test_progress_is_told(data):
    told = []
    Als(embedding_size=8, epochs=3).fit(data, Run(progress=lambda step, done, total: told.append((step, done, total))))
    assert told == [("als", 1, 3), ("als", 2, 3), ("als", 3, 3)]


def test_quality_on_movielens_100k(movielens_split):
    """Leave-one-out, weights from train only: a taste model's figure, and about half as much again when the newest events count most."""
    train, test = movielens_split.train, movielens_split.test
    plain, recent = (evaluate(Als(unobserved=0.2, recency=r).fit(train), test).mean("ndcg@10") for r in (0.0, 5.0))
    assert 0.055 < plain < 0.09
    assert 0.085 < recent < 0.13
