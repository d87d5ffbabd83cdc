"""Accuracy of the linear models where papers measure it: leave-one-out, full ranking, four public sets.

    python -m benchmarks.accuracy [ml-1m amazon-beauty amazon-scientific amazon-office] [--tune] [--threads N] [--json FILE]

Strict: weights see neither the validation nor the test item; at test time the history holds the validation item. Refit: the same settings, fitted on all
but the test item, as a shop would. Settings were chosen on validation alone, from the grids below (`--tune` searches them again and uses what it finds);
the blend's weights are fitted on validation by `daogou.rank.blend`. Intervals are 95 %, by bootstrap over users. Ends with 1 if a figure misses its floor.
"""

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from daogou.contract import Recommender, Run
from daogou.data.dataset import Dataset, from_frames
from daogou.data.readers.sequences import read
from daogou.data.split import Split, split
from daogou.evaluate import Result, Scorer, evaluate
from daogou.models.ease import Ease
from daogou.models.popular import Popular
from daogou.models.transition import Transition
from daogou.rank import blend
from daogou.testing.data import dataset_path

FILES = {"ml-1m": "sequences.txt", "amazon-beauty": "Beauty.txt", "amazon-scientific": "Scientific.inter.json", "amazon-office": "Office_Products.inter.json"}


@dataclass(frozen=True)
class Candidate:
    """A model with the settings that were best on validation, the grid they were chosen from, and the floors of its NDCG@10."""

    kind: type
    chosen: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    strict: float | None = None
    refit: float | None = None


@dataclass(frozen=True)
class Mixture:
    """The blend of some of the set's models."""

    parts: tuple[str, ...]
    strict: float | None = None
    refit: float | None = None


# Penalties go up by factors of two: finer steps are within the noise of a validation set.
TWO = {"tau": (1.2, 12.0), "window": (8, 60)}
THREE = {"tau": (1.2, 6.0, 40.0), "window": (8, 36, 150)}
DENSE_GRID = {"l2": ((100.0, 800.0), (200.0, 1500.0), (400.0, 3000.0))}
SHOP_GRID = {"l2": ((10.0, 30.0), (20.0, 60.0), (40.0, 120.0), (80.0, 240.0), (160.0, 480.0))}
SHOP_EASE = {"l2": (25.0, 50.0, 100.0, 200.0)}


def shop(ease: float, faded: Mapping[str, float], transition: tuple[float, float], strict: float, refit: float | None = None) -> dict[str, Candidate | Mixture]:
    """What is fitted on a sparse set of shop reviews."""
    return {
        "popular": Candidate(Popular),
        "ease": Candidate(Ease, {"l2": ease}, SHOP_EASE),
        "ease, recency": Candidate(Ease, faded, SHOP_EASE | {"recency": (3.0, 5.0)}),
        "transition, 2 scales": Candidate(Transition, TWO | {"l2": transition}, SHOP_GRID),
        "blend": Mixture(("ease", "transition, 2 scales"), strict, refit),
        "blend, recency": Mixture(("ease, recency", "transition, 2 scales")),
    }


SETS: dict[str, dict[str, Candidate | Mixture]] = {
    "ml-1m": {
        "popular": Candidate(Popular),
        "ease": Candidate(Ease, {"l2": 400.0}, {"l2": (100.0, 200.0, 400.0, 800.0), "dropout": (0.0, 0.3)}, strict=0.048),
        "ease, recency": Candidate(
            Ease, {"l2": 1500.0, "dropout": 0.3, "recency": 3.0}, {"l2": (1000.0, 1500.0), "dropout": (0.0, 0.3), "recency": (2.0, 3.0, 4.0)}, strict=0.115
        ),
        "transition, 2 scales": Candidate(Transition, TWO | {"l2": (400.0, 3000.0)}, DENSE_GRID, strict=0.165),
        "transition, 3 scales": Candidate(
            Transition, THREE | {"l2": (200.0, 800.0, 3000.0)}, {"l2": ((100.0, 400.0, 1500.0), (200.0, 800.0, 3000.0), (400.0, 1600.0, 6000.0))}, strict=0.167
        ),
        "blend": Mixture(("ease", "transition, 3 scales"), strict=0.170),
    },
    "amazon-beauty": shop(50.0, {"l2": 50.0, "recency": 3.0}, (160.0, 480.0), strict=0.054, refit=0.061),
    "amazon-scientific": shop(25.0, {"l2": 50.0, "recency": 5.0}, (160.0, 480.0), strict=0.086),
    "amazon-office": shop(50.0, {"l2": 25.0, "recency": 3.0}, (80.0, 240.0), strict=0.061),
}


def sequences(name: str) -> Dataset:
    """A set of sequences as events; their order stands for time."""
    frames = [batch.rows for batch in read(dataset_path(name) / FILES[name], table="events")]
    return from_frames(pl.concat(frames).with_columns(pl.lit("interaction").alias("event")))


