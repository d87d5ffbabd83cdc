"""RecTools' SASRec, asked after every few epochs. Runs in RecTools' own environment: ``python rectools_peer.py FOLDER``.

Its softmax loss is computed on real positions alone: mathematically the same, and faster on a CPU than the package's own, which takes padding along.
"""

import json
import logging
import os
import sys
import time
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from exchange import Answer, K, Task, cpu_s, read
from pytorch_lightning import Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.transformers.lightning import TransformerLightningModule


class FlatLoss(TransformerLightningModule):
    """Cross-entropy over the catalogue at positions that have a target."""

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        net = self.torch_model
        items = net.item_model.get_all_embeddings()
        real = batch["y"] != 0
        states = net.similarity_module.session_tower_forward(net.encode_sessions(batch, items))[real]
        logits = states @ net.similarity_module.item_tower_forward(items).T / self.logits_t
        loss = torch.nn.functional.cross_entropy(logits, batch["y"][real], reduction="none") * batch["yw"][real]
        return loss.sum() / (loss > 0).sum()


def quiet_trainer(**_: Any) -> Trainer:
    return Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)


def dataset(user: Any, item: Any) -> Dataset:
    """The place of an event stands for its time."""
    when = pd.Timestamp("2000-01-01") + pd.to_timedelta(np.arange(len(user)), unit="s")
    return Dataset.construct(pd.DataFrame({Columns.User: user, Columns.Item: item, Columns.Weight: 1.0, Columns.Datetime: when}))


def ask(model: SASRecModel, history: Dataset, task: Task) -> Answer:
    found = model.recommend(users=task.asked, dataset=history, k=K, filter_viewed=True)
    row = np.searchsorted(task.asked, found[Columns.User].to_numpy())
    codes, scores = np.full((len(task.asked), K), -1, np.int32), np.full((len(task.asked), K), -np.inf, np.float32)
    place = found[Columns.Rank].to_numpy() - 1
    codes[row, place], scores[row, place] = found[Columns.Item].to_numpy(), found[Columns.Score].to_numpy()
    return Answer(codes, scores)


def main(folder: Path) -> None:
    for noise in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(noise).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    task, how = read(folder), json.loads((folder / "models.json").read_text())["sasrec"]
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    seed_everything(how.pop("seed"), verbose=False)
    epochs, every = how.pop("epochs"), how.pop("every")
    train, history = dataset(task.train_user, task.train_item), dataset(task.ask_user, task.ask_item)
    wall = cpu = 0.0
    model = SASRecModel(lightning_module_type=FlatLoss, get_trainer_func=quiet_trainer, **how)
    versions = {name: metadata.version(name) for name in ("RecTools", "torch", "pytorch-lightning", "numpy")}
    for done in range(every, epochs + 1, every):
        wall_from, cpu_from = time.perf_counter(), cpu_s()
        model.fit_partial(train, min_epochs=every, max_epochs=every)
        wall, cpu = wall + time.perf_counter() - wall_from, cpu + cpu_s() - cpu_from
        found = ask(model, history, task)
        np.savez(folder / f"epoch-{done:03d}.npz", codes=found.codes, scores=found.scores)
        about = {"versions": versions, "cores": len(os.sched_getaffinity(0)), "epoch": done, "fit_s": wall, "fit_cpu_s": cpu}
        (folder / f"epoch-{done:03d}.json").write_text(json.dumps(about))
        print(f"  RecTools SASRec: {done} epochs in {wall:.0f} s, {cpu:.0f} CPU s", flush=True)
        if (folder / "enough").exists():
            break


if __name__ == "__main__":
    main(Path(sys.argv[1]))
