"""One cut in time for everyone: ml-1m, ratings of 4 and more, the last tenth of them is the test. Blend and ranker against each model alone.

    python -m benchmarks.time_split [--tune] [--without sasrec] [--targets last|all] [--strict] [--keep DIR] [--threads N] [--json FILE]

Nothing that is learned or chosen reads anything at or after the cut. Three stretches, in the order of time:

    training     retrievers are fitted here; so are the settings of `--tune`, blend weights and ranker judged on
    validation   as many events as the test has; the questions are the newest likes (NEWEST of each) of the people who were there before it
    test         the last like of everyone who was there before the cut, asked right before it (`last`), or all likes, asked for at the cut (`all`)

Then all retrievers are fitted again with the same settings on training and validation together, as a shop would on the eve (`--strict`: they are not), and
weights and ranker are taken over. Only the ranker called `ranked, time` reads the moment of the request; popularity is that of the cut in every model. Full
ranking over the items known at the cut; people first seen after it and items first seen after it are left out of the main figures (counts are printed).
Intervals are 95 %, by bootstrap over people; ends with 1 unless the one of blend and rankers
that validation chose is above every single model with a paired interval above 0.
`--keep` saves fitted models and takes them again.
169 of 575,281 likes have no time and are left out.
"""

import argparse
import hashlib
import itertools
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from benchmarks.ranker import by_gain
from daogou import plugins
from daogou.contract import Queries, Recommender, Run
from daogou.data.dataset import Dataset, from_frames
from daogou.data.histories import Histories
from daogou.data.split import Split, Targets, split
from daogou.evaluate import Result, Scorer, evaluate, paired
from daogou.rank import blend
from daogou.rank.blend import Blend
from daogou.rank.facts import Facts
from daogou.rank.lambdarank import LambdaRank
from daogou.testing.data import dataset_path
from daogou.train.nested import Learned, learn

METRIC = "ndcg@10"
NEWEST = 4
RANKER: dict[str, Any] = {"leaves": 7, "smallest_leaf": 200}
"""Of NEWEST 1 and 4, drawn or the newest, and of 7 and 31 leaves these were best on validation, out of fold: 490 people teach little."""
Grid = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Candidate:
    """A model with the settings that were best on validation, and the grid they were chosen from."""

    kind: str
    chosen: Mapping[str, Any] = field(default_factory=dict)
    grid: Grid = field(default_factory=dict)


MODELS: dict[str, Candidate] = {
    "popular, 7 days": Candidate("popular", {"half_life_days": 7.0}),
    "popular": Candidate("popular", {"half_life_days": 365.0}, {"half_life_days": (7.0, 30.0, 90.0, 365.0)}),
    "ease": Candidate("ease", {"l2": 300.0}, {"l2": (100.0, 300.0, 1000.0)}),
    "ease, recency": Candidate("ease", {"l2": 1000.0, "dropout": 0.3, "recency": 3.0}, {"l2": (300.0, 1000.0, 3000.0), "recency": (2.0, 3.0, 5.0)}),
    "transition": Candidate(
        "transition",
        {"tau": (1.2, 6.0, 40.0), "window": (8, 36, 150), "l2": (200.0, 800.0, 3000.0)},
        {"l2": ((100.0, 400.0, 1500.0), (200.0, 800.0, 3000.0), (400.0, 1600.0, 6000.0))},
    ),
    "covisit": Candidate("covisit", {}, {"backward": (0.5, 1.0), "recency": (2.0, 4.0, 8.0), "popularity": (0.15, 0.3)}),
    "als": Candidate("als", {"recency": 5.0}, {"recency": (0.0, 3.0, 5.0, 8.0), "embedding_size": (64, 128)}),
    "gru": Candidate("gru", {"epochs": 10, "negatives": 512}),
    "sasrec": Candidate("sasrec", {"epochs": 10, "negatives": 512}),
}
"Networks get ten epochs and the settings of the leave-one-out figures: a small budget, not a search."


