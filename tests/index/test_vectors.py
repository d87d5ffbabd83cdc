"""Many vectors of many dimensions: the strongest dimensions first, the best of them exactly; several encoders side by side."""

from collections.abc import Sequence

import numpy as np
import pytest

from daogou.contract import Mask, Scores
from daogou.index.vectors import SMALL, STRONGEST, Meaning

N, DIM = SMALL + 900, 300


class Rows:
    """An encoder whose texts are numbers of rows of a matrix, or nothing."""

    kind, version, weights = "text", "1", ""

    def __init__(self, rows_ND: Scores, name: str = "rows") -> None:
        self.id, self.rows_ND, self.dim, self.asked = name, rows_ND, rows_ND.shape[1], 0

    def encode(self, things: Sequence[str | bytes]) -> tuple[Scores, Mask]:
        self.asked += len(things)
        mask = np.array([str(thing).isdecimal() for thing in things], np.bool_)
        out = np.zeros((len(things), self.dim), np.float32)
        out[mask] = self.rows_ND[[int(str(thing)) for thing, ok in zip(things, mask, strict=True) if ok]]
        return out, mask


def made(seed: int = 0, n: int = N, dim: int = DIM) -> Scores:
    """Unit vectors whose spread falls off over the dimensions, as those of encoders do."""
    rows = np.random.default_rng(seed).standard_normal((n, dim)) * (1 + np.arange(dim)) ** -0.6
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@pytest.fixture(scope="module")
def rows() -> Scores:
    return made()


@pytest.fixture
def meaning(rows: Scores) -> Meaning:
    return Meaning([(Rows(rows), 1.0)], range(N), [str(n) for n in range(N)], N)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.02])
def test_the_first_look_loses_nothing_that_matters(share: float, meaning: Meaning, rows: Scores) -> None:
    rng, kept = np.random.default_rng(1), []
    for question in made(2, 30):
        allowed_I = rng.random(N) < share
        exact = [code for code in np.argsort(-(rows @ question), kind="stable").tolist() if allowed_I[code]][:50]
        found = meaning.search(question, 50, allowed_I)
        assert all(allowed_I[code] for code, _ in found) and [score for _, score in found] == sorted((score for _, score in found), reverse=True)
        assert found[0][1] == pytest.approx(float(rows[found[0][0]] @ question), abs=2e-3)
        kept.append(len({code for code, _ in found} & set(exact)) / len(exact))
    assert np.mean(kept) > 0.98


def test_only_the_strongest_dimensions_are_looked_at_first(meaning: Meaning) -> None:
    assert meaning._first_IP.shape == (N, STRONGEST) and meaning._vectors_ID.shape == (N, DIM) and meaning._vectors_ID.dtype == np.float16


def test_what_is_put_later_is_found_too(meaning: Meaning, rows: Scores) -> None:
    meaning.put([(N + 5, "7"), (3, None)])
    found = meaning.search(rows[7], 2, np.ones(N + 6, np.bool_))
    assert {code for code, _ in found} == {7, N + 5}
    assert 3 not in [code for code, _ in meaning.search(rows[3], 5)]


def test_likeness_of_any_items(meaning: Meaning, rows: Scores) -> None:
    found = meaning.likeness(rows[9], [9, 4, N + 99])
    assert found == pytest.approx([1.0, float(rows[4] @ rows[9]), 0.0], abs=2e-3)


def test_several_encoders_side_by_side_weigh_as_told() -> None:
    a, b = made(3, 20, 8), made(4, 20, 5)
    both = Meaning([(Rows(a, "a"), 3.0), (Rows(b, "b"), 1.0)], range(20), [str(n) for n in range(20)], 20)
    vector = both.vector("2")
    assert vector is not None and np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)
    assert both.likeness(vector, range(20)) == pytest.approx(0.75 * a @ a[2] + 0.25 * b @ b[2], abs=2e-3)
    assert "a-1" in both.stamp and both.stamp != Meaning([(Rows(a, "a"), 1.0), (Rows(b, "b"), 1.0)], [], [], 0).stamp


def test_a_question_is_encoded_once(rows: Scores) -> None:
    one = Rows(rows[:10])
    meaning = Meaning([(one, 1.0)], range(10), [str(n) for n in range(10)], 10)
    before = one.asked
    assert meaning.vector("4") is not None and meaning.vector("4") is not None and meaning.vector("x") is None and meaning.vector("x") is None
    assert one.asked == before + 2
