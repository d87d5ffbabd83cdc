"""The network for photos on tiny drawings: what it learns, what it must not learn from, and that a fit can be broken off and gone on with."""

from importlib.util import find_spec

import msgspec
import numpy as np
import pytest

if find_spec("keras") is None:
    pytest.skip("the extra 'deep' is not installed", allow_module_level=True)

from daogou.contract import Run
from daogou.errors import TrainingError
from daogou.networks import photos
from daogou.networks.photos import PhotoConfig, accuracy, augmented, halved

SMALL = PhotoConfig(height=16, width=12, channels=4, stages=1, dimensions=8, batch_size=16, epochs=3, small_epochs=1, learning_rate=1e-2, holdout_share=0.2)


def drawings(n=160, seed=0):
    """Photos [n, 16, 12, 3] of bars, upright or lying, in red, green or blue; labels [n, 2]: direction and colour."""
    rng = np.random.default_rng(seed)
    pixels, labels = np.full((n, 16, 12, 3), 255, np.uint8), np.stack([rng.integers(0, 2, n), rng.integers(0, 3, n)], axis=1).astype(np.int32)
    for photo, (direction, color) in zip(pixels, labels, strict=True):
        at = int(rng.integers(3, 8))
        part = photo[:, at : at + 3] if direction else photo[at : at + 3]
        part[...] = 40
        part[..., color] = 220
    return pixels, labels


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


@pytest.fixture(scope="module")
def fitted():
    """What 64 drawings teach."""
    return photos.fit(*drawings(64), [2, 3], SMALL, Run())[0]


def test_it_learns_every_attribute_though_many_photos_lack_one():
    pixels, labels = drawings(320)
    labels[::2, 0] = -1
    labels[1::3, 1] = -1
    _, figures = photos.fit(pixels, labels, [2, 3], msgspec.structs.replace(SMALL, epochs=6), Run())
    assert max(figures) > 0.95


def test_a_killed_fit_goes_on_as_if_it_had_not_been(fitted, tmp_path):
    def interrupt(step, done, total):
        if step.startswith("photos epoch 2") and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        photos.fit(*drawings(64), [2, 3], SMALL, Run(checkpoint=tmp_path, progress=interrupt))
    told = []
    resumed, _ = photos.fit(*drawings(64), [2, 3], SMALL, Run(checkpoint=tmp_path, progress=lambda step, *_: told.append(step)))
    assert told[0].startswith("photos epoch 2/"), "what was learned of small photos is not learned again"
    assert same(resumed, fitted)


def test_what_is_not_known_teaches_nothing(fitted):
    """Photos without any label, whatever they show, leave the network as it would have been."""
    pixels, labels = drawings(64)
    noise = np.random.default_rng(1).integers(0, 255, (32, *pixels.shape[1:])).astype(np.uint8)
    with_noise = np.concatenate([pixels, noise]), np.concatenate([labels, np.full((32, 2), -1, np.int32)])
    assert same(photos.fit(*with_noise, [2, 3], SMALL, Run())[0], fitted)


@pytest.mark.parametrize("labels", [np.full((40, 1), -1), np.zeros((40, 1)), np.zeros((40, 0))])
def test_nothing_to_tell_apart_is_an_error(labels):
    with pytest.raises(TrainingError, match="no photo has an attribute that tells it from another"):
        photos.fit(drawings(40)[0], labels.astype(np.int32), [1] * labels.shape[1], SMALL, Run())


def test_few_photos_are_enough_for_a_network():
    pixels, labels = drawings(3)
    arrays, figures = photos.fit(pixels, labels, [2, 3], SMALL, Run())
    assert figures == [] and all(np.isfinite(array).all() for array in arrays.values())


def test_a_rare_class_weighs_more_when_classes_are_balanced():
    labels = np.array([[0]] * 90 + [[1]] * 10, np.int32)
    np.testing.assert_allclose(photos._class_weights(labels, [2], 0.0), [1, 1])
    np.testing.assert_allclose(photos._class_weights(labels, [2], 1.0), [100 / 180, 5])
    half = photos._class_weights(labels, [2], 0.5)
    assert half[1] / half[0] == pytest.approx(3) and (0.9 * half[0] + 0.1 * half[1]) == pytest.approx(1)


def test_accuracy_counts_known_labels_only():
    logits = np.array([[2, 1, 0, 5, 0], [0, 1, 9, 0, 0], [1, 0, 0, 0, 3]], np.float32)
    assert accuracy(logits, np.array([[0, 1], [0, -1], [-1, 2]]), [2, 3]) == pytest.approx((0.5 + 1.0) / 2)


def test_augmentation_moves_mirrors_and_colors_a_little():
    pixels, _ = drawings(40)
    still = augmented(pixels, PhotoConfig(shift=0, jitter=0, mirror=False), np.random.default_rng(0))
    np.testing.assert_array_equal(still, pixels)
    turned = augmented(pixels, PhotoConfig(shift=0, jitter=0, mirror=True), np.random.default_rng(0))
    as_was, mirrored = ((turned == other).all(axis=(1, 2, 3)) for other in (pixels, pixels[:, :, ::-1]))
    assert (as_was | mirrored).all() and as_was.any() and mirrored.any()
    moved = augmented(pixels, PhotoConfig(shift=0.1, jitter=0, mirror=False), np.random.default_rng(0))
    assert (moved == pixels).all(axis=(1, 2, 3)).sum() < 20
    np.testing.assert_array_equal(moved.min(axis=(1, 2, 3)), pixels.min(axis=(1, 2, 3)))
    colored = augmented(pixels, PhotoConfig(shift=0, jitter=0.3, mirror=False), np.random.default_rng(0))
    assert colored.min() >= 0 and colored.max() <= 255 and 0.05 < np.abs(colored / np.maximum(pixels, 1) - 1).max() <= 0.41


def test_half_the_size_is_the_mean_of_four_pixels():
    pixels = np.arange(2 * 5 * 4 * 3, dtype=np.float32).reshape(2, 5, 4, 3)
    small = halved(pixels)
    assert small.shape == (2, 2, 2, 3)
    np.testing.assert_allclose(small[1, 1, 0], pixels[1, 2:4, 0:2].mean(axis=(0, 1)))
