"""implicit (Ben Frederickson): ALS, BPR, BM25 and TF-IDF item neighbours. Runs in implicit's own environment: ``python implicit_peer.py FOLDER``."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from exchange import Answer, K, Task, answer
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import BM25Recommender, TFIDFRecommender
from threadpoolctl import threadpool_limits

KINDS = {"als": AlternatingLeastSquares, "bpr": BayesianPersonalizedRanking, "bm25": BM25Recommender, "tfidf": TFIDFRecommender}


def matrix(user: Any, item: Any, task: Task) -> sp.csr_matrix:
    made = sp.csr_matrix((np.ones(len(user), np.float32), (user, item)), shape=(task.n_users, task.n_items))
    made.sum_duplicates()
    return made


def fit(task: Task, settings: dict[str, Any]) -> Any:
    settings = dict(settings)
    model = KINDS[settings.pop("kind")](**settings)
    model.fit(matrix(task.train_user, task.train_item, task), show_progress=False)
    return model


def ask(model: Any, task: Task) -> Answer:
    """ALS folds the newest history in; BPR has a row for each person that only a fit changes; neighbours read the history."""
    history = matrix(task.ask_user, task.ask_item, task)[task.asked]
    again = {"recalculate_user": True} if type(model).__name__ == "AlternatingLeastSquares" else {}
    codes, scores = model.recommend(task.asked, history, N=K, filter_already_liked_items=True, **again)
    return Answer(np.where(scores > -1e30, codes, -1), scores)


if __name__ == "__main__":
    with threadpool_limits(1, "blas"):  # as the package itself advises: it brings its own threads
        answer(Path(sys.argv[1]), ["implicit", "numpy", "scipy"], fit, ask)
