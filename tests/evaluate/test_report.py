"""The three forms of the report say the same, are whole, and need nothing from outside."""

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from daogou.contract import Queries, Scores
from daogou.data.dataset import Dataset, from_frames
from daogou.data.split import split
from daogou.evaluate import Catalogue, beside, compare, evaluate, exposure_by, leaks, over_seeds, quality_by_group
from daogou.evaluate.report import Report, exposure_curve, html, terminal_table, to_json, write

DAY_US = 86_400_000_000
VOID = {"meta", "link", "br"}


class Noise:
    """Popularity with seeded noise."""

    def __init__(self, data: Dataset, seed: int, loud: float) -> None:
        count_I = np.bincount(data.histories.item, minlength=data.n_items)
        self.scores_I = (count_I + loud * np.random.default_rng(seed).random(data.n_items)).astype(np.float32)

    def score(self, queries: Queries) -> Scores:
        return np.tile(self.scores_I, (len(queries), 1))


@pytest.fixture(scope="module")
def report() -> Report:
    rng = np.random.default_rng(10)
    rows = [
        (f"u{u}", f"i{int(40 * rng.random() ** 2)}", "buy", int(rng.integers(100) * DAY_US)) for u in range(120) for _ in range(int(rng.integers(4, 30)))
    ] + [("late", "i1", "buy", 99 * DAY_US), ("u1", "<script>alert(1)</script>", "buy", 99 * DAY_US)]
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "event", "time"], orient="row")
    items = pl.DataFrame(
        {"item_id": [f"i{n}" for n in range(40)], "category": [f"A > B{n % 3}" for n in range(40)], "brand": [f"<b>{n % 7}" for n in range(40)]}
    )
    users = pl.DataFrame({"user_id": [f"u{u}" for u in range(120)], "region": ["north & east", "south", "isle"] * 40, "age": list(range(120))})
    data = from_frames(events, items, users)
    parts = split(data, "time", test_days=20, repeats=True)
    loo = split(data, "leave-one-out", repeats=True)
    catalogue = Catalogue.of(parts.train)
    models = {"popular": [Noise(parts.train, 0, 0)], "<noise>": [Noise(parts.train, seed, 60) for seed in range(3)]}
    runs = {name: over_seeds([evaluate(m, parts.test, repeats=True, catalogue=catalogue) for m in seeds]) for name, seeds in models.items()}
    comparison = compare(runs, "popular")
    other = compare({name: evaluate(seeds[0], loo.test, repeats=True) for name, seeds in models.items()}, "popular")
    return Report(
        comparison=comparison,
        split=parts.about,
        fit_s={"popular": 0.25},
        apart={kind: {name: evaluate(seeds[0], targets, repeats=True) for name, seeds in models.items()} for kind, targets in parts.apart.items()},
        groups=quality_by_group(runs, parts.test, ["region", "age"]),
        exposure={name: exposure_by(run, parts.train, "brand") for name, run in runs.items()},
        beside=[beside(comparison, other, titles=("time", "leave-one-out"))],
        seeds=[0, 1, 2],
        command="daogou evaluate --seeds 3",
        warnings=[*leaks(parts), "said <by> the caller"],
    )


