"""The shop's own eye for photos: a network taught by the shop's photos what its goods are. The vector is its last layer before the names.

Learning needs Keras (`networks.photos`); looking needs onnxruntime alone, which runs a graph built here from the learned arrays. What was learned lies beside
the cached vectors, and is learned again only when enough photos are new.

Axes: N photos, C classes of all attributes side by side, D dimensions.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import onnx
import onnxruntime
import structlog
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from PIL import Image
from safetensors.numpy import load_file, save_file

from daogou.contract import Codes, Mask, Progress, Run, Scores
from daogou.encode.cache import mark
from daogou.encode.photos import opened
from daogou.errors import ConfigError, ReleaseError, UsageError

log = structlog.get_logger("daogou.encode")

BATCH = 64
MIDDLE, SPREAD = 127.5, 64.0  # of pixel values, as in training
WHITE = 255

Arrays = dict[str, NDArray[Any]]
Marks = NDArray[np.uint64]
Labels = Mapping[str, Sequence[str | None]]
"""Attribute → its value for each photo; None = not known."""


class About(msgspec.Struct, frozen=True):
    """What the arrays of a network mean."""

    height: int
    width: int
    classes: dict[str, list[str]]
    "Attribute → its values, in the order of the logits."
    figures: list[float] = []
    "Accuracy on held-out photos after each epoch, mean over attributes."


class ContentCnn:
    """Unit vectors of the last layer, and the attributes that a photo shows.

    Args:
        file: what `learned` wrote; or else
        arrays: what `learned` made.

    Raises:
        ConfigError: neither; this encoder knows nothing before it was taught.
        ReleaseError: the file is damaged.
    """

    id = "content_cnn"
    kind = "image"
    version = "1"

    def __init__(self, file: str | Path = "", *, arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
        if arrays is None and not file:
            raise ConfigError(
                "the encoder 'content_cnn' has learned nothing yet",
                expected="photos and attributes to learn from",
                fix='name it under image_encoders of a model, and run "daogou train"',
                field="content_cnn",
            )
        try:
            self.arrays: Arrays = dict(arrays) if arrays is not None else load_file(file)
            self.about = msgspec.json.decode(np.asarray(self.arrays["about"], np.uint8).tobytes(), type=About)
            self.dim = len(self.arrays["vector.bias"])
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(build(self.arrays, self.about), options, providers=["CPUExecutionProvider"])
        except Exception as e:  # every way in which foreign bytes can be wrong
            raise ReleaseError(f"no network for photos ({type(e).__name__}: {e})", fix="daogou train learns it anew", where=str(file)) from e

    @classmethod
    def learned(cls, files: Sequence[bytes], labels: Labels, settings: Mapping[str, Any], run: Run) -> Self:
        """The network for these photos: an earlier one of the same settings if it knows most of them, else a new one.

        Always with the same random numbers: models fitted with several seeds see through one network.

        Args:
            files: JPEG, PNG or WebP; what cannot be read is not learned from.
            settings: of `networks.photos.PhotoConfig`.
            run: `vectors` is the directory in which networks are kept; None = nowhere.

        Raises:
            TrainingError: there is nothing to tell apart.
            MissingExtra: Keras is not installed.
        """
        from daogou.networks import photos

        config = msgspec.convert(dict(settings), photos.PhotoConfig)
        names = [name for name in config.attributes or sorted(labels) if name in labels]
        stem = f"{cls.id}-{hashlib.sha256(msgspec.json.encode([cls.version, config, names])).hexdigest()[:12]}"
        rows = _chosen(files, config.most_photos)
        seen_N, told_N = _marks([files[n] for n in rows], [[labels[name][n] for name in names] for n in rows])
        path = run.vectors / f"{stem}.safetensors" if run.vectors is not None else None
        if path is not None and (known := cls._knowing(path, told_N, config.renew)) is not None:
            return known
        pixels, readable_N = prepared([files[n] for n in rows], config.height, config.width, run.progress)
        rows = [n for n, ok in zip(rows, readable_N.tolist(), strict=True) if ok]
        codes, classes = _classes({name: [labels[name][n] for n in rows] for name in names}, config.least)
        learned, figures = photos.fit(pixels[readable_N], codes, [len(values) for values in classes.values()], config, replace(run, seed=0, watch=None))
        about = About(config.height, config.width, classes, figures)
        arrays: Arrays = {**learned, "about": np.frombuffer(msgspec.json.encode(about), np.uint8), "seen": seen_N, "told": told_N}
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(arrays, side := path.with_suffix(".part"))
            side.replace(path)
        return cls(arrays=arrays)

    @classmethod
    def _knowing(cls, path: Path, told_N: Marks, renew: float) -> Self | None:
        """The network of that file if no more than a share of `renew` is new to it."""
        if not path.exists():
            return None
        try:
            known = cls(path)
            new = float(np.mean(~np.isin(told_N, known.arrays["told"]))) if len(told_N) else 1.0
        except (ReleaseError, KeyError) as e:
            log.warning("the network for photos is damaged and learned anew", file=path.name, found=str(e))
            return None
        return known if new <= renew else None

    @cached_property
    def weights(self) -> str:
        """sha256 of everything that was learned."""
        total = hashlib.sha256()
        for name in sorted(self.served):
            total.update(name.encode() + np.ascontiguousarray(self.arrays[name]).tobytes())
        return total.hexdigest()

    @property
    def served(self) -> Arrays:
        """The arrays that looking needs, for a release: `ContentCnn(arrays=…)` is the same network."""
        return {name: array for name, array in self.arrays.items() if name not in ("seen", "told")}

    def encode(self, things: Sequence[str | bytes]) -> tuple[Scores, Mask]:
        out_ND, mask_N = np.zeros((len(things), self.dim), np.float32), np.zeros(len(things), np.bool_)
        for first in range(0, len(things), BATCH):
            some = things[first : first + BATCH]
            pixels, readable = prepared([thing if isinstance(thing, bytes) else b"" for thing in some], self.about.height, self.about.width)
            if readable.any():
                rows = first + np.flatnonzero(readable)
                out_ND[rows], mask_N[rows] = self._look(pixels[readable]), True
        return out_ND, mask_N

    def named(self, vectors_ND: Scores) -> dict[str, Scores]:
        """Attribute → probability of each of its `about.classes`, [N, classes], of photos whose vectors these are."""
        logits_NC = vectors_ND @ self.arrays["heads.weight"].T + self.arrays["heads.bias"]
        edges = np.cumsum([len(values) for values in self.about.classes.values()])[:-1]
        return {name: _softmax(part) for name, part in zip(self.about.classes, np.split(logits_NC, edges, axis=1), strict=True)}

    def _look(self, pixels_NHWC: NDArray[np.uint8]) -> Scores:
        """[N, D]"""
        x = (pixels_NHWC.transpose(0, 3, 1, 2).astype(np.float32) - np.float32(MIDDLE)) / np.float32(SPREAD)
        vectors_ND: Scores = self._session.run(["vector"], {"photos": x})[0]
        return np.asarray(vectors_ND / np.maximum(np.linalg.norm(vectors_ND, axis=1, keepdims=True), 1e-12))


# ---- photos and labels
def prepared(files: Sequence[bytes], height: int, width: int, progress: Progress | None = None) -> tuple[NDArray[np.uint8], Mask]:
    """[N, H, W, 3] each photo whole, in the middle of a white field of that size; and which files could be read."""
    out_NHWC, mask_N = np.full((len(files), height, width, 3), WHITE, np.uint8), np.zeros(len(files), np.bool_)
    for n, data in enumerate(files):
        if progress is not None and n % 1000 == 0:
            progress("read photos", n, len(files))
        try:
            photo = opened(data, max(height, width))
        except UsageError:
            continue
        scale = min(width / photo.width, height / photo.height)
        w, h = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
        top, left = (height - h) // 2, (width - w) // 2
        out_NHWC[n, top : top + h, left : left + w] = np.asarray(photo.resize((w, h), Image.Resampling.BILINEAR))
        mask_N[n] = True
    return out_NHWC, mask_N


def _chosen(files: Sequence[bytes], most: int) -> list[int]:
    """At most so many of the rows that have a file, the same whatever their order."""
    marks = {n: mark(data) for n in range(len(files)) if (data := files[n])}
    return sorted(sorted(marks, key=lambda n: (marks[n], n))[:most])


def _marks(files: Sequence[bytes], told: Sequence[Sequence[str | None]]) -> tuple[Marks, Marks]:
    """Of each photo, and of each photo with what it is called."""
    seen = [mark(data) for data in files]
    both = [mark(photo, msgspec.json.encode(values)) for photo, values in zip(seen, told, strict=True)]
    return np.frombuffer(b"".join(seen), np.uint64), np.frombuffer(b"".join(both), np.uint64)


def _classes(labels: Labels, least: int) -> tuple[Codes, dict[str, list[str]]]:
    """[N, A] the class of each attribute (−1 = none), and the classes by attribute; an attribute that tells nothing apart has none and is left out."""
    classes = {}
    for name, values in labels.items():
        count = Counter(value for value in values if value)
        if len(often := sorted(value for value, n in count.items() if n >= least)) > 1:
            classes[name] = often
    codes = np.full((len(next(iter(labels.values()), ())), len(classes)), -1, np.int32)
    for a, (name, often) in enumerate(classes.items()):
        place = {value: c for c, value in enumerate(often)}
        codes[:, a] = [place.get(value or "", -1) for value in labels[name]]
    return codes, classes


def _softmax(logits: Scores) -> Scores:
    power = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(power / power.sum(axis=1, keepdims=True), np.float32)


# ---- the graph
def build(arrays: Mapping[str, NDArray[Any]], about: About) -> bytes:
    """The network of `networks.photos` as ONNX (opset 13): `photos` [n, 3, H, W] → `vector` [n, D], not yet of unit length."""
    nodes: list[Any] = []
    constants = {name: np.asarray(array, np.float32) for name, array in arrays.items() if name.endswith((".weight", ".bias")) and not name.startswith("heads")}

    def node(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def convolution(x: str, layer: str, stride: int, *, relu: bool) -> str:
        kernel = constants[f"{layer}.weight"].shape[-1]
        y = node("Conv", [x, f"{layer}.weight", f"{layer}.bias"], layer, kernel_shape=[kernel] * 2, strides=[stride] * 2, auto_pad="SAME_UPPER")
        return node("Relu", [y], f"{layer}.relu") if relu else y

    x = convolution("photos", "stem", 2, relu=True)
    for n in range(sum(name.endswith("_skip.weight") for name in constants)):
        y = convolution(convolution(x, f"stage_{n}_a", 2, relu=True), f"stage_{n}_b", 1, relu=False)
        x = node("Relu", [node("Add", [y, convolution(x, f"stage_{n}_skip", 2, relu=False)], f"stage_{n}")], f"stage_{n}.relu")
    node("Flatten", [node("GlobalAveragePool", [x], "mean")], "flat", axis=1)
    node("Gemm", ["flat", "vector.weight", "vector.bias"], "vector", transB=1)
    number = onnx.TensorProto.FLOAT
    photos = helper.make_tensor_value_info("photos", number, ["n", 3, about.height, about.width])
    vector = helper.make_tensor_value_info("vector", number, ["n", constants["vector.bias"].shape[0]])
    graph = helper.make_graph(nodes, "content_cnn", [photos], [vector], [numpy_helper.from_array(array, name) for name, array in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    serialised: bytes = model.SerializeToString()
    return serialised
