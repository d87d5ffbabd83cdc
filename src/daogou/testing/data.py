"""Where the real data sets of tests and benchmarks lie. They are never part of the project."""

import os
from pathlib import Path

import pytest


def dataset_path(name: str) -> Path:
    """The folder of a data set: below ``$DAOGOU_DATA``, or ``../shared/data`` beside the checkout. Skips the calling test where it is absent."""
    root = Path(os.environ.get("DAOGOU_DATA") or Path(__file__).parents[3].parent / "shared" / "data")
    path = root / name
    if not path.exists():
        pytest.skip(f"data set {name!r} is not here: put it into a folder and name that folder in DAOGOU_DATA")
    return path
