"""How fast the linear models are, as ratios in one run: against LAPACK, and of evaluation to fitting, on ml-1m.

    python -m benchmarks.speed_models [--threads N] [--repeats 5] [--json FILE]

    fit       seconds of `fit`, from the training part of leave-one-out to weights that serve
    lapack    seconds of one float32 Cholesky factorisation and solution (potrf, potrs) of a system of the same size: as many unknowns as the model has
              features, as many right-hand sides as it has targets
    evaluate  seconds to rank the whole catalogue for every user, metrics included

The three alternate, so that all meet the same load; ratios are of medians. Kernels are compiled before the clock starts, as in any second run (the
compiled code is kept on disk). Ends with 1 if a ratio is above its ceiling.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg as sl
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from benchmarks.accuracy import SETS, Candidate, sequences
from daogou.contract import Run
from daogou.data.split import Split, split
from daogou.evaluate import evaluate
from daogou.testing.toy import random_dataset

CEILINGS = {"ease": 1.5, "transition, 2 scales": 3.0, "transition, 3 scales": 3.0}
EVALUATION = 1.0


def seconds(do: Callable[[], Any]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


def lapack(n_unknowns: int, n_targets: int, threads: int) -> float:
    """Seconds of potrf and potrs; making the matrix is not timed."""
    rng = np.random.default_rng(0)
    tall = rng.standard_normal((n_unknowns, 64), dtype=np.float32)
    matrix = np.asfortranarray(tall @ tall.T)
    matrix.flat[:: n_unknowns + 1] += 100
    right = np.asfortranarray(rng.standard_normal((n_unknowns, n_targets), dtype=np.float32))

    def solve() -> None:
        factor = sl.cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
        sl.cho_solve(factor, right, overwrite_b=True, check_finite=False)

    with threadpool_limits(threads, user_api="blas"):
        return seconds(solve)


def measure(label: str, data: Split, threads: int, repeats: int) -> dict[str, Any]:
    """Medians and ratios of one model."""
    candidate = SETS["ml-1m"][label]
    assert isinstance(candidate, Candidate)
    model = candidate.kind(**candidate.chosen)
    run = Run(seed=0, threads=threads)
    candidate.kind(**candidate.chosen).fit(random_dataset(), run)  # compiles
    times: dict[str, list[float]] = {"fit": [], "lapack": [], "evaluate": []}
    for _ in range(repeats):
        times["fit"].append(seconds(lambda: model.fit(data.train, run)))
        n_features, n_targets = model.weights_FI.shape
        times["lapack"].append(lapack(n_features, n_targets, threads))
        times["evaluate"].append(seconds(lambda: evaluate(model, data.test)))
    medians = {name: round(statistics.median(found), 3) for name, found in times.items()}
    ratios = {"fit / lapack": medians["fit"] / medians["lapack"], "evaluate / fit": medians["evaluate"] / medians["fit"]}
    missed = ratios["fit / lapack"] > CEILINGS[label] or ratios["evaluate / fit"] > EVALUATION
    return {"model": label, "size": [n_features, n_targets], "seconds": medians, "ratios": {k: round(v, 3) for k, v in ratios.items()}, "missed": missed}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args(arguments)
    blas = next(pool for pool in threadpool_info() if pool["user_api"] == "blas")
    print(f"{options.threads} threads, {blas['internal_api']} {blas['version']} ({blas['architecture']}), medians of {options.repeats}")
    data = split(sequences("ml-1m"), "leave-one-out")
    rows = []
    for label, ceiling in CEILINGS.items():
        rows.append(row := measure(label, data, options.threads, options.repeats))
        told = [f"{name} {value:.2f} s" for name, value in row["seconds"].items()]
        told += [f"{name} {row['ratios'][name]:.2f} (≤ {most})" for name, most in zip(row["ratios"], (ceiling, EVALUATION), strict=True)]
        print(f"{label:<22}{'   '.join(told)}   {'MISSED' if row['missed'] else 'ok'}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    return int(any(row["missed"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
