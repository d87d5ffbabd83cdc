"""The learned ranker against the blend and against each model alone: strict (weights see neither validation nor test), full ranking, paired intervals.

    python -m benchmarks.ranker [ml-1m amazon-beauty completejourney] [--with sasrec] [--without als] [--fitted NAME=DIR] [--labels N] [--threads N]
                                [--users N] [--json FILE]
    python -m benchmarks.ranker --request-time            # ml-1m, people 1 to 2998: features of the moment of the request against none

ml-1m and amazon-beauty: leave-one-out, and no feature reads the time of the request. completejourney: purchases of the last 28 days, as the sample shop is
measured. Blend weights come from validation, the figures from test. `--with` adds models by their installed name with default settings; `--fitted` loads one
instead (`deep.py sequences --save`), whatever it was fitted on must be the part that `--labels` leaves. `--labels N`: the window that the ranker learns from
is the validation item and the N newest pairs of events of the training part, which no retriever sees. `--users` draws fewer shoppers, for a quick look.
Seconds are wall time.
"""

import argparse
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from benchmarks.accuracy import sequences
from daogou import plugins
from daogou.contract import Queries, Recommender, Run
from daogou.data.dataset import Dataset, from_frames
from daogou.data.histories import Histories
from daogou.data.readers.completejourney import read
from daogou.data.split import Targets, split
from daogou.evaluate import Result, Scorer, evaluate, paired
from daogou.rank import blend
from daogou.rank.blend import Blend
from daogou.rank.lambdarank import LambdaRank
from daogou.scenario import load_scenario
from daogou.testing.data import dataset_path
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
DATED_PEOPLE = 2998  # of ml-1m have the time of every event
MOST_LABELS = 40_000


@dataclass(frozen=True)
class Study:
    """What is compared on one set: retrievers are fitted on `before` alone, the ranker learns from `labels`."""

    settings: Settings
    before: Dataset
    labels: Targets
    validation: Targets
    test: Targets
    repeats: bool = False
    request_time: bool = False

    def drawn(self, users: int | None) -> "Study":
        return replace(self, labels=drawn(self.labels, users), validation=drawn(self.validation, users), test=drawn(self.test, users))


def groceries() -> tuple[Dataset, Settings]:
    """A year of one shop, with the models and settings that the built-in scenario has for its first placement."""
    shop = load_scenario("shop")
    rows: dict[str, list[pl.DataFrame]] = {}
    for batch in read(None, table="events"):
        rows.setdefault(batch.table, []).append(batch.rows)
    tables = {table: pl.concat(frames) for table, frames in rows.items()}
    tables["events"] = tables["events"].with_columns(pl.col("time").dt.timestamp("us"))
    return from_frames(tables["events"], tables["items"], tables["users"], weights=shop.events), {
        name: shop.models[name] for name in shop.placements[0].retrieve if name not in shop.tried
    }


def dated() -> Dataset:
    """Those of ml-1m whose times are complete."""
    rows = pl.read_parquet(dataset_path("ml-1m") / "ratings.parquet").filter(pl.col("user_id") <= DATED_PEOPLE)
    ids = pl.col("user_id", "movie_id").cast(pl.String)
    return from_frames(rows.select(ids, pl.lit("rate").alias("event"), pl.col("timestamp") * 1_000_000).rename({"movie_id": "item_id", "timestamp": "time"}))


def study(name: str, labels: int) -> Study:
    if name == "completejourney":
        data, models = groceries()
        parts = split(data, "time", test_days=28.0, goal=("purchase",), repeats=True)
        return Study(models, parts.train, parts.validation, parts.validation, parts.test, repeats=True, request_time=True)
    return leave_one_out(dated() if name == "ml-1m-dated" else sequences(name), BEAUTY if name == "amazon-beauty" else ML_1M, labels)


def leave_one_out(data: Dataset, settings: Settings, labels: int) -> Study:
    """The label window is the validation item and `labels` pairs of events before it: a leave-one-out split of the training part, and so on."""
    parts = split(data, "leave-one-out")
    before, window = parts.train, [parts.validation]
    for _ in range(labels):
        inner = split(before, "leave-one-out")
        before, window = inner.train, [*window, inner.test, inner.validation]
    return Study(settings, before, joined(window), parts.validation, parts.test)


def joined(parts: list[Targets]) -> Targets:
    """The questions of all parts, one after the other."""
    queries = [part.queries for part in parts]
    together = Queries(
        history=stacked([q.history for q in queries]),
        user_B=np.concatenate([q.user_B for q in queries]),
        now_B=np.concatenate([q.now_B for q in queries]),
        context=stacked([q.context for q in queries]),
        attributes={name: np.concatenate([q.attributes[name] for q in queries]) for name in queries[0].attributes},
    )
    return Targets(together, stacked([part.wanted for part in parts]), parts[0].known_I)


def stacked(parts: list[Histories]) -> Histories:
    row = np.repeat(np.arange(sum(map(len, parts))), np.concatenate([part.lengths for part in parts]))
    item, at, weight = (np.concatenate([getattr(part, name) for part in parts]) for name in ("item", "time", "weight"))
    return Histories.group(row, sum(map(len, parts)), item, at, weight)


def drawn(targets: Targets, users: int | None) -> Targets:
    if users is None or len(targets) <= users:
        return targets
    return targets[np.sort(np.random.default_rng(0).choice(len(targets), users, replace=False))]


