"""Options that tell two tastes apart are chosen before those that tell nothing, and never for what few have taken."""

import numpy as np
import pytest

from daogou.data.histories import Histories
from daogou.errors import ReleaseError
from daogou.profile import questions
from daogou.profile.newcomers import FILE, Newcomers
from daogou.profile.traits import Traits

N_PEOPLE, N_ITEMS = 200, 40
EVERYONE, FIRST, SECOND = 0, 1, 2
"""Items: 0 is everybody's. Of the others, even people take uneven numbers and uneven people even ones, low numbers more often."""


@pytest.fixture
def histories() -> Histories:
    rng = np.random.default_rng(1)
    rows = []
    for person in range(N_PEOPLE):
        own = np.arange(1 + person % 2, N_ITEMS - 2, 2)
        taken = rng.choice(own, 7, replace=False, p=(w := 1 / (own + 3.0)) / w.sum())
        rows.append([EVERYONE, *taken.tolist()])
    rows[0].append(N_ITEMS - 1)  # the secret of one
    return Histories.of(rows)


def test_the_first_options_tell_the_two_tastes_apart(histories: Histories) -> None:
    found = questions.choose(histories, np.ones(N_ITEMS, np.bool_), wanted=12)
    assert EVERYONE not in found.options, "an answer that is always yes says nothing"
    assert all(a < b for a, b in zip(found.explained[:-1], found.explained[1:], strict=True)) and found.explained[-1] < 1
    picks_UQ = histories.matrix(N_ITEMS).toarray()[:, found.options[:6]] > 0
    side_U = np.sign(picks_UQ @ np.where(found.options[:6] % 2, 1, -1))
    answered = side_U != 0
    assert answered.mean() > 0.9
    assert np.array_equal(side_U[answered] > 0, (np.arange(N_PEOPLE) % 2 == 0)[answered])


def test_what_few_took_is_never_asked_nor_what_may_not_be(histories: Histories) -> None:
    count = np.bincount(histories.item, minlength=N_ITEMS)
    allowed_I = np.arange(N_ITEMS) != FIRST
    options = questions.choose(histories, allowed_I).options
    assert len(options) and FIRST not in options and count[options].min() >= questions.LEAST_PEOPLE
    assert count[N_ITEMS - 1] == 1


def test_the_same_people_are_asked_the_same(histories: Histories) -> None:
    a, b = (questions.choose(histories, np.ones(N_ITEMS, np.bool_), seed=4) for _ in range(2))
    assert np.array_equal(a.options, b.options)


def test_with_too_few_people_nothing_is_asked(histories: Histories) -> None:
    few = histories[:10]
    assert len(questions.choose(few, np.ones(N_ITEMS, np.bool_)).options) == 0
    assert Newcomers.fit(few, np.ones(N_ITEMS, np.bool_)) is None
    assert Newcomers.fit(Histories.empty(3), np.ones(N_ITEMS, np.bool_)) is None


# ---- what the answers say
def test_answers_raise_their_own_side(histories: Histories) -> None:
    known = Newcomers.fit(histories, np.ones(N_ITEMS, np.bool_))
    assert known is not None
    uneven = known.picked([code for code in known.options_Q.tolist() if code % 2])
    assert len(uneven) >= 3
    scores_I = known.scores(uneven)
    assert scores_I[3:36:2].mean() > 3 * scores_I[4:36:2].mean()
    nobody = known.scores([], asked=[])
    assert np.allclose(nobody, known.usual_I), "where nothing was asked, everybody's shares remain"
    assert known.scores([])[3] != pytest.approx(nobody[3]), "what was not picked tells too"
    assert known.picked([999, -1]) == []


def test_answers_equal_the_regression(histories: Histories) -> None:
    known = Newcomers.fit(histories, np.ones(N_ITEMS, np.bool_))
    assert known is not None
    taken_UI = histories.matrix(N_ITEMS).toarray() > 0
    assert np.allclose(known.usual_I, taken_UI.mean(axis=0))
    answers = taken_UI[:, known.options_Q[: questions.ASKED]] * (np.random.default_rng(0).random((N_PEOPLE, len(known.rate_Q))) < 0.5)
    centred = answers - answers.mean(axis=0)
    expected = np.linalg.solve(centred.T @ centred + 0.1 * N_PEOPLE * np.eye(centred.shape[1]), centred.T @ (taken_UI - taken_UI.mean(axis=0)))
    assert np.allclose(known.effect_QI, expected, atol=1e-5)


def test_saved_and_loaded_it_says_the_same(histories: Histories, tmp_path) -> None:
    known = Newcomers.fit(histories, np.ones(N_ITEMS, np.bool_))
    assert known is not None
    known.save(tmp_path)
    again = Newcomers.load(tmp_path)
    assert np.array_equal(again.scores([0, 2]), known.scores([0, 2])) and np.array_equal(again.options_Q, known.options_Q)
    (tmp_path / FILE).write_bytes(b"not tensors")
    with pytest.raises(ReleaseError):
        Newcomers.load(tmp_path)


# ---- a catalogue alone
def test_a_catalogue_is_asked_for_three_attributes(traits: Traits) -> None:
    asked = questions.of_catalogue(traits.table(), np.ones(40, np.bool_))
    assert len(asked) == 3
    names = [options[0].attribute for options in asked]
    assert len(set(names)) == 3 and all({one.attribute for one in options} == {name} for name, options in zip(names, asked, strict=True))
    assert all(2 <= len(options) <= questions.OPTIONS for options in asked)
    assert "faith" not in names and "year" not in names
    assert questions.of_catalogue(traits.table(), np.zeros(40, np.bool_)) == []


def test_what_repeats_another_answer_is_not_asked() -> None:
    import polars as pl

    from daogou.catalogue import Catalogue
    from daogou.scenario import Attributes

    n = range(40)
    columns = {
        "item_id": [f"i{i}" for i in n],
        "category": [f"c{i % 4}" for i in n],
        "brand": [f"same{i % 4}" for i in n],
        "tone": [["a", "b"][i // 20] for i in n],
    }
    traits = Traits(Catalogue(pl.DataFrame({**columns, "available": [True] * 40, "created": [0] * 40}), Attributes(items={"tone": "tag"})))
    asked = [options[0].attribute for options in questions.of_catalogue(traits.table(), np.ones(40, np.bool_))]
    assert asked == ["category", "tone"]
