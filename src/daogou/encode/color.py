"""Color: a histogram of hue, saturation and value. Says what an image network is nearly blind to, and nothing else."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from daogou.contract import Mask, Scores
from daogou.encode.photos import opened
from daogou.errors import UsageError

SIDE = 64
BINS = (8, 3, 3)


class Color:
    """8 × 3 × 3 bins of HSV on 64 × 64 pixels, square roots (Hellinger), unit length (Swain & Ballard 1991)."""

    id = "color"
    kind = "image"
    dim = BINS[0] * BINS[1] * BINS[2]
    version = "1"
    weights = ""

    def encode(self, things: Sequence[str | bytes]) -> tuple[Scores, Mask]:
        out_ND, mask_N = np.zeros((len(things), self.dim), np.float32), np.zeros(len(things), np.bool_)
        for n, thing in enumerate(things):
            try:
                photo = opened(thing if isinstance(thing, bytes) else b"", SIDE)
            except UsageError:
                continue
            hsv = np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR).convert("HSV"), np.int64).reshape(-1, 3)
            h, s, v = (hsv[:, axis] * size // 256 for axis, size in enumerate(BINS))
            count = np.bincount((h * BINS[1] + s) * BINS[2] + v, minlength=self.dim)
            out_ND[n], mask_N[n] = np.sqrt(count / len(hsv)), True
        return out_ND, mask_N
