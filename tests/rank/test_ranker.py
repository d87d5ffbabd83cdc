"""Rankers: they learn, repeat themselves, survive files, and leave the rest of the catalogue in the blend's order."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daogou.contract import Run
from daogou.errors import ConfigError, ReleaseError, TrainingError
from daogou.rank.blend import Blend
from daogou.rank.estimator import Estimator
from daogou.rank.facts import Facts
from daogou.rank.lambdarank import LambdaRank
from daogou.rank.ranker import Examples, Ranked

NAMES = ("signal", "noise", "unknown")
LOGISTIC = "sklearn.linear_model:LogisticRegression"
FOREST = "sklearn.ensemble:RandomForestClassifier"


def examples(seed: int = 0, n: int = 200, size: int = 20) -> Examples:
    """The item with the largest signal was taken."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n * size, 3)).astype(np.float32)
    x[:, 2] = np.nan
    best = x[:, 0].reshape(n, size).argmax(axis=1) + np.arange(n) * size
    gain = np.zeros(n * size, np.float32)
    gain[best] = 1
    return Examples(x, gain, np.full(n, size), NAMES)


def found(ranker: Any, of: Examples) -> float:
    """How often the taken item comes first."""
    order = ranker.predict(of.features_NF).reshape(len(of.sizes_Q), -1)
    return float((order.argmax(axis=1) == of.gain_N.reshape(order.shape).argmax(axis=1)).mean())


@pytest.mark.parametrize("new", [lambda: LambdaRank(trees=60, smallest_leaf=20), lambda: Estimator(estimator=LOGISTIC), lambda: Estimator(estimator=FOREST)])
def test_every_ranker_finds_the_signal(new: Any) -> None:
    ranker = new().fit(examples(), Run())
    assert found(ranker, examples(1)) > 0.6


def test_lambdarank_is_the_same_with_any_number_of_threads(tmp_path: Path) -> None:
    for threads in (1, 3):
        (tmp_path / str(threads)).mkdir()
        LambdaRank(trees=20, smallest_leaf=20).fit(examples(), Run(threads=threads)).save(tmp_path / str(threads))
    assert (tmp_path / "1" / "trees.txt").read_bytes() == (tmp_path / "3" / "trees.txt").read_bytes()


@pytest.mark.parametrize("new", [lambda: LambdaRank(trees=20, smallest_leaf=20, columns=1.0), lambda: Estimator(estimator=LOGISTIC)])
def test_saved_and_loaded_it_answers_the_same_and_explains(new: Any, tmp_path: Path) -> None:
    ranker = new().fit(examples(), Run())
    ranker.save(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix not in (".txt", ".safetensors")]
    again, x = type(ranker).load(tmp_path), examples(1).features_NF
    np.testing.assert_array_equal(again.predict(x), ranker.predict(x))
    shares = again.contributions(x)
    assert shares.shape == (len(x), 4)
    assert shares.sum(axis=1) == pytest.approx(again.predict(x), abs=1e-4)
    assert np.abs(shares[:, 0]).mean() > 5 * np.abs(shares[:, 1]).mean()


def test_early_stopping_takes_fewer_trees_and_the_last_fit_what_folds_agree_on() -> None:
    fits = [LambdaRank(trees=400, smallest_leaf=20, patience=10).fit(examples(seed), Run(), watch=examples(seed + 10, n=50)) for seed in range(3)]
    assert all(fit.trees < 400 for fit in fits)
    assert LambdaRank(trees=400).agreed(fits).trees == sorted(fit.trees for fit in fits)[1]


def test_nothing_taken_cannot_be_learned_from() -> None:
    of = examples()
    with pytest.raises(TrainingError, match="no query has a taken"):
        LambdaRank().fit(of._replace(gain_N=np.zeros_like(of.gain_N)), Run())


