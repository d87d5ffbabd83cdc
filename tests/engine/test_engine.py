"""The road of a request: what is asked decides, the filter holds, batch equals single, words say why."""

import threading
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from daogou.contract import Queries
from daogou.data.rows import Event, Item
from daogou.engine import Answer, Engine, Request, SessionEvent
from daogou.errors import FilterError, UnknownName, UsageError
from daogou.release import Release, open_current
from daogou.scenario import Project, Scenario
from daogou.store import Store
from daogou.testing.toy import DAY_US, START_US
from daogou.train.fit import train

ABOUT_ITEMS = {"like", "with"}
PLACES = ["home", "new", "like", "with", "try", "taste", "mixed"]
NOW_US = START_US + 70 * DAY_US


def ask(placement: str, user: str | None = "u3", **more: object) -> Request:
    items = ["i4"] if placement in ABOUT_ITEMS else []
    return Request(**{"placement": placement, "user_id": user, "items": items, **more})  # type: ignore[arg-type]


def shown(answer: Answer) -> list[str]:
    return [one.item_id for one in answer.items]


def row(engine: Engine, item_id: str) -> Item:
    found = engine._store.item(item_id)
    assert found is not None
    return found


# ---- answers
@pytest.mark.parametrize("placement", PLACES)
@pytest.mark.parametrize("user", ["u3", None, "never seen"])
def test_every_placement_answers_everyone(engine: Engine, scenario: Scenario, placement: str, user: str | None) -> None:
    answer = engine.recommend(ask(placement, user))
    size = scenario.placement(placement).size
    assert len(answer.items) == (4 if placement == "mixed" else size)  # one of each of four brands
    assert len(set(shown(answer))) == len(answer.items)
    assert not answer.degraded
    assert answer.release == engine.release.id  # type: ignore[union-attr]
    assert all(np.isfinite(one.score) and 0 < one.propensity <= 1 for one in answer.items)
    assert all(one.item is not None and one.item.item_id == one.item_id for one in answer.items)


def test_an_unknown_shopper_is_a_guest(engine: Engine) -> None:
    assert shown(engine.recommend(ask("home", "never seen"))) == shown(engine.recommend(ask("home", None)))


def test_shoppers_are_answered_by_their_history(engine: Engine) -> None:
    lists = {tuple(shown(engine.recommend(ask("taste", f"u{u}")))) for u in range(10)}
    assert len(lists) > 5


def test_k_bounds_the_list(engine: Engine) -> None:
    for k in (1, 7, 60):
        assert len(engine.recommend(ask("home", k=k)).items) == k
    assert len(engine.recommend(ask("home", k=100)).items) == 60  # all there are


def test_a_longer_list_begins_with_the_shorter_one(engine: Engine) -> None:
    assert shown(engine.recommend(ask("home", k=30)))[:5] == shown(engine.recommend(ask("home", k=5)))


def test_batch_equals_single(engine: Engine) -> None:
    requests = [ask(place, f"u{u}") for u in range(30) for place in PLACES if place != "try"]
    requests += [ask("home", None), ask("home", filter="price < 20"), ask("home", k=3), ask("like", items=["i1", "i2"])]
    for together, request in zip(engine.recommend_many(requests), requests, strict=True):
        alone = engine.recommend(request)
        assert shown(together) == shown(alone)
        assert [one.score for one in together.items] == pytest.approx([one.score for one in alone.items], abs=1e-4)
        assert [one.reason for one in together.items] == [one.reason for one in alone.items]
        assert together.degraded == alone.degraded


def test_the_batch_may_be_empty(engine: Engine) -> None:
    assert engine.recommend_many([]) == []


