"""Photos from outside, which may be anything: limits are checked in the header, before any of it is decoded.

Three formats, chosen by their first bytes and never by a name or by what the sender says. What comes back is plain RGB numbers.
"""

import hashlib
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from daogou.errors import UsageError

MOST_BYTES = 10 * 2**20
MOST_PIXELS = 24_000_000
LONGEST = 20  # times the other side: a photo of 1 × 24,000,000 is none
KEPT_SIDE = 512  # pixels of the shorter side that any encoder could use

Pixels = NDArray[np.uint8]

_FORMATS: tuple[tuple[str, Callable[[bytes], bool], Any], ...] = (
    ("JPEG", lambda head: head.startswith(b"\xff\xd8\xff"), JpegImageFile),
    ("PNG", lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"), PngImageFile),
    ("WEBP", lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", WebPImageFile),
)


def opened(data: bytes, side: int = KEPT_SIDE) -> Image.Image:
    """The photo in RGB, upright, its shorter side not much above `side` pixels where that is cheap.

    Raises:
        UsageError: too many bytes or pixels, another format, or damaged.
    """
    if not isinstance(data, bytes) or not data:
        raise UsageError("there is no photo in it", expected="a JPEG, PNG or WebP file", field="image")
    if len(data) > MOST_BYTES:
        raise UsageError(f"a photo of {len(data)} bytes", expected=f"at most {MOST_BYTES}", fix="send a smaller one", field="image")
    kind = next((make for _, fits, make in _FORMATS if fits(data[:16])), None)
    if kind is None:
        raise UsageError("this is no photo that can be read", expected="JPEG, PNG or WebP", fix="save it as JPEG", field="image")
    try:
        photo = kind(io.BytesIO(data))  # the header alone; Image.open would try every format it knows
        _check(*photo.size)
        if kind is JpegImageFile:
            photo.draft("RGB", (side, side))  # decodes at a half, a quarter or an eighth, never below the size asked for
        photo.load()
        return _upright(photo)
    except UsageError:
        raise
    except Exception as e:  # every way in which foreign bytes can be wrong
        raise UsageError(f"the photo is damaged ({type(e).__name__})", fix="send it again, saved as JPEG", field="image") from e


def pixels(data: bytes, side: int = KEPT_SIDE) -> Pixels:
    """[H, W, 3] RGB; see `opened`."""
    return np.asarray(opened(data, side), np.uint8)


def _check(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise UsageError(f"a photo of {width} × {height} pixels", expected=f"at most {MOST_PIXELS:,} pixels", fix="send a smaller one", field="image")
    if min(width, height) < 1 or max(width, height) > LONGEST * min(width, height):
        raise UsageError(f"a photo of {width} × {height} pixels", expected=f"no side more than {LONGEST} times the other", field="image")


def _upright(photo: Image.Image) -> Image.Image:
    """RGB as the camera was held; what is transparent is white."""
    with suppress(Exception):  # a wrong orientation mark is no reason to refuse the photo
        ImageOps.exif_transpose(photo, in_place=True)
    if photo.mode in ("RGBA", "LA", "PA") or "transparency" in photo.info:
        layer = photo.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return photo.convert("RGB")


class Gallery:
    """The folder in which a project keeps photos, each under the hash of its content. Nothing outside it is ever read or written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real_root = root.resolve()

    def put(self, data: bytes) -> str:
        """Keeps a photo and gives the name by which items refer to it. What is kept is written anew, so nothing but the picture survives.

        Raises:
            UsageError: it is no photo, or too large.
        """
        photo, out = opened(data), io.BytesIO()
        photo.thumbnail((2 * KEPT_SIDE, 2 * KEPT_SIDE))
        photo.save(out, "JPEG", quality=88)
        name = hashlib.sha256(out.getvalue()).hexdigest() + ".jpg"
        self.root.mkdir(parents=True, exist_ok=True)
        if not (self.root / name).exists():
            partial = self.root / f".{name}.part"
            partial.write_bytes(out.getvalue())
            partial.replace(self.root / name)
        return f"/{self.root.name}/{name}"

    def read(self, name: str) -> bytes:
        """The bytes of the photo that an item names (``/photos/abc.jpg``, ``photos/abc.jpg``, ``abc.jpg``); b"" where there is none, it is too large,
        or it lies elsewhere (an address on the web too: nothing is fetched)."""
        text = name.strip().lstrip("/").removeprefix(f"{self.root.name}/")
        if not text or "\0" in text or "://" in text:
            return b""
        try:
            path = (self._real_root / text).resolve()
            if not path.is_relative_to(self._real_root) or not path.is_file() or path.stat().st_size > MOST_BYTES:
                return b""
            return path.read_bytes()
        except (OSError, RuntimeError):  # a name too long, a loop of links, no right to read
            return b""
