"""Photos of the project's folder, as pages show them: found by `Gallery`, decoded within its limits, written anew. What a file claims to be, or carries
beside the picture, never reaches a browser.
"""

import io
import threading
from functools import lru_cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import PathParameter

from daogou.errors import UsageError
from daogou.serve.openapi import PUBLIC
from daogou.serve.services import Given

if TYPE_CHECKING:
    from daogou.encode.photos import Gallery

FOLDER = "photos"
SIDES = {"card": 400, "page": 1024}
"""Name of a size → pixels of its longer side."""
KEPT = 1024
"""Pictures kept in memory, some 20 KB each."""

_one_at_a_time = threading.Lock()


def readable() -> bool:
    """Whether photos can be decoded in this installation (extra `vision`)."""
    return find_spec("PIL") is not None


def address(folder: Path, name: str, size: str) -> str:
    """Where a page finds the photo that an item names; "" where there is none of ours."""
    if not name or not readable() or _file(folder, name) is None:
        return ""
    return f"/{FOLDER}/{size}/" + quote(name.strip().lstrip("/").removeprefix(f"{FOLDER}/"))


@get("/photos/{size:str}/{name:path}", opt=PUBLIC, include_in_schema=False, sync_to_thread=True)
def photo(
    request: Request[Any, Any, Any], services: Given, size: Annotated[str, PathParameter(max_length=10)], name: Annotated[str, PathParameter(max_length=1000)]
) -> Response[bytes]:
    """One photo in one of the sizes above, as JPEG."""
    path = _file(services.project.directory / FOLDER, name.removeprefix("/")) if size in SIDES and readable() else None
    if path is None:
        raise NotFoundException
    state = path.stat()
    tag = '"' + sha256(f"{path.name}/{state.st_mtime_ns}/{state.st_size}/{size}".encode()).hexdigest()[:24] + '"'
    headers = {"ETag": tag, "Cache-Control": "public, max-age=86400"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers)
    data = _drawn(path, state.st_mtime_ns, SIDES[size])
    if not data:
        raise NotFoundException
    return Response(data, media_type="image/jpeg", headers=headers)


def _file(folder: Path, name: str) -> Path | None:
    return _gallery(folder).find(name)


@lru_cache(maxsize=16)
def _gallery(folder: Path) -> "Gallery":
    from daogou.encode.photos import Gallery  # an optional part: only who shows photos needs it

    return Gallery(folder)


@lru_cache(maxsize=KEPT)
def _drawn(path: Path, changed_ns: int, side: int) -> bytes:
    """The photo as JPEG, no side above `side` pixels; b"" where the file is none. `changed_ns` says which version of the file this is."""
    from daogou.encode.photos import opened

    with _one_at_a_time:  # a page asks for many at once, and each may need memory for 24 million pixels
        try:
            picture = opened(path.read_bytes(), side)
        except (OSError, UsageError):
            return b""
        picture.thumbnail((side, side))
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=85, optimize=True)
        return out.getvalue()
