"""Registration: what groups take, each difference counted once, and what that is worth to households never met."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from daogou.contract import NewcomerStandIn, Queries, Run
from daogou.data.dataset import Dataset, from_frames
from daogou.data.histories import Histories
from daogou.data.split import split
from daogou.errors import TrainingError
from daogou.evaluate import evaluate
from daogou.models.registration import Registration


def asked(**attributes: list[object]) -> Queries:
    n = len(next(iter(attributes.values())))
    columns = {name: np.array([*values, None], dtype=object)[:n] for name, values in attributes.items()}
    return Queries(history=Histories.empty(n), user_B=np.full(n, -1, np.int32), now_B=np.zeros(n, np.int64), context=Histories.empty(n), attributes=columns)


def town() -> Dataset:
    """Everyone takes bread; people with children take toys, whatever their age, but nearly all of them are young. The old take tea."""
    rng = np.random.default_rng(0)
    people, rows = [], []
    for u in range(400):
        old = bool(rng.random() < 0.5)
        child = bool(rng.random() < (0.1 if old else 0.9))
        people.append((f"u{u}", "old" if old else "young", "some" if child else "none"))
        rows += [(f"u{u}", item, "buy", 1) for item, takes in (("bread", True), ("toy", child), ("tea", old)) if takes]
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "event", "time"], orient="row")
    return from_frames(events, users=pl.DataFrame(people, schema=["user_id", "age", "children"], orient="row"))


def test_attributes_that_go_together_are_told_apart() -> None:
    data = town()
    model = Registration(l2=1.0).fit(data, Run())
    scores = model.score(asked(age=["old", "young", "old", None], children=["some", "none", "none", None]))
    bread, toy, tea = (scores[:, data.items.code(item)] for item in ("bread", "toy", "tea"))
    np.testing.assert_allclose(bread, np.log(2), atol=1e-3)
    np.testing.assert_allclose(toy, np.log(2) * np.array([1, 0, 0, 0.5]), atol=0.06)
    np.testing.assert_allclose(tea, np.log(2) * np.array([1, 0, 1, 0.5]), atol=0.06)


def test_it_is_the_ridge_regression_it_claims_to_be() -> None:
    data = town()
    model = Registration(l2=30.0).fit(data, Run())
    x_UI = np.log1p(data.histories.matrix(data.n_items).toarray())
    columns = data.attributes(np.arange(data.n_users, dtype=np.int32))
    z_UG = np.stack([columns[name] == value for name, value in (("age", "old"), ("age", "young"), ("children", "none"), ("children", "some"))], axis=1).astype(
        float
    )
    a_GI = np.linalg.solve(z_UG.T @ z_UG + 30 * np.eye(4), z_UG.T @ (x_UI - x_UI.mean(axis=0)))
    np.testing.assert_allclose(model.score(data.queries()), x_UI.mean(axis=0) + z_UG @ a_GI, atol=1e-4)


def test_a_value_never_seen_and_an_attribute_that_is_not_there_say_nothing() -> None:
    model = Registration().fit(town(), Run())
    scores = model.score(asked(age=["none of these", None]))
    np.testing.assert_allclose(scores[0], scores[1])
    np.testing.assert_allclose(scores[0], model.weights_GI[0])


def test_attributes_of_many_values_are_read_only_where_named() -> None:
    data = town()
    assert {name for name, _ in Registration(values=2).fit(data, Run())._groups} == {"", "age", "children"}
    names = pl.DataFrame({"user_id": data.users.ids, "surname": [f"s{u}" for u in range(data.n_users)], "age": ["old"] * data.n_users})
    wide = replace(data, user_table=names)
    assert {name for name, _ in Registration().fit(wide, Run())._groups} == {"", "age"}
    assert len(Registration(attributes=("surname",)).fit(wide, Run())._groups) == data.n_users + 1
    with pytest.raises(TrainingError, match="no registration attribute 'income'"):
        Registration(attributes=("income",)).fit(wide, Run())


def test_forgetting_everyone_of_a_group_forgets_the_group() -> None:
    data = town()
    gone = np.isin(data.events.user, np.flatnonzero(data.attributes(np.arange(data.n_users, dtype=np.int32))["age"] == "old"))
    model = Registration().fit(data, Run()).forget(data.where(gone))
    assert ("age", "old") not in model._groups
    np.testing.assert_array_equal(model.weights_GI, Registration().fit(data.where(~gone), Run()).weights_GI)


def test_nobody_left_and_people_never_met() -> None:
    data = town()
    with pytest.raises(TrainingError, match="nothing would be left"):
        Registration().fit(data, Run()).forget(data)
    half = data.where(data.events.user < 5)
    strange = replace(data, user_table=data.user_table.with_columns(age=pl.lit("new")))
    with pytest.raises(TrainingError, match="never seen"):
        Registration().fit(half, Run()).forget(strange)


def test_it_hands_over_to_models_of_histories_as_events_come() -> None:
    """An event counts as much as it weighs: ten looks at something are one purchase."""
    history = Histories.of([[], [0], [0, 1, 2], [0] * 10], weights=[[], [1.0], [1.0] * 3, [0.1] * 10])
    queries = Queries(history=history, user_B=np.full(4, -1, np.int32), now_B=np.zeros(4, np.int64), context=Histories.empty(4))
    model = Registration().fit(town())
    assert isinstance(model, NewcomerStandIn)
    np.testing.assert_allclose(model.trust_B(queries), [0, 2 / 3, 6 / 7, 2 / 3], atol=1e-6)
    assert (Registration(handover=0).fit(town()).trust_B(queries) == [0, 1, 1, 1]).all()


def test_quality_for_people_never_met_on_movielens_100k(movielens_100k: Dataset) -> None:
    """Of all that they rate; popularity alone has .540."""
    parts = split(movielens_100k, "cold-users", share=0.2)
    model = Registration(attributes=("age", "gender", "occupation")).fit(parts.train)
    assert 0.54 < evaluate(model, parts.test).mean("ndcg@10") < 0.57
