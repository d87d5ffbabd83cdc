"""A training with a time budget: cheap models first, dear ones while there is time, and the reasons in words."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from daogou import plugins
from daogou.contract import Run
from daogou.data.dataset import Dataset
from daogou.errors import MissingExtra
from daogou.models.popular import Popular
from daogou.release import open_current
from daogou.scenario import Project, Scenario
from daogou.store import Store
from daogou.testing.toy import random_dataset
from daogou.train import choose
from daogou.train.choose import Chooser
from daogou.train.fit import train
from daogou.train.measure import ablated


class Clock:
    """Moves only when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Costly:
    """A model whose fit takes so many seconds an event."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds = clock, seconds

    def fit(self, data: Dataset, run: Run) -> "Costly":
        self.clock.now += self.seconds * len(data.events)
        return self


def fresh(clock: Clock, **seconds: float) -> Any:
    def maker(s: float) -> Callable[[], Costly]:
        return lambda: Costly(clock, s)

    return {name: maker(s) for name, s in seconds.items()}


@pytest.fixture(scope="module")
def many() -> Dataset:
    return random_dataset(0, n_users=1500, n_items=20, n_events=8000)


def test_cheap_models_come_first_by_rehearsal(many: Dataset) -> None:
    clock = Clock()
    chooser = Chooser(600, clock=clock)
    assert chooser.order(fresh(clock, dear=0.01, cheap=0.0001, middle=0.001), many, Run()) == ["cheap", "middle", "dear"]
    assert chooser.expected_s["dear"] == pytest.approx(0.01 * len(many.events), rel=1e-6)
    assert clock.now < 0.4 * 0.0111 * len(many.events)  # a few shoppers are not all of them


def test_what_the_last_release_took_is_not_rehearsed(many: Dataset) -> None:
    clock = Clock()
    chooser = Chooser(600, {"a": 5.0, "b": 1.0}, clock=clock)
    assert chooser.order(fresh(clock, a=1.0, b=1.0), many, Run()) == ["b", "a"]
    assert clock.now == 0


def test_a_small_shop_is_not_rehearsed_and_keeps_its_order() -> None:
    clock = Clock()
    assert Chooser(600, clock=clock).order(fresh(clock, a=2.0, b=1.0), random_dataset(), Run()) == ["a", "b"]
    assert clock.now == 0


def test_a_model_is_fitted_while_there_is_time_for_it_twice() -> None:
    clock = Clock()
    chooser = Chooser(100, {"a": 10.0, "b": 40.0, "c": 39.0}, clock=clock)
    assert not chooser.refuses("a")
    clock.now += 10
    chooser.fitted("a", 10.0)
    assert chooser.left_s == 80  # 10 spent, 10 kept back
    assert not chooser.refuses("b")
    clock.now += 40
    chooser.fitted("b", 40.0)
    assert chooser.refuses("c")
    assert chooser.notes == ["c was not fitted: about 78 s are needed to measure and to release it, 0 s are left"]


def test_a_dear_model_that_wins_nothing_is_not_released_a_cheap_one_stays_as_a_fallback() -> None:
    clock, asked = Clock(), []
    chooser = Chooser(100, clock=clock)
    for name, seconds in {"wins": 20.0, "loses": 20.0, "small": 1.0, "first": 20.0}.items():
        chooser.fitted(name, seconds)

    def worthless(name: str) -> str:
        asked.append(name)
        return "it adds nothing" if name == "loses" else ""

    assert chooser.released(["wins", "loses", "small", "first"], ["first"], worthless) == ["wins", "small", "first"]
    assert asked == ["wins", "loses"]
    assert chooser.summary(["wins", "small", "first"])[1:] == ("loses was not released: measured in 20 s, it adds nothing",)


def test_without_a_limit_everything_is_fitted_and_released(many: Dataset) -> None:
    clock = Clock()
    chooser = Chooser(0, {"b": 1e9}, clock=clock)
    assert chooser.order(fresh(clock, a=1.0, b=1.0), many, Run()) == ["a", "b"]
    assert not chooser.refuses("b")
    chooser.fitted("b", 1e9)
    assert chooser.released(["a", "b"], [], lambda name: "never asked") == ["a", "b"]
    assert chooser.summary(["a", "b"]) == ()


def test_what_is_only_tried_must_win_however_cheap_and_needs_shoppers(many: Dataset) -> None:
    clock, few = Clock(), random_dataset()
    chooser = Chooser(600, tried=["net"], clock=clock)
    makers = fresh(clock, net=1.0, plain=1.0)
    assert list(chooser.suited(makers, few)) == ["plain"]
    assert chooser.notes == [f"net was not tried: {(few.histories.lengths >= 5).sum()} shoppers have 5 events or more, 500 are wanted"]
    assert list(Chooser(600, tried=["net"], clock=clock).suited(makers, many)) == ["net", "plain"]
    for budget_s in (600, 0):
        chooser = Chooser(budget_s, tried=["net"], clock=clock)
        chooser.fitted("net", 0.1)
        assert chooser.released(["net", "plain"], [], lambda name: "no gain") == ["plain"]
        assert chooser.released(["net", "plain"], [], lambda name: "") == ["net", "plain"]


# ---- in a training
class Slow(Popular):
    """Needs more time than there is, as its last release said."""


class Useless(Popular):
    """Likes everything alike, and needs a while for it."""

    def _fit(self, data: Dataset, run: Run) -> None:
        time.sleep(1.5)
        super()._fit(data, run)

    def _score(self, queries: Any) -> Any:
        return np.ones((len(queries), self.n_items), np.float32)


@pytest.fixture
def shop(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    real = plugins.load
    own = {"slow": Slow, "useless": Useless}
    monkeypatch.setattr(plugins, "load", lambda kind, name: own[name] if name in own else real(kind, name))
    home, *others = scenario.placements
    home = replace(home, retrieve=(*home.retrieve, "slow", "useless"))
    return replace(scenario, models={**scenario.models, "slow": {}, "useless": {}}, placements=(home, *others))


def test_a_training_says_what_it_chose_and_why(project: Project, store: Store, shop: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "CHEAP", 1.0 / 300)  # of 5 minutes: from a second on a model is dear
    monkeypatch.setattr("daogou.train.fit._known_cost", lambda project: {"slow": 400.0})
    made = train(replace(project, training=replace(project.training, minutes=5.0)), store, shop)
    assert "slow" not in made.models
    assert "useless" not in made.models
    assert "ease" in made.models  # the best model of the toy shop wins, and is cheap
    assert all("useless" not in weights for weights in made.blends.values())
    assert sum(made.blends["home"].values()) == pytest.approx(1, abs=1e-5)
    assert any(note.startswith("chosen within 5 minutes: ") for note in made.notes)
    assert any(note.startswith("slow was not fitted: about 800 s are needed") for note in made.notes)
    assert any(note.startswith("useless was not released: measured in 2 s, it adds ") for note in made.notes)
    release = open_current(project.releases)
    assert release is not None
    assert release.manifest.notes == made.notes


def test_the_figure_of_the_blend_is_that_of_the_models_that_serve(project: Project, store: Store, scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of the blend that still had the dear model."""

    def lost(parts: Any, honest: Any, scenario: Scenario, name: str, run: Run) -> Any:
        low = -1.0 if name == "ease" else 1.0
        gap = SimpleNamespace(ci95=SimpleNamespace(low=low), difference=0.0)
        return SimpleNamespace(gap=gap, blends={place: {"popular": 1.0} for place in honest.blends})

    monkeypatch.setattr(choose, "CHEAP", 0.0)
    monkeypatch.setattr("daogou.train.fit.ablated", lost)
    made = train(project, store, scenario)
    assert "ease" not in made.models
    assert made.metrics["blend"] == made.metrics["popular"]


