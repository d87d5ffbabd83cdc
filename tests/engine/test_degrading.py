"""Always an answer: model → the other models → newest, whatever breaks; `degraded` says so, a count remembers it, and the filter still holds."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daogou.engine import Engine, Request
from daogou.errors import ReleaseError, StoreError
from daogou.release import Release, open_release
from daogou.scenario import Project, Scenario
from daogou.store import Store

PLACES = ["home", "new", "like", "with", "taste", "try"]
MODELS = ["popular", "covisit", "ease", "als"]


def ask(placement: str, **more: Any) -> Request:
    return Request(**{"placement": placement, "user_id": "u3", "items": ["i4"] if placement in ("like", "with") else [], **more})


def speaking(release: Release, scenario: Scenario, place: str) -> set[str]:
    """The models that have a say at a placement (the learned weight of another one may be 0)."""
    retrieve = scenario.placement(place).retrieve
    if scenario.placement(place).rank == "first":
        return {retrieve[0]}
    return {name for name, weight in release.blends[place].items() if weight > 0}


class Broken:
    """A model that fails in everything it is asked."""

    n_items = 60

    def fail(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("broken")

    recommend = score = similar = explain = save = fail


def broken(release: Release, names: tuple[str, ...]) -> Release:
    models: dict[str, Any] = {name: Broken() if name in names else model for name, model in release.models.items()}
    return Release(release.manifest, release.directory, release.items, models, release.blends)


@pytest.mark.promise("A1")
@pytest.mark.parametrize("names", [c for n in range(1, 5) for c in itertools.combinations(MODELS, n)], ids="+".join)
def test_an_answer_whatever_models_fail(release: Release, scenario: Scenario, store: Store, names: tuple[str, ...]) -> None:
    engine = Engine(broken(release, names), scenario, store)
    for place in PLACES:
        answer = engine.recommend(ask(place, filter="price > 10", k=12))
        assert len(answer.items) == 12
        assert all(one.item.price > 10 for one in answer.items)  # type: ignore[union-attr, operator]
        assert answer.degraded == bool(speaking(release, scenario, place) & set(names))
    wanted = set.union(*(speaking(release, scenario, place) for place in PLACES))
    assert set(engine.failures) >= wanted & set(names)


def test_without_any_failure_nothing_is_degraded(release: Release, scenario: Scenario, store: Store) -> None:
    """The control: the check above would notice a flag that is always set."""
    engine = Engine(release, scenario, store)
    assert not any(engine.recommend(ask(place)).degraded for place in PLACES)
    assert not engine.failures


def test_the_model_left_standing_answers(release: Release, scenario: Scenario, store: Store) -> None:
    engine = Engine(broken(release, ("ease", "als")), scenario, store)
    assert {one.reason for one in engine.recommend(ask("home")).items} == {"Many take it"}
    assert {one.reason for one in Engine(broken(release, tuple(MODELS)), scenario, store).recommend(ask("home")).items} == {"New"}


class Failing:
    """A store of which some methods fail."""

    def __init__(self, store: Store, methods: tuple[str, ...]) -> None:
        self.store, self.methods = store, methods

    def __getattr__(self, name: str) -> Any:
        if name in self.methods:
            return self.fail
        return getattr(self.store, name)

    def fail(self, *_: object, **__: object) -> None:
        raise StoreError("the disk is gone")


@pytest.mark.promise("A1")
@pytest.mark.parametrize("methods", [("signals",), ("user",), ("items",), ("signals", "items_with", "user", "items")], ids="+".join)
def test_an_answer_without_the_store(release: Release, scenario: Scenario, store: Store, methods: tuple[str, ...]) -> None:
    engine = Engine(release, scenario, Failing(store, methods))  # type: ignore[arg-type]
    for place in PLACES:
        answer = engine.recommend(ask(place, filter="price > 10"))
        assert answer.items
        assert answer.degraded
        assert all(store.item(one.item_id).price > 10 for one in answer.items)  # type: ignore[union-attr, operator]
    assert engine.failures["store"]
    assert engine.search("item 3").items


@pytest.fixture
def copied(trained: Project, release: Release, tmp_path: Path) -> Iterator[Path]:
    target = tmp_path / release.id
    shutil.copytree(trained.releases / release.id, target)
    yield target


@pytest.mark.promise("A1")
@pytest.mark.parametrize("damage", ["delete", "truncate", "corrupt", "empty"])
@pytest.mark.parametrize("model", MODELS)
def test_a_damaged_model_is_left_out(copied: Path, scenario: Scenario, store: Store, damage: str, model: str) -> None:
    path = copied / "models" / model / "weights.safetensors"
    content = path.read_bytes()
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes({"truncate": content[: len(content) // 2], "corrupt": content[:-1] + bytes([content[-1] ^ 1]), "empty": b""}[damage])
    with pytest.raises(ReleaseError):
        open_release(copied)
    found = open_release(copied, strict=False)
    assert list(found.damaged) == [model]
    engine = Engine(found, scenario, store)
    for place in PLACES:
        answer = engine.recommend(ask(place))
        assert answer.items
        if scenario.placement(place).rank != "first" or model not in scenario.placement(place).retrieve[1:]:  # those speak only where the first cannot fill
            assert answer.degraded == (model in speaking(found, scenario, place))


@pytest.mark.parametrize("file", ["manifest.json", "items.json", "blend.json"])
def test_a_release_without_its_head_is_refused(copied: Path, file: str) -> None:
    (copied / file).write_bytes(b"{}")
    with pytest.raises(ReleaseError):
        open_release(copied, strict=False)


def test_before_the_first_training_the_newest_items_answer(scenario: Scenario, store: Store) -> None:
    engine = Engine(None, scenario, store)
    for place in PLACES:
        answer = engine.recommend(ask(place, filter="price > 10", k=5))
        assert [one.reason for one in answer.items] == ["New"] * 5
        assert answer.release is None
        assert not answer.degraded
    assert engine.search("item 3", k=1).items[0].item_id == "i3"
    assert len(engine.rank("u3", ["i1", "i2"]).items) == 2


def test_an_empty_shop_answers_with_nothing(scenario: Scenario, tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/empty.sqlite3") as store:
        engine = Engine(None, scenario, store)
        assert engine.recommend(Request(placement="home")).items == []
        assert engine.recommend(Request(placement="try", user_id="x")).items == []
        assert engine.search("anything").items == []