# ---- estimators
def test_a_linear_estimator_can_be_stored_and_a_forest_says_why_not(tmp_path: Path) -> None:
    assert Estimator(estimator=LOGISTIC).unstorable() == ""
    assert Estimator(estimator="sklearn.linear_model:Ridge").unstorable() == ""
    forest = Estimator(estimator=FOREST, settings={"n_estimators": 5})
    assert "no pickled objects" in forest.unstorable()
    with pytest.raises(ReleaseError, match="RandomForest"):
        forest.fit(examples(), Run()).save(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "path",
    [
        "os:system",
        "subprocess:Popen",
        "sklearn.utils._testing:x",
        "sklearn.linear_model:NoSuch",
        "sklearn.nothing:X",
        "LogisticRegression",
        "sklearn.linear_model:lasso_path",
        "sklearn.preprocessing:StandardScaler",
    ],
)
def test_nothing_but_an_estimator_of_scikit_learn_is_imported(path: str) -> None:
    with pytest.raises(ConfigError, match="no estimator of scikit-learn"):
        Estimator(estimator=path)


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(ConfigError, match="no_such"):
        Estimator(estimator=LOGISTIC, settings={"no_such": 1})


# ---- over retrievers
class Reverse:
    """Ranks by a single feature, against the blend."""

    def predict(self, features_NF: Any) -> Any:
        return -features_NF[:, 0]


def over(shop: Any, ranker: Any, depth: int = 5) -> Ranked:
    weights = {"popular": 1.0}
    return Ranked(shop.models, weights, Facts.of(shop.parts.train), ranker, repeats=True, request_time=True, depth=depth)


def test_candidates_come_first_in_the_rankers_order_and_the_rest_in_the_blends(shop: Any) -> None:
    of, queries = over(shop, Reverse()), shop.parts.validation.queries[:30]
    scores = of.score(queries)
    blend = Blend(shop.models, {"popular": 1.0}, repeats=True).score(queries)
    parts = [of.part(name, queries) for name in of.models]
    codes = of.candidates(parts, of.blended(parts, 30), of.open(queries))
    order = of.order(parts, queries, of.blended(parts, 30), codes)
    for b in range(30):
        head = codes[b][codes[b] >= 0]
        rest = np.setdiff1d(np.flatnonzero(np.isfinite(blend[b])), head)
        assert scores[b, head] == pytest.approx(order[b][codes[b] >= 0], abs=1e-5)
        assert scores[b, head].min() > scores[b, rest].max()
        assert (np.argsort(-scores[b, rest], kind="stable") == np.argsort(-blend[b, rest], kind="stable")).all()
        for model in shop.models.values():  # the union of everybody's best
            best = model.recommend(queries[np.array([b])], 5, of.facts.known_I).codes_BK[0]
            assert set(best[best >= 0]) <= set(head)


def test_batch_equals_single(shop: Any) -> None:
    of, queries = over(shop, Reverse(), depth=20), shop.parts.validation.queries[:20]
    batch = of.score(queries)
    for b in range(20):
        single = of.score(queries[np.array([b])])[0]
        assert single[np.isfinite(single)] == pytest.approx(batch[b][np.isfinite(batch[b])], abs=1e-3)


def test_a_release_of_other_features_is_refused(shop: Any, tmp_path: Path) -> None:
    of = over(shop, LambdaRank())
    of.kind = "lambdarank"
    n = len(of.features.names)
    x = np.random.default_rng(0).normal(size=(2000, n)).astype(np.float32)
    gain = (x[:, 0] > 1.5).astype(np.float32)
    of.ranker = LambdaRank(trees=5).fit(Examples(x, gain, np.full(100, 20), of.features.names), Run())
    of.save(tmp_path)
    queries = shop.parts.validation.queries
    np.testing.assert_array_equal(Ranked.load(tmp_path, shop.models).score(queries), of.score(queries))
    head = tmp_path / "ranked.json"
    head.write_text(head.read_text().replace("popular: rank", "popular: place"))
    with pytest.raises(ReleaseError, match="other features: popular: place, popular: rank"):
        Ranked.load(tmp_path, shop.models)
    (tmp_path / "trees.txt").write_text("tree\nnonsense")
    with pytest.raises(ReleaseError, match="cannot load"):
        Ranked.load(tmp_path, shop.models)
