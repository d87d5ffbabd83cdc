"""Weights of a built network as plain arrays, the same on every backend.

A variable's path begins with the running name of its model (``sequential_1/…`` for the second one made), so keys are the position and the path
after its first part: ``003.block_0/query/kernel``.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from daogou.errors import ReleaseError


def read(model: Any, *, random: bool = False) -> dict[str, np.ndarray]:
    """Copies of the arrays by key, in the model's order. The states of random numbers are not knowledge: `random` asks for them (checkpoints)."""
    return {key: array(v).copy() for key, v in _variables(model, random)}


def write(model: Any, arrays: Mapping[str, Any], *, random: bool = False) -> None:
    """Puts arrays of `read` into a model built the same way.

    Raises:
        ReleaseError: other layers or shapes than the model has.
    """
    variables = dict(_variables(model, random))
    if variables.keys() != arrays.keys():
        odd = sorted(variables.keys() ^ arrays.keys())[0]
        raise ReleaseError(f"the weights are of another network (first difference: {odd})", fix="train again with this version")
    for key, variable in variables.items():
        if tuple(variable.shape) != arrays[key].shape:
            raise ReleaseError(f"{key} has shape {arrays[key].shape}", expected=str(tuple(variable.shape)), fix="train again with these settings")
        variable.assign(arrays[key])


def _variables(model: Any, random: bool) -> list[tuple[str, Any]]:
    kept = [v for v in model.variables if random or "seed_generator" not in v.path]
    return [(f"{n:03d}.{v.path.split('/', 1)[-1]}", v) for n, v in enumerate(kept)]


def array(variable: Any) -> np.ndarray:
    """The value of a Keras variable as numpy."""
    value = variable.value
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
