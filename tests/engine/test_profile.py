"""The profile of an engine's shoppers, and that what they say of it changes their next answer, and nobody else's."""

import time
from collections.abc import Iterable

import numpy as np
import pytest
from msgspec.structs import replace as with_fields

from daogou import query
from daogou.config import decode_toml
from daogou.contract import Queries
from daogou.data.rows import Correction, Event, Item, User
from daogou.engine import Answer, Engine, Request, SessionEvent
from daogou.errors import ConfigError, FilterError, UnknownName, UsageError
from daogou.release import Release
from daogou.request import Said
from daogou.scenario import Profiles, Scenario
from daogou.store import Store
from daogou.testing.toy import START_US

PLACES = ["home", "new", "like", "with", "taste", "mixed"]


@pytest.fixture
def engine(release: Release, scenario: Scenario, store: Store) -> Engine:
    """Its answers are all called the same, so that exploration draws the same."""
    return Engine(release, scenario, store, request_id=lambda: "same")


def ask(place: str, user: str | None = "u3", **more: object) -> Request:
    return Request(**{"placement": place, "user_id": user, "items": ["i4"] if place in ("like", "with") else [], **more})  # type: ignore[arg-type]


def shown(answer: Answer) -> list[str]:
    return [one.item_id for one in answer.items]


def whole(answer: Answer) -> list[tuple[object, ...]]:
    return [(one.item_id, one.score, one.propensity, one.reason) for one in answer.items]


