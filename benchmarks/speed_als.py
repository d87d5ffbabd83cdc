"""als against implicit 0.7.3 on ml-1m: the same factors and sweeps, one run, leave-one-out.

    python benchmarks/speed_als.py [--factors 64] [--sweeps 15] [--threads N] [--repeats 5]

Needs `pip install implicit==0.7.3` and the data (tests/README names DAOGOU_DATA). Fits alternate so that both meet the same load; the ratio is of medians.
Both are ranked by the same evaluator on the same split, with the settings that were best on validation (--tune searches them again, the same number of
trials each), over the same number of seeds; weights see neither validation nor test items. The third row is `als` whose answers weigh the newest events most.
"""

import argparse
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import threadpoolctl
from implicit.cpu.als import AlternatingLeastSquares

from daogou.contract import Queries, Run, Scores
from daogou.data.dataset import Dataset, from_frames
from daogou.data.split import Split, split
from daogou.evaluate import Result, evaluate, over_seeds, paired
from daogou.models.als import Als
from daogou.testing.data import dataset_path

OURS = {"unobserved": [0.2, 0.4, 0.8], "l2": [0.0005, 0.0015, 0.005]}
THEIRS = {"alpha": [1.0, 2.0, 4.0], "regularization": [1.0, 3.0, 10.0]}
RECENCY = {"recency": [1.5, 2.0, 3.0, 5.0]}
BEST_OURS = {"unobserved": 0.8, "l2": 0.0015}
BEST_THEIRS = {"alpha": 2.0, "regularization": 3.0}
BEST_RECENCY = {"recency": 3.0}


def ml_1m() -> Dataset:
    """The 5-core sequences as events; their order stands for time."""
    rows = [line.split() for line in (dataset_path("ml-1m") / "sequences.txt").read_text().splitlines()]
    user = [row[0] for row in rows for _ in row[1:]]
    item = [i for row in rows for i in row[1:]]
    order = [n for row in rows for n in range(len(row) - 1)]
    return from_frames(pl.DataFrame({"user_id": user, "item_id": item, "event": ["rate"] * len(item), "time": np.array(order, np.int64)}))


class Implicit:
    """implicit's model behind the same door: its user vectors solved anew from the history."""

    def __init__(self, factors: int, sweeps: int, alpha: float, regularization: float) -> None:
        self.settings = {"factors": factors, "iterations": sweeps, "alpha": alpha, "regularization": regularization, "use_native": True, "use_cg": True}

    def fit(self, data: Dataset, run: Run) -> "Implicit":
        self.n_items = data.n_items
        self.model = AlternatingLeastSquares(num_threads=run.threads, random_state=run.seed, **self.settings)
        self.model.fit(data.histories.matrix(data.n_items), show_progress=False)
        return self

    def score(self, queries: Queries) -> Scores:
        seen = queries.history.matrix(self.n_items)
        users = self.model.recalculate_user(np.arange(len(queries)), seen)
        return np.asarray(users @ self.model.item_factors.T, np.float32)


def best(make: Callable[..., Any], values: dict[str, list[float]], parts: Split, run: Run) -> dict[str, float]:
    """The combination with the highest NDCG@10 on validation."""
    scored = []
    for combination in itertools.product(*values.values()):
        settings = dict(zip(values, combination, strict=True))
        figure = evaluate(make(**settings).fit(parts.train, run), parts.validation).mean("ndcg@10")
        print(f"  validation NDCG@10 {figure:.4f}  {settings}", flush=True)
        scored.append((figure, settings))
    return max(scored, key=lambda pair: pair[0])[1]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--factors", type=int, default=64)
    options.add_argument("--sweeps", type=int, default=15)
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options.add_argument("--repeats", type=int, default=5, help="seeds, each timed and measured")
    options.add_argument("--tune", action="store_true")
    options.add_argument("--json", action="store_true")
    a = options.parse_args()
    ours = partial(Als, embedding_size=a.factors, epochs=a.sweeps)
    theirs = partial(Implicit, a.factors, a.sweeps)
    with threadpoolctl.threadpool_limits(1, "blas"):  # both bring threads of their own
        parts, run = split(ml_1m(), "leave-one-out"), Run(threads=a.threads)
        ours(epochs=1).fit(parts.train, run)  # compiles, and builds the histories outside the clock
        mine = best(ours, OURS, parts, run) if a.tune else BEST_OURS
        newest = best(partial(ours, **mine), RECENCY, parts, run) if a.tune else BEST_RECENCY
        other = best(theirs, THEIRS, parts, run) if a.tune else BEST_THEIRS
        makers = {"als": partial(ours, **mine), "implicit": partial(theirs, **other), "als, newest first": partial(ours, **mine, **newest)}
        seconds: dict[str, list[float]] = {name: [] for name in makers}
        results: dict[str, list[Result]] = {name: [] for name in makers}
        for seed in range(a.repeats):
            for name, make in makers.items():
                start = time.perf_counter()
                model = make().fit(parts.train, Run(threads=a.threads, seed=seed))
                seconds[name].append(time.perf_counter() - start)
                results[name].append(evaluate(model, parts.test))
    rows = {
        name: {
            "settings": {"als": mine, "implicit": other, "als, newest first": mine | newest}[name],
            "fit_s": round(statistics.median(seconds[name]), 3),
            **{m: [round(float(f([r.mean(m) for r in results[name]])), 5) for f in (np.mean, np.std)] for m in ("ndcg@10", "hr@10")},
        }
        for name in makers
    }
    whole = {name: over_seeds(results[name]) for name in makers}
    found = {
        "set": "ml-1m sequences, leave-one-out, weights from train only; [mean, sd over seeds]",
        **{"factors": a.factors, "sweeps": a.sweeps, "threads": a.threads, "seeds": a.repeats},
        **rows,
        "fit_s als / implicit": round(statistics.median(seconds["als"]) / statistics.median(seconds["implicit"]), 3),
        "ndcg@10 als − implicit": paired(whole["als"], whole["implicit"], "ndcg@10")._asdict(),
        "ndcg@10 als, newest first − implicit": paired(whole["als, newest first"], whole["implicit"], "ndcg@10")._asdict(),
    }
    print(json.dumps(found) if a.json else "\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
