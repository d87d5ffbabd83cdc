"""Three questions for new people: what the answers are worth, and what choosing the questions is worth.

    python -m benchmarks.onboarding [groceries ml-1m ml-100k] [--seed N] [--fold-in]        prints JSON

A fifth of the people are withheld. Of each, the first half of what they took answers the questions (an option is picked if it is in it), the second half
is what should be found. Where people take a thing once, the whole first half is no candidate in any arm, so that no arm gains by learning what they have.
After the answers, scores are a regression on them (profile.newcomers, as the engine does); with --fold-in also models of histories that see the picks as
events, with weights learned on other withheld people. Who picked nothing gets popularity. Intervals are 95 %, by bootstrap over people.
"""

import argparse
import json
import time
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from benchmarks.content import describe, fitted, groceries, users_of
from daogou import plugins
from daogou.contract import Codes, Queries, Run, Scores
from daogou.data.dataset import Dataset, from_frames
from daogou.data.histories import Histories
from daogou.data.split import Split, Targets, split
from daogou.evaluate import Result, Scorer, evaluate, paired
from daogou.profile import questions
from daogou.profile.newcomers import Newcomers
from daogou.rank import blend
from daogou.rank.blend import Blend
from daogou.testing.data import dataset_path

SHOWN = questions.QUESTIONS * questions.OPTIONS
DRAWS = 3
NONE = "no question, popularity"


def liked(rated: pl.DataFrame) -> Dataset:
    """Four or five stars at a known time; items with five such ratings or more. Columns: user, item, stars, seconds."""
    user, item, stars, at = rated.columns
    events = rated.filter((pl.col(stars) >= 4) & pl.col(at).is_not_null()).select(
        pl.col(user).cast(pl.String).alias("user_id"),
        pl.col(item).cast(pl.String).alias("item_id"),
        pl.lit("like").alias("event"),
        (pl.col(at).cast(pl.Int64) * 1_000_000).alias("time"),
    )
    return from_frames(events.filter(pl.len().over("item_id") >= 5).sort("time"))


def ml_1m() -> Dataset:
    return liked(pl.read_parquet(dataset_path("ml-1m") / "ratings.parquet"))


def ml_100k() -> Dataset:
    return liked(pl.read_csv(dataset_path("ml-100k") / "u.data", separator="\t", has_header=False))


SETS = {"groceries": (groceries, True), "ml-1m": (ml_1m, False), "ml-100k": (ml_100k, False)}


class Unseen:
    """A model without what people had taken before."""

    def __init__(self, inner: Scorer, repeats: bool) -> None:
        self.inner, self.repeats = inner, repeats

    def score(self, queries: Queries, candidates: Codes | None = None) -> Scores:
        scores_BI = np.array(self.inner.score(queries))
        if not self.repeats:
            scores_BI[queries.context.row, queries.context.item] = -np.inf
        return scores_BI


class Answered:
    """`after` for those who picked something, `before` for the others."""

    def __init__(self, before: Scorer, after: Scorer) -> None:
        self.before, self.after = before, after

    def score(self, queries: Queries, candidates: Codes | None = None) -> Scores:
        out_BI = np.array(self.before.score(queries))
        some = np.flatnonzero(queries.history.lengths > 0)
        if len(some):
            out_BI[some] = self.after.score(queries[some])
        return out_BI


class ByAnswers:
    """profile.newcomers as a scorer."""

    def __init__(self, options: Codes, train: Dataset, seed: int) -> None:
        self.inner = Newcomers.of(options, train.histories, train.n_items, seed=seed)

    def score(self, queries: Queries, candidates: Codes | None = None) -> Scores:
        rows = (queries.history[b : b + 1].item.tolist() for b in range(len(queries)))
        return np.stack([self.inner.scores(self.inner.picked(row)) for row in rows])


def arms(train: Dataset, seed: int) -> dict[str, Codes]:
    """The options of each way to choose them."""
    count_I = np.bincount(train.histories.item, minlength=train.n_items)
    askable_I = np.ones(train.n_items, np.bool_)
    pool = np.argsort(-count_I, kind="stable")[: questions.CANDIDATES]
    out = {"chosen": questions.choose(train.histories, askable_I, seed=seed).options[:SHOWN], "most popular": pool[:SHOWN].astype(np.int32)}
    for n in range(DRAWS):
        out[f"random {n + 1}"] = np.random.default_rng(seed * 100 + n).choice(pool, SHOWN, replace=False).astype(np.int32)
    return out


