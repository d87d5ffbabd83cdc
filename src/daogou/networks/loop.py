"""The training loop of every network: epochs, learning-rate schedule, early stopping, NaN guard, checkpoint and resume.

It knows batches and a loss; it does not know what they mean.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from safetensors.numpy import load_file, save_file

from daogou.config import Config, hyper
from daogou.contract import Run
from daogou.errors import TrainingError
from daogou.networks import weights
from daogou.networks.backend import flush, keras, training_step

Batches = Callable[[np.random.Generator], Iterator[Sequence[np.ndarray]]]


class LoopConfig(Config):
    """Hyperparameters that every network shares."""

    epochs: Annotated[int, Meta(ge=1, description="Passes over the data at most.")] = 20
    learning_rate: Annotated[float, hyper("Peak step length of Adam.", 3e-4, 3e-3, log=True, gt=0)] = 1e-3
    warmup_steps: Annotated[int, Meta(ge=0, description="Steps of linear warm-up.")] = 100
    weight_decay: Annotated[float, hyper("Decoupled L2 (AdamW).", 0, 0.1, ge=0)] = 0.0
    patience: Annotated[int, Meta(ge=1, description="Epochs without a better validation figure before it stops.")] = 3
    clip_norm: Annotated[float, Meta(ge=0, description="Largest gradient norm; 0 = no clipping.")] = 5.0


class _Saved(msgspec.Struct):
    epoch: int = 0
    best: float | None = None
    stale: int = 0


def fit(objective: Any, batches: Batches, steps: int, config: LoopConfig, run: Run, *, validate: Callable[[], float] | None, what: str) -> list[float]:
    """Trains `objective` (a built model whose output is the loss) and leaves the best weights in it.

    `batches` yields one epoch from a generator seeded by (seed, epoch), so that a resumed run sees what an unbroken one would have. `validate` returns a
    figure to maximise; without it all epochs are run. Returns the validation figures by epoch.

    Raises:
        TrainingError: the loss is not finite.
    """
    k = keras(run.threads)
    schedule = k.optimizers.schedules.CosineDecay(
        0.0 if config.warmup_steps else config.learning_rate,
        max(1, steps * config.epochs - config.warmup_steps),
        alpha=0.05,
        warmup_target=config.learning_rate if config.warmup_steps else None,
        warmup_steps=config.warmup_steps,
    )
    optimizer = k.optimizers.AdamW(schedule, weight_decay=config.weight_decay, beta_2=0.98, global_clipnorm=config.clip_norm or None)
    optimizer.build(objective.trainable_variables)
    saved, best = _resume(objective, optimizer, run.checkpoint)
    step = training_step(objective, optimizer)
    figures: list[float] = []
    for epoch in range(saved.epoch, config.epochs):
        total, n = 0.0, 0
        for batch in batches(np.random.default_rng([run.seed, epoch])):
            loss = step(batch)
            if not np.isfinite(loss):
                raise TrainingError(f"{what}: the loss became {loss} in epoch {epoch + 1}", fix="lower learning_rate, or look for extreme values in the data")
            total, n = total + loss, n + 1
            if run.progress:
                run.progress(f"{what} epoch {epoch + 1}/{config.epochs} loss {total / n:.3f}", n, steps)
        flush(step)
        if validate is None:
            best = weights.read(objective)
        else:
            figures.append(validate())
            saved.stale += 1
            if saved.best is None or figures[-1] > saved.best:
                saved.best, saved.stale, best = figures[-1], 0, weights.read(objective)
        saved.epoch = epoch + 1
        _keep(objective, optimizer, best, saved, run.checkpoint)
        if saved.stale >= config.patience:
            break
    weights.write(objective, best)
    return figures


def _resume(objective: Any, optimizer: Any, directory: Path | None) -> tuple[_Saved, dict[str, np.ndarray]]:
    """State of an interrupted run, or of the beginning. A checkpoint of another network is refused by `weights.write`."""
    if directory is None or not (directory / "current").exists():
        return _Saved(), weights.read(objective)
    home = directory / (directory / "current").read_text()
    weights.write(objective, load_file(home / "now.safetensors"))
    slots = load_file(home / "optimizer.safetensors")
    for n, variable in enumerate(optimizer.variables):
        variable.assign(slots[f"{n:03d}"])
    return msgspec.json.decode((home / "state.json").read_bytes(), type=_Saved), load_file(home / "best.safetensors")


def _keep(objective: Any, optimizer: Any, best: dict[str, np.ndarray], saved: _Saved, directory: Path | None) -> None:
    """A checkpoint is a directory of its own, named by a pointer that is replaced last: a kill leaves the one before it."""
    if directory is None:
        return
    home = directory / f"epoch-{saved.epoch:04d}"
    home.mkdir(parents=True, exist_ok=True)
    save_file(best, home / "best.safetensors")
    save_file(weights.read(objective), home / "now.safetensors")
    save_file({f"{n:03d}": np.asarray(v) for n, v in enumerate(optimizer.variables)}, home / "optimizer.safetensors")
    (home / "state.json").write_bytes(msgspec.json.encode(saved))
    side = directory / "current.new"
    side.write_text(home.name)
    side.replace(directory / "current")
    for old in directory.glob("epoch-*"):
        if old != home:
            shutil.rmtree(old)
