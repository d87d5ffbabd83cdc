"""EASE: taste from whole baskets, in closed form."""

from typing import Annotated, Self

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from msgspec import Meta

from daogou.config import Config, hyper
from daogou.contract import Run
from daogou.data.dataset import Dataset
from daogou.data.histories import Histories
from daogou.families import Inputs, ItemItem, newest_of_item
from daogou.linalg import neighbour_regression, solve_dense


class EaseConfig(Config):
    l2: Annotated[float, hyper("Penalty on the weights; larger is smoother.", 10, 2000, log=True, unit="squared interactions", gt=0)] = 100.0
    recency: Annotated[float, hyper("Decay of a history when serving, in events; 0 = no decay.", 0, 10, unit="events", ge=0)] = 0.0
    dense_items: Annotated[int, Meta(ge=0, description="Largest catalogue for which the full I × I system is solved; above it, neighbours only.")] = 15_000
    neighbours: Annotated[int, hyper("Items each target is regressed on in the large-catalogue form.", 50, 300, ge=1)] = 100


class Ease(ItemItem):
    """placeholder until the model helper finishes it"""

    Settings = EaseConfig
    config: EaseConfig
