"""A residual network that learns from a shop's own photos what its goods are (He et al. 2016, small): several attributes at once, one vector for all of them.

    photo [H, W, 3] → 3×3/2 convolution → stages of one residual block each, half the size and twice the channels → mean over the photo
                    → dense → unit vector v → one softmax for each attribute over  scale · v W + b

The logits are of a *unit* vector (Wang et al. 2017, NormFace), so what separates the classes is the angle, and cosine compares photos as training did.
It begins with photos of half the size, which show most of what there is to learn (Howard 2018, progressive resizing); on a CPU they cost
three quarters of full ones.
Attributes that an item lacks take no part in its loss. Knows nothing of files: photos come in as numbers and go out as arrays.

Axes: N photos, B of a batch, H × W pixels, A attributes, C classes of all attributes side by side, D dimensions.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from daogou.config import hyper
from daogou.contract import Codes, Run, Scores
from daogou.errors import TrainingError
from daogou.networks import loop, weights
from daogou.networks.backend import Inference, keras, require

require()

Photos = NDArray[np.uint8]

SCALE = 16.0  # of the unit vector before the softmax; below ln C the loss could not become small
EPSILON = 1e-3  # of batch normalisation
MIDDLE, SPREAD = 127.5, 64.0  # of pixel values


class PhotoConfig(loop.LoopConfig, frozen=True):
    """How a network for photos is shaped and trained."""

    epochs: Annotated[int, Meta(ge=1, description="Passes over the photos at most.")] = 6
    small_epochs: Annotated[int, Meta(ge=0, description="Passes over photos of half the size before them.")] = 6
    patience: Annotated[int, Meta(ge=1, description="Epochs without a better validation figure before it stops; the first ones waver.")] = 10
    learning_rate: Annotated[float, hyper("Peak step length of Adam.", 3e-4, 1e-2, log=True, gt=0)] = 3e-3
    warmup_steps: Annotated[int, Meta(ge=0, description="Steps of linear warm-up; at most a tenth of all steps are used for it.")] = 300
    weight_decay: Annotated[float, hyper("Decoupled L2 (AdamW).", 0, 0.3, ge=0)] = 0.05
    height: Annotated[int, Meta(ge=8, le=512, description="Pixels; a photo is fitted into height × width.")] = 64
    width: Annotated[int, Meta(ge=8, le=512, description="Pixels.")] = 64
    channels: Annotated[int, hyper("Of the first layer.", 8, 64, log=True, ge=2)] = 24
    stages: Annotated[int, Meta(ge=1, le=5, description="Residual blocks after the first layer, each of half the size and twice the channels.")] = 3
    dimensions: Annotated[int, hyper("Length of a photo's vector.", 32, 512, log=True, ge=2)] = 128
    batch_size: Annotated[int, Meta(ge=2, description="Photos of a step.")] = 64
    shift: Annotated[float, Meta(ge=0, lt=0.5, description="How far a photo is moved at most while training, in sizes of it.")] = 0.06
    jitter: Annotated[float, Meta(ge=0, lt=1, description="How far brightness, and each colour a third as much, is changed while training.")] = 0.1
    mirror: Annotated[bool, Meta(description="Whether a photo is mirrored every other time.")] = True
    balance: Annotated[float, hyper("Power of 1/frequency by which photos weigh: 0 = each photo alike, 1 = each class alike.", 0, 1, ge=0, le=1)] = 0.2
    holdout_share: Annotated[float, Meta(ge=0, lt=0.5, description="Photos held out for early stopping, at most 2,000.")] = 0.05
    attributes: Annotated[tuple[str, ...], Meta(description="Tags and categories to learn from; empty = all that tell photos apart.")] = ()
    least: Annotated[int, Meta(ge=1, description="Photos that a value needs to be a class of its own; of rarer ones nothing is learned.")] = 5
    most_photos: Annotated[int, Meta(ge=2, description="Photos to learn from at most: height · width · 3 bytes of memory each.")] = 50_000
    renew: Annotated[float, Meta(ge=0, le=1, description="Share of photos new, or named anew, since the last training, above which it is repeated.")] = 0.2


class Layer(NamedTuple):
    """One convolution with its normalisation, as it is computed when training is over: relu or not."""

    name: str
    stride: int
    relu: bool


STEM = Layer("stem", 2, True)


def blocks(stages: int) -> tuple[tuple[Layer, Layer, Layer], ...]:
    """For each stage the two convolutions of its block, and the one beside them."""
    return tuple((Layer(f"stage_{n}_a", 2, True), Layer(f"stage_{n}_b", 1, False), Layer(f"stage_{n}_skip", 2, False)) for n in range(stages))


def fit(photos_NHWC: Photos, labels_NA: Codes, classes_A: Sequence[int], config: PhotoConfig, run: Run) -> tuple[dict[str, Scores], list[float]]:
    """Trains, and gives the arrays that `fold` describes and the validation accuracy after each epoch (mean over attributes).

    Args:
        labels_NA: class of each attribute; −1 = not known.
        classes_A: number of classes of each attribute.

    Raises:
        TrainingError: there is nothing to tell apart, or the loss is not finite.
    """
    useful_N = (labels_NA >= 0).any(axis=1)
    if not useful_N.any() or not any(n > 1 for n in classes_A):
        raise TrainingError(
            "no photo has an attribute that tells it from another", expected="photos of items with tags or categories", fix="import attributes and photos"
        )
    k = keras(run.threads)
    k.utils.set_random_seed(run.seed)
    order = np.random.default_rng([run.seed, 3]).permutation(np.flatnonzero(useful_N))
    held, taught = np.split(order, [min(2000, int(config.holdout_share * len(order)))])
    objective = _objective(k, config, classes_A, _class_weights(labels_NA[taught], classes_A, config.balance))
    small, whole = (_Batches(photos_NHWC, labels_NA, np.sort(taught), config, half=half) for half in (True, False))
    objective(*next(whole(np.random.default_rng(0))))
    network = Inference(objective.network)

    def validate() -> float:
        return accuracy(_logits(network, photos_NHWC, held, config.batch_size), labels_NA[held], classes_A)

    of = loop.fingerprint("photos", config, run.seed, list(classes_A), labels_NA, hashlib.sha256(np.ascontiguousarray(photos_NHWC).data).hexdigest())
    if config.small_epochs:
        first = msgspec.structs.replace(config, epochs=config.small_epochs)
        loop.fit(objective, small, small.steps, first, run, validate=None, what="small photos", of=loop.fingerprint("small", of))
    done = loop.fit(objective, whole, whole.steps, config, run, validate=validate if len(held) else None, what="photos", of=of)
    return fold(objective.network), done.figures


def accuracy(logits_NC: Scores, labels_NA: Codes, classes_A: Sequence[int]) -> float:
    """Share of known labels that the highest logit of the attribute names, averaged over attributes."""
    found = []
    for a, logits in enumerate(np.split(logits_NC, np.cumsum(classes_A)[:-1], axis=1)):
        known_N = labels_NA[:, a] >= 0
        if known_N.any() and logits.shape[1]:
            found.append(float((logits[known_N].argmax(axis=1) == labels_NA[known_N, a]).mean()))
    return float(np.mean(found)) if found else 0.0


def fold(network: Any) -> dict[str, Scores]:
    """`NAME.weight` [out, in, h, w] and `NAME.bias` [out] of every convolution, normalisation folded in; `vector.weight` [D, channels],
    `vector.bias`, `heads.weight` [C, D] (times the scale) and `heads.bias`."""
    out: dict[str, Scores] = {}
    for name, conv in network.convolutions.items():
        norm = network.norms[name]
        factor = weights.array(norm.gamma) / np.sqrt(weights.array(norm.moving_variance) + EPSILON)
        out[f"{name}.weight"] = np.ascontiguousarray((weights.array(conv.kernel) * factor).transpose(3, 2, 0, 1), np.float32)
        out[f"{name}.bias"] = np.asarray(weights.array(norm.beta) - weights.array(norm.moving_mean) * factor, np.float32)
    for name, layer, scale in (("vector", network.vector, 1.0), ("heads", network.heads, SCALE)):
        out[f"{name}.weight"] = np.ascontiguousarray(scale * weights.array(layer.kernel).T, np.float32)
        out[f"{name}.bias"] = weights.array(layer.bias).astype(np.float32)
    return out


def _network(k: Any, config: PhotoConfig, n_classes: int) -> Any:
    """pixels [B, H, W, 3] as they are → logits [B, C]"""
    ops, stages = k.ops, blocks(config.stages)

    class PhotoNetwork(k.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="photo_network")
            self.convolutions: dict[str, Any] = {}
            self.norms: dict[str, Any] = {}
            self._add(STEM, config.channels, 3)
            for n, (a, b, skip) in enumerate(stages):
                channels = config.channels * 2 ** (n + 1)
                self._add(a, channels, 3)
                self._add(b, channels, 3)
                self._add(skip, channels, 1)
            self.vector = k.layers.Dense(config.dimensions, name="vector")
            self.heads = k.layers.Dense(n_classes, kernel_initializer=k.initializers.RandomNormal(stddev=0.05), name="heads")

        def build(self, *shapes: Any) -> None:
            """Its layers build themselves when first called."""

        def _add(self, layer: Layer, channels: int, kernel: int) -> None:
            self.convolutions[layer.name] = k.layers.Conv2D(
                channels, kernel, layer.stride, padding="same", use_bias=False, data_format="channels_last", kernel_initializer="he_normal", name=layer.name
            )
            self.norms[layer.name] = k.layers.BatchNormalization(axis=-1, momentum=0.95, epsilon=EPSILON, name=f"{layer.name}_norm")

        def _run(self, layer: Layer, x: Any, training: bool) -> Any:
            x = self.norms[layer.name](self.convolutions[layer.name](x), training=training)
            return ops.relu(x) if layer.relu else x

        def call(self, pixels: Any, training: bool = False) -> Any:
            x = self._run(STEM, (ops.cast(pixels, "float32") - MIDDLE) / SPREAD, training)
            for a, b, skip in stages:
                x = ops.relu(self._run(b, self._run(a, x, training), training) + self._run(skip, x, training))
            v = self.vector(ops.mean(x, axis=(1, 2)))
            v = v / ops.sqrt(ops.sum(v * v, axis=-1, keepdims=True) + 1e-12)
            return self.heads(SCALE * v)

    return PhotoNetwork()


def _objective(k: Any, config: PhotoConfig, classes_A: Sequence[int], weight_C: Scores) -> Any:
    """(pixels [B, H, W, 3], labels [B, A]) → mean over attributes of the weighted cross-entropy of those that are known"""
    ops = k.ops
    edges = np.concatenate([[0], np.cumsum(classes_A)]).tolist()

    class Named(k.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="objective")
            self.network = _network(k, config, edges[-1])

        def build(self, *shapes: Any) -> None:
            """Its layers build themselves when first called."""

        def call(self, pixels: Any, labels: Any, training: bool = False) -> Any:
            logits, losses = self.network(pixels, training=training), []
            for a, (low, high) in enumerate(pairwise(edges)):
                if high - low > 1:
                    label = ops.maximum(labels[:, a], 0)
                    weight = ops.cast(labels[:, a] >= 0, "float32") * ops.take(ops.convert_to_tensor(weight_C[low:high]), label)
                    own = ops.take_along_axis(logits[:, low:high], label[:, None], axis=1)[:, 0]
                    nll = ops.logsumexp(logits[:, low:high], axis=-1) - own
                    losses.append(ops.sum(nll * weight) / ops.maximum(ops.sum(weight), 1.0))
            return ops.mean(ops.stack(losses))

    return Named()


def _class_weights(labels_NA: Codes, classes_A: Sequence[int], balance: float) -> Scores:
    """[C] frequency^−balance, of mean 1 over the examples of an attribute."""
    out = []
    for a, n in enumerate(classes_A):
        count = np.bincount(labels_NA[labels_NA[:, a] >= 0, a], minlength=n).astype(np.float64)
        weight = np.maximum(count, 1) ** -balance
        out.append(weight * max(count.sum(), 1) / max(float((weight * count).sum()), 1e-9))
    return np.concatenate(out).astype(np.float32)


def _logits(network: Inference, photos_NHWC: Photos, rows: NDArray[np.int64], size: int) -> Scores:
    """[len(rows), C] in batches of one shape."""
    out = []
    for first in range(0, len(rows), size):
        chosen = rows[first : first + size]
        out.append(network(photos_NHWC[np.resize(chosen, size)])[: len(chosen)])
    return np.concatenate(out)


class _Batches:
    """One epoch: every photo once, moved, mirrored and coloured a little. The last batch is filled up from the beginning of the order."""

    def __init__(self, photos_NHWC: Photos, labels_NA: Codes, rows: NDArray[np.int64], config: PhotoConfig, *, half: bool) -> None:
        self._photos, self._labels, self._rows, self._config, self._half = photos_NHWC, labels_NA, rows, config, half
        self.steps = -(-len(rows) // config.batch_size)

    def __call__(self, rng: np.random.Generator) -> Iterator[tuple[Scores, Codes]]:
        order = np.resize(rng.permutation(self._rows), self.steps * self._config.batch_size)
        for rows in np.split(order, self.steps):
            pixels = augmented(self._photos[rows], self._config, rng)
            yield halved(pixels) if self._half else pixels, self._labels[rows]


def halved(pixels_BHWC: Scores) -> Scores:
    """[B, H/2, W/2, 3] means of four pixels; an odd last row or column is left out."""
    n, height, width, colors = pixels_BHWC.shape
    even = pixels_BHWC[:, : height // 2 * 2, : width // 2 * 2]
    return np.asarray(even.reshape(n, height // 2, 2, width // 2, 2, colors).mean(axis=(2, 4)), np.float32)


def augmented(photos_BHWC: Photos, config: PhotoConfig, rng: np.random.Generator) -> Scores:
    """[B, H, W, 3] pixels, as float32: each photo moved by up to `shift` (its edge repeated), half of them mirrored, brightness and colours jittered."""
    n, height, width, _ = photos_BHWC.shape

    def places(size: int) -> NDArray[np.int64]:
        most = round(config.shift * size)
        moved: NDArray[np.int64] = np.arange(size) + rng.integers(-most, most + 1, (n, 1))
        return moved.clip(0, size - 1)

    row_BH, column_BW = places(height), places(width)
    turned_B1 = (rng.random((n, 1)) < 0.5) & config.mirror
    column_BW = np.where(turned_B1, column_BW[:, ::-1], column_BW)
    moved = photos_BHWC[np.arange(n)[:, None, None], row_BH[:, :, None], column_BW[:, None, :]].astype(np.float32)
    gain = 1 + config.jitter * (rng.uniform(-1, 1, (n, 1, 1, 1)) + rng.uniform(-1, 1, (n, 1, 1, 3)) / 3)
    return np.clip(moved * gain, 0, 255).astype(np.float32)
