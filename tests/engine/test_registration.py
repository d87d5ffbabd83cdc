"""Someone who has just registered gets what people who registered alike take, says so, and is known by the own history from then on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from daogou.config import decode_toml
from daogou.data.rows import Event, User
from daogou.engine import Engine, Request
from daogou.models.ease import Ease
from daogou.models.registration import Registration
from daogou.release import Fitted, Manifest, open_release
from daogou.scenario import Scenario
from daogou.store import Store
from daogou.testing.project import fill
from daogou.testing.toy import START_US, random_dataset
from daogou.train import release as releases

SCENARIO = """
name = "toy"
[events]
purchase = 1.0
cart = 0.5
view = 0.125
[attributes.users]
side = "tag"
[models.ease]
[models.registration]
attributes = ["side"]
[[placements]]
name = "home"
retrieve = ["ease", "registration"]
[words.en]
"because.ease" = "Because of {item}"
"because.registration" = "People like you"
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'store.sqlite3'}") as store:
        fill(store, random_dataset(4, n_users=200, n_items=40, n_events=4000))
        store.put_users([User(user_id="odd", attributes={"side": "odd"}), User(user_id="even", attributes={"side": "even"}), User(user_id="silent")])
        yield store


@pytest.fixture
def engine(store: Store, tmp_path: Path) -> Engine:
    scenario = decode_toml(SCENARIO, Scenario, "toy.toml")
    data = store.snapshot(scenario.events, attributes=scenario.attributes)
    models = {"ease": Ease().fit(data), "registration": Registration(attributes=("side",)).fit(data)}
    about = Manifest(scenario="toy", models={name: Fitted(kind=name) for name in models})
    manifest = releases.write(tmp_path / "releases", models, data.items, {"home": {"ease": 1.0, "registration": 0.0}}, about)
    return Engine(open_release(tmp_path / "releases" / manifest.id), scenario, store)


def parities(engine: Engine, user: str) -> float:
    """Share of odd goods on the list, which odd people of the toy data take four times as often."""
    answer = engine.recommend(Request(placement="home", user_id=user))
    assert len(answer.items) == 10 and not answer.degraded
    return sum(int(item.item_id[1:]) % 2 for item in answer.items) / 10


def test_who_registered_is_answered_before_the_first_event(engine: Engine) -> None:
    assert parities(engine, "odd") > 0.5 > parities(engine, "even")
    for user in ("odd", "even", "silent", "nobody"):
        assert {item.reason for item in engine.recommend(Request(placement="home", user_id=user)).items} == {"People like you"}


def test_the_own_history_takes_over(engine: Engine, store: Store) -> None:
    taken = range(0, 40, 2)
    store.add_events([Event(user_id="odd", item_id=f"i{item}", event="purchase", time=START_US + n) for n, item in enumerate(taken)])
    assert parities(engine, "odd") < 0.5
    reasons = {item.reason for item in engine.recommend(Request(placement="home", user_id="odd")).items}
    assert "People like you" not in reasons and all(reason.startswith("Because of") for reason in reasons)