# ---- the filter
@pytest.mark.parametrize("placement", PLACES)
def test_nothing_forbidden_is_ever_answered(engine: Engine, placement: str) -> None:
    for text, ok in (
        ("price < 12", lambda item: item.price < 12),
        ('category = "Left"', lambda item: item.category.startswith("Left")),
        ('brand in ["b1"] and price > 30', lambda item: item.brand == "b1" and item.price > 30),
        ("price < 0", lambda item: False),
    ):
        answer = engine.recommend(ask(placement, filter=text, k=60))
        allowed = [item for item in (row(engine, item_id) for item_id in engine.catalogue.items.ids) if ok(item)]
        assert all(ok(one.item) for one in answer.items)
        if placement not in ("mixed", "new", *ABOUT_ITEMS):
            assert len(answer.items) == len(allowed)  # and everything allowed is found, by the fallback where no model speaks


def test_a_filter_never_reorders(engine: Engine) -> None:
    everything = shown(engine.recommend(ask("home", k=60)))
    left = set(shown(engine.recommend(ask("home", k=60, filter='category = "Left"'))))
    assert [item for item in everything if item in left] == shown(engine.recommend(ask("home", k=60, filter='category = "Left"')))


def test_a_filter_knows_page_and_shopper(engine: Engine) -> None:
    answer = engine.recommend(ask("like", items=["i4"], filter="category = $item.category"))
    assert {one.item.category for one in answer.items if one.item} == {row(engine, "i4").category}
    answer = engine.recommend(ask("home", "u3", filter="price < $user.age", k=60))
    assert {one.item.price < 23 for one in answer.items if one.item} == {True}


def test_filters_of_scenario_and_request_both_hold(engine: Engine, store: Store) -> None:
    store.patch_item(Item(item_id="i2", available=False))
    engine.catalogue_changed(["i2"])
    assert "i2" not in shown(engine.recommend(ask("home", filter="price > 0", k=60)))


# ---- what is asked
@pytest.mark.parametrize(
    ("more", "field", "kind"),
    [
        ({"placement": "hone"}, "placement", UnknownName),
        ({"placement": "like", "items": ["i1", "nothing"]}, "items[1]", UsageError),
        ({"filter": "prize < 3"}, "filter", FilterError),
        ({"k": 0}, "k", UsageError),
        ({"k": 101}, "k", UsageError),
    ],
)
def test_a_wrong_question_names_its_field(engine: Engine, more: dict[str, object], field: str, kind: type[UsageError]) -> None:
    with pytest.raises(kind) as e:
        engine.recommend(Request(**{"placement": "home", **more}))  # type: ignore[arg-type]
    assert e.value.field == field


def test_an_unknown_placement_says_which_exist(engine: Engine) -> None:
    with pytest.raises(UnknownName, match="did you mean 'home'"):
        engine.recommend(Request(placement="hone"))


def test_what_just_happened_counts_in_the_next_answer(engine: Engine, store: Store) -> None:
    before = shown(engine.recommend(ask("taste", "somebody new")))
    session = [SessionEvent(item_id="i7", event="purchase", time=NOW_US), SessionEvent(item_id="i9", event="view", time=NOW_US + 1)]
    from_session = shown(engine.recommend(ask("taste", "somebody new", session=session)))
    assert from_session != before
    store.add_events([Event(user_id="somebody new", item_id=s.item_id, event=s.event, time=s.time or 0) for s in session])
    assert shown(engine.recommend(ask("taste", "somebody new"))) == from_session
    assert shown(engine.recommend(ask("taste", "somebody new", session=session))) == from_session  # told twice, counted once


def test_events_that_teach_nothing_change_nothing(engine: Engine) -> None:
    session = [SessionEvent(item_id="i7", event="shown"), SessionEvent(item_id="i8", event="no such event"), SessionEvent(item_id="no such item", event="view")]
    assert shown(engine.recommend(ask("home", "u3", session=session))) == shown(engine.recommend(ask("home", "u3")))


def test_excluded_items_are_not_answered(engine: Engine) -> None:
    first = shown(engine.recommend(ask("home")))[0]
    assert first not in shown(engine.recommend(ask("home", exclude=[first, "no such item"], k=60)))
    assert "i4" not in shown(engine.recommend(ask("like", k=60)))