def say(store: Store, attribute: str, value: str, says: str = "wrong", user: str = "u3") -> None:
    store.put_corrections(user, [Correction(attribute=attribute, value=value, says=says, time=time.time_ns() // 1000)])  # type: ignore[arg-type]


def brand(engine: Engine, ids: Iterable[str]) -> list[str]:
    return [str(item.brand) for item in engine._store.items(list(ids))]


# ---- wrong
@pytest.mark.parametrize("place", PLACES)
def test_wrong_values_are_not_shown_while_there_is_anything_else(engine: Engine, store: Store, place: str) -> None:
    before = engine.recommend(ask(place))
    assert "b1" in brand(engine, shown(before))
    say(store, "brand", "b1")
    after = engine.recommend(ask(place))
    assert "b1" not in brand(engine, shown(after))[: 3 if place == "mixed" else None]  # one of each of four brands: the fourth must be b1
    assert len(after.items) == len(before.items) and not after.degraded
    store.drop_corrections("u3")
    assert whole(engine.recommend(ask(place))) == whole(before), "undone, the answer is the one from before"


def test_a_list_is_filled_with_wrong_ones_rather_than_left_short(engine: Engine, store: Store) -> None:
    say(store, "brand", "b1")
    request = ask("home", filter='brand in ["b1", "b2"]', k=30)
    brands = brand(engine, shown(engine.recommend(request)))
    assert len(brands) == 30 and brands == sorted(brands, reverse=True)
    only = engine.recommend(ask("home", filter='brand = "b1"'))
    assert len(only.items) == 8, "asked for by a filter, it is shown"


def test_the_history_loses_what_is_wrong(engine: Engine, store: Store) -> None:
    def history(user: str) -> list[str]:
        explained = engine.recommend(ask("taste", user, explain=True, k=60))
        return [cause.item_id for one in explained.items for cause in one.explanation or []]

    assert "b1" in brand(engine, set(history("u3")))
    say(store, "brand", "b1")
    assert history("u3") and "b1" not in brand(engine, set(history("u3")))


def test_one_item_may_be_wrong(engine: Engine, store: Store) -> None:
    first = shown(engine.recommend(ask("home")))[0]
    say(store, "item_id", first)
    assert first not in shown(engine.recommend(ask("home")))
    assert shown(engine.recommend(ask("home", k=60)))[-1] == first


# ---- more
@pytest.mark.parametrize("place", ["home", "taste", "try", "like"])
def test_more_of_a_value_gives_a_third_of_the_places_more(engine: Engine, store: Store, place: str) -> None:
    request = ask(place, k=9)
    before = brand(engine, shown(engine.recommend(request))).count("b2")
    say(store, "brand", "b2", "more")
    after = engine.recommend(request)
    gained = brand(engine, shown(after)).count("b2") - before
    assert (0 < gained <= 3) if place == "like" else gained == min(3, 9 - before)
    assert len(set(shown(after))) == 9
    assert all(one.score > float("-inf") for one in after.items)


def test_more_of_an_item_raises_what_is_like_it(engine: Engine, store: Store) -> None:
    before = shown(engine.recommend(ask("home")))
    like = {"i41", *(engine.catalogue.items.id(code) for code in engine._like(engine.catalogue.code("i41")))}
    say(store, "item_id", "i41", "more")
    after = shown(engine.recommend(ask("home")))
    assert len(like & set(after)) == len(like & set(before)) + 3
    assert "i41" not in shown(engine.recommend(ask("new", k=60))), "where known items are left out, it counts as known"


def test_more_of_an_item_is_an_event_for_those_who_have_none(engine: Engine, store: Store) -> None:
    guest = ask("taste", "nobody yet")
    before = shown(engine.recommend(guest))
    say(store, "item_id", "i41", "more", "nobody yet")
    told = engine.recommend(with_fields(guest, explain=True))
    assert shown(told) != before
    assert {cause.item_id for one in told.items for cause in one.explanation or []} == {"i41"}


def test_a_raised_item_says_why(engine: Engine, release: Release, scenario: Scenario, store: Store) -> None:
    say(store, "brand", "b2", "more")
    plain = engine.recommend(ask("home"))
    assert all(one.reason != "You asked for more" for one in plain.items), "a scenario without the words names the model"
    words = {**scenario.words, "en": {**scenario.words["en"], "because.more": "You asked for more"}}
    speaking = Engine(release, with_fields(scenario, words=words), store)
    reasons = [(one.reason, item) for one, item in zip(*(lambda a: (a.items, brand(engine, shown(a))))(speaking.recommend(ask("home"))), strict=True)]
    assert any(reason == "You asked for more" for reason, _ in reasons)
    assert all(item == "b2" for reason, item in reasons if reason == "You asked for more")


# ---- for whom, and how
def test_nobody_else_is_touched_and_a_batch_is_its_requests(engine: Engine, store: Store) -> None:
    others = [ask(place, user) for place in PLACES for user in ("u1", "u9", None, "never seen")]
    before = [whole(engine.recommend(one)) for one in others]
    say(store, "brand", "b1")
    say(store, "category", "Left", "more")
    say(store, "item_id", "i7", "more")
    requests = [ask(place) for place in PLACES] + others
    together, alone = engine.recommend_many(requests), [engine.recommend(one) for one in requests]
    assert [shown(one) for one in together] == [shown(one) for one in alone]
    assert [whole(one) for one in alone[len(PLACES) :]] == before


def test_a_guest_brings_words_along(engine: Engine, store: Store) -> None:
    session = [SessionEvent(item_id="i2", event="purchase"), SessionEvent(item_id="i5", event="purchase")]
    guest = ask("home", None, session=session)
    told = ask("home", None, session=session, corrections=[Said(attribute="brand", value="b1", says="wrong"), Said(attribute="brand", value="b2", says="more")])
    before, after = brand(engine, shown(engine.recommend(guest))), brand(engine, shown(engine.recommend(told)))
    assert "b1" in before and "b1" not in after and after.count("b2") > before.count("b2")
    say(store, "brand", "b1", "more", "u3")
    assert "b1" not in brand(engine, shown(engine.recommend(ask("home", corrections=[Said(attribute="brand", value="b1", says="wrong")])))), (
        "the newer word counts"
    )


def test_ranking_and_search_follow_too(engine: Engine, store: Store) -> None:
    items = [f"i{n}" for n in range(20)]
    before = shown(engine.rank("u3", items))
    say(store, "brand", "b1")
    after = engine.rank("u3", items)
    brands = brand(engine, shown(after))
    assert sorted(shown(after)) == sorted(before) and brands[-5:] == ["b1"] * 5
    found = brand(engine, shown(engine.search("item", k=20, user_id="u3")))
    assert found.index("b1") > found.index("b2") if "b1" in found else True
    say(store, "brand", "b2", "more")
    assert brand(engine, shown(engine.rank("u3", items)))[:8].count("b2") > brands[:8].count("b2")


def test_the_guide_follows_too(engine: Engine, store: Store) -> None:
    """Where a filter says what is wanted, everything that meets it is as good: then words on the profile decide."""
    allowed_I = engine.matching(['brand in ["b1", "b2", "b3"]'])

    def brands() -> list[str]:
        return brand(engine, [engine.catalogue.items.id(one.code) for one in engine.find("item", allowed_I, 9, user_id="u3", liberal=True)])

    before = brands()
    say(store, "brand", "b2", "more")
    raised = brands()
    assert raised.count("b2") >= min(before.count("b2") + 3, 9) and len(raised) == len(before)
    say(store, "brand", "b1")
    assert "b1" in before and "b1" not in brands()


def test_without_a_release_the_newest_are_ordered_by_words(scenario: Scenario, store: Store) -> None:
    engine = Engine(None, scenario, store)
    say(store, "brand", "b1")
    say(store, "brand", "b2", "more")
    brands = brand(engine, shown(engine.recommend(ask("home"))))
    assert "b1" not in brands and brands.count("b2") >= 3


def test_a_word_on_what_is_gone_changes_nothing(engine: Engine, store: Store) -> None:
    before = whole(engine.recommend(ask("home")))
    say(store, "flavour", "sweet")
    say(store, "brand", "gone", "more")
    say(store, "item_id", "no such item", "more")
    assert whole(engine.recommend(ask("home"))) == before


def test_new_items_count_at_once(engine: Engine, store: Store) -> None:
    say(store, "brand", "fresh", "more")
    store.put_items([Item(item_id="new1", title="New", brand="fresh", created=START_US)])
    engine.catalogue_changed(["new1"])
    assert "new1" in shown(engine.recommend(ask("home")))
    say(store, "brand", "fresh")
    assert "new1" not in shown(engine.recommend(ask("home")))


# ---- the profile itself
def test_a_profile_names_tastes_with_evidence(engine: Engine, store: Store) -> None:
    # The toy's shoppers of uneven number have a taste for items of uneven number, whose category is Left.
    found = engine.profile("u5")
    left = next(t for t in found.tastes if (t.attribute, t.value) == ("category", "Left"))
    own = [e for e in store.history("u5", 1000) if e.event in ("view", "cart", "purchase") and int(e.item_id[1:]) % 2]
    assert sum(left.events.values()) == len(own) and set(left.events) <= {"view", "cart", "purchase"}
    assert left.share > left.usual and left.lift == pytest.approx(left.share / left.usual, abs=0.01)
    assert left.first == min(e.time for e in own) and left.last == max(e.time for e in own)
    assert left.items[0].title == f"Item {left.items[0].item_id[1:]}"
    assert found.rhythm is not None and sum(found.rhythm.weekdays) == found.rhythm.days
    assert found.consent is None and found.due == [] and found.corrections == []


def test_nobody_unknown_and_refusing(engine: Engine, store: Store) -> None:
    for user in ("never seen", None):
        empty = engine.profile(user)
        assert (empty.events, empty.tastes, empty.rhythm, empty.due) == (0, [], None, [])
    store.patch_user(User(user_id="u3", consent=False))
    refused = engine.profile("u3")
    assert (refused.consent, refused.events, refused.tastes, refused.rhythm) == (False, 0, [], None)
    guest = engine.profile(None, session=[SessionEvent(item_id=f"i{n}", event="purchase") for n in (1, 3, 5, 7)])
    assert guest.events == 4 and guest.tastes[0].value == "Left"


def test_those_who_refused_are_not_what_is_usual(engine: Engine, store: Store) -> None:
    weights = {"purchase": 1.0}
    before = store.taken(weights)
    theirs = [e.item_id for e in store.history("u5", 1000) if e.event == "purchase"]
    store.patch_user(User(user_id="u5", consent=False))
    after = store.taken(weights)
    assert sum(before.values()) - sum(after.values()) == len(theirs) > 0


def test_words_are_seen_in_the_profile(engine: Engine, store: Store) -> None:
    n_before = engine.profile("u3").events
    say(store, "category", "Left")
    say(store, "brand", "b2", "more")
    after = engine.profile("u3")
    assert after.events < n_before and all(not t.value.startswith("Left") for t in after.tastes)
    assert [(c.value, c.says) for c in after.corrections] == [("Left", "wrong"), ("b2", "more")]
    assert all(t.says == ("more" if t.value == "b2" else "") for t in after.tastes)


def test_what_was_given_back_is_no_taste(engine: Engine, store: Store) -> None:
    now = time.time_ns() // 1000
    store.add_events([Event(user_id="p", item_id="i1", event="purchase", time=now - 10), Event(user_id="p", item_id="i1", event="refund", time=now)])
    assert engine.profile("p").events == 0


def test_sensitive_and_private_things_leave_no_trace(release: Release, scenario: Scenario, store: Store) -> None:
    quiet = with_fields(scenario, profile=Profiles(sensitive=("brand",), private='category = "Left > 1"'))
    engine = Engine(release, quiet, store)
    found = engine.profile("u3")
    assert found.tastes and all(t.attribute != "brand" and t.value != "Left > 1" for t in found.tastes)
    private = {item.item_id for item in store.items([f"i{n}" for n in range(60)]) if item.category == "Left > 1"}
    assert private and not private & {one.item_id for t in found.tastes for one in t.items}
    assert found.events < Engine(release, scenario, store).profile("u3").events
    with pytest.raises(UnknownName):
        engine.correctable("brand", "b1")


def test_what_may_be_said(engine: Engine) -> None:
    engine.correctable("brand", "b1")
    engine.correctable("item_id", "i3")
    engine.correctable("category", "Left")
    for attribute, value, error in (
        ("colour", "mauve", UsageError),
        ("nothing", "x", UnknownName),
        ("available", "true", UnknownName),
        ("item_id", "x", UsageError),
    ):
        with pytest.raises(error):
            engine.correctable(attribute, value)


def test_a_scenario_that_cannot_be_is_refused(release: Release, scenario: Scenario, store: Store) -> None:
    with pytest.raises(FilterError):
        Engine(release, with_fields(scenario, profile=Profiles(private="nothing = 3")), store)
    with pytest.raises(ConfigError, match="time zone"):
        Engine(release, with_fields(scenario, profile=Profiles(timezone="Nowhere")), store)
    with pytest.raises(ConfigError, match="flavour"):
        decode_toml(
            'name = "x"\n[events]\na = 1\n[models.popular]\n[[placements]]\nname = "p"\nretrieve = ["popular"]\n[profile]\nsensitive = ["flavour"]\n',
            Scenario,
            "x",
        )


def test_a_store_that_fails_makes_guests_of_all(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("gone")

    monkeypatch.setattr(engine._store, "corrections", broken)
    answer = engine.recommend(ask("home"))
    assert answer.degraded and len(answer.items) == 8


# ---- new people
def picks(engine: Engine, n: int = 3) -> list[str]:
    return [one.value for one in engine.onboarding()[0][:n]]


def test_new_people_are_asked_for_items_that_can_be_had(engine: Engine, store: Store) -> None:
    asked = engine.onboarding()
    assert [len(options) for options in asked] == [6, 6, 6] and {one.attribute for options in asked for one in options} == {"item_id"}
    first = asked[0][0].value
    store.patch_item(Item(item_id=first, available=False))
    engine.catalogue_changed([first])
    again = [one.value for options in engine.onboarding() for one in options]
    assert first not in again and len(again) == 18


def test_without_people_values_are_asked_for(scenario: Scenario, store: Store) -> None:
    asked = Engine(None, scenario, store).onboarding()
    assert len(asked) == 3 and all(one.attribute in ("category", "brand", "price") for options in asked for one in options)
    private = with_fields(scenario, profile=Profiles(private='category = "Left" or category = "Right"'))
    assert Engine(None, private, store).onboarding() == []


def test_answers_make_the_next_answer_personal(engine: Engine, store: Store) -> None:
    before = shown(engine.recommend(ask("home", "new")))
    for value in picks(engine):
        say(store, "item_id", value, "more", "new")
    answer = engine.recommend(ask("home", "new", explain=True))
    assert shown(answer) != before and len(answer.items) == 8 and not answer.degraded
    known = engine._newcomers
    assert known is not None
    said_I = known.scores(known.picked([engine.catalogue.code(value) for value in picks(engine)]))
    plain = [engine.catalogue.code(one.item_id) for place, one in enumerate(answer.items) if place not in (1, 4, 7)]  # those are raised
    assert plain == sorted(plain, key=lambda code: -said_I[code])
    explained = [{cause.item_id for cause in one.explanation or []} for one in answer.items]
    assert any(explained) and set().union(*explained) <= set(picks(engine))
    store.drop_corrections("new")
    assert shown(engine.recommend(ask("home", "new"))) == before


def test_events_take_over_from_the_answers(engine: Engine, store: Store) -> None:
    chosen = picks(engine)
    for value in chosen:
        say(store, "item_id", value, "more", "new")
        say(store, "item_id", value, "more", "u5")  # who has 64 events
    row = engine._ranked(engine.scenario.placement("home"), _questions(engine, "u5"))
    person, _ = engine._person("u5", engine.scenario.placement("home"))
    wished = engine._wishes(person, ask("home", "u5"))
    asked = query.ask(ask("home", "u5"), engine.scenario.placement("home"), engine.scenario, engine.catalogue, person, 1, wished)
    engine._meet(engine.scenario.placement("home"), row, [asked], [wished])
    assert asked.own == 64 and not row.new[0].mostly
    total, mixed = row.total_BI[0], row.new[0].scores_I[: row.total_BI.shape[1]]
    spoken = np.isfinite(total)
    assert np.isfinite(mixed).all() and np.corrcoef(total[spoken], mixed[spoken])[0, 1] > 0.9


def _questions(engine: Engine, user: str) -> Queries:
    person, _ = engine._person(user, engine.scenario.placement("home"))
    asked = query.ask(ask("home", user), engine.scenario.placement("home"), engine.scenario, engine.catalogue, person, 1)
    return query.queries([asked], tuple(engine.scenario.attributes.users))


def test_a_release_without_questions_still_folds_answers_in(engine: Engine, store: Store) -> None:
    for value in picks(engine):
        say(store, "item_id", value, "more", "new")
    engine._newcomers = None
    asked = engine.recommend(ask("taste", "new", explain=True))
    assert {cause.item_id for one in asked.items for cause in one.explanation or []}
