"""The questions of a release: from the items that may be asked for, without whoever was erased, and no reason to stop answering when they are damaged."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from daogou.config import decode_toml
from daogou.data.rows import Item
from daogou.engine import Engine, Request
from daogou.errors import ReleaseError
from daogou.profile.newcomers import FILE
from daogou.release import open_current
from daogou.scenario import Profiles, Project, Scenario
from daogou.store import Store
from daogou.testing.project import fill
from daogou.testing.toy import random_dataset
from daogou.train.erase import erase
from daogou.train.fit import newcomers, snapshot, train

SCENARIO = """
name = "toy"
[events]
view = 0.125
cart = 0.5
purchase = 1.0
[models.popular]
[models.ease]
[[placements]]
name = "home"
retrieve = ["ease", "popular"]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    (tmp_path / "toy.toml").write_text(SCENARIO)
    project = Project(directory=tmp_path, scenario="toy.toml")
    with Store.open(project.store_url) as store:
        fill(store, random_dataset(5, n_users=120, n_items=60, n_events=3000))
        train(project, store, project.load_scenario())
    return project


def test_what_may_not_be_asked_is_not(shop: Project) -> None:
    with Store.open(shop.store_url) as store:
        scenario: Scenario = decode_toml(SCENARIO, Scenario, "toy")
        before = newcomers(snapshot(shop, store, scenario), scenario, 0)
        assert before is not None
        sold_out, nameless = (snapshot(shop, store, scenario).items.id(int(code)) for code in before.options_Q[:2])
        store.patch_item(Item(item_id=sold_out, available=False))
        store.patch_item(Item(item_id=nameless, title=None))
        data = snapshot(shop, store, scenario)
        after = newcomers(data, replace(scenario, profile=Profiles(private='brand = "b1"')), 0)
        assert after is not None
        asked = [data.items.id(int(code)) for code in after.options_Q]
        assert not {sold_out, nameless} & set(asked)
        assert all(item.brand != "b1" for item in store.items(asked))


def test_who_is_erased_is_in_no_answer(shop: Project) -> None:
    with Store.open(shop.store_url) as store:
        scenario = shop.load_scenario()
        before = open_current(shop.releases)
        assert before is not None and before.newcomers is not None
        erase(shop, store, "u5")
        after = open_current(shop.releases)
        assert after is not None and after.newcomers is not None and after.id != before.id
        without = newcomers(snapshot(shop, store, scenario), scenario, 0)
        assert without is not None
        assert np.array_equal(after.newcomers.effect_QI, without.effect_QI) and np.array_equal(after.newcomers.options_Q, without.options_Q)
        assert not np.array_equal(after.newcomers.usual_I, before.newcomers.usual_I)


def test_damaged_questions_cost_nobody_an_answer(shop: Project) -> None:
    release = open_current(shop.releases)
    assert release is not None
    with (release.directory / FILE).open("r+b") as file:
        file.seek(200)
        file.write(b"damage")
    with pytest.raises(ReleaseError, match="sha256"):
        open_current(shop.releases, strict=True)
    damaged = open_current(shop.releases)
    assert damaged is not None and damaged.newcomers is None and FILE in damaged.damaged
    with Store.open(shop.store_url) as store:
        engine = Engine(damaged, shop.load_scenario(), store)
        assert len(engine.recommend(Request(placement="home", user_id="u3")).items) == 10
        assert engine.onboarding(), "asked for values of the catalogue instead"


def test_a_shop_that_nobody_visited_has_no_such_file(tmp_path: Path) -> None:
    (tmp_path / "toy.toml").write_text(SCENARIO)
    project = Project(directory=tmp_path, scenario="toy.toml")
    with Store.open(project.store_url) as store:
        store.put_items([Item(item_id=f"i{n}", title=f"Thing {n}", brand=f"b{n % 3}") for n in range(9)])
        train(project, store, project.load_scenario())
    release = open_current(project.releases)
    assert release is not None and release.newcomers is None and not (release.directory / FILE).exists()