def test_json_has_the_promised_shape(report: Report) -> None:
    found = json.loads(json.dumps(to_json(report), allow_nan=False))
    assert found["protocol"] == "time"
    assert found["split"]["test_users"] == found["models"]["popular"]["users"]
    popular, noise = found["models"]["popular"], found["models"]["<noise>"]
    for metric in ("ndcg", "recall", "precision", "f1", "hr", "mrr", "map", "coverage", "novelty", "diversity", "gini", "accuracy"):
        assert {f"{metric}@{k}" for k in (5, 10, 20)} <= popular.keys()
    low, high = popular["ci95"]["ndcg@10"]
    assert low < popular["ndcg@10"] < high
    assert (popular["fit_s"], noise["fit_s"]) == (0.25, None)
    assert popular["eval_s"] >= popular["score_s"] > 0
    assert popular["repeat"]["users"] > 0
    assert "ndcg@10" in popular["explore"]
    assert noise["seeds"] == 3
    assert noise["sd"]["ndcg@10"] > 0
    assert found["paired"]["ndcg@10"]["<noise>"]["difference"] == pytest.approx(noise["ndcg@10"] - popular["ndcg@10"])
    assert found["fairness"]["groups"]["region"]["popular"]["gap"] >= 0
    assert sum(share["shown"] for share in found["fairness"]["exposure"]["popular"]["shares"]) == pytest.approx(1)
    assert found["apart"]["no-history"]["popular"]["users"] == 1
    assert found["beside"][0]["titles"] == ["time", "leave-one-out"]
    assert found["versions"]["daogou"]
    assert "said <by> the caller" in found["warnings"]


def test_terminal_table_shows_models_intervals_and_warnings(report: Report) -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(terminal_table(report))
    said = console.export_text()
    first = report.comparison.order()[0]
    assert f"{report.comparison.results[first].mean('ndcg@10'):.4f}" in said
    assert said.index(first) < said.index(report.comparison.order()[1])
    for word in ("under time and under leave-one-out", report.beside[0].sentence[:40], " ± 0.0"):
        assert word in said
    for word in ("baseline", "repeat", "explore", "no-history", "coverage@10", "! said <by> the caller", report.comparison.sentence[:40], "0.2 s"):
        assert word in said


class Balanced(HTMLParser):
    """Every element that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_whole_and_needs_no_network_and_no_script(report: Report) -> None:
    page = html(report, "A <title>")
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert not {"script", "link", "img", "iframe", "b", "noise"} & set(parser.tags)
    assert not re.search(r"https?:|//|url\(|@import|\son\w+=", page)
    assert parser.tags.count("svg") == 6  # models, by k, two attributes, exposure, timeline
    for text in ("A &lt;title&gt;", "&lt;noise&gt;", "said &lt;by&gt; the caller", "north &amp; east", "daogou evaluate --seeds 3", "±", "new-items", "numba"):
        assert text in page
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.S).lower()


def test_plots_draw_what_the_figures_say(report: Report) -> None:
    """Lengths of the bars are in proportion to the means."""
    page = html(report)
    first = re.search(r'<svg[^>]*aria-label="ndcg@10 of each model.*?</svg>', page, re.S)
    assert first
    widths = [float(w) for w in re.findall(r'<rect x="210" y="\d+" width="([\d.]+)"', first.group())]
    means = [report.comparison.results[name].mean("ndcg@10") for name in report.comparison.order()]
    assert widths[1] / widths[0] == pytest.approx(means[1] / means[0], abs=0.01)


def test_exposure_curve_ends_at_one(report: Report) -> None:
    curve = exposure_curve(report.comparison.results["popular"])
    shares = [share for _, share in curve]
    assert shares == sorted(shares)
    assert curve[-1][1] == pytest.approx(1)


def test_written_files_open(report: Report, tmp_path: Path) -> None:
    page = write(report, tmp_path / "out")
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert json.loads((tmp_path / "out" / "report.json").read_text())["baseline"] == "popular"


def test_smallest_report_works() -> None:
    """One model, nothing but the comparison: no group, no exposure, other list lengths."""
    data = from_frames(pl.DataFrame({"user_id": list("uuuvvv"), "item_id": list("abcbca"), "event": "buy", "time": range(6)}))
    parts = split(data, "leave-one-out")
    bare = Report(comparison=compare({"only": evaluate(Noise(parts.train, 0, 1), parts.test, ks=(3,))}, "only"), split=parts.about)
    assert bare.comparison.metric == "ndcg@3"
    assert "only" in html(bare)
    json.dumps(to_json(bare), allow_nan=False)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(terminal_table(bare))
    assert "only" in console.export_text()
