import threading
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daogou.data.rows import Ack, Event
from daogou.errors import DataError, UsageError
from daogou.store import Store
from daogou.store import events as intake


def event(**fields: Any) -> Event:
    return Event(**{"user_id": "u", "item_id": "i", "event": "purchase", "time": 1, **fields})


def frame(events: list[Event]) -> pl.DataFrame:
    """The same events as an importer would hand them over."""
    rows = [{**msgspec.to_builtins(e), "context": None if e.context is None else msgspec.json.encode(e.context).decode()} for e in events]
    schema = {"time": pl.Int64, "value": pl.Float64, "position": pl.Int64}
    return pl.DataFrame(rows, schema={name: schema.get(name, pl.String) for name in Event.__struct_fields__}, orient="row")


FULL = event(value=-2.5, session_id="s", request_id="r", position=0, context={"b": [1, {"x": None}], "a": "导购"}, event_id="e-1")


def test_an_event_comes_back_as_it_was_sent(store: Store) -> None:
    assert store.add_events([FULL, event()]) == Ack(accepted=2)
    assert store.history("u", 10) == [FULL, event()]


def test_both_doors_give_back_the_same_event(store: Store) -> None:
    assert store.bulk_events(frame([FULL, event()])) == Ack(accepted=2)
    assert store.history("u", 10) == [FULL, event()]


def test_no_events_are_no_work(store: Store) -> None:
    assert store.add_events([]) == Ack()
    assert store.bulk_events(frame([])) == Ack()


def test_the_same_event_again_changes_nothing_through_either_door(store: Store) -> None:
    once = [event(time=t, value=v, context=c) for t in (1, 2) for v in (None, 0.1) for c in (None, {"z": 1, "a": 2})]
    assert store.add_events(once) == Ack(accepted=8)
    assert store.bulk_events(frame(once)) == Ack(duplicates=8)
    assert store.add_events(once) == Ack(duplicates=8)
    assert store.counts().events == 8


@pytest.mark.parametrize(
    "same",
    [
        (event(value=float("nan")), event()),
        (event(value=-0.0), event(value=0.0)),
        (event(value=3), event(value=3.0)),
        (event(session_id=""), event()),
        (event(context={}), event()),
        (event(context={"a": 1, "b": 2}), event(context={"b": 2, "a": 1})),
    ],
)
def test_what_says_the_same_is_the_same_event(store: Store, same: tuple[Event, Event]) -> None:
    assert store.add_events([same[0]]) == Ack(accepted=1)
    assert store.add_events([same[1]]) == Ack(duplicates=1)
    assert store.bulk_events(frame(list(same))) == Ack(duplicates=2)


def test_each_field_makes_another_event(store: Store) -> None:
    others = [
        event(user_id="v"), event(item_id="j"), event(event="view"), event(time=2), event(value=0.0), event(session_id="x"),
        event(request_id="x"), event(position=0), event(context={"x": 1}), event(event_id="x"), event(event_id="y"),
    ]  # fmt: skip
    assert store.add_events([event(), *others]) == Ack(accepted=12)


def test_an_event_id_is_unique_in_the_whole_store(store: Store) -> None:
    store.add_events([event(event_id="e")])
    assert store.add_events([event(user_id="someone else", time=9, event_id="e")]) == Ack(duplicates=1)
    assert store.bulk_events(frame([event(item_id="other", event_id="e")])) == Ack(duplicates=1)


_events = st.builds(
    event,
    user_id=st.sampled_from(["u", "v"]),
    item_id=st.sampled_from(["1", "11", "商品"]),
    event=st.sampled_from(["view", "purchase"]),
    time=st.integers(1, 2),
    value=st.sampled_from([None, 0.0, 1.5]),
    session_id=st.sampled_from([None, "s"]),
    context=st.sampled_from([None, {"a": 1}]),
    event_id=st.sampled_from([None, None, "e1", "e2"]),
)


def _deliver(store: Store, example: int, deliveries: list[tuple[list[Event], str]]) -> tuple[list[Event], list[Event]]:
    """Sends the lists through their doors; (what the store holds, what a dict holds) of this example's users."""
    expected: dict[Any, Event] = {}
    for events, door in deliveries:
        named = [
            msgspec.structs.replace(e, user_id=f"{example}-{e.user_id}", event_id=None if e.event_id is None else f"{example}-{e.event_id}") for e in events
        ]
        new = 0
        for e in named:
            key = e.event_id or msgspec.json.encode(e)
            new += key not in expected
            expected.setdefault(key, e)
        if door == "single":
            acks = [f.result() for f in [store.submit_events([e]) for e in named]]
            ack = Ack(sum(a.accepted for a in acks), sum(a.duplicates for a in acks))
        else:
            ack = store.add_events(named) if door == "batch" else store.bulk_events(frame(named))
        assert ack == Ack(accepted=new, duplicates=len(named) - new)
    held = [e for user in ("u", "v") for e in store.history(f"{example}-{user}", 1000)]
    return held, list(expected.values())


def _order(events: list[Event]) -> list[bytes]:
    return sorted(msgspec.json.encode(e) for e in events)


_deliveries = st.lists(st.lists(_events, min_size=1, max_size=4), min_size=1, max_size=3)