def likes() -> Dataset:
    rows = pl.read_parquet(dataset_path("ml-1m") / "ratings.parquet").filter(pl.col("rating") >= 4).drop_nulls("timestamp")
    user, item = (pl.col(name).cast(pl.String) for name in ("user_id", "movie_id"))
    return from_frames(rows.select(user, item.alias("item_id"), pl.lit("like").alias("event"), (pl.col("timestamp") * 1_000_000).alias("time")))


def successive(data: Dataset, parts: Split, newest: int = NEWEST) -> Targets:
    """The newest events in the validation window of the people who were there before it, each asked right before it."""
    e, start_us = data.events, parts.train.end
    known_I, before = parts.validation.known_I, data.events.time <= start_us
    assert known_I is not None
    met_U = np.bincount(e.user[before], minlength=data.n_users) > 0
    place_E = np.flatnonzero(~before & (e.time <= parts.refit.end) & met_U[e.user] & known_I[e.item])
    user = e.user[place_E]
    newer = np.searchsorted(user, user, side="right") - 1 - np.arange(len(user))
    place_E, user = place_E[newer < newest], user[newer < newest]
    first_U = np.searchsorted(e.user, np.arange(data.n_users))
    length = place_E - first_U[user]
    row = np.repeat(np.arange(len(place_E)), length)
    at = np.repeat(first_U[user] - np.cumsum(length) + length, length) + np.arange(length.sum())
    history = Histories.group(row, len(place_E), e.item[at], e.time[at], np.ones(len(at), np.float32))
    queries = Queries(history=history, user_B=user, now_B=e.time[place_E], context=Histories.empty(len(place_E)))
    wanted = Histories.group(np.arange(len(place_E)), len(place_E), e.item[place_E], e.time[place_E], np.ones(len(place_E), np.float32))
    return Targets(queries, wanted, known_I)


class Study:
    """The models of one run, fitted on training and again on everything before the test."""

    def __init__(self, a: argparse.Namespace) -> None:
        self.a, self.data = a, likes()
        self.parts = split(self.data, "time", targets=a.targets)
        self.asked = successive(self.data, split(self.data, "time", targets="last") if a.targets != "last" else self.parts)
        self.early: dict[str, Recommender] = {}
        self.late: dict[str, Recommender] = {}
        self.fit_s: dict[str, float] = {}

    def fit(self, candidate: Candidate, data: Dataset) -> Recommender:
        kind = plugins.load("model", candidate.kind)
        said = json.dumps([candidate.kind, candidate.chosen, len(data.events)], sort_keys=True)
        kept = self.a.keep / hashlib.sha256(said.encode()).hexdigest()[:16] if self.a.keep else None
        if kept and kept.exists():
            found: Recommender = kind.load(kept)
            return found
        found = kind(**candidate.chosen).fit(data, Run(seed=0, threads=self.a.threads, progress=told))
        if kept:
            kept.mkdir(parents=True)
            found.save(kept)
        return found

    def tuned(self, label: str, candidate: Candidate) -> Candidate:
        """With the settings of the grid that are best on the questions of the validation window."""
        tried = []
        for values in itertools.product(*candidate.grid.values()):
            settings = {**candidate.chosen, **dict(zip(candidate.grid, values, strict=True))}
            tried.append((evaluate(self.fit(Candidate(candidate.kind, settings), self.parts.train), self.asked).mean(METRIC), settings))
            print(f"  tune {label}: {settings} validation {METRIC} {tried[-1][0]:.4f}", file=sys.stderr, flush=True)
        return Candidate(candidate.kind, max(tried, key=lambda t: t[0])[1])

    def add(self, label: str, candidate: Candidate) -> None:
        candidate = self.tuned(label, candidate) if self.a.tune and candidate.grid else candidate
        started = time.perf_counter()
        self.early[label] = self.fit(candidate, self.parts.train)
        self.fit_s[label] = time.perf_counter() - started
        self.late[label] = self.early[label] if self.a.strict else self.fit(candidate, self.parts.refit)
        print(f"{label:<16} validation {METRIC} {evaluate(self.early[label], self.asked).mean(METRIC):.4f}  {dict(candidate.chosen)}", flush=True)

    def results(self) -> tuple[dict[str, Result], dict[str, Learned], Mapping[str, float]]:
        weights = blend.fit(self.early, self.asked, repeats=False)
        facts = Facts.of(self.parts.train if self.a.strict else self.parts.refit)
        scorers: dict[str, Scorer] = {**self.late, "blend": Blend(self.late, weights, repeats=False)}
        learned = {}
        for label, request_time in (("ranked", False), ("ranked, time", True)):
            run = Run(seed=0, threads=self.a.threads)
            found = learn(self.early, weights, small_trees, self.parts.train, self.asked, run, repeats=False, request_time=request_time)
            learned[label], scorers[label] = found, found.ranked.over(self.late, facts)
        return {label: evaluate(scorer, self.parts.test) for label, scorer in scorers.items()}, learned, weights


