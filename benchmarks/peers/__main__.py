"""Peers beside our models: same split, same evaluator, same cores, one run; a Markdown table with versions.

    python -m benchmarks.peers [implicit lenskit] [--set ml-1m|ml-100k|amazon-beauty] [--refit] [--tune] [--threads N] [--json FILE]
    python -m benchmarks.peers race [--epochs 24] [--every 2] [--target 0.170] [--ours sasrec] [--option NAME=VALUE …]

The first compares models that need seconds: leave-one-out, full ranking; strict (weights see neither the validation nor the test item, the history at test
time holds the validation item) or `--refit`. Settings were chosen on validation from the grids below; `--tune` searches them again, ours and the peers'.
The second trains RecTools' SASRec and our network one after the other on the same cores and says how long each takes to the target NDCG@10 on test;
evaluation is outside the clock, our early stopping and warm start are inside. Wall seconds and CPU seconds of all threads.

Each peer has a virtual environment of its own (`--home`, default in the cache directory), made at the first call from the versions in NAME.txt beside this
file; nothing of it is imported here. Questions and answers travel as npz files (exchange.py).
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from benchmarks import hyperparameters
from benchmarks.accuracy import FILES, sequences
from benchmarks.peers.exchange import cpu_s
from daogou import plugins
from daogou.contract import Queries, Run, Scores
from daogou.data.dataset import Dataset, from_frames
from daogou.data.split import Split, Targets, split
from daogou.evaluate import Result, evaluate
from daogou.testing.data import dataset_path

HERE = Path(__file__).parent
METRIC = "ndcg@10"
RACE = "race"
Settings = dict[str, Any]

GRIDS: dict[str, dict[str, dict[str, tuple[Any, ...]]]] = {
    "implicit": {
        "als": {"factors": (64, 128), "regularization": (3.0, 10.0, 30.0), "alpha": (2.0, 5.0)},
        "bpr": {"factors": (64, 128), "learning_rate": (0.01, 0.05), "regularization": (0.01,), "iterations": (100,)},
        "bm25": {"K": (20, 100, 1000), "K1": (1.2,), "B": (0.2, 0.75)},
        "tfidf": {"K": (20, 100, 1000)},
    },
    "lenskit": {
        "ease": {"regularization": (100.0, 300.0, 1000.0)},
        "item_knn": {"max_nbrs": (20, 100), "feedback": ("implicit",)},
        "als": {"embedding_size": (64, 128), "weight": (2.0, 10.0, 40.0), "regularization": (0.1, 1.0)},
    },
    "daogou": {
        "popular": {},
        "als": {"embedding_size": (64, 128), "unobserved": (0.1, 0.3), "l2": (0.003, 0.01)},
        "ease": {"l2": (100.0, 200.0, 400.0, 800.0)},
        "ease, recency": {"l2": (1000.0, 1500.0), "dropout": (0.0, 0.3), "recency": (3.0,)},
        "transition": {"l2": ((50.0, 300.0), (100.0, 500.0), (200.0, 1500.0), (400.0, 3000.0))},
    },
}
SPARSE_GRIDS: dict[str, dict[str, dict[str, tuple[Any, ...]]]] = {
    "implicit": {"als": {"factors": (128, 256), "regularization": (1.0, 10.0), "alpha": (10.0, 20.0)}},
    "lenskit": {"ease": {"regularization": (25.0, 50.0, 100.0)}},
    "daogou": {
        "ease": {"l2": (25.0, 50.0, 100.0)},
        "ease, recency": {"l2": (50.0, 100.0), "recency": (3.0,)},
        "transition": {"l2": ((40.0, 120.0), (160.0, 480.0))},
    },
}
SPARSE = ("amazon-beauty", "amazon-scientific", "amazon-office")
ALSO: dict[str, Settings] = {"als": {"random_state": 0, "iterations": 15}, "bpr": {"random_state": 0}}
"Settings of implicit's models that are not searched."
CHOSEN: dict[str, dict[str, dict[str, Settings]]] = {
    "ml-1m": {
        "implicit": {
            "als": {"factors": 128, "regularization": 10.0, "alpha": 2.0},
            "bpr": {"factors": 128, "learning_rate": 0.01, "regularization": 0.01, "iterations": 100},
            "bm25": {"K": 1000, "K1": 1.2, "B": 0.75},
            "tfidf": {"K": 20},
        },
        "lenskit": {
            "ease": {"regularization": 300.0},
            "item_knn": {"max_nbrs": 100, "feedback": "implicit"},
            "als": {"embedding_size": 128, "weight": 2.0, "regularization": 1.0},
        },
        "daogou": {
            "popular": {},
            "als": {"embedding_size": 128, "unobserved": 0.3, "l2": 0.003},
            "ease": {"l2": 400.0},
            "ease, recency": {"l2": 1500.0, "dropout": 0.3, "recency": 3.0},
            "transition": {"l2": (100.0, 500.0)},
        },
    },
    "ml-100k": {
        "implicit": {
            "als": {"factors": 128, "regularization": 10.0, "alpha": 2.0},
            "bpr": {"factors": 128, "learning_rate": 0.01, "regularization": 0.01, "iterations": 100},
            "bm25": {"K": 100, "K1": 1.2, "B": 0.75},
            "tfidf": {"K": 1000},
        },
        "lenskit": {
            "ease": {"regularization": 100.0},
            "item_knn": {"max_nbrs": 100, "feedback": "implicit"},
            "als": {"embedding_size": 64, "weight": 2.0, "regularization": 1.0},
        },
        "daogou": {
            "popular": {},
            "als": {"embedding_size": 128, "unobserved": 0.3, "l2": 0.01},
            "ease": {"l2": 100.0},
            "ease, recency": {"l2": 1500.0, "dropout": 0.3, "recency": 3.0},
            "transition": {"l2": (400.0, 3000.0)},
        },
    },
}
"What `--tune` found; a set without an entry is searched."
RIVAL: Settings = {"n_factors": 64, "n_blocks": 2, "n_heads": 1, "session_max_len": 100, "dropout_rate": 0.2, "loss": "softmax", "batch_size": 32, "lr": 0.001}
"RecTools' SASRec: the configuration that its authors publish for ml-1m, in the size that a CPU allows."


class Listed:
    """A peer's answer as a scorer of our evaluator: items that it does not list score −inf."""

    def __init__(self, file: Path, users: np.ndarray, n_items: int) -> None:
        with np.load(file) as found:
            self.codes_BK, self.scores_BK = found["codes"], found["scores"]
        self.row_of, self.n_items = {int(user): row for row, user in enumerate(users)}, n_items

    def score(self, queries: Queries) -> Scores:
        rows = np.array([self.row_of[int(user)] for user in queries.user_B])
        codes, scores = self.codes_BK[rows], self.scores_BK[rows]
        out_BI = np.full((len(rows), self.n_items), -np.inf, np.float32)
        there = codes >= 0
        out_BI[np.nonzero(there)[0], codes[there]] = scores[there]
        return out_BI


