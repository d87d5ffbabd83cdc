"""What passes between us and a peer: arrays in npz files and facts in JSON. Runs in the peers' environments too, so it needs numpy alone.

    task.npz      train_user, train_item   events to learn from, each user's in the order of time
                  ask_user, ask_item       what is known of each user when the question is asked (user is the row of the question's person)
                  asked                    [B] whose question each row of the answer is
                  size                     (users, items)
    answer.npz    codes [B, K], scores [B, K]   the K best items that the history does not hold, best first; −1 after them

Axes: B questions, K list length, U users, I items.
"""

import json
import os
import resource
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

K = 100


class Task(NamedTuple):
    """What a peer is told."""

    train_user: Any
    train_item: Any
    ask_user: Any
    ask_item: Any
    asked: Any
    n_users: int
    n_items: int


def read(folder: Path) -> Task:
    with np.load(folder / "task.npz") as found:
        users, items = found["size"].tolist()
        return Task(found["train_user"], found["train_item"], found["ask_user"], found["ask_item"], found["asked"], users, items)


class Answer(NamedTuple):
    codes: Any
    scores: Any


def cpu_s() -> float:
    """CPU seconds of this process and its ended children, all threads."""
    return sum(resource.getrusage(who).ru_utime + resource.getrusage(who).ru_stime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def answer(folder: Path, packages: list[str], fit: Callable[[Task, dict[str, Any]], Any], ask: Callable[[Any, Task], Answer]) -> None:
    """Fits and asks every model of ``models.json`` (label → settings), with what each cost."""
    task = read(folder)
    for label, settings in json.loads((folder / "models.json").read_text()).items():
        wall, cpu = time.perf_counter(), cpu_s()
        model = fit(task, settings)
        cost = {"fit_s": time.perf_counter() - wall, "fit_cpu_s": cpu_s() - cpu}
        wall = time.perf_counter()
        found = ask(model, task)
        cost["users_per_s"] = len(task.asked) / (time.perf_counter() - wall)
        np.savez(folder / f"{label}.npz", codes=np.asarray(found.codes, np.int32), scores=np.asarray(found.scores, np.float32))
        about = {"versions": {name: metadata.version(name) for name in packages}, "cores": len(os.sched_getaffinity(0)), **cost}
        (folder / f"{label}.json").write_text(json.dumps(about))
        print(f"  {label}: fitted in {cost['fit_s']:.1f} s", flush=True)
