"""Standardised scores against the definition, row by row."""

import numpy as np
import pytest

from daogou.data.histories import Histories
from daogou.rank.normalise import moments, z_scores


def test_equals_the_definition() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(3, 2, (4, 50)).astype(np.float32)
    scores[1, :40] = -np.inf
    scores[2, 7] = np.nan
    left_out = Histories.of([[1, 2, 2, 99, -1], [45], [7], []])
    z = z_scores(scores, moments(scores, left_out))
    for b, gone in enumerate(([1, 2], [45], [7], [])):
        row = scores[b].astype(np.float64)
        counted = np.isfinite(row)
        counted[gone] = False
        expected = (row - row[counted].mean()) / row[counted].std()
        finite = np.isfinite(row)
        assert z[b, finite] == pytest.approx(expected[finite], abs=1e-5)
        assert (z[b, ~finite] == pytest.approx(expected[finite].min(), abs=1e-5)) or not (~finite).any()


def test_scale_and_offset_do_not_matter() -> None:
    scores = np.random.default_rng(1).normal(size=(3, 40)).astype(np.float32)
    for changed in (scores * 1000, scores + 500, scores * 1e-4 - 3):
        z = z_scores(changed.astype(np.float32), moments(changed.astype(np.float32)))
        assert z == pytest.approx(z_scores(scores, moments(scores)), abs=5e-2)


def test_rows_that_say_nothing_are_zero() -> None:
    scores = np.array([[2.0, 2.0, 2.0], [-np.inf] * 3, [np.nan] * 3, [5.0, -np.inf, -np.inf], [0.0, 0.0, 0.0]], np.float32)
    found = moments(scores)
    assert found.inverse_B.tolist() == [0.0] * 5
    assert z_scores(scores, found).tolist() == [[0.0] * 3] * 5


def test_a_constant_with_rounding_error_says_nothing() -> None:
    scores = np.full((1, 1000), 0.1, np.float32)
    scores[0, ::2] = np.nextafter(np.float32(0.1), np.float32(1))
    assert moments(scores).inverse_B.tolist() == [0.0]


def test_empty_shapes() -> None:
    assert z_scores(np.zeros((0, 5), np.float32), moments(np.zeros((0, 5), np.float32))).shape == (0, 5)
    assert moments(np.zeros((2, 0), np.float32)).inverse_B.tolist() == [0.0, 0.0]