def some(name: str, people: int | None) -> Dataset:
    """A set, or for a quick check of the scripts its first people."""
    data = load(name)
    return data if people is None else data.where(data.events.user < people)


def load(name: str) -> Dataset:
    """A set as one interaction an event. ml-100k in its 5-core, as sequence papers take it."""
    if name in FILES:
        return sequences(name)
    rows = pl.read_csv(dataset_path(name) / "u.data", separator="\t", has_header=False, new_columns=["user_id", "item_id", "value", "time"])
    for _ in range(100):
        kept = rows.filter((pl.len().over("item_id") >= 5) & (pl.len().over("user_id") >= 5))
        if len(kept) == len(rows):
            break
        rows = kept
    ids = pl.col("user_id", "item_id").cast(pl.String)
    return from_frames(rows.select(ids, pl.lit("interaction").alias("event"), pl.col("time") * 1_000_000))


def environment(peer: str, home: Path) -> Path:
    """The peer's own Python, with the versions of NAME.txt; made where it is not there yet."""
    wanted = (HERE / f"{peer}.txt").read_text()
    folder, python = home / peer, home / peer / "bin" / "python"
    made = folder / "installed.txt"
    if not made.exists() or made.read_text() != wanted:
        print(f"{peer}: making an environment in {folder}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(HERE / f"{peer}.txt")], check=True)
        made.write_text(wanted)
    return python


def ask(folder: Path, train: Dataset, targets: Targets, models: Mapping[str, Settings]) -> None:
    """Writes what a peer is told."""
    events, history = train.histories, targets.queries.history
    np.savez(
        folder / "task.npz",
        train_user=events.row,
        train_item=events.item,
        ask_user=targets.queries.user_B[history.row],
        ask_item=history.item,
        asked=targets.queries.user_B,
        size=np.array([train.n_users, train.n_items]),
    )
    (folder / "models.json").write_text(json.dumps(models))


def start(python: Path, peer: str, folder: Path, threads: int) -> "subprocess.Popen[bytes]":
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "LK_NUM_THREADS", "RAYON_NUM_THREADS")
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | dict.fromkeys(names, str(threads))
    return subprocess.Popen([str(python), str(HERE / f"{peer}_peer.py"), str(folder)], env=own)


