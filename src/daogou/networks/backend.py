"""The one place that knows Keras' backends: JAX on CPU by default, PyTorch or TensorFlow where asked for by ``KERAS_BACKEND``.

Everything else is `keras.ops` and layers. A training step takes a model whose output *is* the loss (a scalar), so that the loss is
written once, in layers, for every backend.
"""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from daogou.errors import MissingExtra

BACKENDS = ("jax", "torch", "tensorflow")


def require() -> None:
    """Called where a network is imported, so that what is missing is said before any work.

    Raises:
        MissingExtra: Keras or every backend is not installed.
    """
    if find_spec("keras") is None:
        raise MissingExtra("keras", "deep")
    wanted = os.environ.get("KERAS_BACKEND")
    if wanted and find_spec(wanted) is None:
        raise MissingExtra(f"{wanted}, which KERAS_BACKEND asks for,", "torch" if wanted == "torch" else "deep")
    if not any(find_spec(name) for name in BACKENDS):
        raise MissingExtra("a backend for Keras (jax)", "deep")


def keras(threads: int = 0) -> Any:
    """The `keras` module, configured before its first import: backend, home directory, and threads.

    `threads` binds JAX and TensorFlow only at their first use in the process, when they read their environment. PyTorch takes it each time.

    Raises:
        MissingExtra: Keras or a backend is not installed.
    """
    require()
    os.environ.setdefault("KERAS_BACKEND", next(name for name in BACKENDS if find_spec(name)))
    # Keras writes a settings file into its home on import: not into the user's.
    os.environ.setdefault("KERAS_HOME", str(Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "daogou" / "keras"))
    if threads:
        for name in ("NPROC", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
            os.environ.setdefault(name, str(threads))
    import keras as module

    if threads and module.backend.backend() == "torch":
        import torch

        torch.set_num_threads(threads)
    return module


class Step(Protocol):
    """One training step: takes a batch (the inputs of the objective), moves the weights, returns the loss as the backend's scalar.

    The scalar may not have been computed yet: reading it waits for it, so whoever reads it one step later lets the backend work meanwhile.
    """

    def __call__(self, batch: Sequence[Any]) -> Any: ...

    def flush(self) -> None:
        """Makes sure that the variables of model and optimizer hold what the step has learned."""


def training_step(objective: Any, optimizer: Any) -> Step:
    """`objective` is a built Keras model whose output is the scalar loss; `optimizer` a Keras optimizer built for its trainable variables."""
    kinds: dict[str, Any] = {"jax": _Jax, "torch": _Torch, "tensorflow": _TensorFlow}
    step: Step = kinds[keras().backend.backend()](objective, optimizer)
    return step


class _Jax:
    def __init__(self, objective: Any, optimizer: Any) -> None:
        import jax

        self._variables = (objective.trainable_variables, objective.non_trainable_variables, optimizer.variables)
        self._state = self._read()

        def loss(trainable: Any, fixed: Any, batch: Any) -> Any:
            return objective.stateless_call(trainable, fixed, *batch, training=True)

        def step(state: Any, batch: Any) -> Any:
            trainable, fixed, slots = state
            (value, fixed), gradients = jax.value_and_grad(loss, has_aux=True)(trainable, fixed, batch)
            trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
            return (trainable, fixed, slots), value

        self._step = jax.jit(step, donate_argnums=0)

    def _read(self) -> Any:
        import jax.numpy as jnp

        # Copies: the step gives its state away to be overwritten, and the variables must stay readable meanwhile.
        return tuple([jnp.array(v.value, copy=True) for v in group] for group in self._variables)

    def __call__(self, batch: Sequence[Any]) -> Any:
        self._state, value = self._step(self._state, tuple(batch))
        return value

    def flush(self) -> None:
        for variables, values in zip(self._variables, self._state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        self._state = self._read()


class _Torch:
    def __init__(self, objective: Any, optimizer: Any) -> None:
        self._objective, self._optimizer = objective, optimizer

    def __call__(self, batch: Sequence[Any]) -> Any:
        import torch

        self._objective.zero_grad()
        value = self._objective(*batch, training=True)
        value.backward()
        variables = self._objective.trainable_variables
        with torch.no_grad():
            self._optimizer.apply([v.value.grad for v in variables], variables)
        return value.detach()

    def flush(self) -> None:
        """The variables themselves were moved."""


class _TensorFlow:
    def __init__(self, objective: Any, optimizer: Any) -> None:
        import tensorflow as tf

        def step(*batch: Any) -> Any:
            with tf.GradientTape() as tape:
                value = objective(*batch, training=True)
            optimizer.apply(tape.gradient(value, objective.trainable_variables), objective.trainable_variables)
            return value

        self._step = tf.function(step, reduce_retracing=True)

    def __call__(self, batch: Sequence[Any]) -> Any:
        return self._step(*batch)

    def flush(self) -> None:
        """The variables themselves were moved."""


class Inference:
    """A built model as a function of numpy arrays: compiled once for each shape where the backend compiles, always with the weights as they are now."""

    def __init__(self, model: Any) -> None:
        self._model, self._backend = model, keras().backend.backend()
        if self._backend == "jax":
            import jax

            self._variables = (model.trainable_variables, model.non_trainable_variables)
            # Weights are arguments and not constants: a new epoch compiles nothing.
            self._call = jax.jit(lambda trainable, fixed, *inputs: model.stateless_call(trainable, fixed, *inputs, training=False)[0])

    def __call__(self, *inputs: Any) -> np.ndarray:
        if self._backend == "jax":
            return np.asarray(self._call(*([v.value for v in group] for group in self._variables), *inputs))
        if self._backend == "torch":
            import torch

            with torch.no_grad():
                found: np.ndarray = self._model(*inputs, training=False).cpu().numpy()
                return found
        return np.asarray(self._model(*inputs, training=False))
