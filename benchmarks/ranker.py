"""The learned ranker against the blend and against each model alone: strict (weights see neither validation nor test), full ranking, paired intervals.

    python -m benchmarks.ranker [ml-1m amazon-beauty completejourney] [--with sasrec] [--without als] [--threads N] [--users N] [--json FILE]

ml-1m and amazon-beauty: leave-one-out, and no feature reads the time of the request. completejourney: purchases of the last 28 days, as the sample shop is
measured. Retrievers are fitted on the training part; blend weights and the ranker come from validation, the figures from test. `--with` adds models by their
installed name with default settings; `--users` draws fewer shoppers, for a quick look. Seconds are wall time.
"""

import argparse
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from benchmarks.accuracy import sequences
from daogou import plugins
from daogou.contract import Recommender, Run
from daogou.data.dataset import Dataset, from_frames
from daogou.data.readers.completejourney import read
from daogou.data.split import Split, Targets, split
from daogou.evaluate import Result, Scorer, evaluate, paired
from daogou.rank import blend
from daogou.rank.blend import Blend
from daogou.rank.lambdarank import LambdaRank
from daogou.scenario import load_scenario
from daogou.train.nested import Learned, learn

Settings = Mapping[str, Mapping[str, Any]]

ML_1M: Settings = {
    "ease": {"l2": 1500.0, "dropout": 0.3, "recency": 3.0},
    "transition": {"tau": (1.2, 6.0, 40.0), "window": (8, 36, 150), "l2": (200.0, 800.0, 3000.0)},
    "covisit": {},
    "als": {},
    "popular": {},
}
BEAUTY: Settings = {
    "ease": {"l2": 50.0, "recency": 3.0},
    "transition": {"tau": (1.2, 12.0), "window": (8, 60), "l2": (40.0, 120.0)},
    "covisit": {},
    "als": {},
    "popular": {},
}


def groceries() -> tuple[Dataset, Settings]:
    """A year of one shop, with the models and settings that the built-in scenario has for its first placement."""
    shop = load_scenario("shop")
    rows: dict[str, list[pl.DataFrame]] = {}
    for batch in read(None, table="events"):
        rows.setdefault(batch.table, []).append(batch.rows)
    tables = {table: pl.concat(frames) for table, frames in rows.items()}
    tables["events"] = tables["events"].with_columns(pl.col("time").dt.timestamp("us"))
    return from_frames(tables["events"], tables["items"], tables["users"], weights=shop.events), {
        name: shop.models[name] for name in shop.placements[0].retrieve
    }


def parts_of(name: str) -> tuple[Split, Settings, bool]:
    """Split, models, and whether repeats count."""
    if name == "completejourney":
        data, models = groceries()
        return split(data, "time", test_days=28.0, goal=("purchase",), repeats=True), models, True
    return split(sequences(name), "leave-one-out"), ML_1M if name == "ml-1m" else BEAUTY, False


def measure(name: str, run: Run, more: list[str], without: list[str], users: int | None) -> dict[str, Any]:
    parts, settings, repeats = parts_of(name)
    validation, test = (drawn(targets, users) for targets in (parts.validation, parts.test))
    seconds: dict[str, float] = {}
    models: dict[str, Recommender] = {}
    for model in (model for model in [*settings, *more] if model not in without):
        started = time.perf_counter()
        chosen = dict(settings.get(model, {}))
        models[model] = plugins.load("model", chosen.pop("kind", model))(**chosen).fit(parts.train, run)
        seconds[model] = time.perf_counter() - started
        print(f"{name}: {model} fitted in {seconds[model]:.1f} s", flush=True)
    started = time.perf_counter()
    weights = blend.fit(models, validation, repeats=repeats)
    seconds["blend"] = time.perf_counter() - started
    started = time.perf_counter()
    learned = learn(models, weights, LambdaRank, parts.train, validation, run, repeats=repeats, request_time=name == "completejourney")
    seconds["ranked"] = time.perf_counter() - started
    scorers: dict[str, Scorer] = {**models, "blend": Blend(models, weights, repeats=repeats), "ranked": learned.ranked}
    results = {label: evaluate(scorer, test, repeats=repeats) for label, scorer in scorers.items()}
    return report(name, results, seconds, weights, learned)


def drawn(targets: Targets, users: int | None) -> Targets:
    if users is None or len(targets) <= users:
        return targets
    return targets[np.sort(np.random.default_rng(0).choice(len(targets), users, replace=False))]


def report(name: str, results: Mapping[str, Result], seconds: Mapping[str, float], weights: Mapping[str, float], learned: Learned) -> dict[str, Any]:
    rows = {}
    for label, result in results.items():
        row = {metric: [round(x, 5) for x in (result.mean(metric), *result.ci95[metric])] for metric in ("ndcg@10", "hr@10", "recall@10")}
        if label != "ranked":
            gap = paired(results["ranked"], result, "ndcg@10")
            row |= {"ranked - this": [round(x, 5) for x in (gap.difference, *gap.ci95)]}
        rows[label] = row | {"fit_s": round(seconds[label], 1), "eval_s": round(result.eval_s, 1)}
        gap_text = "  ranked − this {:+.4f} [{:+.4f}, {:+.4f}]".format(*row["ranked - this"]) if label != "ranked" else ""
        print(f"{name:<16}{label:<12}NDCG@10 {row['ndcg@10'][0]:.4f} [{row['ndcg@10'][1]:.4f}, {row['ndcg@10'][2]:.4f}]  HR@10 {row['hr@10'][0]:.4f}"
              f"{gap_text}  fit {seconds[label]:.1f} s, evaluation {result.eval_s:.1f} s", flush=True)  # fmt: skip
    print(f"{name}: on validation, out of fold: {learned}", flush=True)
    print(f"{name}: features by gain: " + ", ".join(f"{feature} {share:.1%}" for feature, share in by_gain(learned)), flush=True)
    return {"set": name, "models": rows, "weights": weights, "validation": {"gain": learned.gain, "ci95": [learned.low, learned.high]}}


def by_gain(learned: Learned, n: int = 12) -> list[tuple[str, float]]:
    """The features that the trees gained most from."""
    assert isinstance(learned.ranked.ranker, LambdaRank)
    gain = learned.ranked.ranker.gains()
    order = np.argsort(-gain)[:n]
    return [(learned.ranked.features.names[f], float(gain[f])) for f in order]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("sets", nargs="*", default=["ml-1m", "amazon-beauty", "completejourney"])
    options.add_argument("--with", dest="more", action="append", default=[], help="an installed model by name; repeat it for several")
    options.add_argument("--without", action="append", default=[], help="leaves a model out")
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options.add_argument("--users", type=int)
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    with threadpool_limits(limits=given.threads):
        found = [measure(name, Run(seed=0, threads=given.threads), given.more, given.without, given.users) for name in given.sets]
    if given.json:
        given.json.write_text(json.dumps(found, indent=1), "utf-8")


if __name__ == "__main__":
    main()
