"""Photos from outside, which may be anything: limits are checked in the header, before any of it is decoded, and decoding happens apart.

What comes back is plain RGB numbers. Nothing is kept unless a `Gallery` is told to, and then under a name of ours.
"""

import base64
import binascii
import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG
from typing import overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from daogou.encode import apart
from daogou.encode.darkroom import KEPT_SIDE, LONGEST, MOST_BYTES, MOST_PIXELS
from daogou.encode.filed import Filed, InFiles
from daogou.errors import UsageError

__all__ = ["KEPT_SIDE", "LONGEST", "MOST_BYTES", "MOST_PIXELS", "Gallery", "Pixels", "Shelf", "opened", "pixels", "sent"]

Pixels = NDArray[np.uint8]
_DATA_URL = "base64,"


def opened(data: bytes, side: int = KEPT_SIDE) -> Image.Image:
    """The photo in RGB, upright, its shorter side between `side` and about twice that where it was larger. Decoded in another process.

    Raises:
        UsageError: too many bytes or pixels, another format, or damaged.
    """
    return apart.room().developed(data if isinstance(data, bytes) else b"", side)


def pixels(data: bytes, side: int = KEPT_SIDE) -> Pixels:
    """[H, W, 3] RGB; see `opened`."""
    return np.asarray(opened(data, side), np.uint8)


def sent(text: str) -> bytes:
    """The bytes of a photo that was sent as base64, with or without the head of a ``data:`` address.

    Raises:
        UsageError: it is none.
    """
    head, mark, _ = text[:100].partition(_DATA_URL)
    body = text[len(head) + len(mark) :] if mark and head.startswith("data:") else text
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as e:
        raise UsageError(
            f"the photo is not base64 ({e})", expected="the bytes of a JPEG, PNG or WebP file in base64", fix="encode the file", field="image"
        ) from e


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

    def find(self, name: str) -> Path | None:
        """The file that an item names (``/photos/abc.jpg``, ``photos/abc.jpg``, ``abc.jpg``); None where there is none, it is too large, or it lies
        elsewhere (an address on the web too: nothing is fetched)."""
        found = self._described(name, self._own_folder())
        return None if found is None else Path(found[0])

    def filed(self, names: Sequence[str]) -> list[Filed | None]:
        """The files that `find` finds, as they are now."""
        folders = self._own_folder()
        return [None if (found := self._described(name, folders)) is None else Filed.of(*found) for name in names]

    def _own_folder(self) -> dict[str, str | None]:
        return {"": str(self._real_root)}

    def _described(self, name: str, folders: dict[str, str | None]) -> tuple[str, os.stat_result] | None:
        """Where the file is, links followed to their end, and what it is. `folders` remembers where those end that were met before; None = elsewhere."""
        text = name.strip().lstrip("/").removeprefix(f"{self.root.name}/")
        if not text or "\0" in text or "://" in text:
            return None
        folder, leaf = os.path.split(text)
        try:
            if folder not in folders:
                real = (self._real_root / folder).resolve()
                folders[folder] = str(real) if real.is_relative_to(self._real_root) else None
            if folders[folder] is None:
                return None
            path = f"{folders[folder]}{os.sep}{leaf}"
            stat = os.lstat(path)
            if not S_ISREG(stat.st_mode) or ":" in leaf:  # a link, or a drive of Windows
                end = (self._real_root / folder / leaf).resolve()
                if not end.is_relative_to(self._real_root):
                    return None
                path, stat = str(end), end.stat()
        except (OSError, RuntimeError):  # a name too long, a loop of links, no right to read
            return None
        return (path, stat) if S_ISREG(stat.st_mode) and stat.st_size <= MOST_BYTES else None

    def read(self, name: str) -> bytes:
        """The bytes of the photo that `find` finds, b"" where it finds none."""
        path = self.find(name)
        try:
            return path.read_bytes() if path else b""
        except OSError:
            return b""


class Shelf(InFiles):
    """Photos of a gallery by name, each read when it is asked for: those of a whole catalogue need not fit into memory."""

    def __init__(self, gallery: Gallery, names: Sequence[str]) -> None:
        self._gallery, self._names = gallery, names

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, n: int) -> bytes: ...
    @overload
    def __getitem__(self, n: slice) -> "Shelf": ...
    def __getitem__(self, n: int | slice) -> "bytes | Shelf":
        return Shelf(self._gallery, self._names[n]) if isinstance(n, slice) else self._gallery.read(self._names[n])

    def files(self) -> list[Filed | None]:
        """The file of each photo, as it is now."""
        return self._gallery.filed(self._names)
