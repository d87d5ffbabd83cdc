"""Where foreign photos are decoded: run as a program by `apart`, knowing nothing of daogou, with no file, no network, no child and little memory.

    python -I darkroom.py MEMORY_MIB CPU_S < questions > answers

A question is ``>IQ`` (shorter side wanted, number of bytes) and the bytes of the photo; an answer ``>BHH`` (0, width, height) and the RGB numbers, or ``>BHH``
(1, 0, length) and what was found, expected and to be done, three texts joined by NUL. Ends with its input.

Three formats, chosen by their first bytes and never by a name or by what the sender says; limits are checked in the header, before any of it is decoded.
"""

import io
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

MOST_BYTES = 10 * 2**20
MOST_PIXELS = 24_000_000
LONGEST = 20  # times the other side: a photo of 1 × 24,000,000 is none
KEPT_SIDE = 512  # pixels of the shorter side that any encoder could use
QUESTION, ANSWER = struct.Struct(">IQ"), struct.Struct(">BHH")

_FORMATS: tuple[tuple[Callable[[bytes], bool], Any], ...] = (
    (lambda head: head.startswith(b"\xff\xd8\xff"), JpegImageFile),
    (lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"), PngImageFile),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", WebPImageFile),
)


class Refused(Exception):
    """Bytes that are no photo to us; `found`, `expected` and `fix` as in daogou's errors."""

    def __init__(self, found: str, expected: str = "", fix: str = "") -> None:
        self.found, self.expected, self.fix = found, expected, fix
        super().__init__(found)


def format_of(data: bytes) -> Any:
    """The reader of these bytes, by the first of them.

    Raises:
        Refused: no bytes, too many, or none of the three formats.
    """
    if not data:
        raise Refused("there is no photo in it", "a JPEG, PNG or WebP file", "send the bytes of the photo")
    if len(data) > MOST_BYTES:
        raise Refused(f"a photo of {len(data)} bytes", f"at most {MOST_BYTES}", "send a smaller one")
    kind = next((make for fits, make in _FORMATS if fits(data[:16])), None)
    if kind is None:
        raise Refused("this is no photo that can be read", "JPEG, PNG or WebP", "save it as JPEG")
    return kind


def developed(data: bytes, side: int = KEPT_SIDE) -> Image.Image:
    """The photo in RGB, upright, its shorter side between `side` and about twice that where it was larger.

    Raises:
        Refused: too many bytes or pixels, another format, or damaged.
        MemoryError: it takes more than there is.
    """
    kind = format_of(data)
    try:
        photo = kind(io.BytesIO(data))  # the header alone; Image.open would try every format it knows
        _check(*photo.size)
        if kind is JpegImageFile:
            photo.draft("RGB", (side, side))  # decodes at a half, a quarter or an eighth, never below the size asked for
        photo.load()
        return _upright(photo, side)
    except (Refused, MemoryError):
        raise
    except Exception as e:  # every way in which foreign bytes can be wrong
        raise Refused(f"the photo is damaged ({type(e).__name__})", fix="send it again, saved as JPEG") from e


def _check(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise Refused(f"a photo of {width} × {height} pixels", f"at most {MOST_PIXELS:,} pixels", "send a smaller one")
    if min(width, height) < 1 or max(width, height) > LONGEST * min(width, height):
        raise Refused(f"a photo of {width} × {height} pixels", f"no side more than {LONGEST} times the other", "cut it to what it shows")


def _upright(photo: Image.Image, side: int) -> Image.Image:
    """RGB as the camera was held; what is transparent is white. Made small first: every later step is a copy."""
    turned = photo.getexif().get(0x0112)
    transparent = photo.mode in ("RGBA", "LA", "PA") or "transparency" in photo.info
    small = photo if photo.mode in ("RGB", "L", "RGBA") else photo.convert("RGBA" if transparent else "RGB")
    if (times := min(small.size) // side) > 1:
        small = small.reduce(times)
    if turned is not None and turned != 1:
        small.getexif()[0x0112] = turned
        with suppress(Exception):  # a wrong orientation mark is no reason to refuse the photo
            ImageOps.exif_transpose(small, in_place=True)
    if transparent:
        layer = small.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return small.convert("RGB")


# ---- the program
def _confine(memory_mib: int) -> None:
    """No file can be opened from here on (nor a socket), nothing written, no child begun, no more memory had."""
    try:
        import resource
    except ImportError:  # a system without such limits: its own process and the parent's clock are left
        return
    for name, most in (("RLIMIT_AS", memory_mib * 2**20), ("RLIMIT_NOFILE", 3), ("RLIMIT_FSIZE", 0), ("RLIMIT_NPROC", 0), ("RLIMIT_CORE", 0)):
        with suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (most, most))


def _seconds(more: int) -> None:
    """From now on so much CPU time; then the kernel ends it."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + more + 1, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _warm() -> None:
    """Loads what is loaded when first used: later no file can be opened."""
    for kind in ("JPEG", "PNG", "WEBP"):
        out, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (64, 48), "red").save(out, kind, exif=exif)
        developed(out.getvalue(), 16)
    for data in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n" + bytes(20), b"RIFF1234WEBPVP8 "):
        with suppress(Refused):
            developed(data)


def _answered(data: bytes, side: int) -> bytes:
    try:
        photo = developed(data, side)
    except Refused as e:
        text = "\0".join((e.found, e.expected, e.fix)).encode()[:2000]
        return ANSWER.pack(1, 0, len(text)) + text
    return ANSWER.pack(0, *photo.size) + photo.tobytes()


def main(source: BinaryIO, sink: BinaryIO, memory_mib: int, cpu_s: int) -> None:
    """Answers until the input ends, or the memory: what is left of it then would refuse good photos too."""
    _warm()
    _confine(memory_mib)
    while len(head := source.read(QUESTION.size)) == QUESTION.size:
        side, length = QUESTION.unpack(head)
        _seconds(cpu_s)
        sink.write(_answered(source.read(length), side))
        sink.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer, *map(int, sys.argv[1:3]))