def retrievers(of: Study, a: argparse.Namespace, run: Run, seconds: dict[str, float]) -> dict[str, Recommender]:
    models: dict[str, Recommender] = {}
    for name in (name for name in dict.fromkeys([*of.settings, *a.more, *a.fitted]) if name not in a.without):
        started = time.perf_counter()
        chosen = dict(of.settings.get(name, {}))
        kind = plugins.load("model", chosen.pop("kind", name.split()[0]))
        models[name] = kind.load(a.fitted[name]) if name in a.fitted else kind(**chosen).fit(of.before, run)
        seconds[name] = time.perf_counter() - started
        print(f"{name} {'loaded' if name in a.fitted else 'fitted'} in {seconds[name]:.1f} s", flush=True)
    return models


def measure(name: str, run: Run, a: argparse.Namespace) -> dict[str, Any]:
    of = study(name, a.labels).drawn(a.users)
    seconds: dict[str, float] = {}
    models = retrievers(of, a, run, seconds)
    started = time.perf_counter()
    weights = blend.fit(models, of.validation, repeats=of.repeats)
    seconds["blend"] = time.perf_counter() - started
    results: dict[str, Result] = {}

    def judge(label: str, scorer: Scorer) -> None:
        results[label] = evaluate(scorer, of.test, repeats=of.repeats)
        low, high = results[label].ci95["ndcg@10"]
        print(f"{label}: NDCG@10 {results[label].mean('ndcg@10'):.4f} [{low:.4f}, {high:.4f}]", flush=True)

    for label, model in models.items():
        judge(label, model)
    judge("blend", Blend(models, weights, repeats=of.repeats))
    learned: dict[str, Learned] = {}
    rankers = {} if a.blend_only else {"ranked": of.request_time} | ({"ranked, time": True} if a.request_time else {})
    for label, request_time in rankers.items():
        started = time.perf_counter()
        learned[label] = learn(
            models, weights, LambdaRank, of.before, of.labels, run, repeats=of.repeats, request_time=request_time, most=MOST_LABELS
        )  # fmt: skip
        seconds[label] = time.perf_counter() - started
        judge(label, learned[label].ranked)
    return report(name, results, seconds, weights, learned)


def report(
    name: str, results: Mapping[str, Result], seconds: Mapping[str, float], weights: Mapping[str, float], learned: Mapping[str, Learned]
) -> dict[str, Any]:
    rows, best = {}, list(results)[-1]
    for label, result in results.items():
        row = {metric: [round(x, 5) for x in (result.mean(metric), *result.ci95[metric])] for metric in ("ndcg@10", "hr@10", "recall@10")}
        gap_text = ""
        if label != best:
            gap = paired(results[best], result, "ndcg@10")
            row |= {f"{best} - this": [round(x, 5) for x in (gap.difference, *gap.ci95)]}
            gap_text = f"  {best} − this {gap.difference:+.4f} [{gap.ci95[0]:+.4f}, {gap.ci95[1]:+.4f}]"
        rows[label] = row | {"fit_s": round(seconds[label], 1), "eval_s": round(result.eval_s, 1)}
        print(f"{name:<16}{label:<14}NDCG@10 {row['ndcg@10'][0]:.4f} [{row['ndcg@10'][1]:.4f}, {row['ndcg@10'][2]:.4f}]  HR@10 {row['hr@10'][0]:.4f}"
              f"{gap_text}  fit {seconds[label]:.1f} s, evaluation {result.eval_s:.1f} s", flush=True)  # fmt: skip
    print(f"{name}: weights of the blend: " + ", ".join(f"{model} {weight:.3f}" for model, weight in weights.items()), flush=True)
    for label, found in learned.items():
        print(f"{name}: {label} out of fold in the label window: {found}", flush=True)
        print(f"{name}: {label}, features by gain: " + ", ".join(f"{feature} {share:.1%}" for feature, share in by_gain(found)), flush=True)
    outside = {label: {"gain": found.gain, "ci95": [found.low, found.high]} for label, found in learned.items()}
    return {"set": name, "models": rows, "weights": weights, "out of fold": outside}


def by_gain(learned: Learned, n: int = 12) -> list[tuple[str, float]]:
    """The features that the trees gained most from."""
    assert isinstance(learned.ranked.ranker, LambdaRank)
    gain = learned.ranked.ranker.gains()
    order = np.argsort(-gain)[:n]
    return [(learned.ranked.features.names[f], float(gain[f])) for f in order]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("sets", nargs="*", help="ml-1m, amazon-beauty, completejourney (default: all), ml-1m-dated")
    options.add_argument("--with", dest="more", action="append", default=[], help="an installed model by name; repeat it for several")
    options.add_argument("--without", action="append", default=[], help="leaves a model out")
    options.add_argument("--fitted", action="append", default=[], help="NAME=DIR: a saved model; a second of one kind is `sasrec 2=DIR`")
    options.add_argument("--labels", type=int, default=0, help="pairs of events before the validation item that the ranker learns from too")
    options.add_argument("--request-time", action="store_true", help="also a ranker that reads the moment of the request, on people whose times are complete")
    options.add_argument("--blend-only", action="store_true", help="no ranker: the blend against its parts")
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options.add_argument("--users", type=int)
    options.add_argument("--json", type=Path)
    a = options.parse_args()
    a.fitted = {name: Path(folder) for name, _, folder in (text.partition("=") for text in a.fitted)}
    names = a.sets or (["ml-1m-dated"] if a.request_time else ["ml-1m", "amazon-beauty", "completejourney"])
    with threadpool_limits(limits=a.threads):
        found = [measure(name, Run(seed=0, threads=a.threads), a) for name in names]
    if a.json:
        a.json.write_text(json.dumps(found, indent=1), "utf-8")


if __name__ == "__main__":
    main()