def asked(about: Targets, data: Dataset, users: Codes, options: Codes) -> Targets:
    """New people after their answers; without options, before. The context is what they had taken until then."""
    history = data.histories[users]
    place = np.arange(len(history.item)) - history.start[history.row]
    early = place < history.lengths[history.row] // 2
    before = _distinct(history.keep(early), data.n_items)
    wanted = _distinct(history.keep(~early), data.n_items)
    queries = replace(about.queries[np.zeros(len(users), np.int64)], history=before.keep(np.isin(before.item, options)), context=before, attributes={})
    return Targets(queries, wanted, about.known_I)


def _distinct(history: Histories, n_items: int) -> Histories:
    _, first = np.unique(history.row * np.int64(n_items) + history.item, return_index=True)
    mask = np.zeros(len(history.item), np.bool_)
    mask[first] = True
    return history.keep(mask)


def judged(model: Scorer, targets: Targets, repeats: bool) -> Result:
    return evaluate(Unseen(model, repeats), targets, repeats=True)


def measure(name: str, seed: int, run: Run, *, fold_in: bool) -> dict[str, Any]:
    make, repeats = SETS[name]
    data = make()
    parts = split(data, "cold-users", share=0.2, repeats=repeats, seed=seed)
    people = users_of(parts.refit, data, np.ones(data.n_users, np.bool_))
    floor = plugins.load("model", "popular")(half_life_days=365.0 if repeats else 3650.0).fit(parts.refit, run)
    started_s = time.process_time()
    ways = arms(parts.refit, seed)
    choosing_s = time.process_time() - started_s
    nothing = np.zeros(0, np.int32)
    found: dict[str, Result] = {NONE: judged(floor, asked(parts.test, data, people, nothing), repeats)}
    about: dict[str, Any] = {}
    for arm, options in ways.items():
        after = asked(parts.test, data, people, options)
        found[arm] = judged(Answered(floor, ByAnswers(options, parts.refit, seed)), after, repeats)
        picks_Q = after.queries.history.lengths
        about[arm] = {"picks": round(float(picks_Q.mean()), 2), "picked nothing": round(float((picks_Q == 0).mean()), 3)}
    if fold_in:
        found["chosen, fold-in"] = folded(data, parts, ways["chosen"], people, floor, repeats, seed, run)
    others = [arm for arm in found if arm not in ("chosen", NONE)]
    pairs = [(arm, NONE) for arm in found if arm != NONE] + [("chosen", arm) for arm in others]
    return {
        "people": len(people),
        "about": about,
        "ndcg@10": {arm: [round(x, 4) for x in (r.mean("ndcg@10"), r.ci95["ndcg@10"].low, r.ci95["ndcg@10"].high)] for arm, r in found.items()},
        "paired": {f"{a} − {b}": describe(paired(found[a], found[b], "ndcg@10")) for a, b in pairs},
        "cpu seconds to choose, all arms": round(choosing_s, 1),
    }


def folded(data: Dataset, parts: Split, options: Codes, people: Codes, floor: Scorer, repeats: bool, seed: int, run: Run) -> Result:
    """The blend of models of histories, its weights learned on the people of the validation part, who were asked their own questions."""
    before = users_of(parts.train, parts.refit, np.ones(data.n_users, np.bool_))
    half_life_days = 365.0 if repeats else 3650.0
    made = []
    for train in (parts.train, parts.refit):
        models: dict[str, Any] = fitted(("ease", "als"), train, run)
        models["popular"] = plugins.load("model", "popular")(half_life_days=half_life_days).fit(train, run)
        made.append(models)
    weights = blend.fit(made[0], asked(parts.validation, data, before, arms(parts.train, seed)["chosen"]), repeats=repeats)
    mixed = Blend(made[1], weights, repeats=repeats)
    return judged(Answered(floor, mixed), asked(parts.test, data, people, options), repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", choices=(*SETS, []), default=[])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fold-in", action="store_true")
    wanted = parser.parse_args()
    found = {name: measure(name, wanted.seed, Run(threads=1), fold_in=wanted.fold_in) for name in wanted.sets or SETS}
    print(json.dumps(found, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
