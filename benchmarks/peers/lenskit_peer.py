"""LensKit: item neighbours, EASE and implicit matrix factorisation. Runs in LensKit's own environment: ``python lenskit_peer.py FOLDER``."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from exchange import Answer, K, Task, answer
from lenskit.als import ImplicitMFScorer
from lenskit.data import ItemList, RecQuery, from_interactions_df
from lenskit.knn import EASEScorer, ItemKNNScorer

KINDS = {"ease": EASEScorer, "item_knn": ItemKNNScorer, "als": ImplicitMFScorer}


def fit(task: Task, settings: dict[str, Any]) -> Any:
    settings = dict(settings)
    model = KINDS[settings.pop("kind")](**settings)
    model.train(from_interactions_df(pd.DataFrame({"user_id": task.train_user, "item_id": task.train_item})))
    return model


def ask(model: Any, task: Task) -> Answer:
    """Through the components' own call with the newest history; lists are cut here, so that no pipeline has to be guessed at."""
    order = np.argsort(task.ask_user, kind="stable")
    start = np.searchsorted(task.ask_user[order], np.arange(task.n_users + 1))
    everything = ItemList(item_ids=np.arange(task.n_items))
    codes, scores = np.full((len(task.asked), K), -1, np.int32), np.full((len(task.asked), K), -np.inf, np.float32)
    for b, user in enumerate(task.asked):
        had = task.ask_item[order[start[user] : start[user + 1]]]
        found = model(RecQuery(user_id=int(user), user_items=ItemList(item_ids=had)), everything).scores()
        found = np.where(np.isnan(found), -np.inf, found).astype(np.float32)
        found[had] = -np.inf
        top = np.argsort(-found, kind="stable")[:K]
        codes[b], scores[b] = np.where(np.isfinite(found[top]), top, -1), found[top]
    return Answer(codes, scores)


if __name__ == "__main__":
    answer(Path(sys.argv[1]), ["lenskit", "numpy", "torch"], fit, ask)
