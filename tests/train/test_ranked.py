"""A placement with a learned ranker, from training to the answer: it wins or the blend serves; it fails and the blend serves; erasing learns it anew."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace

from daogou.data.dataset import Dataset, from_frames
from daogou.engine import Engine, Request
from daogou.errors import ConfigError, UnknownName
from daogou.rank.lambdarank import LambdaRank
from daogou.release import Release, open_current, open_release
from daogou.scenario import Evaluation, Placement, Project, Scenario
from daogou.store import Store
from daogou.testing.project import fill
from daogou.testing.toy import DAY_US, START_US
from daogou.train import measure
from daogou.train.erase import erase
from daogou.train.fit import train

N_USERS, N_ITEMS, WEEKS = 160, 24, 9


def fashion() -> Dataset:
    """Everyone likes four items of their own and takes one of them each week, the one that was not taken for longest: popularity and likeness do not see
    that, the time since the last purchase does."""
    rng = np.random.default_rng(0)
    rows = []
    for u in range(N_USERS):
        own = rng.choice(N_ITEMS, 4, replace=False)
        for week in range(WEEKS):
            rows.append((f"u{u}", f"i{own[week % 4]}", START_US + week * 7 * DAY_US + int(rng.integers(DAY_US))))
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "time"], orient="row").with_columns(pl.lit("purchase").alias("event"))
    return from_frames(events, pl.DataFrame({"item_id": [f"i{n}" for n in range(N_ITEMS)]}), weights={"purchase": 1.0})


@pytest.fixture(scope="module")
def shop() -> Scenario:
    places = (
        Placement(name="home", retrieve=("ease", "popular"), rank="ranked", size=3),
        Placement(name="again", retrieve=("ease", "popular"), rank="ranked", size=3),
        Placement(name="plain", retrieve=("ease", "popular"), size=3),
    )
    evaluation = Evaluation(protocol="time", test_days=7, repeats=True)
    quick = {"ranked": {"trees": 60, "smallest_leaf": 10}}
    return Scenario(name="fashion", events={"purchase": 1.0}, placements=places, models={"ease": {}, "popular": {}}, rankers=quick, evaluation=evaluation)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(directory=tmp_path)


@pytest.fixture
def store(project: Project) -> Any:
    with Store.open(project.store_url) as opened:
        fill(opened, fashion())
        yield opened


def live(project: Project) -> Release:
    found = open_current(project.releases)
    assert found is not None
    return found


def test_a_ranker_that_wins_is_released_and_answers(project: Project, store: Store, shop: Scenario) -> None:
    made = train(project, store, shop)
    release = live(project)
    assert release.manifest.rankers == {"home": "home", "again": "home"}  # one for both: they ask the same of the same models
    assert release.rankers["home"] is release.rankers["again"]
    assert made.metrics["ranked"]["ndcg@10"] > made.metrics["blend"]["ndcg@10"] + 0.1
    assert [note for note in made.notes if note.startswith("ranked ranks home")]
    assert "ranked ranks home" in str(made)
    assert release.manifest.notes == made.notes
    engine = Engine(release, shop, store)
    answers = {name: engine.recommend(Request(placement=name, user_id="u7", explain=True)) for name in ("home", "plain")}
    assert not any(answer.degraded for answer in answers.values())
    own = [event.item_id for event in store.history("u7", 100)]
    assert answers["home"].items[0].item_id == own[-4]  # the one that was not taken for longest
    assert {cause.how for cause in answers["home"].items[0].explanation or []} == {"proposed"}
    assert {cause.how for cause in answers["plain"].items[0].explanation or []} == {"exact"}
    ordered = engine.rank("u7", [one.item_id for one in answers["plain"].items])
    assert {one.item_id for one in ordered.items} == {one.item_id for one in answers["plain"].items}


def test_many_requests_are_answered_as_one_by_one(project: Project, store: Store, shop: Scenario) -> None:
    train(project, store, shop)
    engine = Engine(live(project), shop, store)
    requests = [Request(placement="home", user_id=f"u{n}") for n in range(20)]
    together = engine.recommend_many(requests)
    for request, answer in zip(requests, together, strict=True):
        assert [one.item_id for one in engine.recommend(request).items] == [one.item_id for one in answer.items]


def test_a_filter_does_not_change_the_order_of_what_it_leaves(project: Project, store: Store, shop: Scenario) -> None:
    train(project, store, shop)
    engine = Engine(live(project), shop, store)
    whole = [one.item_id for one in engine.recommend(Request(placement="home", user_id="u3", k=12)).items]
    kept = whole[1::2]
    few = [one.item_id for one in engine.recommend(Request(placement="home", user_id="u3", k=12, filter=f"item_id in {kept}".replace("'", '"'))).items]
    assert few == kept


def test_a_ranker_that_does_not_win_leaves_the_blend(project: Project, store: Store, shop: Scenario) -> None:
    blind = replace(shop, rankers={"ranked": {"trees": 1, "smallest_leaf": 100_000}})
    made = train(project, store, blind)
    assert live(project).manifest.rankers == {}
    assert any(note.startswith("the blend ranks home: the ranker's gain is") for note in made.notes)
    assert "ranked" not in made.metrics
    assert Engine(live(project), blind, store).recommend(Request(placement="home", user_id="u1")).items


def test_the_gate_compares_the_order_that_is_shown(project: Project, store: Store, shop: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the blends below it, which are the same in all of these releases."""
    first = train(project, store, shop)
    met: list[tuple[str, str]] = []

    def meet(new: Any, old: Any, *_: Any, **__: Any) -> None:
        met.append((type(new).__name__, type(old).__name__))

    monkeypatch.setattr("daogou.train.fit.compare_unseen", meet)
    lost = train(project, store, replace(shop, rankers={"ranked": {"trees": 1, "smallest_leaf": 100_000}}))
    assert not lost.published
    assert "ndcg@10" in lost.refused
    assert live(project).manifest.id == first.release
    assert train(project, store, shop).published
    assert met == [("Blend", "Ranked"), ("Ranked", "Ranked")]