def test_a_placement_may_exclude_what_the_shopper_has(engine: Engine, store: Store) -> None:
    bought = {e.item_id for e in store.history("u3", 1000) if e.event == "purchase"}
    assert bought & set(shown(engine.recommend(ask("home", k=60))))
    assert not bought & set(shown(engine.recommend(ask("new", k=60))))


def test_what_a_placement_excludes_is_excluded_however_long_ago(release: Release, scenario: Scenario, store: Store) -> None:
    engine = Engine(release, scenario, store, history=3)
    bought = {e.item_id for e in store.history("u3", 1000) if e.event == "purchase"}
    assert len(bought) > 3
    assert not bought & set(shown(engine.recommend(ask("new", k=60))))


def test_what_was_merely_shown_does_not_crowd_out_the_history(release: Release, scenario: Scenario, store: Store, engine: Engine) -> None:
    before = shown(engine.recommend(ask("taste")))
    store.add_events([Event(user_id="u3", item_id=f"i{n % 60}", event="shown", time=NOW_US + n) for n in range(600)])
    assert shown(engine.recommend(ask("taste"))) == before


def test_what_was_taken_back_is_not_offered_until_it_is_wanted_again(engine: Engine) -> None:
    back = [SessionEvent(item_id="i0", event="refund", time=NOW_US)]
    assert "i0" in shown(engine.recommend(ask("home", k=60)))
    assert "i0" not in shown(engine.recommend(ask("home", session=back, k=60)))
    again = [*back, SessionEvent(item_id="i0", event="purchase", time=NOW_US + 1)]
    assert "i0" in shown(engine.recommend(ask("home", session=again, k=60)))


def test_a_page_without_items_is_answered_from_the_history(engine: Engine) -> None:
    assert shown(engine.recommend(ask("like", "u3", items=[]))) != shown(engine.recommend(ask("like", "u8", items=[])))
    assert len(engine.recommend(ask("like", None, items=[])).items) == 10


def test_the_items_on_the_page_decide_where_the_placement_is_about_them(engine: Engine) -> None:
    assert shown(engine.recommend(ask("with", "u3"))) == shown(engine.recommend(ask("with", "u9")))
    assert shown(engine.recommend(ask("with", items=["i4"]))) != shown(engine.recommend(ask("with", items=["i5"])))


# ---- arrangement
def test_diversity_spreads_the_list(engine: Engine, release: Release, scenario: Scenario, store: Store) -> None:
    plain = replace(scenario, placements=tuple(replace(p, diversity=0.0) for p in scenario.placements))
    without = Engine(release, plain, store)

    def same_neighbours(engine: Engine) -> int:
        lists = [[one.item.category for one in engine.recommend(ask("new", f"u{u}")).items if one.item] for u in range(30)]
        return sum(a == b for labels in lists for a, b in pairwise(labels))

    assert same_neighbours(engine) < 0.5 * same_neighbours(without)


def test_a_cap_bounds_each_label(engine: Engine) -> None:
    brands = [one.item.brand for one in engine.recommend(ask("mixed", k=60)).items if one.item]
    assert sorted(map(str, brands)) == ["b0", "b1", "b2", "b3"]


def test_exploration_shows_other_items_and_logs_how_likely(release: Release, scenario: Scenario, store: Store) -> None:
    names = iter(f"request {n}" for n in range(1000))
    engine = Engine(release, scenario, store, request_id=lambda: next(names))
    answers = [engine.recommend(ask("try")) for _ in range(300)]
    counts: dict[str, int] = {}
    for answer in answers:
        for item in shown(answer):
            counts[item] = counts.get(item, 0) + 1
    logged = {one.item_id: one.propensity for answer in answers for one in answer.items}
    assert len(logged) > 40
    for item, p in logged.items():
        assert counts[item] / len(answers) == pytest.approx(p, abs=4.5 * np.sqrt(p * (1 - p) / len(answers)) + 1e-9)
    again = Engine(release, scenario, store, request_id=lambda: "request 7").recommend(ask("try"))
    assert shown(again) == shown(answers[7])  # the same request is answered the same way


