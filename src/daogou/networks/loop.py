"""The training loop of every network: epochs, learning-rate schedule, early stopping, NaN guard, checkpoint and resume.

It knows batches and a loss; it does not know what they mean.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import structlog
from msgspec import Meta
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from daogou.config import Config, hyper
from daogou.contract import Run
from daogou.errors import TrainingError
from daogou.networks import weights
from daogou.networks.backend import Step, keras, training_step

log = structlog.get_logger("daogou.networks")

Batches = Callable[[np.random.Generator], Iterator[Sequence[np.ndarray]]]
"One epoch of batches from a generator of random numbers."

EXHAUSTED = ("resource_exhausted", "out of memory", "can't allocate memory")
"How JAX, TensorFlow and PyTorch say that there is not enough memory."


class LoopConfig(Config, frozen=True):
    """Hyperparameters that every network shares."""

    epochs: Annotated[int, Meta(ge=1, description="Passes over the data at most.")] = 20
    learning_rate: Annotated[float, hyper("Peak step length of Adam.", 3e-4, 1e-2, log=True, gt=0)] = 1e-3
    warmup_steps: Annotated[int, Meta(ge=0, description="Steps of linear warm-up; at most a tenth of all steps are used for it.")] = 100
    weight_decay: Annotated[float, hyper("Decoupled L2 (AdamW).", 0, 0.1, ge=0)] = 0.0
    patience: Annotated[int, Meta(ge=1, description="Epochs without a better validation figure before it stops.")] = 3
    clip_norm: Annotated[float, Meta(ge=0, description="Largest gradient norm; 0 = no clipping.")] = 5.0


class Fitted(msgspec.Struct):
    """How far a fit is, or was."""

    epoch: int = 0
    stale: int = 0
    figures: list[float] = []
    "What `validate` found after each epoch."


def fit(objective: Any, batches: Batches, steps: int, config: LoopConfig, run: Run, *, validate: Callable[[], float] | None, what: str, of: str) -> Fitted:
    """Trains `objective` (a built model whose output is the loss) and leaves the best weights in it.

    Args:
        batches: yields one epoch. Its random numbers follow from (seed, epoch), so that a resumed run sees what an unbroken one would have.
        steps: batches in an epoch, for schedule and progress.
        validate: a figure to maximise, taken after each epoch; without it all epochs are run and the last weights stay.
        what: name for progress and errors.
        of: fingerprint of everything the result depends on (see `fingerprint`): only a checkpoint of the same is resumed.

    Raises:
        TrainingError: the loss is not finite, or the memory does not suffice. Nothing of the epoch was kept.
    """
    optimizer = _optimizer(keras(run.threads), config, steps)
    optimizer.build(objective.trainable_variables)
    home = run.checkpoint / of[:32] if run.checkpoint else None
    state, best = _resume(objective, optimizer, home)
    step = training_step(objective, optimizer)
    while state.epoch < config.epochs and state.stale < config.patience:
        label = f"{what} epoch {state.epoch + 1}/{config.epochs}"
        try:
            _epoch(step, batches(np.random.default_rng([run.seed, state.epoch])), steps, run, label)
            step.flush()
            figure = validate() if validate else float("nan")
        except (MemoryError, RuntimeError) as e:
            if not isinstance(e, MemoryError) and not any(words in str(e).lower() for words in EXHAUSTED):
                raise
            raise TrainingError(f"{label}: out of memory", fix="lower batch_tokens or batch_size, negatives, dimensions or length") from e
        if validate is None:
            best = weights.read(objective)
        else:
            state.stale += 1
            if not state.figures or figure > max(state.figures):
                state.stale, best = 0, weights.read(objective)
            state.figures.append(figure)
            if run.progress:
                run.progress(f"{label} validation {figure:.4f}", steps, steps)
            if run.watch:
                run.watch(figure)
        state.epoch += 1
        if home:
            try:
                _keep(objective, optimizer, best, state, home)
            except (OSError, SafetensorError) as e:  # a full disk: worth going on without, not worth the fit
                log.warning("no checkpoint was kept", found=f"{type(e).__name__}: {e}")
    weights.write(objective, best)
    return state


def fingerprint(*parts: Any) -> str:
    """sha256 over arrays, text and configuration: two fits of one fingerprint give the same weights."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.tobytes() if isinstance(part, np.ndarray) else msgspec.json.encode(part))
        total.update(b"\0")
    return total.hexdigest()


def _optimizer(k: Any, config: LoopConfig, steps: int) -> Any:
    total = max(1, steps * config.epochs)
    warm = min(config.warmup_steps, total // 10)
    rate = k.optimizers.schedules.CosineDecay(
        0.0 if warm else config.learning_rate, total - warm, alpha=0.02, warmup_target=config.learning_rate if warm else None, warmup_steps=warm
    )
    return k.optimizers.AdamW(rate, weight_decay=config.weight_decay, beta_2=0.98, global_clipnorm=config.clip_norm or None)


def _epoch(step: Step, batches: Iterable[Sequence[np.ndarray]], steps: int, run: Run, label: str) -> None:
    total, n = 0.0, 0
    pending: Any = None
    for batch in batches:
        loss, pending = pending, step(batch)
        if loss is not None:
            total, n = total + _finite(loss, label), n + 1
            if run.progress:
                run.progress(f"{label} loss {total / n:.3f}", n, steps)
    if pending is not None:
        total, n = total + _finite(pending, label), n + 1
        if run.progress:
            run.progress(f"{label} loss {total / n:.3f}", n, steps)


def _finite(loss: Any, label: str) -> float:
    value = float(loss)
    if not np.isfinite(value):
        raise TrainingError(f"{label}: the loss became {value}", expected="a number", fix="lower learning_rate, or look for extreme values in the data")
    return value


def _resume(objective: Any, optimizer: Any, home: Path | None) -> tuple[Fitted, dict[str, np.ndarray]]:
    """State of an interrupted run, or of the beginning."""
    if home is None or not (home / "current").exists():
        return Fitted(), weights.read(objective)
    try:
        kept = home / (home / "current").read_text("ascii")
        now, slots, best = (load_file(kept / f"{name}.safetensors") for name in ("now", "optimizer", "best"))
        state = msgspec.json.decode((kept / "state.json").read_bytes(), type=Fitted)
    except (OSError, ValueError, SafetensorError, msgspec.MsgspecError) as e:  # after a power cut a checkpoint may be half on disk
        log.warning("a checkpoint is damaged: the fit begins anew", found=f"{type(e).__name__}: {e}")
        return Fitted(), weights.read(objective)
    weights.write(objective, now, random=True)
    for n, variable in enumerate(optimizer.variables):
        variable.assign(slots[f"{n:03d}"])
    return state, best


def _keep(objective: Any, optimizer: Any, best: dict[str, np.ndarray], state: Fitted, home: Path) -> None:
    """A checkpoint is a directory of its own, named by a pointer that is replaced last: a kill leaves the one before it."""
    kept = home / f"epoch-{state.epoch:04d}"
    kept.mkdir(parents=True, exist_ok=True)
    save_file(best, kept / "best.safetensors")
    save_file(weights.read(objective, random=True), kept / "now.safetensors")
    save_file({f"{n:03d}": weights.array(v) for n, v in enumerate(optimizer.variables)}, kept / "optimizer.safetensors")
    (kept / "state.json").write_bytes(msgspec.json.encode(state))
    side = home / "current.new"
    side.write_text(kept.name, "ascii")
    side.replace(home / "current")
    for old in home.glob("epoch-*"):
        if old != kept:
            shutil.rmtree(old)