def run_peer(peer: str, home: Path, train: Dataset, targets: Targets, models: Mapping[str, Settings], threads: int) -> dict[str, tuple[Result, dict[str, Any]]]:
    """Model → result under our evaluator, and what it cost."""
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        ask(folder, train, targets, models)
        if start(environment(peer, home), peer, folder, threads).wait():
            raise SystemExit(f"{peer} failed")
        users = targets.queries.user_B
        return {
            label: (evaluate(Listed(folder / f"{label}.npz", users, train.n_items), targets), json.loads((folder / f"{label}.json").read_text()))
            for label in models
        }


def run_ours(train: Dataset, targets: Targets, models: Mapping[str, Settings], threads: int) -> dict[str, tuple[Result, dict[str, Any]]]:
    out = {}
    train.histories  # noqa: B018 (built outside the clock)
    for label, settings in models.items():
        wall, cpu = time.perf_counter(), cpu_s()
        model = plugins.load("model", label.partition(",")[0])(**settings).fit(train, Run(threads=threads))
        cost: dict[str, Any] = {"fit_s": time.perf_counter() - wall, "fit_cpu_s": cpu_s() - cpu, "versions": {"daogou": metadata.version("daogou")}}
        result = evaluate(model, targets)
        out[label] = result, cost | {"users_per_s": len(targets) / max(result.score_s, 1e-9), "cores": len(os.sched_getaffinity(0))}
    return out


def compare(names: list[str], a: argparse.Namespace) -> list[dict[str, Any]]:
    parts = split(some(a.set, a.people), "leave-one-out")
    rows = []
    for who in (*names, "daogou"):
        models = settings_of(who, a, parts)
        train = parts.refit if a.refit else parts.train
        full = {label: settings | extra(who, label) for label, settings in models.items()}
        found = run_ours(train, parts.test, full, a.threads) if who == "daogou" else run_peer(who, a.home, train, parts.test, full, a.threads)
        for label, (result, cost) in found.items():
            rows.append({"set": a.set, "who": who, "model": label, "settings": models[label], **figures(result), **cost})
    return rows


def settings_of(who: str, a: argparse.Namespace, parts: Split) -> dict[str, Settings]:
    """The chosen settings, or those that the grid's best on validation are now."""
    if not a.tune and who in CHOSEN.get(a.set, {}):
        return CHOSEN[a.set][who]
    grids = GRIDS[who] | (SPARSE_GRIDS[who] if a.set in SPARSE else {})
    every = {f"{label}-{n}": (label, s) for label, grid in grids.items() for n, s in enumerate(points(grid))}
    models = {key: s | extra(who, label) for key, (label, s) in every.items()}
    if who == "daogou":
        found = {key: run_ours(parts.train, parts.validation, {every[key][0]: s}, a.threads)[every[key][0]] for key, s in models.items()}
    else:
        found = run_peer(who, a.home, parts.train, parts.validation, models, a.threads)
    for key, (result, _) in found.items():
        print(f"  tune {a.set} {who} {every[key][0]} {every[key][1]}: validation {METRIC} {result.mean(METRIC):.4f}", file=sys.stderr, flush=True)
    best = {label: max((key for key in every if every[key][0] == label), key=lambda key: found[key][0].mean(METRIC)) for label in grids}
    return {label: every[key][1] for label, key in best.items()}


