"""Figures of the networks and of `mf` on real data, with this repository's split and evaluator.

    python -m benchmarks.deep sequences [--set ml-1m|amazon-beauty|ml-1m-dated] [--models sasrec,gru] [--seeds 1] [--threads N] [--option NAME=VALUE …]
                                        [--against NAME=VALUE …] [--labels N] [--save DIR]
    python -m benchmarks.deep ratings                    # ml-100k, five random folds: RMSE and MAE of mf, with and without attributes
    python -m benchmarks.deep sampled [--models ncf,neumf,als] [--validate] [--seeds 3]   # ml-1m, one positive among 100 sampled items: only to compare with
                                                                                          # the NCF paper

`sequences` is leave-one-out, strict: weights and the choice of the epoch see the training part only, the test ranks the whole catalogue. `ml-1m-dated`: the
people whose times are complete, with these times. `--labels N` leaves the N newest pairs of events of the training part out as well, for a ranker to learn from
(benchmarks/ranker.py), `--save` keeps the fitted models for it; a fit that was interrupted goes on there. `--against` fits each model a second time with other
hyperparameters and gives the paired difference. What gaps in time are worth to attention, which then reads the time of the request:
`--set ml-1m-dated --models sasrec --against time_gaps=true`. With several seeds the interval is that of the mean over them, and `seeds` holds mean and standard
deviation between them. `--quick` makes each run a short check of the script. Seconds are of the wall and of all cores (`cpu_s`). Data: see DAOGOU_DATA in
`daogou.testing.data`.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks import hyperparameters
from benchmarks.ranker import dated
from daogou import plugins
from daogou.contract import Codes, Queries, Run, Scores
from daogou.data.dataset import Dataset, from_frames
from daogou.data.split import Split, split
from daogou.evaluate import Result, evaluate, over_seeds, paired
from daogou.evaluate.result import bootstrap
from daogou.testing.data import dataset_path

FILES = {"ml-1m": "sequences.txt", "amazon-beauty": "Beauty.txt"}
SEQUENCES: dict[str, dict[str, dict[str, Any]]] = {
    "ml-1m": {
        "sasrec": {"dimensions": 128, "negatives": 1024, "epochs": 20, "learning_rate": 0.0015, "patience": 20},
        "gru": {"dimensions": 128, "units": 256, "negatives": 1024, "epochs": 16, "patience": 16},
    },
    "amazon-beauty": {
        "sasrec": {"length": 50, "blocks": 1, "dropout": 0.4, "negatives": 1024, "epochs": 15, "patience": 6, "holdout_users": 2000},
        "gru": {"length": 50, "dropout": 0.4, "negatives": 1024, "epochs": 15, "patience": 6, "holdout_users": 2000},
    },
    "ml-1m-dated": {"sasrec": {"negatives": 1024, "epochs": 10, "patience": 10}},
}
QUICK, QUICK_PEOPLE = {"epochs": 2}, 500
# Chosen on validation, epochs included: nobody is held out. `als` has the settings of Rendle et al. 2021 for this protocol.
PAPER: dict[str, Any] = {"dimensions": 64, "warm_start": True, "negatives": 4, "learning_rate": 0.002, "holdout_users": 0}
SAMPLED: dict[str, dict[str, Any]] = {
    "ncf": {**PAPER, "batch_size": 4096, "epochs": 2, "l2": 0.004},
    "neumf": {**PAPER, "network": 16, "batch_size": 8192, "epochs": 5, "l2": 0.005},
    "als": {"embedding_size": 192, "epochs": 12, "l2": 0.007, "unobserved": 0.3},
}


def sequences(name: str, people: int | None = None) -> Dataset:
    """One line a person, oldest item first; the place in the line stands for the time. `people`: only the first so many."""
    rows = [line.split() for line in (dataset_path(name) / FILES[name]).read_text().splitlines()[:people]]
    user = [row[0] for row in rows for _ in row[1:]]
    time_us = np.array([n for row in rows for n in range(len(row) - 1)], np.int64)
    return from_frames(pl.DataFrame({"user_id": user, "item_id": [i for row in rows for i in row[1:]], "event": ["rate"] * len(user), "time": time_us}))


def movielens_100k() -> Dataset:
    """Ratings, with what is known of people, and kinds and years of items."""
    folder = dataset_path("ml-100k")
    rows = pl.read_csv(folder / "u.data", separator="\t", has_header=False, new_columns=["user_id", "item_id", "value", "time"])
    people = pl.read_csv(folder / "u.user", separator="|", has_header=False, new_columns=["user_id", "age", "gender", "occupation", "zip"]).drop("zip")
    kinds = [line.split("|")[0] for line in (folder / "u.genre").read_text().splitlines() if "|" in line]
    things = [line.split("|") for line in (folder / "u.item").read_text("latin-1").splitlines()]
    of_thing = [[name for name, flag in zip(kinds, t[5:], strict=True) if flag == "1"] for t in things]
    items = pl.DataFrame({"item_id": [t[0] for t in things], "year": [int(t[2][-4:]) if t[2] else None for t in things], "kind_of": of_thing})
    events = rows.select(pl.col("user_id", "item_id").cast(pl.String), pl.lit("rate").alias("event"), pl.col("time") * 1_000_000, pl.col("value"))
    return from_frames(events, items, people.with_columns(pl.col("user_id").cast(pl.String)))


def told(step: str, done: float, total: float | None) -> None:
    """Epochs, not steps."""
    if "validation" in step:
        print(f"  {time.process_time():7.0f} cpu s  {step}", file=sys.stderr, flush=True)


@contextmanager
def clock() -> Iterator[dict[str, float]]:
    found: dict[str, float] = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield found
    found |= {"fit_s": round(time.perf_counter() - wall, 1), "cpu_s": round(time.process_time() - cpu, 1)}


def dataset(name: str, people: int | None) -> Dataset:
    if name in FILES:
        return sequences(name, people)
    whole = dated()
    return whole if people is None else whole.where(whole.events.user < people)


def run_sequences(a: argparse.Namespace) -> dict[str, Any]:
    parts = split(dataset(a.set, QUICK_PEOPLE if a.quick else None), "leave-one-out")
    train = parts.train
    for _ in range(a.labels):
        train = split(train, "leave-one-out").train
    parts = replace(parts, train=train)
    train.histories  # noqa: B018 (built outside the clock)
    out: dict[str, Any] = {}
    for name in a.models or SEQUENCES[a.set]:
        out[name], result = one_sequence_model(name, parts, a, {})
        if a.other:
            label = f"{name} {' '.join(a.against)}"
            out[label], other = one_sequence_model(name, parts, a, a.other)
            gap = paired(other, result, "ndcg@10")
            out[label]["ndcg@10 - " + name] = [round(x, 4) for x in (gap.difference, *gap.ci95)]
    return out


def one_sequence_model(name: str, parts: Split, a: argparse.Namespace, more: dict[str, Any]) -> tuple[dict[str, Any], Result]:
    settings = {**SEQUENCES[a.set].get(name, {}), **a.options, **(QUICK if a.quick else {}), **more}
    results, clocks = [], []
    for seed in range(a.seeds):
        with clock() as seconds:
            run = Run(seed=seed, threads=a.threads, progress=told, checkpoint=a.save / "interrupted" if a.save else None)
            model = plugins.load("model", name)(**settings).fit(parts.train, run)
        if a.save:
            model.save(a.save / "-".join([name, *map(str, [seed] if seed else []), *(f"{n}={v}" for n, v in more.items())]))
        clocks.append(seconds)
        print(f"  seed {seed}: validation NDCG@10 {evaluate(model, parts.validation).mean('ndcg@10'):.4f}", file=sys.stderr, flush=True)
        results.append(evaluate(model, parts.test))
    whole = over_seeds(results) if len(results) > 1 else results[0]
    figures: dict[str, Any] = {m: [round(whole.mean(m), 4), *(round(x, 4) for x in whole.ci95[m])] for m in ("ndcg@10", "hr@10", "mrr@10")}
    if len(results) > 1:
        figures["seeds"] = {m: [round(whole.mean(m), 4), round(whole.spread[m], 4)] for m in ("ndcg@10", "hr@10")}
    return {"settings": settings, **figures, **{k: round(float(np.mean([c[k] for c in clocks])), 1) for k in clocks[0]}}, whole


def run_ratings(a: argparse.Namespace) -> dict[str, Any]:
    data = movielens_100k()
    fold_E = np.random.default_rng(0).permutation(len(data.events)) % 5
    out = {}
    for attributes in (True, False):
        errors = []
        for fold in range(1 if a.quick else 5):
            train, test = data.where(fold_E != fold), data.events.take(fold_E == fold)
            model = plugins.load("model", "mf")(attributes=attributes, **a.options).fit(train, Run(seed=fold))
            errors.append(model.predict(train.queries(test.user), test.item) - test.value)
        rmse = [float(np.sqrt(np.mean(e**2))) for e in errors]
        mae = [float(np.abs(e).mean()) for e in errors]
        out["with attributes" if attributes else "without"] = {k: [round(float(f(v)), 4) for f in (np.mean, np.std)] for k, v in (("rmse", rmse), ("mae", mae))}
    return out


def with_rare() -> Dataset:
    """ml-1m as the NCF paper has it, 3,706 items: the sequences, and before them 598 ratings of the 290 items that the 5-core leaves out. Among the sampled
    negatives these are the easy ones."""
    known = json.loads((dataset_path("ml-1m") / "sequences_item_ids.json").read_text())
    ids = pl.col("user_id", "movie_id").cast(pl.String)
    rare = pl.read_parquet(dataset_path("ml-1m") / "ratings.parquet").with_columns(ids).filter(~pl.col("movie_id").is_in(list(known)))
    whole = sequences("ml-1m")
    e = whole.events
    users, items = (np.array(v.ids) for v in (whole.users, whole.items))
    common = pl.DataFrame({"user_id": users[e.user], "item_id": items[e.item], "event": "rate", "time": e.time})
    first = rare.select("user_id", item_id=pl.lit("rare ") + pl.col("movie_id"), event=pl.lit("rate"), time=pl.lit(-1, pl.Int64))
    return from_frames(pl.concat([first, common]))


def run_sampled(a: argparse.Namespace) -> dict[str, Any]:
    """The last event of each person against 99 others that they have no event with (He et al. 2017, section 4.1); with `--validate` the one before it, by
    which settings are chosen. With several seeds the interval is that of the mean over them."""
    whole = sequences("ml-1m", QUICK_PEOPLE) if a.quick else with_rare()
    parts = split(whole, "leave-one-out")
    asked, learned = (parts.validation, parts.train) if a.validate else (parts.test, parts.refit)
    queries, wanted_B = asked.queries, asked.wanted.item
    rng, seen = np.random.default_rng(1 if a.validate else 0), whole.histories.seen(whole.n_items)
    others = np.stack([rng.choice(np.flatnonzero(~seen[u]), 99, replace=False) for u in queries.user_B])
    candidates = np.concatenate([wanted_B[:, None], others], axis=1).astype(np.int32)
    out = {}
    for name in a.models or SAMPLED:
        settings = {**SAMPLED.get(name, {}), **a.options, **(QUICK if a.quick else {})}
        values_SQM = []
        with clock() as seconds:
            for seed in range(a.seeds):
                run = Run(seed=seed, threads=a.threads, progress=told, checkpoint=a.save / "checkpoints" if a.save else None)
                model = plugins.load("model", name)(**settings).fit(learned, run)
                values_SQM.append(sampled_values(model, queries, candidates))
                print(f"  {name} seed {seed}: {values_SQM[-1].mean(axis=0).round(4)}", file=sys.stderr, flush=True)
        low, high = bootstrap(np.mean(values_SQM, axis=0))
        mean_SM = np.mean(values_SQM, axis=1)
        figures = {m: [round(float(x), 4) for x in (mean_SM[:, n].mean(), low[n], high[n])] for n, m in enumerate(("hr@10", "ndcg@10"))}
        of_seeds = {f"{m} of seeds": mean_SM[:, n].round(4).tolist() for n, m in enumerate(("hr@10", "ndcg@10"))} if a.seeds > 1 else {}
        about = {"asked": "validation" if a.validate else "test", "items": whole.n_items, "settings": settings}
        out[name] = {**about, **figures, **of_seeds, **{k: round(v / a.seeds, 1) for k, v in seconds.items()}}
        print(f"  {name}: {out[name]}", file=sys.stderr, flush=True)
    return out


def sampled_values(model: Any, queries: Queries, candidates: Codes) -> Scores:
    """[Q, 2] HR@10 and NDCG@10 of the first candidate among all of its row."""
    scores = np.concatenate([model.score(queries[b : b + 256], candidates[b : b + 256]) for b in range(0, len(queries), 256)])
    rank = (scores[:, 1:] > scores[:, :1]).sum(axis=1) + 0.5 * (scores[:, 1:] == scores[:, :1]).sum(axis=1)
    hit = rank < 10
    return np.stack([hit, np.where(hit, 1 / np.log2(rank + 2), 0)], axis=1).astype(np.float64)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=["sequences", "ratings", "sampled"])
    options.add_argument("--set", choices=list(SEQUENCES), default="ml-1m")
    options.add_argument("--models", type=lambda text: text.split(","), default=[])
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options.add_argument("--option", action="append", default=[], help="NAME=VALUE, a hyperparameter for every model")
    options.add_argument("--against", action="append", default=[], help="NAME=VALUE, a hyperparameter of a second fit of every model, for a paired difference")
    options.add_argument("--labels", type=int, default=0, help="pairs of events that are left to the ranker")
    options.add_argument("--save", type=Path, help="folder for fitted models")
    options.add_argument("--validate", action="store_true", help="`sampled` by the validation item, to choose settings")
    options.add_argument("--quick", action="store_true")
    a = options.parse_args()
    a.options, a.other = hyperparameters(a.option), hyperparameters(a.against)
    runs: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {"sequences": run_sequences, "ratings": run_ratings, "sampled": run_sampled}
    a.set = {"ratings": "ml-100k", "sampled": "ml-1m"}.get(a.what, a.set)
    print(json.dumps({"what": a.what, "set": a.set, **runs[a.what](a)}, indent=1))


if __name__ == "__main__":
    main()