def test_what_is_only_tried_need_not_be_installed(project: Project, store: Store, scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    real = plugins.load

    def load(kind: str, name: str) -> Any:
        if name == "net":
            raise MissingExtra("keras, which the model 'net' needs,", "deep")
        return real(kind, name)

    monkeypatch.setattr(plugins, "load", load)
    shop = replace(scenario, models={**scenario.models, "net": {}}, tried=("net",))
    made = train(project, store, shop)
    assert made.published
    assert "net was not tried: keras, which the model 'net' needs, is not installed; pip install 'daogou[deep]'" in made.notes
    with pytest.raises(MissingExtra):  # asked for by name, or a model that the scenario counts on
        train(project, store, shop, models=["net"])
    with pytest.raises(MissingExtra):
        train(project, store, replace(shop, tried=()))


def test_a_tried_model_serves_where_it_wins_and_only_there(project: Project, store: Store, shop: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ablated

    def judged(parts: Any, honest: Any, scenario: Scenario, name: str, run: Run) -> Any:
        return SimpleNamespace(gap=SimpleNamespace(ci95=SimpleNamespace(low=0.01))) if name == "ease" else real(parts, honest, scenario, name, run)

    monkeypatch.setattr("daogou.train.fit.ablated", judged)
    monkeypatch.setattr(choose, "ENOUGH_SHOPPERS", 10)
    trying = replace(shop, tried=("useless", "ease"))
    made = train(project, store, trying)
    assert "useless" not in made.models
    assert "ease" in made.models
    assert any(note.startswith("useless was not released: ") for note in made.notes)
    monkeypatch.setattr(choose, "ENOUGH_SHOPPERS", 10_000)
    assert "ease" not in train(project, store, trying, publish=False).models


def test_models_asked_for_by_name_are_fitted_whatever_they_cost(project: Project, store: Store, shop: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daogou.train.fit._known_cost", lambda project: {"slow": 400.0})
    hurried = replace(project, training=replace(project.training, minutes=0.1))
    assert set(train(hurried, store, shop, models=["slow", "popular"]).models) == {"slow", "popular"}


def test_no_time_at_all_still_makes_a_release(project: Project, store: Store, shop: Scenario) -> None:
    made = train(replace(project, training=replace(project.training, minutes=1e-6)), store, shop)
    assert made.published
    assert made.notes