def points(grid: Mapping[str, tuple[Any, ...]]) -> Iterator[Settings]:
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def extra(who: str, label: str) -> Settings:
    return {} if who == "daogou" else {"kind": label, **(ALSO.get(label, {}) if who == "implicit" else {})}


def figures(result: Result) -> dict[str, Any]:
    return {m: [round(x, 5) for x in (result.mean(m), *result.ci95[m])] for m in (METRIC, "hr@10")}


def table(rows: list[dict[str, Any]], protocol: str) -> str:
    out = [f"| {rows[0]['set']}, {protocol} | NDCG@10 [95 %] | HR@10 | fit s (CPU s) | users/s | settings |", "|---|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: -row[METRIC][0]):
        value, low, high = row[METRIC]
        settings = ", ".join(f"{k} {v}" for k, v in row["settings"].items())
        name = f"{row['who']} {row['versions'].get(row['who'], '')} {row['model']}"
        cost = f"{row['fit_s']:.2f} ({row['fit_cpu_s']:.2f}) | {row['users_per_s']:,.0f}"
        out.append(f"| {name} | {value:.4f} [{low:.4f}, {high:.4f}] | {row['hr@10'][0]:.4f} | {cost} | {settings} |")
    return "\n".join(out)


# ---- how long to a figure
def race(a: argparse.Namespace) -> dict[str, Any]:
    parts = split(some("ml-1m", a.people), "leave-one-out")
    theirs = rectools(parts, a)
    ours = network(parts, a)
    out = {"target": a.target, "cores": len(os.sched_getaffinity(0)), "RecTools SASRec": theirs, f"daogou {a.ours}": ours}
    reached = {name: next((p for p in run["points"] if p[METRIC] >= a.target), None) for name, run in out.items() if isinstance(run, dict)}
    print(f"\n| {len(os.sched_getaffinity(0))} cores, one run | NDCG@10 ≥ {a.target} after | epochs | best | whole run |\n|---|---|---|---|---|")
    for name, point in reached.items():
        run = out[name]
        best, last = max(p[METRIC] for p in run["points"]), run["points"][-1]
        when = f"{point['fit_s']:.0f} s ({point['fit_cpu_s']:.0f} CPU s)" if point else "not reached"
        print(f"| {name} {run['version']} | {when} | {point['epoch'] if point else '–'} | {best:.4f} | {last['fit_s']:.0f} s ({last['fit_cpu_s']:.0f} CPU s) |")
    first, second = reached.values()
    if first and second:
        print(f"\nours / theirs: {second['fit_s'] / first['fit_s']:.2f} of the wall time, {second['fit_cpu_s'] / first['fit_cpu_s']:.2f} of the CPU time")
    return out


def rectools(parts: Split, a: argparse.Namespace) -> dict[str, Any]:
    """A point for each checkpoint that RecTools leaves, judged as it arrives; the run ends when the target is reached."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as aside:
        folder, users = Path(aside), parts.test.queries.user_B
        ask(folder, parts.train, parts.test, {"sasrec": RIVAL | {"epochs": a.epochs, "every": a.every, "seed": 0}})
        running = start(environment("rectools", a.home), "rectools", folder, a.threads)
        while running.poll() is None or len(list(folder.glob("epoch-*.json"))) > len(found):
            if len(reports := sorted(folder.glob("epoch-*.json"))) > len(found):
                time.sleep(0.2)  # the report is one small write
                report = reports[len(found)]
                about = json.loads(report.read_text())
                found.append({k: about[k] for k in ("epoch", "fit_s", "fit_cpu_s")} | {"versions": about["versions"]})
                result = evaluate(Listed(report.with_suffix(".npz"), users, parts.train.n_items), parts.test)
                found[-1] |= {METRIC: round(result.mean(METRIC), 5), "hr@10": round(result.mean("hr@10"), 5)}
                print(f"RecTools {found[-1]}", file=sys.stderr, flush=True)
                if found[-1][METRIC] >= a.target:
                    (folder / "enough").touch()
            time.sleep(0.5)
        if running.returncode:
            raise SystemExit("rectools failed")
    versions = found[0]["versions"]
    return {
        "settings": RIVAL,
        "version": versions["RecTools"],
        "versions": versions,
        "points": [{k: v for k, v in p.items() if k != "versions"} for p in found],
    }


class Enough(Exception):
    """The target is reached."""


def network(parts: Split, a: argparse.Namespace) -> dict[str, Any]:
    """Our network, asked after every epoch; the clock stands still meanwhile."""
    model = plugins.load("model", a.ours)(**a.options)
    found: list[dict[str, Any]] = []
    aside = {"wall": 0.0, "cpu": 0.0}
    parts.train.histories  # noqa: B018 (built outside the clock)
    wall, cpu = time.perf_counter(), cpu_s()

    def told(step: str, done: float, total: float | None) -> None:
        if "validation" not in step:
            return
        now, spent = time.perf_counter(), cpu_s()
        point = {"epoch": len(found) + 1, "fit_s": round(now - wall - aside["wall"], 1), "fit_cpu_s": round(spent - cpu - aside["cpu"], 1)}
        result = evaluate(model, parts.test)
        found.append(point | {METRIC: round(result.mean(METRIC), 5), "hr@10": round(result.mean("hr@10"), 5), "step": step})
        print(f"daogou {found[-1]}", file=sys.stderr, flush=True)
        aside["wall"] += time.perf_counter() - now
        aside["cpu"] += cpu_s() - spent
        if found[-1][METRIC] >= a.target and not a.whole:
            raise Enough

    with suppress(Enough):
        model.fit(parts.train, Run(threads=a.threads, progress=told))
    return {"settings": a.options, "version": metadata.version("daogou"), "points": found}


def main() -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    options = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("peers", nargs="*", default=["implicit", "lenskit"], help="implicit, lenskit, or race")
    options.add_argument("--set", default="ml-1m", choices=[*FILES, "ml-100k"])
    options.add_argument("--refit", action="store_true")
    options.add_argument("--tune", action="store_true")
    options.add_argument("--home", type=Path, default=cache / "daogou" / "peers")
    options.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options.add_argument("--json", type=Path)
    options.add_argument("--people", type=int, help="only the first so many: a quick check of the scripts")
    options.add_argument("--epochs", type=int, default=24, help="of RecTools' SASRec at most")
    options.add_argument("--every", type=int, default=2, help="epochs between two of its checkpoints")
    options.add_argument("--target", type=float, default=0.170)
    options.add_argument("--ours", default="sasrec")
    options.add_argument("--option", action="append", default=[], help="NAME=VALUE, a hyperparameter of our network")
    options.add_argument("--whole", action="store_true", help="our network runs to its end though the target is reached")
    a = options.parse_args()
    a.options = hyperparameters(a.option)
    if unknown := set(a.peers) - {*GRIDS, RACE} | ({"daogou"} & set(a.peers)):
        options.error(f"no peer named {', '.join(sorted(unknown))}; there are implicit, lenskit and race")
    os.environ.setdefault("NPROC", str(a.threads))
    with threadpool_limits(limits=a.threads):
        found: Any = race(a) if RACE in a.peers else compare(a.peers, a)
    if RACE not in a.peers:
        print("\n" + table(found, "leave-one-out, refit" if a.refit else "leave-one-out, strict"))
        print("\nversions: " + "; ".join(sorted({f"{k} {v}" for row in found for k, v in row["versions"].items()})))
    if a.json:
        a.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
