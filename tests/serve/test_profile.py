"""The profile over HTTP: read, corrected, exported, erased; the next answer follows."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from daogou.data.rows import Event
from daogou.scenario import Project
from daogou.serve.app import create_app
from daogou.store import Store
from daogou.train.fit import train

Client = TestClient[Litestar]
PROFILE = "/v1/users/u3/profile"
WORDS = f"{PROFILE}/corrections"


@pytest.fixture
def retrained(trained: Project) -> Iterator[Client]:
    """A server whose release has questions of its own: enough people have taken the items."""
    start = time.time_ns() // 1000 - 1_000_000
    with Store.open(trained.store_url) as store:
        store.add_events(
            [
                Event(user_id=f"more{u}", item_id=f"i{(u % 2 + 2 * step * (1 + u % 3)) % 40}", event="purchase", time=start + step)
                for u in range(200)
                for step in range(12)
            ]
        )
        train(trained, store, trained.load_scenario(), models=["popular", "ease"])
    with TestClient(create_app(trained, open_access=True)) as client:
        yield client


def say(client: Client, attribute: str, value: str, says: str, user: str = "u3") -> Any:
    return client.post(f"/v1/users/{user}/profile/corrections", json={"attribute": attribute, "value": value, "says": says})


def home(client: Client, user: str | None = "u3", **more: Any) -> list[str]:
    answer = client.post("/v1/recommendations", json={"placement": "home.for_you", "user_id": user, "k": 8, **more}).json()
    return [one["item"]["brand"] for one in answer["items"]]


def test_a_profile_with_evidence(reading: Client) -> None:
    found = reading.get(PROFILE).json()
    assert (found["user_id"], found["events"], found["corrections"]) == ("u3", 10, [])
    side = next(t for t in found["tastes"] if t["value"] == "Side 1")
    assert side["events"] == {"purchase": 10} and side["n_items"] == 10 and side["lift"] > 1.25
    assert side["items"][0]["title"].startswith("Thing ") and side["first"] < side["last"]
    assert sum(found["rhythm"]["weekdays"]) == found["rhythm"]["days"] and len(found["rhythm"]["hours"]) == 24


def test_someone_unknown_has_an_empty_one(reading: Client) -> None:
    found = reading.get("/v1/users/nobody/profile")
    assert found.status_code == 200
    assert found.json() == {"user_id": "nobody", "consent": None, "events": 0, "tastes": [], "rhythm": None, "due": [], "corrections": []}


def test_a_word_changes_the_next_answer_and_taken_back_leaves_no_trace(client: Client) -> None:
    before, other = home(client), home(client, "u5")
    said = say(client, "brand", "brand1", "wrong")
    assert said.status_code == 200 and [(c["attribute"], c["value"], c["says"]) for c in said.json()] == [("brand", "brand1", "wrong")]
    assert "brand1" in before and "brand1" not in home(client)
    assert home(client, "u5") == other
    assert say(client, "brand", "brand1", "wrong").json() == said.json(), "said twice is said once"
    assert client.get(WORDS).json() == client.get(PROFILE).json()["corrections"] == said.json()
    assert say(client, "brand", "brand1", "undo").json() == []
    assert home(client) == before
    say(client, "brand", "brand3", "more")
    assert home(client).count("brand3") > before.count("brand3")
    assert client.delete(WORDS).json() == [] and home(client) == before


def test_words_are_exported_erased_and_survive_a_restart(trained: Project) -> None:
    with TestClient(create_app(trained, open_access=True)) as client:
        say(client, "brand", "brand1", "wrong")
    with TestClient(create_app(trained, open_access=True)) as client:
        assert "brand1" not in home(client)
        assert [c["value"] for c in client.get("/v1/users/u3/export").json()["corrections"]] == ["brand1"]
        assert client.delete("/v1/users/u3").json()["tables"]["corrections"] == 1
        assert client.get(WORDS).json() == []


def test_a_guest_brings_words_in_the_request(reading: Client) -> None:
    session = [{"item_id": "i1", "event": "purchase"}]
    before = home(reading, None, session=session)
    after = home(reading, None, session=session, corrections=[{"attribute": "brand", "value": before[0], "says": "wrong"}])
    assert before[0] not in after


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"attribute": "flavour", "value": "x", "says": "more"}, "attribute"),
        ({"attribute": "brand", "value": "none such", "says": "more"}, "value"),
        ({"attribute": "brand", "value": "brand1", "says": "maybe"}, "says"),
        ({"attribute": "brand", "value": "", "says": "more"}, "value"),
        ({"attribute": "brand", "value": "brand1"}, "says"),
    ],
)
def test_what_cannot_be_said_is_explained(reading: Client, body: dict[str, str], field: str) -> None:
    refused = reading.post(WORDS, json=body)
    assert refused.status_code == 400
    assert field in str(refused.json()["extra"])


def test_taking_back_what_was_never_said_is_no_error(reading: Client) -> None:
    assert say(reading, "flavour", "sweet", "undo").json() == []


# ---- new people
def test_onboarding_asks_and_the_answers_count_at_once(client: Client) -> None:
    asked = client.get("/v1/onboarding").json()
    options = [one for question in asked["questions"] for one in question["options"]]
    assert len(asked["questions"]) == 3 and asked["release"]
    before = home(client, "new")
    picked = [{"attribute": one["attribute"], "value": one["value"]} for one in options[:2]]
    noted = client.post("/v1/onboarding", json={"user_id": "new", "picked": [*picked, picked[0]]})
    assert noted.status_code == 200 and noted.json() == {"user_id": "new", "picked": 2}
    assert home(client, "new") != before
    assert {c["says"] for c in client.get("/v1/users/new/profile").json()["corrections"]} == {"more"}
    client.delete("/v1/users/new/profile/corrections")
    assert home(client, "new") == before


def test_nothing_picked_changes_nothing(client: Client) -> None:
    assert client.post("/v1/onboarding", json={"user_id": "newer", "picked": []}).json() == {"user_id": "newer", "picked": 0}
    assert client.get("/v1/users/newer").status_code == 404


def test_what_was_not_offered_is_refused(reading: Client) -> None:
    refused = reading.post("/v1/onboarding", json={"user_id": "x", "picked": [{"attribute": "item_id", "value": "no such"}]})
    assert refused.status_code == 400 and "no item" in refused.json()["extra"][0]["found"]


def test_items_of_questions_come_with_their_rows(retrained: Client) -> None:
    asked = retrained.get("/v1/onboarding").json()["questions"]
    assert all(one["attribute"] == "item_id" and one["item"]["title"].startswith("Thing ") for question in asked for one in question["options"])
    assert [len(question["options"]) for question in asked[:2]] == [6, 6] and 2 <= len(asked[2]["options"]) <= 6
