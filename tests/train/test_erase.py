"""Erasing a person: equal to having never known them, in rows, models and every byte of the project's files."""

import hashlib
from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest
from msgspec.structs import replace

from daogou.data.dataset import Dataset
from daogou.data.rows import Event, Item, User
from daogou.encode import cache, encoder
from daogou.engine import Engine, Request
from daogou.errors import ReleaseError
from daogou.release import Release, current_id, list_releases, open_current, open_release
from daogou.scenario import Project, Scenario
from daogou.store import Store
from daogou.testing.project import events_frame, fill
from daogou.testing.toy import random_dataset
from daogou.train import erase as module
from daogou.train.erase import erase
from daogou.train.fit import train

ADDITIVE = {"popular", "covisit", "ease"}
PERSON = "u7-a-name-to-be-found"


def named(data: Dataset) -> Dataset:
    """The same data with user 7 under a name that can be searched for."""
    from daogou.data.vocab import Vocabulary

    users = Vocabulary(PERSON if name == "u7" else name for name in data.users.ids)
    table = data.user_table.with_columns(pl.Series("user_id", users.ids))
    return Dataset(users, data.items, data.events, data.event_names, data.weights, data.item_table, table)


@pytest.fixture
def data() -> Dataset:
    return named(random_dataset(5, n_users=80, n_items=40, n_events=2500))


def live(project: Project) -> Release:
    found = open_current(project.releases)
    assert found is not None
    return found


def weights(release: Release) -> dict[str, str]:
    """Digest of each model's weights and statistics."""
    return {name: value for name, value in release.manifest.files.items() if name.endswith(".safetensors")}


def traces(directory: Path, name: str) -> list[str]:
    """Files that hold the name, plain or hashed."""
    needles = [name.encode(), hashlib.sha256(name.encode()).hexdigest().encode(), hashlib.md5(name.encode()).hexdigest().encode()]
    return [str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file() and any(n in path.read_bytes() for n in needles)]


@pytest.mark.promise("S3")
def test_equals_a_training_that_never_knew_the_person(project: Project, store: Store, scenario: Scenario, data: Dataset, tmp_path: Path) -> None:
    train(project, store, scenario)
    receipt = erase(project, store, PERSON)
    assert receipt.models == {name: "subtracted" if name in ADDITIVE else "refitted" for name in scenario.models}

    other = Project(directory=tmp_path / "other", scenario=str(project.directory / "toy.toml"))
    other.directory.mkdir()
    with Store.open(other.store_url) as never:
        never.bulk_items(data.item_table)
        never.bulk_users(data.user_table.filter(pl.col("user_id") != PERSON))
        never.bulk_events(events_frame(data).filter(pl.col("user_id") != PERSON))
        train(other, never, scenario)
    assert weights(live(project)) == weights(live(other))  # byte for byte
    assert live(project).items.ids == live(other).items.ids


@pytest.mark.promise("S3")
def test_before_erasing_they_were_different(project: Project, store: Store, scenario: Scenario) -> None:
    """The control: the equality above is not there by itself."""
    train(project, store, scenario)
    before = weights(live(project))
    erase(project, store, PERSON)
    after = weights(live(project))
    assert all(before[name] != after[name] for name in before)


@pytest.mark.promise("S3")
def test_no_byte_of_the_person_is_left(project: Project, store: Store, scenario: Scenario) -> None:
    from daogou.data.quarantine import Quarantine, Rejected

    train(project, store, scenario)
    train(project, store, scenario)
    with Quarantine(project.quarantine) as quarantine:
        quarantine.add(
            [Rejected("f", 1, "time", "no time", "x", "a time", {"user_id": PERSON}), Rejected("f", 2, "", "short", "y", "3 cells", "somebody,else")]
        )
    assert traces(project.directory, PERSON)  # the control: the scan finds what is there
    receipt = erase(project, store, PERSON)
    assert receipt.rows.verified
    assert receipt.quarantined == 1
    assert traces(project.directory, PERSON) == []
    assert len(receipt.retired) == 2
    assert [manifest.id for manifest in list_releases(project.releases)] == [receipt.release]
    assert PERSON not in str(receipt)
    store.close()
    assert traces(project.directory, PERSON) == []


def test_the_next_training_has_no_row_of_them(project: Project, store: Store, scenario: Scenario) -> None:
    first = train(project, store, scenario)
    receipt = erase(project, store, PERSON)
    again = train(project, store, scenario)
    assert again.published
    assert weights(live(project)) == weights_of(project, again.release)
    assert live(project).manifest.users == 79
    assert first.release in receipt.retired


def weights_of(project: Project, name: str) -> dict[str, str]:
    return weights(open_release(project.releases / name))


def test_the_new_release_answers_everyone_else(project: Project, store: Store, scenario: Scenario) -> None:
    train(project, store, scenario)
    erase(project, store, PERSON)
    engine = Engine(live(project), scenario, store)
    for user in ("u3", PERSON, None):
        answer = engine.recommend(Request(placement="home", user_id=user))
        assert len(answer.items) == 10
        assert not answer.degraded
    guest, erased = (engine.recommend(Request(placement="home", user_id=user)) for user in (None, PERSON))
    assert [one.item_id for one in guest.items] == [one.item_id for one in erased.items]


