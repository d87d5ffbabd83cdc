"""What attributes are worth to `als`: goods that nobody took, goods that are known, and people who have just registered.

    python -m benchmarks.attributes [items | users | newcomers]

items       amazon-scientific (and amazon-office): a fifth of the goods withheld, then leave-one-out, with the settings that validation chose for each model
users       ml-100k: a fifth of the people withheld, asked before their first event, then after some
newcomers   the sample shop: its blend without and with the model that stands in for new people, before their first event, then after some, and for known ones

Full ranking, 95 % intervals, differences paired over queries. Nothing here looks at test data before settings and weights are fixed.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.content import DAY_US, FIRST, began, describe, groceries, users_of
from daogou.contract import Recommender, Run
from daogou.data.dataset import Dataset, from_frames
from daogou.data.split import Split, Targets, split
from daogou.evaluate import Result, Scorer, evaluate, paired
from daogou.models.als import Als
from daogou.models.content import Content
from daogou.models.popular import Popular
from daogou.rank import blend
from daogou.rank.blend import Blend
from daogou.scenario import load_scenario
from daogou.testing.data import dataset_path
from daogou.train.fit import build

METRICS = ("ndcg@10", "recall@20")
KINDS: dict[str, dict[str, Any]] = {"als": {}, "als with attributes": {"attributes": ("items",)}}
GRID = [{"embedding_size": 128, "recency": recency, "l2": l2} for recency in (0.0, 5.0, 20.0) for l2 in (0.001, 0.003, 0.01)]
"""Settings among which validation chooses, for each kind of `als` by itself."""


def figures(results: Mapping[str, Result]) -> dict[str, Any]:
    return {name: {m: [round(x, 4) for x in (result.mean(m), result.ci95[m].low, result.ci95[m].high)] for m in METRICS} for name, result in results.items()}


def shop(name: str) -> Dataset:
    """Purchases in order, with title, brand and category."""
    folder, stem = dataset_path(name), {"amazon-scientific": "Scientific", "amazon-office": "Office_Products"}[name]
    taken = json.loads((folder / f"{stem}.inter.json").read_text("utf-8"))
    about = json.loads((folder / f"{stem}.item.json").read_text("utf-8"))
    items = pl.DataFrame(
        [
            {"item_id": item, "title": row.get("title") or None, "brand": row.get("brand") or None, "category": _path(row.get("categories"))}
            for item, row in about.items()
        ]
    )
    rows = [(user, str(item), "review", n * DAY_US) for user, row in taken.items() for n, item in enumerate(row)]
    return from_frames(pl.DataFrame(rows, schema=["user_id", "item_id", "event", "time"], orient="row"), items)


def _path(categories: Any) -> str | None:
    return " > ".join(part.strip() for part in str(categories).split(",")) if categories else None


def items(name: str, run: Run) -> dict[str, Any]:
    data = shop(name)
    cold, warm = split(data, "cold-items", share=0.2, seed=1), split(data, "leave-one-out")
    sold_I = np.bincount(cold.refit.histories.item, minlength=data.n_items) > 0
    only_cold = replace(cold.test, known_I=~sold_I)
    chosen = {title: max(GRID, key=lambda settings: _worth(Als(**how, **settings), warm, run)) for title, how in KINDS.items()}
    makers = {title: Als(**how, **chosen[title]) for title, how in KINDS.items()} | {"content": Content()}
    found: dict[str, dict[str, Result]] = {"cold among themselves": {}, "cold among all": {}, "warm": {}}
    for title, model in makers.items():
        model.fit(cold.refit, run)
        found["cold among themselves"][title] = evaluate(model, only_cold, repeats=False)
        found["cold among all"][title] = evaluate(model, cold.test, repeats=False)
        found["warm"][title] = evaluate(model.fit(warm.refit, run), warm.test, repeats=False)
    plain, ours = (found["warm"][title] for title in KINDS)
    return (
        {"settings": chosen}
        | {what: figures(results) for what, results in found.items()}
        | {
            "warm, with − without": {m: describe(paired(ours, plain, m)) for m in METRICS},
            "cold among themselves, als with attributes − content": {
                m: describe(paired(found["cold among themselves"]["als with attributes"], found["cold among themselves"]["content"], m)) for m in METRICS
            },
        }
    )


def _worth(model: Als, parts: Split, run: Run) -> float:
    return evaluate(model.fit(parts.train, run), parts.validation, repeats=False).mean("ndcg@10")


def films() -> Dataset:
    """ml-100k: ratings with age, gender and occupation of the people."""
    folder = dataset_path("ml-100k")
    rows = pl.read_csv(folder / "u.data", separator="\t", has_header=False, new_columns=["user_id", "item_id", "value", "time"])
    people = pl.read_csv(folder / "u.user", separator="|", has_header=False, new_columns=["user_id", "age", "gender", "occupation", "zip"])
    text = [pl.col(name).cast(pl.String) for name in ("user_id", "item_id")]
    events = rows.with_columns(*text, event=pl.lit("rate"), time=pl.col("time") * 1_000_000).sort("time", maintain_order=True)
    return from_frames(events.drop("value"), users=people.select(pl.col("user_id").cast(pl.String), "age", "gender", "occupation"))


def users(run: Run) -> dict[str, Any]:
    data = films()
    parts = split(data, "cold-users", share=0.2, seed=1)
    held = users_of(parts.refit, data, np.ones(data.n_users, np.bool_))
    models: dict[str, Recommender] = {
        "popular": Popular(half_life_days=365.0).fit(parts.refit, run),
        "als": Als(unobserved=0.2).fit(parts.refit, run),
        "als with attributes": Als(unobserved=0.2, attributes=("users",)).fit(parts.refit, run),
    }
    out: dict[str, Any] = {"people": len(held)}
    for n in (0, 1, 3, FIRST):
        asked = began(parts.test, data, held, n)
        found = {name: evaluate(model, asked, repeats=False) for name, model in models.items()}
        beside = "als" if n else "popular"
        out[f"{n} events"] = figures(found) | {f"with attributes − {beside}": describe(paired(found["als with attributes"], found[beside], "ndcg@10"))}
    warm = split(data, "leave-one-out")
    known = {name: evaluate(model.fit(warm.train, run), warm.test, repeats=False) for name, model in models.items()}
    return out | {"warm": figures(known) | {"with attributes − als": describe(paired(known["als with attributes"], known["als"], "ndcg@10"))}}


def newcomers(least: int, seed: int, run: Run) -> dict[str, Any]:
    """The shop's first placement, fitted without the withheld households; weights from validation."""
    scenario, data = load_scenario("shop"), groceries(least)
    parts = split(data, "cold-users", share=0.3, repeats=True, seed=seed)
    held = users_of(parts.refit, data, np.array([value is not None for value in data.user_table["age"]]))
    known = split(parts.refit, "time", test_days=scenario.evaluation.test_days, repeats=True)
    place = scenario.placements[0]

    def fitted(train: Dataset) -> dict[str, Recommender]:
        return {name: build(scenario, name).fit(train, run) for name in place.retrieve if name not in scenario.tried}

    def pair(models: Mapping[str, Recommender]) -> dict[str, Scorer]:
        without = {name: weight for name, weight in weights.items() if name != "registration"}
        return {"without": Blend(models, without, repeats=True), "with": Blend(models, weights, repeats=True)}

    tuned = fitted(known.train)
    weights = blend.fit(tuned, known.validation, repeats=True)
    final = fitted(parts.refit)
    asked: dict[str, tuple[Mapping[str, Recommender], Targets]] = {f"{n} events": (final, began(parts.test, data, held, n)) for n in (0, 1, 2, 3, 5, FIRST)}
    asked["known people"] = tuned, known.test
    out: dict[str, Any] = {"households": len(held), "goods": data.n_items, "weights": weights}
    for title, (models, targets) in asked.items():
        found = {name: evaluate(scorer, targets, repeats=True) for name, scorer in pair(models).items()}
        found["popular"] = evaluate(models["popular"], targets, repeats=True)
        out[title] = figures(found) | {"with − without": describe(paired(found["with"], found["without"], "ndcg@10"))}
        out[title] |= {"with − popular": describe(paired(found["with"], found["popular"], "ndcg@10"))}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="items", choices=("items", "users", "newcomers"))
    parser.add_argument("--data", default="amazon-scientific", choices=("amazon-scientific", "amazon-office"))
    parser.add_argument("--least", type=int, default=100, help="newcomers: only goods that were bought at least so often")
    parser.add_argument("--seed", type=int, default=1, help="newcomers: which households are withheld")
    parser.add_argument("--vectors", type=Path, help="directory of cached vectors; a temporary one if left out")
    asked = parser.parse_args()
    began_s = time.process_time()
    with tempfile.TemporaryDirectory() as temporary:
        run = Run(threads=1, vectors=asked.vectors or Path(temporary))
        work = {"items": lambda: items(asked.data, run), "users": lambda: users(run), "newcomers": lambda: newcomers(asked.least, asked.seed, run)}
        found = work[asked.what]()
    print(json.dumps(found | {"CPU s": round(time.process_time() - began_s, 1)}, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
