"""A small shop cut in time, its retrievers fitted before the label window."""

from typing import NamedTuple

import numpy as np
import pytest

from daogou.contract import Queries, Recommender, Run
from daogou.data.dataset import Dataset
from daogou.data.split import Split, split
from daogou.models.covisit import CoVisit
from daogou.models.ease import Ease
from daogou.models.popular import Popular
from daogou.testing.toy import random_dataset

DAY_US = 86_400_000_000


class Shop(NamedTuple):
    data: Dataset
    parts: Split
    models: dict[str, Recommender]


@pytest.fixture(scope="session")
def shop() -> Shop:
    data = random_dataset(3, n_users=150, n_items=60, n_events=5000)
    parts = split(data, "time", test_days=7, goal=("purchase", "cart"), repeats=True)
    return Shop(data, parts, {name: kind().fit(parts.train, Run()) for name, kind in (("ease", Ease), ("covisit", CoVisit), ("popular", Popular))})


def alone(queries: Queries, b: int) -> Queries:
    return queries[np.array([b])]
