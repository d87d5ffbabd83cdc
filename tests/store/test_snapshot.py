import numpy as np
import polars as pl
import pytest

from daogou.data.dataset import from_frames
from daogou.data.rows import Event, Item, User
from daogou.scenario import Attributes
from daogou.store import Store

WEIGHTS = {"buy": 1.0, "view": 0.1, "shown": 0.0}


def event(user: str, item: str, time: int, name: str = "buy", **more: object) -> Event:
    return Event(user_id=user, item_id=item, event=name, time=time, **more)  # type: ignore[arg-type]


def random_frame(n: int = 5000) -> pl.DataFrame:
    rng = np.random.default_rng(7)
    return pl.DataFrame(
        {
            "user_id": rng.choice([f"u{i}" for i in range(50)], n),
            "item_id": rng.choice([f"i{i}" for i in range(200)], n),
            "event": rng.choice(["buy", "view", "shown"], n),
            "time": rng.integers(0, 40, n),  # many ties
            "value": [None if v < 3 else v for v in rng.integers(0, 9, n).tolist()],
            "session_id": rng.choice(["s1", "s2", "s3", None], n),
        },
        schema_overrides={"value": pl.Float64, "session_id": pl.String},
    ).unique(maintain_order=True)


def test_a_snapshot_equals_the_dataset_of_the_same_rows(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daogou.store.store.CHUNK_ROWS", 700)
    frame = random_frame()
    store.bulk_events(frame)
    got, expected = store.snapshot(WEIGHTS), from_frames(frame, weights=WEIGHTS)
    # Codes differ (the store sorts pieces before it numbers), what they name does not.
    assert sorted(got.users.ids) == sorted(expected.users.ids) and sorted(got.items.ids) == sorted(expected.items.ids)
    for user in range(got.n_users):
        a, b = got.events.take(got.events.user == user), expected.events.take(expected.events.user == expected.users.code(got.users.id(user)))
        assert [got.items.id(i) for i in a.item] == [expected.items.id(i) for i in b.item]
        assert [got.event_names[k] for k in a.kind] == [expected.event_names[k] for k in b.kind]
        np.testing.assert_array_equal(a.time, b.time)
        np.testing.assert_array_equal(a.value, b.value)
    assert set(got.events.session.tolist()) == {-1, 0, 1, 2}
    assert got.events.item.dtype == np.int32 and got.events.kind.dtype == np.int16 and got.events.time.dtype == np.int64
    assert got.events.value.dtype == np.float32 and got.events.session.dtype == np.int32


def test_order_is_user_time_and_then_as_they_came(store: Store) -> None:
    store.put_items([Item(item_id=i) for i in "abcd"])
    store.add_events([event("v", "a", 5)])
    store.add_events([event("u", "d", 3), event("u", "b", 3), event("u", "c", 1)])
    store.bulk_events(pl.DataFrame({"user_id": ["u", "u"], "item_id": ["c", "a"], "event": ["buy", "buy"], "time": [3, 3]}))
    data = store.snapshot(WEIGHTS)
    assert data.users.ids == ["v", "u"]
    assert [(data.users.id(u), data.items.id(i)) for u, i in zip(data.events.user, data.events.item, strict=True)] == [
        ("v", "a"), ("u", "c"), ("u", "d"), ("u", "b"), ("u", "c"), ("u", "a"),
    ]  # fmt: skip


def test_places_of_what_was_shown_are_kept_and_minus_one_is_not_logged(store: Store) -> None:
    store.add_events([event("u", "a", 1, position=0), event("u", "b", 2), event("v", "a", 3, position=7), event("v", "b", 4, position=2**40)])
    assert store.snapshot(WEIGHTS).events.position.tolist() == [0, -1, 7, 2**31 - 1]


def test_sessions_are_numbered_and_minus_one_is_unknown(store: Store) -> None:
    store.add_events([event("u", "a", 1, session_id="x"), event("u", "b", 2), event("v", "a", 3, session_id="y"), event("v", "b", 4, session_id="x")])
    sessions = store.snapshot(WEIGHTS).events.session.tolist()
    assert sessions[1] == -1 and sessions[0] == sessions[3] >= 0 and sessions[2] not in (-1, sessions[0])


def test_codes_never_move_while_the_shop_grows(store: Store) -> None:
    store.put_items([Item(item_id=i) for i in ("c", "a", "b")])
    store.put_users([User(user_id="z")])
    store.add_events([event("y", "new", 1)])
    before = store.snapshot(WEIGHTS)
    store.put_items([Item(item_id="0"), Item(item_id="a", title="t")])
    store.delete_item("c")
    store.add_events([event("x", "another", 0), event("z", "b", 0)])
    after = store.snapshot(WEIGHTS)
    assert after.items.ids[: before.n_items] == before.items.ids == ["c", "a", "b", "new"]
    assert after.users.ids[: before.n_users] == before.users.ids == ["z", "y"]
    assert after.item_table["item_id"].to_list() == after.items.ids
    assert after.user_table["user_id"].to_list() == after.users.ids


def test_a_shop_with_a_catalogue_and_no_event(store: Store) -> None:
    store.put_items([Item(item_id="a", title="t", attributes={"size": 3})])
    data = store.snapshot(WEIGHTS, attributes=Attributes(items={"size": "number"}, users={"age": "number"}))
    assert len(data.events) == 0 and data.n_items == 1 and data.n_users == 0 and data.event_names == ()
    assert len(data.histories) == 0 and data.end == 0 and len(data.weight_E) == 0
    assert data.item_table.select("item_id", "title", "available", "size").rows() == [("a", "t", True, 3.0)]
    assert data.user_table.columns == ["user_id", "age"] and data.user_table.height == 0
    assert [column.dtype for column in (data.events.user, data.events.kind, data.events.time)] == [np.int32, np.int16, np.int64]


def test_an_empty_store(store: Store) -> None:
    data = store.snapshot({})
    assert (data.n_items, data.n_users, len(data.events)) == (0, 0, 0)
    assert "title" in data.item_table.columns


def test_items_and_users_without_events_are_there(store: Store) -> None:
    store.put_users([User(user_id="quiet", attributes={"age": "7"})])
    store.put_items([Item(item_id="unsold")])
    store.add_events([event("u", "sold", 1)])
    data = store.snapshot(WEIGHTS, attributes=Attributes(users={"age": "number"}))
    assert data.users.ids == ["quiet", "u"] and data.items.ids == ["unsold", "sold"]
    assert data.histories.lengths.tolist() == [0, 1]
    assert data.user_table.rows() == [("quiet", 7.0), ("u", None)]


def test_who_refused_is_not_learned_from(store: Store) -> None:
    store.put_users([User(user_id="no", consent=False, attributes={"age": 1}), User(user_id="yes", consent=True, attributes={"age": 2}), User(user_id="?")])
    store.add_events([event(u, "i", 1) for u in ("no", "yes", "?")])
    data = store.snapshot(WEIGHTS, attributes=Attributes(users={"age": "number"}))
    assert [data.users.id(u) for u in data.events.user] == ["yes", "?"]
    assert data.user_table.rows() == [("no", None), ("yes", 2.0), ("?", None)]
    assert len(store.snapshot(WEIGHTS, only_user="no").events) == 0
    store.patch_user(User(user_id="no", consent=True))
    assert len(store.snapshot(WEIGHTS).events) == 3


def test_only_events_before_a_time(store: Store) -> None:
    store.add_events([event("u", "a", t) for t in (1, 2, 3)])
    assert store.snapshot(WEIGHTS, until=3).events.time.tolist() == [1, 2]


def test_only_one_user_with_the_same_codes(store: Store) -> None:
    store.add_events([event(u, i, 1) for u in "uvw" for i in "ab"])
    whole, part = store.snapshot(WEIGHTS), store.snapshot(WEIGHTS, only_user="v")
    assert part.users.ids == whole.users.ids and part.items.ids == whole.items.ids and part.event_names == whole.event_names
    assert part.events.user.tolist() == [1, 1] and part.events.item.tolist() == [0, 1]
    assert len(store.snapshot(WEIGHTS, only_user="nobody").events) == 0


def test_the_newest_events_are_taken_and_what_was_shown_does_not_crowd_them_out(store: Store) -> None:
    store.add_events([event("u", "a", t) for t in range(5)] + [event("u", "b", 100 + t, "shown") for t in range(5)] + [event("v", "a", 0)])
    data = store.snapshot(WEIGHTS, max_events_per_user=2)
    assert [(data.users.id(u), t) for u, t in zip(data.events.user, data.events.time, strict=True)] == [("u", 3), ("u", 4), ("u", 103), ("u", 104), ("v", 0)]


def test_names_that_the_scenario_does_not_list_teach_nothing(store: Store) -> None:
    store.add_events([event("u", "a", 1, "stare"), event("u", "a", 2)])
    data = store.snapshot(WEIGHTS)
    assert data.event_names == ("stare", "buy") and data.weight_E.tolist() == [0.0, 1.0]


def test_a_snapshot_sees_one_moment_while_others_write(store: Store) -> None:
    futures = []
    sizes = []
    for n in range(40):
        futures.append(store.submit_events([event(f"u{n}", f"i{n}", k) for k in range(5)]))
        data = store.snapshot(WEIGHTS)
        assert (data.events.item >= 0).all() and (data.events.user >= 0).all()
        sizes.append(len(data.events))
    assert all(size % 5 == 0 for size in sizes) and sizes == sorted(sizes)
    assert [f.result().accepted for f in futures] == [5] * 40