def test_exploration_keeps_the_cap(release: Release, scenario: Scenario, store: Store) -> None:
    places = tuple(replace(p, cap=2, explore=0.5) if p.name == "mixed" else p for p in scenario.placements)
    store.put_items([Item(item_id=f"n{n}", brand=f"b{n % 6}") for n in range(30)])
    engine = Engine(release, replace(scenario, placements=places), store)
    explored = 0
    for _ in range(60):
        answer = engine.recommend(ask("mixed", k=8))
        brands = [str(one.item.brand) for one in answer.items if one.item]
        assert max(brands.count(brand) for brand in brands) <= 2
        explored += sum(one.item_id.startswith("n") for one in answer.items)
    assert explored > 20


def test_exploration_reaches_items_that_no_model_knows(engine: Engine, store: Store) -> None:
    store.put_items([Item(item_id="brand new", title="Brand new")])
    engine.catalogue_changed(["brand new"])
    lists = [engine.recommend(ask("try")) for _ in range(60)]
    found = [one for answer in lists for one in answer.items if one.item_id == "brand new"]
    assert found
    assert all(0 < one.propensity < 0.3 for one in found)


def test_exploration_takes_new_items_of_the_kinds_that_are_wanted(engine: Engine, store: Store) -> None:
    """A category's prior: among more new items than exploration looks at, those of the categories that fill this list."""
    wanted = Counter(one.item.category for one in engine.recommend(ask("try", k=60)).items if one.item).most_common(1)[0][0]
    assert isinstance(wanted, str)
    new = [Item(item_id=f"new {n}", title=f"New {n}", category=wanted if n < 20 else "Nobody > wants it", created=n) for n in range(60)]
    store.put_items(new)  # the unwanted ones are newer
    engine.catalogue_changed([item.item_id for item in new])
    lists = [engine.recommend(ask("try", explain=True)) for _ in range(80)]
    found = [one for answer in lists for one in answer.items if one.item_id.startswith("new ")]
    assert len({one.item_id for one in found}) > 15 and all(one.item is not None and one.item.category == wanted for one in found)
    assert all(one.reason == "New" and 0 < one.propensity < 0.3 for one in found)
    assert len(found) > 80  # of ten places, one and a half


def test_an_item_of_the_release_that_nobody_took_is_new(trained: Project, scenario: Scenario, tmp_path: Path) -> None:
    """Where a model counts the events of items (contract.StandIn)."""
    places = tuple(replace(p, retrieve=("ease", "popular", "content")) if p.name == "try" else p for p in scenario.placements)
    with_content = replace(scenario, placements=places, models={**scenario.models, "content": {"text_encoder": "ngram"}})
    with Store.open(trained.store_url, read_only=True) as source:
        source.backup(tmp_path / "store.sqlite3")
    with Store.open(f"sqlite:///{tmp_path}/store.sqlite3") as store:
        store.put_items([Item(item_id="untried", title="Untried")])
        project = Project(directory=tmp_path)
        train(project, store, with_content)
        engine = Engine(open_current(project.releases), with_content, store)
        assert "untried" in engine.release.items  # type: ignore[union-attr]
        lists = [engine.recommend(ask("try")) for _ in range(100)]
    reasons = {one.reason for answer in lists for one in answer.items if one.item_id == "untried"}
    assert "New" in reasons


