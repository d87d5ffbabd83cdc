"""The one place that knows Keras' backends: JAX on CPU by default, PyTorch or TensorFlow where asked for by ``KERAS_BACKEND``.

Everything else is `keras.ops` and layers. A training step takes a model whose output *is* the loss (a scalar), so that the loss is
written once, in layers, for every backend.
"""

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from daogou.errors import MissingExtra

Step = Callable[[Sequence[Any]], float]


def keras(threads: int = 0) -> Any:
    """The `keras` module, configured before its first import: backend, home directory, and threads (JAX reads ``NPROC`` once).

    Raises:
        MissingExtra: Keras or a backend is not installed.
    """
    if find_spec("keras") is None:
        raise MissingExtra("keras", "deep")
    if "KERAS_BACKEND" not in os.environ:
        installed = [name for name in ("jax", "torch", "tensorflow") if find_spec(name)]
        if not installed:
            raise MissingExtra("a backend for Keras (jax)", "deep")
        os.environ["KERAS_BACKEND"] = installed[0]
    # Keras writes a settings file into its home on import: not into the user's.
    os.environ.setdefault("KERAS_HOME", str(Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "daogou" / "keras"))
    if threads:
        os.environ.setdefault("NPROC", str(threads))
    import keras as module

    return module


def training_step(objective: Any, optimizer: Any) -> Step:
    """A function from a batch (the inputs of `objective`) to its loss, which also moves the weights.

    `objective` is a built Keras model whose output is the scalar loss; `optimizer` a Keras optimizer.
    """
    return {"jax": _jax_step, "torch": _torch_step, "tensorflow": _tensorflow_step}[keras().backend.backend()](objective, optimizer)


class _JaxStep:
    def __init__(self, objective: Any, optimizer: Any) -> None:
        import jax

        optimizer.build(objective.trainable_variables)
        self._objective, self._optimizer = objective, optimizer
        self._state = self._read()

        def loss(trainable: Any, fixed: Any, batch: Any) -> Any:
            value, fixed = objective.stateless_call(trainable, fixed, *batch, training=True)
            return value, fixed

        def step(state: Any, batch: Any) -> Any:
            trainable, fixed, slots = state
            (value, fixed), gradients = jax.value_and_grad(loss, has_aux=True)(trainable, fixed, batch)
            trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
            return (trainable, fixed, slots), value

        self._step = jax.jit(step, donate_argnums=0)

    def _read(self) -> Any:
        return tuple(
            [v.value for v in group] for group in (self._objective.trainable_variables, self._objective.non_trainable_variables, self._optimizer.variables)
        )

    def __call__(self, batch: Sequence[Any]) -> float:
        self._state, value = self._step(self._state, tuple(batch))
        return float(value)

    def flush(self) -> None:
        """Writes the state back into the model: the compiled step keeps its own copy."""
        groups = (self._objective.trainable_variables, self._objective.non_trainable_variables, self._optimizer.variables)
        for variables, values in zip(groups, self._state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        self._state = self._read()


def _jax_step(objective: Any, optimizer: Any) -> Step:
    return _JaxStep(objective, optimizer)


def _torch_step(objective: Any, optimizer: Any) -> Step:
    optimizer.build(objective.trainable_variables)

    def step(batch: Sequence[Any]) -> float:
        objective.zero_grad()
        value = objective(*batch, training=True)
        value.backward()
        gradients = [v.value.grad for v in objective.trainable_variables]
        import torch

        with torch.no_grad():
            optimizer.apply(gradients, objective.trainable_variables)
        return float(value.detach())

    return step


def _tensorflow_step(objective: Any, optimizer: Any) -> Step:
    import tensorflow as tf

    optimizer.build(objective.trainable_variables)

    @tf.function(reduce_retracing=True)
    def compiled(*batch: Any) -> Any:
        with tf.GradientTape() as tape:
            value = objective(*batch, training=True)
        optimizer.apply(tape.gradient(value, objective.trainable_variables), objective.trainable_variables)
        return value

    return lambda batch: float(compiled(*batch))


def flush(step: Step) -> None:
    """Makes sure that the model's own variables hold what the step has learned."""
    if isinstance(step, _JaxStep):
        step.flush()


def inference(model: Any) -> Callable[..., np.ndarray]:
    """`model` as a function of numpy arrays, compiled where the backend compiles; weights as they are now."""
    backend = keras().backend.backend()
    if backend == "jax":
        import jax

        trainable, fixed = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
        call = jax.jit(lambda t, f, *inputs: model.stateless_call(t, f, *inputs, training=False)[0])
        return lambda *inputs: np.asarray(call(trainable, fixed, *inputs))
    if backend == "torch":
        import torch

        def run(*inputs: Any) -> np.ndarray:
            with torch.no_grad():
                return model(*inputs, training=False).cpu().numpy()

        return run
    return lambda *inputs: np.asarray(model(*inputs, training=False))