def test_erasing_twice_or_somebody_unknown_changes_no_release(project: Project, store: Store, scenario: Scenario) -> None:
    train(project, store, scenario)
    erase(project, store, PERSON)
    name = current_id(project.releases)
    for user in (PERSON, "nobody at all"):
        receipt = erase(project, store, user)
        assert (receipt.models, receipt.release, receipt.retired) == ({}, name, ())


def test_events_after_the_training_are_not_subtracted(project: Project, store: Store, scenario: Scenario, data: Dataset, tmp_path: Path) -> None:
    """What a release was not trained on must not be taken out of it."""
    train(project, store, scenario)
    later = [Event(user_id=PERSON, item_id=f"i{n}", event="purchase", time=data.end + 1 + n) for n in range(9)]
    later += [Event(user_id="u3", item_id="i1", event="purchase", time=data.end + 5)]
    store.add_events(later)
    receipt = erase(project, store, PERSON)
    assert {receipt.models[name] for name in ADDITIVE} == {"subtracted"}
    other = Project(directory=tmp_path / "other", scenario=str(project.directory / "toy.toml"))
    other.directory.mkdir()
    with Store.open(other.store_url) as never:
        fill(never, data)
        never.erase_user(PERSON)
        train(other, never, scenario)
    assert weights(live(project)) == weights(live(other))


@pytest.mark.parametrize("what", ["backfill", "consent"])
def test_models_are_fitted_anew_where_their_data_changed_otherwise(project: Project, store: Store, scenario: Scenario, data: Dataset, what: str) -> None:
    """A sum that was made of other events than the store holds now cannot be subtracted from."""
    train(project, store, scenario)
    if what == "backfill":
        store.add_events([Event(user_id=PERSON, item_id="i1", event="purchase", time=data.end - 1_000_000)])
    else:
        store.patch_user(User(user_id="u3", consent=False))
    receipt = erase(project, store, PERSON)
    assert set(receipt.models.values()) == {"refitted"}
    erased = weights(live(project))
    train(project, store, scenario)
    assert erased == weights(live(project))


def test_after_a_crash_the_same_call_finishes_the_work(project: Project, store: Store, scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train(project, store, scenario)

    def crash(*_: object) -> None:
        raise ReleaseError("killed here")

    monkeypatch.setattr(module, "_without", crash)
    with pytest.raises(ReleaseError, match="killed"):
        erase(project, store, PERSON)
    assert store.user(PERSON) is None  # the rows went first
    assert current_id(project.releases) == first.release
    monkeypatch.undo()
    receipt = erase(project, store, PERSON)
    assert set(receipt.models.values()) == {"refitted"}
    assert receipt.retired == (first.release,)
    erased = weights(live(project))
    train(project, store, scenario)
    assert erased == weights(live(project))


def test_without_a_release_the_rows_go_alone(project: Project, store: Store) -> None:
    receipt = erase(project, store, PERSON)
    assert receipt.release is None
    assert receipt.rows.events > 0
    assert store.user(PERSON) is None


def test_the_only_person_can_be_erased(project: Project, scenario: Scenario) -> None:
    with Store.open(project.store_url) as store:
        store.put_items([Item(item_id=f"i{n}") for n in range(5)])
        store.add_events([Event(user_id=PERSON, item_id=f"i{n % 5}", event="purchase", time=1_700_000_000_000_000 + n) for n in range(20)])
        train(project, store, scenario, models=["popular", "covisit"])
        receipt = erase(project, store, PERSON)
        assert receipt.models == {"popular": "removed", "covisit": "removed"}
        assert traces(project.directory, PERSON) == []
        assert live(project).models == {}
        assert len(receipt.retired) == 1
        assert Engine(live(project), scenario, store).recommend(Request(placement="home")).items


@pytest.mark.promise("S3")
def test_a_person_who_is_also_an_item_goes_from_both(project: Project, store: Store, scenario: Scenario) -> None:
    """In a network of people, others' events with the person are theirs too."""
    (project.directory / "toy.toml").write_text(
        (project.directory / "toy.toml").read_text("utf-8").replace('name = "toy"', 'name = "toy"\npeople = "person"'), "utf-8"
    )
    social = replace(scenario, people="person")
    store.put_items([Item(item_id=PERSON, title="A person", kind="person", attributes={"about": "paints"})])
    vectors = project.directory / "vectors"
    cache.encode(encoder("ngram"), ["A person", "paints", "Item 1"], vectors)
    (project.directory / "checkpoints").mkdir()
    store.add_events([Event(user_id=f"u{n}", item_id=PERSON, event="purchase", time=1_700_500_000_000_000 + n) for n in range(10, 20)])
    train(project, store, social)
    assert PERSON in live(project).items
    receipt = erase(project, store, PERSON)
    assert set(receipt.models.values()) == {"refitted"}
    assert traces(project.directory, PERSON) == []
    assert receipt.vectors == 2
    kept = b"".join(file.read_bytes() for file in vectors.iterdir())
    assert [sha256(text).digest() in kept for text in (b"A person", b"paints", b"Item 1")] == [False, False, True]
    assert not (project.directory / "checkpoints").exists()
    erased = weights(live(project))
    train(project, store, social)
    assert erased == weights(live(project))


def test_an_item_that_happens_to_have_a_persons_id_stays(project: Project, store: Store, scenario: Scenario) -> None:
    store.put_items([Item(item_id=PERSON, title="A thing", kind="person")])
    train(project, store, scenario)
    erase(project, store, PERSON)
    assert store.item(PERSON) is not None