# ---- words and evidence
def test_reasons_in_the_words_of_the_scenario(engine: Engine) -> None:
    reasons = {one.reason for u in range(20) for one in engine.recommend(ask("taste", f"u{u}")).items}
    assert any(reason.startswith("Because of Item ") for reason in reasons)
    chinese = {one.reason for one in engine.recommend(ask("taste", "u3", locale="zh")).items}
    assert any(reason.startswith("因为“Item ") for reason in chinese)
    assert "Many take it" in {one.reason for one in engine.recommend(ask("mixed", locale="zh")).items}  # English where the locale lacks the word


def test_a_reason_rather_names_another_item(engine: Engine) -> None:
    for u in range(20):
        for one in engine.recommend(ask("taste", f"u{u}")).items:
            assert one.reason != f"Because of {one.item.title}"  # type: ignore[union-attr]


def test_an_explanation_is_the_models_own(engine: Engine, release: Release, store: Store) -> None:
    """With one linear model, the weights are its exact contributions on the scale of the score."""
    answer = engine.recommend(ask("taste", "u3", explain=True))
    ease = release.models["ease"]
    part = engine._blends["taste"].part("ease", queries_of(engine, store, "u3"))
    for one in answer.items[:4]:
        exact = ease.explain(queries_of(engine, store, "u3"), engine.catalogue.items.code(one.item_id))
        assert one.explanation
        for cause, reason in zip(one.explanation, exact, strict=False):
            assert cause.item_id == engine.catalogue.items.id(reason.item)
            assert cause.weight == pytest.approx(reason.weight * float(part.moments.inverse_B[0]), rel=1e-3, abs=1e-5)
            assert cause.how == "exact"


def queries_of(engine: Engine, store: Store, user: str) -> Queries:
    from daogou import query

    place = engine.scenario.placement("taste")
    past = store.signals(user, 500, list(engine.scenario.events))
    asked = query.ask(ask("taste", user), place, engine.scenario, engine.catalogue, query.Person(past, (), {}), NOW_US)
    return query.queries([asked], ())


def test_explanations_name_items_of_the_history(engine: Engine, store: Store) -> None:
    past = {e.item_id for e in store.history("u3", 1000)}
    answer = engine.recommend(ask("home", "u3", explain=True))
    for one in answer.items:
        assert one.explanation is not None
        assert {cause.item_id for cause in one.explanation} <= past
        assert all(a.weight >= b.weight > 0 for a, b in pairwise(one.explanation))
    assert {one.explanation for one in engine.recommend(ask("home", "u3")).items} == {None}


def test_details_only_where_they_are_wanted(engine: Engine) -> None:
    assert all(one.item is None for one in engine.recommend(ask("home", details=False)).items)


# ---- other questions
def test_rank_orders_the_callers_candidates_as_the_placement_would(engine: Engine) -> None:
    order = shown(engine.recommend(ask("home", "u3", k=60)))
    some = sorted(order)[::3]
    assert shown(engine.rank("u3", some)) == [item for item in order if item in some]
    assert shown(engine.rank("u3", [*some, some[0]])) == shown(engine.rank("u3", some))


def test_rank_puts_what_nobody_knows_last(engine: Engine, store: Store) -> None:
    store.put_items([Item(item_id="brand new", title="Brand new")])
    engine.catalogue_changed(["brand new"])
    assert shown(engine.rank("u3", ["brand new", "i1", "i2"]))[-1] == "brand new"


@pytest.mark.parametrize(("items", "field"), [([], "items"), (["i1"] * 501, "items"), (["i1", "nothing"], "items[1]")])
def test_rank_refuses(engine: Engine, items: list[str], field: str) -> None:
    with pytest.raises(UsageError) as e:
        engine.rank("u3", items)
    assert e.value.field == field


def test_fixed_questions_are_answered_by_the_placement_that_the_scenario_names(engine: Engine) -> None:
    assert shown(engine.similar("i4", 5)) == shown(engine.recommend(ask("like", None, k=5)))
    assert shown(engine.bought_together("i4", 5)) == shown(engine.recommend(ask("with", None, k=5)))
    with pytest.raises(UsageError):
        engine.similar("nothing")


