"""A network taught into `transition`: ridge regression on what the network expects instead of on what came next alone. ml-1m, leave-one-out, strict.

    python -m benchmarks.distillation TEACHER [--positions 8] [--threads N]

TEACHER: folder of a sasrec that `deep.py sequences --save` fitted on the same training part. With φ_t the features of `transition` at place t, y_t the
next event and p_t the network's softmax over items not yet in the history, the weights minimise (1 − β) Σ ‖y_t − Wᵀφ_t‖² + β n Σ ‖p_t − Wᵀφ_t‖² + the penalty.
The second sum runs over `--positions` places of each history, drawn at random, and n scales it to all of them. β is chosen on validation; test is printed for
it and for β = 0.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from benchmarks.accuracy import sequences
from daogou import plugins
from daogou.contract import Recommender, Run
from daogou.data.dataset import Dataset
from daogou.data.histories import Histories
from daogou.data.split import split
from daogou.evaluate import evaluate, paired
from daogou.linalg import ridge
from daogou.models.transition import Transition
from daogou.pairs import to_float

SETTINGS = {"tau": (1.2, 6.0, 40.0), "window": (8, 36, 150), "l2": (200.0, 800.0, 3000.0)}
EXPECTED = 100  # likeliest items of a position that are kept
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75)


def drawn(histories: Histories, n: int) -> Histories:
    """n beginnings of each history."""
    rng, rows = np.random.default_rng(0), []
    for row in np.split(histories.item, histories.start[1:-1]):
        for end in rng.choice(np.arange(1, len(row)), min(n, len(row) - 1), replace=False):
            rows.append(row[max(0, end - max(SETTINGS["window"])) : end])
    return Histories.of(rows)


def expected(teacher: Recommender, data: Dataset, begun: Histories) -> sp.csr_matrix:
    """[N, I] what the network expects of each beginning."""
    guests = data.queries(np.full(512, -1, np.int32))
    blocks = []
    for first in range(0, len(begun), 512):
        part = begun[first : first + 512]
        logits_BI = teacher.score(replace(guests[: len(part)], history=part))
        logits_BI[part.seen(data.n_items)] = -np.inf
        kept_BK = np.argpartition(-logits_BI, EXPECTED, axis=1)[:, :EXPECTED]
        share_BK = np.exp(np.take_along_axis(logits_BI, kept_BK, axis=1) - logits_BI.max(axis=1, keepdims=True))
        share_BK /= share_BK.sum(axis=1, keepdims=True)
        start = np.arange(len(part) + 1) * EXPECTED
        blocks.append(sp.csr_matrix((share_BK.ravel(), kept_BK.ravel(), start), shape=(len(part), data.n_items)))
        print(f"\r{first + len(part):,} of {len(begun):,} positions", end="", flush=True)
    return sp.vstack(blocks).tocsr()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("teacher", type=Path)
    options.add_argument("--positions", type=int, default=8)
    options.add_argument("--threads", type=int, default=1)
    a = options.parse_args()
    parts = split(sequences("ml-1m"), "leave-one-out")
    n_items = parts.train.n_items
    student = Transition(**SETTINGS).fit(parts.train, Run(threads=a.threads))
    begun = drawn(parts.train.histories, a.positions)
    hoped = expected(plugins.load("model", "sasrec").load(a.teacher), parts.train, begun)
    inputs = student._inputs(begun)
    features = sp.csr_matrix((inputs.value_N, (begun.row[inputs.event_N], inputs.feature_N)), shape=(len(begun), len(SETTINGS["tau"]) * n_items))
    steps = int(np.maximum(parts.train.histories.lengths - 1, 0).sum())
    features *= np.sqrt(steps / len(begun))
    taught_FF, taught_FI = (features.T @ features).tocsr(), (features.T @ hoped * np.sqrt(steps / len(begun))).tocsr()
    moments = student._statistics["moments"]
    both = to_float(moments)
    gram_FF, cross_FI = both[:, : moments.shape[0]], both[:, moments.shape[0] :]
    l2_F = np.repeat(np.array(SETTINGS["l2"], np.float32), n_items)
    found, results = {}, {}
    for share in SHARES:
        student.weights_FI = ridge((1 - share) * gram_FF + share * taught_FF, (1 - share) * cross_FI + share * taught_FI, l2_F, threads=a.threads)
        found[share] = evaluate(student, parts.validation).mean("ndcg@10")
        results[share] = evaluate(student, parts.test)
        print(f"\nβ {share}: validation NDCG@10 {found[share]:.4f}", flush=True)
    best = max(found, key=lambda share: found[share])
    gap = paired(results[best], results[0.0], "ndcg@10")
    figures = ", ".join(f"β {share} {results[share].mean('ndcg@10'):.4f}" for share in (0.0, best))
    print(f"test: {figures}, {gap.difference:+.4f} [{gap.ci95[0]:+.4f}, {gap.ci95[1]:+.4f}]")


if __name__ == "__main__":
    main()