def small_trees() -> LambdaRank:
    return LambdaRank(**RANKER)


def told(step: str, done: float, total: float | None) -> None:
    if "validation" in step:
        print(f"  {step}", file=sys.stderr, flush=True)


def report(study: Study, results: Mapping[str, Result], learned: Mapping[str, Learned], weights: Mapping[str, float]) -> dict[str, Any]:
    combined = (*sorted(learned, key=lambda label: -learned[label].gain), "blend")
    best = combined[0] if learned[combined[0]].wins else "blend"  # by validation, out of fold
    rows: dict[str, Any] = {}
    heads = " | ".join(f"{label} − it [95 %], effect size" for label in combined)
    print(f"\n| {len(study.parts.test):,} people | NDCG@10 [95 %] | HR@10 | {heads} |\n|---|---|---|{'---|' * len(combined)}")
    for label in sorted(results, key=lambda label: -results[label].mean(METRIC)):
        result = results[label]
        row = {metric: [round(x, 5) for x in (result.mean(metric), *result.ci95[metric])] for metric in (METRIC, "hr@10")}
        cells = []
        for other in combined:
            gap = paired(results[other], result, METRIC)
            if other != label:
                row[f"{other} - it"] = [round(x, 5) for x in (gap.difference, *gap.ci95, gap.effect)]
            cells.append("–" if other == label else f"{gap.difference:+.4f} [{gap.ci95.low:+.4f}, {gap.ci95.high:+.4f}] {gap.effect:+.2f}")
        value, low, high = row[METRIC]
        print(f"| {label} | {value:.4f} [{low:.4f}, {high:.4f}] | {row['hr@10'][0]:.4f} | {' | '.join(cells)} |")
        rows[label] = row
    print("\nblend weights from validation:", {label: weight for label, weight in weights.items() if weight})
    for label, found in learned.items():
        print(f"{label}, out of fold on {found.queries} questions of validation: {found.gain:+.4f} [{found.low:+.4f}, {found.high:+.4f}] against the blend;")
        print("  features by gain: " + ", ".join(f"{feature} {share:.0%}" for feature, share in by_gain(found, 8)))
    sure = all(row[f"{best} - it"][1] > 0 for label, row in rows.items() if label not in combined)
    print(f"{best}, chosen on validation, is {'above every single model beyond chance' if sure else 'NOT above every single model beyond chance'}")
    return {"about": study.parts.about, "models": rows, "weights": dict(weights), "best": best, "sure": sure}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tune", action="store_true", help="search the grids again on validation")
    options.add_argument("--without", action="append", default=[], choices=list(MODELS))
    options.add_argument("--targets", default="last", choices=["last", "all"])
    options.add_argument("--strict", action="store_true", help="no retriever learns from the validation window")
    options.add_argument("--keep", type=Path, help="folder of fitted models")
    options.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options.add_argument("--json", type=Path)
    a = options.parse_args()
    os.environ.setdefault("NPROC", str(a.threads))
    with threadpool_limits(limits=a.threads):
        study = Study(a)
        print(
            {k: v for k, v in study.parts.about.items() if k not in ("goal", "repeats")}, f"{len(study.asked)} questions of the validation window", flush=True
        )
        for label, candidate in MODELS.items():
            if label not in a.without:
                study.add(label, candidate)
        found = report(study, *study.results())
    if a.json:
        a.json.write_text(json.dumps(found, indent=1))
    return int(not found["sure"])


if __name__ == "__main__":
    sys.exit(main())