def test_a_question_without_a_placement_is_an_error(release: Release, scenario: Scenario, store: Store) -> None:
    with pytest.raises(UnknownName, match="similar"):
        Engine(release, replace(scenario, answers={}), store).similar("i4")


def test_search_answers_within_the_filter(engine: Engine) -> None:
    assert shown(engine.search("item 17", k=1)) == ["i17"]
    answer = engine.search("item", 'category = "Left"', 60)
    assert len(answer.items) == 30
    assert {one.item.category[:4] for one in answer.items if one.item and isinstance(one.item.category, str)} == {"Left"}
    assert engine.search("nothing like it", k=3).items == []


# ---- the catalogue changes under it
def test_price_and_stock_count_at_once(engine: Engine, store: Store) -> None:
    first = shown(engine.recommend(ask("home")))[0]
    store.patch_item(Item(item_id=first, price=9999.0))
    engine.catalogue_changed([first])
    assert first not in shown(engine.recommend(ask("home", filter="price < 1000", k=60)))
    assert engine.recommend(ask("home")).items[0].item.price == 9999.0  # type: ignore[union-attr]
    store.patch_item(Item(item_id=first, available=False))
    engine.catalogue_changed([first])
    for place in PLACES:
        assert first not in shown(engine.recommend(ask(place, items=["i4"] if first != "i4" else ["i5"], k=60)))


def test_a_deleted_item_is_gone_and_may_come_back(engine: Engine, store: Store) -> None:
    old = store.item("i7")
    assert old is not None
    store.delete_item("i7")
    engine.catalogue_changed(["i7"])
    assert "i7" not in shown(engine.recommend(ask("home", k=60)))
    assert "i7" not in shown(engine.search("item 7", k=60))
    with pytest.raises(UsageError):
        engine.similar("i7")
    store.put_items([old])
    engine.catalogue_changed(["i7"])
    assert "i7" in shown(engine.recommend(ask("home", k=60)))
    assert shown(engine.search("item 7", k=1)) == ["i7"]


def test_a_new_item_is_found_at_once(engine: Engine, store: Store) -> None:
    engine.search("warm up the index")
    store.put_items([Item(item_id="n1", title="最新的耳机", category="Left > 9", price=1.0, created=NOW_US, attributes={"colour": ["red", "blue"]})])
    engine.catalogue_changed(["n1"])
    assert shown(engine.search("耳机")) == ["n1"]
    found = engine.recommend(ask("home", filter='colour = "blue"'))
    assert [(one.item_id, one.reason) for one in found.items] == [("n1", "New")]
    assert len(engine.similar("n1").items) == 10


def test_warming_builds_what_the_first_question_would_wait_for(engine: Engine) -> None:
    engine.warm()
    assert engine.finder._lexical is not None
    assert "available" in engine.catalogue._columns
    assert shown(engine.search("item 17", k=1)) == ["i17"]


def test_a_filter_on_what_is_not_a_column_of_the_placement_fails_at_the_start(release: Release, scenario: Scenario, store: Store) -> None:
    wrong = replace(scenario, placements=(replace(scenario.placements[0], filter="prize < 3"),), answers={})
    with pytest.raises(FilterError, match="did you mean 'price'"):
        Engine(release, wrong, store)


def test_many_threads_ask_while_the_catalogue_grows(engine: Engine, store: Store) -> None:
    failures: list[BaseException] = []
    stop = threading.Event()

    def work(n: int) -> None:
        try:
            while not stop.is_set():
                for place in ("home", "like", "new"):
                    assert engine.recommend(ask(place, f"u{n}", filter="price >= 0")).items
                engine.search("item 3")
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for n in range(60):
        store.put_items([Item(item_id=f"n{n}", title=f"New item {n}", price=float(n))])
        engine.catalogue_changed([f"n{n}"])
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(engine.catalogue) == 120