@pytest.mark.promise("D3")
def test_any_interleaving_of_deliveries_equals_one(store: Store) -> None:
    example = 0

    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(first=_deliveries, times=st.integers(1, 5), order=st.randoms(use_true_random=False))
    def check(first: list[list[Event]], times: int, order: Any) -> None:
        nonlocal example
        example += 1
        deliveries = [(events, order.choice(["single", "batch", "frame"])) for events in first * times]  # through any door, in any order
        order.shuffle(deliveries)
        held, expected = _deliver(store, example, deliveries)
        assert _order(held) == _order(expected)

    check()


def test_control_without_the_digest_replays_double(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = iter(range(100))
    real = intake._values
    monkeypatch.setattr(intake, "_values", lambda e: (*real(e)[:-1], next(counter).to_bytes(16, "big")))
    with pytest.raises(AssertionError):
        _deliver(store, 0, [([event()], "batch"), ([event()], "batch")])


def test_history_is_the_newest_oldest_first_and_ties_keep_their_order(store: Store) -> None:
    store.add_events([event(item_id=str(n), time=t) for n, t in enumerate([5, 1, 3, 3, 3])])
    assert [e.item_id for e in store.history("u", 10)] == ["1", "2", "3", "4", "0"]
    assert [e.item_id for e in store.history("u", 3)] == ["3", "4", "0"]
    assert store.history("nobody", 10) == []


def test_many_threads_lose_and_double_nothing(store: Store) -> None:
    acks: list[Ack] = []

    def send(thread: int) -> None:
        futures = [store.submit_events([event(user_id=f"u{thread % 3}", item_id=f"i{n % 7}", time=thread * 1000 + n)]) for n in range(100)]
        acks.extend(f.result() for f in futures)

    threads = [threading.Thread(target=send, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(a.accepted for a in acks) == 800 == store.counts().events
    assert sum(len(store.history(f"u{n}", 10_000)) for n in range(3)) == 800


def test_a_batch_is_never_seen_in_part(store: Store, url: str) -> None:
    done = threading.Event()

    def send() -> None:
        for n in range(60):
            store.add_events([event(item_id=str(i), time=n) for i in range(7)])
        done.set()

    thread = threading.Thread(target=send)
    thread.start()
    with Store.open(url, read_only=True) as reader:
        seen = []
        while not done.is_set():
            seen.append(reader.counts().events)
    thread.join()
    assert all(n % 7 == 0 for n in seen)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_id", ""), ("user_id", 7), ("user_id", "x" * 257), ("item_id", "a\0b"), ("event", ""), ("time", 2**63), ("time", "now"), ("time", 1.5),
        ("value", float("inf")), ("value", "3"), ("position", -1), ("context", [1]), ("context", {"x": object()}), ("user_id", "\ud800"), ("event_id", ""),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_stored_is_refused_and_nothing_is_written(store: Store, field: str, value: object) -> None:
    with pytest.raises(UsageError):
        store.add_events([event(), event(**{field: value})])
    assert store.counts() == (0, 0, 0)
    assert store.add_events([event()]) == Ack(accepted=1)


def test_the_refusal_names_position_and_field(store: Store) -> None:
    with pytest.raises(UsageError) as caught:
        store.submit_events([event(), event(position=-1)])
    assert caught.value.field == "[1].position"


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("user_id", ["a", None], "user_id is missing"),
        ("item_id", ["a", ""], "item_id has not 1 to 256"),
        ("event", ["x" * 65, "view"], "event has not"),
        ("time", [1.5, 2.0], "times are Float64"),
        ("time", [1, None], "time is missing"),
        ("value", [1.0, float("inf")], "value is infinite in 1 of 2 rows, first in row 1"),
        ("position", [-1, 0], "position is negative"),
        ("context", ["{", None], "no JSON"),
        ("context", ["[1]", None], "no JSON object"),
        ("session_id", ["a\0", "b"], "NUL"),
        ("value", ["many", "3"], "value is String"),
        ("colour", ["red", "blue"], "no column 'colour'"),
    ],
)
def test_a_frame_with_a_bad_value_is_refused_before_anything_is_written(store: Store, column: str, values: list[object], words: str) -> None:
    good = {"user_id": ["u", "v"], "item_id": ["i", "j"], "event": ["view", "view"], "time": [1, 2]}
    with pytest.raises(DataError, match=words):
        store.bulk_events(pl.DataFrame({**good, column: values}))
    assert store.counts() == (0, 0, 0)


def test_a_frame_without_a_required_column_is_refused(store: Store) -> None:
    with pytest.raises(DataError, match="lack the column 'time'"):
        store.bulk_events(pl.DataFrame({"user_id": ["u"], "item_id": ["i"], "event": ["view"]}))


def test_a_frame_may_have_numbers_as_ids_and_dates_as_times(store: Store) -> None:
    moment = pl.Series([1_500_000]).cast(pl.Datetime("us")).cast(pl.Datetime("ms", "UTC"))
    store.bulk_events(pl.DataFrame({"user_id": [7], "item_id": [8], "event": ["view"], "time": moment}))
    assert store.history("7", 1) == [event(user_id="7", item_id="8", event="view", time=1_500_000)]


def test_a_long_frame_is_written_in_pieces_between_other_events(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daogou.store.store.CHUNK_ROWS", 10)
    many = [event(user_id=f"u{n % 4}", item_id=f"i{n % 9}", time=n) for n in range(95)]
    assert store.bulk_events(frame(many + many[:20])) == Ack(accepted=95, duplicates=20)
    assert sum(len(store.history(f"u{n}", 100)) for n in range(4)) == 95