def test_too_few_labels_leave_the_blend(project: Project, store: Store, shop: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daogou.train.nested.FEWEST", 10_000)
    assert any("have their answer among the candidates" in note for note in train(project, store, shop).notes)
    assert live(project).manifest.rankers == {}


@pytest.mark.promise("A1")
def test_a_ranker_that_fails_is_replaced_by_the_blend(project: Project, store: Store, shop: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    train(project, store, shop)
    engine = Engine(live(project), shop, store)
    plain = engine.recommend(Request(placement="plain", user_id="u7"))

    def broken(self: Any, features_NF: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(LambdaRank, "predict", broken)
    answer = engine.recommend(Request(placement="home", user_id="u7"))
    assert answer.degraded
    assert engine.failures["ranker"] == 1
    assert [one.item_id for one in answer.items] == [one.item_id for one in plain.items]
    assert not engine.recommend(Request(placement="plain", user_id="u7")).degraded


def test_a_damaged_ranker_degrades_its_placements_alone(project: Project, store: Store, shop: Scenario) -> None:
    train(project, store, shop)
    directory = live(project).directory
    (directory / "rankers" / "home" / "trees.txt").write_text("tree\n")
    release = open_release(directory, strict=False)
    assert list(release.damaged) == ["rankers/home"]
    engine = Engine(release, shop, store)
    assert engine.recommend(Request(placement="home", user_id="u1")).degraded
    assert not engine.recommend(Request(placement="plain", user_id="u1")).degraded


@pytest.mark.promise("M4")
def test_the_same_data_and_seed_give_the_same_ranker(project: Project, store: Store, shop: Scenario) -> None:
    digests = [train(replace(project, training=replace(project.training, threads=threads)), store, shop).digest for threads in (1, 3)]
    assert digests[0] == digests[1]


@pytest.mark.promise("S3")
def test_erasing_learns_the_ranker_without_the_person(project: Project, store: Store, shop: Scenario, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Project, "load_scenario", lambda self: shop)
    train(project, store, shop)
    before = live(project).manifest.files["rankers/home/trees.txt"]
    receipt = erase(project, store, "u7")
    assert receipt.models["rankers/home"] == "refitted"
    after = live(project)
    assert after.manifest.files["rankers/home/trees.txt"] != before
    train(project, store, shop)  # never saw the person
    never = live(project)
    assert {f: d for f, d in after.manifest.files.items() if f.startswith("rankers/")} == {
        f: d for f, d in never.manifest.files.items() if f.startswith("rankers/")
    }


# ---- other rankers
def test_a_linear_estimator_serves_in_its_place(project: Project, store: Store, shop: Scenario) -> None:
    linear = replace(shop, rankers={"ranked": {"kind": "estimator", "estimator": "sklearn.linear_model:LogisticRegression", "settings": {"max_iter": 500}}})
    made = train(project, store, linear)
    assert made.metrics["ranked"]["ndcg@10"] > made.metrics["blend"]["ndcg@10"]
    assert not Engine(live(project), linear, store).recommend(Request(placement="home", user_id="u7")).degraded


def test_what_cannot_be_stored_is_refused_before_any_work(project: Project, store: Store, shop: Scenario) -> None:
    forest = replace(shop, rankers={"ranked": {"kind": "estimator", "estimator": "sklearn.ensemble:RandomForestClassifier"}})
    with pytest.raises(ConfigError, match=r"\[rankers.ranked\].*RandomForestClassifier.*no pickled objects"):
        train(project, store, forest)
    assert not project.releases.exists()


def test_an_unknown_ranker_and_a_wrong_setting_are_named_before_any_work(project: Project, store: Store, shop: Scenario) -> None:
    place = replace(shop.placements[0], rank="lamdbarank")
    with pytest.raises(UnknownName, match="did you mean 'lambdarank'"):
        train(project, store, replace(shop, placements=(place,)))
    with pytest.raises(ConfigError, match=r"\[rankers.ranked\]"):
        train(project, store, replace(shop, rankers={"ranked": {"tree": 3}}))


def test_without_the_extra_the_blend_serves_and_a_note_says_so(project: Project, store: Store, shop: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    from daogou.errors import MissingExtra

    def missing(scenario: Scenario, name: str) -> Any:
        raise MissingExtra("lightgbm, which the ranker 'lambdarank' needs,", "rank")

    for module in (measure, __import__("daogou.train.fit", fromlist=["fit"])):
        monkeypatch.setattr(module, "build_ranker", missing)
    made = train(project, store, shop)
    assert made.published
    assert any("pip install 'daogou[rank]'" in note for note in made.notes)
