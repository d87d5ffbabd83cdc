"""Training: the same data and seed give the same bytes; what fails is left out or refused, never silent, and the live release stays."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from daogou import plugins
from daogou.data.dataset import Dataset
from daogou.data.rows import Item
from daogou.engine import Engine, Request
from daogou.errors import ConfigError, ReleaseError, TrainingError, UnknownName
from daogou.models.popular import Popular
from daogou.release import Release, current_id, list_releases, open_current
from daogou.scenario import Project, Scenario
from daogou.store import Store
from daogou.train.fit import train


def live(project: Project) -> Release:
    found = open_current(project.releases)
    assert found is not None
    return found


def test_a_training_makes_a_live_release_with_its_figures(project: Project, store: Store, scenario: Scenario, data: Dataset) -> None:
    steps: list[str] = []
    made = train(project, store, scenario, progress=lambda step, done, total: steps.append(step))
    release = live(project)
    assert made.published
    assert made.release == release.id
    assert made.refused == ""
    assert made.warnings == ()
    assert list(release.models) == ["popular", "covisit", "ease", "als"]
    assert release.items.ids == data.items.ids
    about = release.manifest
    assert (about.events, about.users, about.items, about.data_end) == (len(data.events), data.n_users, data.n_items, data.end)
    assert set(about.metrics) == {"popular", "covisit", "ease", "als", "blend"}
    assert about.metrics["blend"]["low"] <= about.metrics["blend"]["ndcg@10"] <= about.metrics["blend"]["high"]
    assert about.split["protocol"] == "time"
    assert all(fitted.fit_s >= 0 and fitted.peak_mib > 50 for fitted in about.models.values())
    assert [name for name, fitted in about.models.items() if fitted.additive] == ["popular", "covisit", "ease"]
    assert {"fit: ease", "fit"} <= set(steps)
    for words in ("ease", "ndcg@10", "published", release.id):
        assert words in str(made)
    json.dumps(made.metrics)


def test_weights_are_learned_for_every_placement_that_blends(project: Project, store: Store, scenario: Scenario) -> None:
    made = train(project, store, scenario)
    assert {place: set(weights) for place, weights in made.blends.items()} == {"home": {"ease", "als", "popular"}, "like": {"covisit", "ease"}}
    assert all(sum(weights.values()) == pytest.approx(1, abs=1e-5) for weights in made.blends.values())


def test_a_new_training_replaces_the_live_release_and_old_ones_go(project: Project, store: Store, scenario: Scenario) -> None:
    few = replace(project, training=replace(project.training, keep_releases=2))
    names = [train(few, store, scenario, models=["popular"]).release for _ in range(3)]
    assert current_id(project.releases) == names[-1]
    assert [manifest.id for manifest in list_releases(project.releases)] == names[1:]


def test_without_publishing_the_live_release_stays(project: Project, store: Store, scenario: Scenario) -> None:
    first = train(project, store, scenario, models=["popular"])
    second = train(project, store, scenario, publish=False)
    assert not second.published
    assert "as asked" in str(second)
    assert current_id(project.releases) == first.release


# ---- the same again
@pytest.mark.promise("M4")
def test_the_same_data_and_seed_give_the_same_bytes(project: Project, store: Store, scenario: Scenario) -> None:
    """In another process, with another number of threads."""
    here = train(project, store, scenario)
    store.close()
    script = """if True:
        import sys
        from pathlib import Path
        from daogou.scenario import Project, Training
        from daogou.store import Store
        from daogou.train.fit import train

        project = Project(directory=Path(sys.argv[1]), scenario="toy.toml", training=Training(threads=1))
        with Store.open(project.store_url, read_only=True) as store:
            print(train(project, store, project.load_scenario()).digest)
    """
    there = subprocess.run([sys.executable, "-W", "error", "-c", script, str(project.directory)], capture_output=True, text=True, check=False)
    assert there.stdout.strip() == here.digest, there.stderr


@pytest.mark.promise("M4")
def test_another_datum_gives_other_bytes(project: Project, store: Store, scenario: Scenario, data: Dataset) -> None:
    """The control: the digest depends on what was learned from."""
    from daogou.data.rows import Event

    first = train(project, store, scenario)
    store.add_events([Event(user_id="u1", item_id="i1", event="purchase", time=data.end)])
    assert train(project, store, scenario).digest != first.digest


# ---- too little
def test_a_shop_without_events_gets_a_release_without_models(project: Project, scenario: Scenario) -> None:
    with Store.open(project.store_url) as store:
        store.put_items([Item(item_id="a", title="A"), Item(item_id="b", title="B")])
        made = train(project, store, scenario)
        assert made.published
        assert made.models == {}
        assert any("no event teaches anything" in text for text in made.warnings)
        answer = Engine(live(project), scenario, store).recommend(Request(placement="home"))
        assert {one.item_id for one in answer.items} == {"a", "b"}
        assert not answer.degraded


def test_an_empty_store_can_be_trained(project: Project, scenario: Scenario) -> None:
    with Store.open(project.store_url) as store:
        assert train(project, store, scenario).published


def test_a_handful_of_events_is_learned_from_though_not_measured(project: Project, scenario: Scenario) -> None:
    from daogou.data.rows import Event

    with Store.open(project.store_url) as store:
        store.add_events([Event(user_id="u", item_id=f"i{n}", event="purchase", time=1_700_000_000_000_000 + n) for n in range(3)])
        made = train(project, store, scenario)
        assert "popular" in made.models
        assert any("nothing could be measured" in text for text in made.warnings)
        assert made.metrics == {}
        assert made.published


# ---- wrong
def test_an_unknown_model_is_named_before_any_work(project: Project, store: Store, scenario: Scenario) -> None:
    with pytest.raises(UnknownName, match="did you mean 'ease'"):
        train(project, store, scenario, models=["eese"])
    assert not project.releases.exists()


@pytest.mark.parametrize("settings", [{"l3": 1.0}, {"l2": -1.0}, {"l2": "much"}])
def test_a_wrong_hyperparameter_is_named_before_any_work(project: Project, store: Store, scenario: Scenario, settings: dict[str, Any]) -> None:
    wrong = replace(scenario, models={**scenario.models, "ease": settings})
    with pytest.raises(ConfigError, match=r"\[models.ease\]"):
        train(project, store, wrong)
    assert not project.releases.exists()


def test_a_model_may_go_by_another_name_than_its_kind(project: Project, store: Store, scenario: Scenario) -> None:
    both = replace(scenario, models={**scenario.models, "fresh": {"kind": "popular", "half_life_days": 1.0}})
    made = train(project, store, both)
    assert made.models["fresh"].kind == "popular"
    assert set(live(project).models) == {"popular", "covisit", "ease", "als", "fresh"}


def test_blend_and_ranked_are_no_models_to_train(project: Project, store: Store, scenario: Scenario) -> None:
    assert set(train(project, store, scenario, models=["popular", "blend", "ranked"]).models) == {"popular"}


class Faulty(Popular):
    """Fails in a way chosen by the test."""

    how = ""

    def _fit(self, data: Dataset, run: Any) -> None:
        if self.how == "exception":
            raise ValueError("a surprise")
        if self.how == "training":
            raise TrainingError("too few events")
        if self.how == "memory":
            raise MemoryError
        super()._fit(data, run)
        if self.how == "nan":
            self.scores_SI[:] = np.nan

    def _score(self, queries: Any) -> Any:
        if self.how == "answer" and len(queries) == 1:
            raise ValueError("cannot answer")
        return super()._score(queries)

    def save(self, directory: Any) -> None:
        if self.how == "disk":
            raise OSError(28, "No space left on device")
        super().save(directory)


@pytest.fixture
def faulty(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    real = plugins.load
    monkeypatch.setattr(plugins, "load", lambda kind, name: Faulty if name == "faulty" else real(kind, name))
    monkeypatch.setattr(Faulty, "how", "")
    places = tuple(replace(place, retrieve=(*place.retrieve, "faulty")) for place in scenario.placements)
    return replace(scenario, models={**scenario.models, "faulty": {}}, placements=places)


@pytest.mark.promise("M2")
@pytest.mark.parametrize("how", ["exception", "training", "memory", "nan"])
def test_a_model_that_cannot_be_fitted_is_left_out(project: Project, store: Store, faulty: Scenario, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(Faulty, "how", how)
    made = train(project, store, faulty)
    assert made.published
    assert set(made.models) == {"popular", "covisit", "ease", "als"}
    assert any(text.startswith("faulty was left out") for text in made.warnings)
    assert any(text.startswith("faulty was left out") for text in live(project).manifest.notes)


@pytest.mark.promise("M2")
@pytest.mark.parametrize(("how", "error"), [("disk", OSError), ("answer", ReleaseError)])
def test_a_training_that_fails_leaves_the_live_release(
    project: Project, store: Store, faulty: Scenario, monkeypatch: pytest.MonkeyPatch, how: str, error: type[Exception]
) -> None:
    first = train(project, store, faulty)
    assert "faulty" in first.models  # the control: it trains where nothing is wrong
    monkeypatch.setattr(Faulty, "how", how)
    with pytest.raises(error):
        train(project, store, faulty)
    assert current_id(project.releases) == first.release
    assert Engine(live(project), faulty, store).recommend(Request(placement="home")).items


def test_training_reads_a_store_that_another_process_writes(project: Project, store: Store, scenario: Scenario) -> None:
    with Store.open(project.store_url, read_only=True) as reader:
        assert train(project, reader, scenario, models=["popular"]).published