class Bench:
    """One set: models are fitted once, and reported strict and refit."""

    def __init__(self, name: str, threads: int) -> None:
        self.name, self.run = name, Run(seed=0, threads=threads)
        self.split: Split = split(sequences(name), "leave-one-out")
        self.strict: dict[str, Recommender] = {}
        self.refit: dict[str, Recommender] = {}
        self.rows: list[dict[str, Any]] = []

    def tune(self, label: str, candidate: Candidate) -> Candidate:
        """The candidate with the settings of its grid that are best on validation."""
        tried = []
        for values in itertools.product(*candidate.grid.values()):
            settings = {**candidate.chosen, **dict(zip(candidate.grid, values, strict=True))}
            result = evaluate(candidate.kind(**settings).fit(self.split.train, self.run), self.split.validation)
            tried.append((result.mean("ndcg@10"), settings))
            print(f"  tune {self.name} {label}: {settings} validation NDCG@10 {tried[-1][0]:.4f}", flush=True)
        return Candidate(candidate.kind, max(tried, key=lambda t: t[0])[1], candidate.grid, candidate.strict, candidate.refit)

    def single(self, label: str, candidate: Candidate) -> None:
        seconds = []
        for fitted, data in ((self.strict, self.split.train), (self.refit, self.split.refit)):
            started = time.perf_counter()
            fitted[label] = candidate.kind(**candidate.chosen).fit(data, self.run)
            seconds.append(time.perf_counter() - started)
        self.report(label, candidate, self.strict[label], self.refit[label], seconds[0], dict(candidate.chosen))

    def mixture(self, label: str, mixture: Mixture) -> None:
        started = time.perf_counter()
        weights = blend.fit({part: self.strict[part] for part in mixture.parts}, self.split.validation, repeats=False)
        strict, refit = (blend.Blend(fitted, weights, repeats=False) for fitted in (self.strict, self.refit))
        self.report(label, mixture, strict, refit, time.perf_counter() - started, weights)

    def report(self, label: str, wanted: Candidate | Mixture, strict: Scorer, refit: Scorer, fit_s: float, settings: Mapping[str, Any]) -> None:
        before, after = evaluate(strict, self.split.test), evaluate(refit, self.split.test)
        low = [(found, floor) for found, floor in ((before, wanted.strict), (after, wanted.refit)) if floor and round(found.mean("ndcg@10"), 4) < floor]
        row = {"set": self.name, "model": label, "settings": settings, "fit_s": round(fit_s, 2), "eval_s": round(before.eval_s, 2), "missed": bool(low)}
        row |= {"floor": {"strict": wanted.strict, "refit": wanted.refit}, "strict": figures(before), "refit": figures(after)}
        self.rows.append(row)
        print(line(row), flush=True)


def figures(result: Result) -> dict[str, Any]:
    """Means and intervals of what papers report."""
    return {metric: {"mean": round(result.mean(metric), 5), "ci95": [round(x, 5) for x in result.ci95[metric]]} for metric in ("ndcg@10", "hr@10")}


def line(row: Mapping[str, Any]) -> str:
    """One row of the table."""

    def cell(found: Mapping[str, Any]) -> str:
        return "  ".join(f"{found[m]['mean']:.4f} [{found[m]['ci95'][0]:.4f}, {found[m]['ci95'][1]:.4f}]" for m in ("ndcg@10", "hr@10"))

    floors = " · ".join(f"{name} ≥ {floor:.3f}" for name, floor in row["floor"].items() if floor)
    verdict = "" if not floors else f"  {floors} {'MISSED' if row['missed'] else 'ok'}"
    return f"{row['set']:<18}{row['model']:<22}{cell(row['strict'])}   {cell(row['refit'])}  {row['fit_s']:7.2f} {row['eval_s']:7.2f}{verdict}"


def measure(names: list[str], threads: int, tune: bool) -> Iterator[dict[str, Any]]:
    for name in names:
        bench = Bench(name, threads)
        for label, what in SETS[name].items():
            if isinstance(what, Mixture):
                bench.mixture(label, what)
            else:
                bench.single(label, bench.tune(label, what) if tune and what.grid else what)
        yield from bench.rows


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sets", nargs="*", default=list(SETS), help=f"of {', '.join(SETS)}")
    parser.add_argument("--tune", action="store_true", help="search the grids again on validation")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args(arguments)
    if unknown := set(options.sets) - set(SETS):
        parser.error(f"no set named {', '.join(sorted(unknown))}; there are {', '.join(SETS)}")
    cells = "NDCG@10                  HR@10                    "
    print(f"{'':<40}{'strict: ' + cells:<51} {'refit: ' + cells:<51} {'fit s':>6} {'eval s':>7}")
    rows = list(measure(options.sets, options.threads, options.tune))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    return int(any(row["missed"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
