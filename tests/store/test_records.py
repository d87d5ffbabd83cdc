import threading
from typing import Any

import msgspec
import polars as pl
import pytest
from msgspec import UNSET

from daogou.data.rows import Event, Item, User
from daogou.errors import DataError, StoreError, UsageError
from daogou.store import Key, Store

FULL = Item(
    item_id="商品-1", title="红色跑鞋", description="d", category="Shoes > Running", brand="X", price=499.5, currency="CNY", image="a.png",
    available=True, created=5, kind="good", attributes={"size": [41, 42], "weight": 0.3},
)  # fmt: skip


def known(item: Item) -> dict[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(item).items() if value is not None}


def test_an_item_comes_back_as_it_was_put(store: Store) -> None:
    store.put_items([FULL, Item(item_id="b")])
    assert store.item("商品-1") == FULL
    assert known(store.item("b") or FULL) == {"item_id": "b"}
    assert store.item("c") is None
    assert [i.item_id for i in store.items(["b", "c", "商品-1", "b"])] == ["b", "商品-1", "b"]


def test_a_put_replaces_the_whole_item(store: Store) -> None:
    store.put_items([FULL])
    store.put_items([Item(item_id=FULL.item_id, title="new"), Item(item_id=FULL.item_id, title="newest")])
    assert known(store.item(FULL.item_id) or FULL) == {"item_id": FULL.item_id, "title": "newest"}


def test_a_patch_changes_what_is_given_and_nothing_else(store: Store) -> None:
    store.put_items([FULL])
    store.patch_item(Item(item_id=FULL.item_id, price=1, brand=None, attributes={"weight": None, "colour": "red"}))
    expected = msgspec.structs.replace(FULL, price=1.0, brand=None, attributes={"size": [41, 42], "colour": "red"})
    assert store.item(FULL.item_id) == expected
    store.patch_item(Item(item_id="new", title="t"))
    assert known(store.item("new") or FULL) == {"item_id": "new", "title": "t"}


def test_a_deleted_item_is_gone_but_keeps_its_place(store: Store) -> None:
    store.put_items([Item(item_id=i, title=i) for i in "abc"])
    assert store.delete_item("b") and not store.delete_item("b") and not store.delete_item("x")
    assert store.item("b") is None and store.counts().items == 2
    table = store.item_table({})
    assert table["item_id"].to_list() == ["a", "b", "c"] and table["available"].to_list() == [True, False, True]
    assert table["title"].to_list() == ["a", None, "c"]
    store.put_items([Item(item_id="b", title="back")])
    assert store.item_table({})["title"].to_list() == ["a", "back", "c"]
    assert store.item_table({})["available"].to_list() == [True, True, True]


def test_each_write_to_items_raises_the_version_and_shows_at_once(store: Store, url: str) -> None:
    versions = [store.catalogue_version]
    for write in (
        lambda: store.put_items([Item(item_id="a", title="1")]),
        lambda: store.patch_item(Item(item_id="a", title="2")),
        lambda: store.bulk_items(pl.DataFrame({"item_id": ["a"], "title": ["3"]})),
        lambda: store.delete_item("a"),
    ):
        write()
        versions.append(store.catalogue_version)
        with Store.open(url, read_only=True) as other:
            assert other.catalogue_version == store.catalogue_version
            assert other.item("a") == store.item("a")
    assert versions == sorted(set(versions))
    store.add_events([Event(user_id="u", item_id="a", event="view", time=1)])
    assert store.catalogue_version == versions[-1]


def test_a_reader_never_brings_an_old_item_back_into_the_cache(store: Store) -> None:
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            store.item("a")

    readers = [threading.Thread(target=read) for _ in range(3)]
    for thread in readers:
        thread.start()
    try:
        for price in range(25):
            store.put_items([Item(item_id="a", price=price)])
            assert (found := store.item("a")) is not None and found.price == price
    finally:
        stop.set()
        for thread in readers:
            thread.join()


def test_items_of_a_frame(store: Store) -> None:
    day = pl.Series([86_400_000_000, None]).cast(pl.Datetime("us")).cast(pl.Date)
    store.bulk_items(pl.DataFrame({"item_id": [1, 2], "price": [5, None], "brand": [7, None], "created": day, "size": ["L", None], "stock": [3, 0]}))
    assert known(store.item("1") or FULL) == {
        "item_id": "1", "price": 5.0, "brand": "7", "created": 86_400_000_000, "attributes": {"size": "L", "stock": 3},
    }  # fmt: skip
    assert known(store.item("2") or FULL) == {"item_id": "2", "attributes": {"stock": 0}}


@pytest.mark.parametrize(
    "frame", [{"title": ["t"]}, {"item_id": [None]}, {"item_id": [""]}, {"item_id": ["a"], "price": [-1]}, {"item_id": ["a"], "available": ["maybe"]}]
)
def test_a_frame_that_is_no_table_of_items_is_refused(store: Store, frame: dict[str, list[object]]) -> None:
    with pytest.raises(DataError):
        store.bulk_items(pl.DataFrame(frame))
    assert store.counts().items == 0


@pytest.mark.parametrize(
    "fields", [{"item_id": ""}, {"price": -1.0}, {"title": 3}, {"item_id": "a\0"}, {"attributes": {"x": object()}}, {"created": 2**70}, {"price": float("inf")}]
)
def test_an_item_that_cannot_be_stored_is_refused(store: Store, fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        store.put_items([Item(**{"item_id": "a", **fields})])
    assert store.counts().items == 0


def test_declared_attributes_are_columns_of_their_kind(store: Store) -> None:
    store.put_items(
        [
            Item(item_id="a", attributes={"n": "3.5", "t": 5, "f": "true", "tags": ["x", "y"], "text": 7}),
            Item(item_id="b", attributes={"n": "many", "t": None, "f": "perhaps", "other": 1}),
            Item(item_id="c"),
        ]
    )
    table = store.item_table({"n": "number", "t": "time", "f": "flag", "tags": "tag", "text": "text", "price": "number"})
    assert table.select("n", "t", "f", "tags", "text").rows() == [(3.5, 5, True, "x|y", "7"), (None,) * 5, (None,) * 5]
    assert table.schema["n"] == pl.Float64 and table.schema["t"] == pl.Int64 and table.schema["f"] == pl.Boolean
    assert table.schema["price"] == pl.Float64 and table.schema["created"] == pl.Int64 and table.schema["available"] == pl.Boolean


def test_a_user_comes_back_as_put(store: Store) -> None:
    store.put_users([User(user_id="u", consent=True, attributes={"age": "35-44"}), User(user_id="v")])
    assert store.user("u") == User(user_id="u", consent=True, attributes={"age": "35-44"})
    assert store.user("v") == User(user_id="v", consent=None)
    assert store.user("w") is None
    assert store.user_ids(10) == ["u", "v"] and store.user_ids(1, 1) == ["v"] and store.user_ids(5, 5) == []


def test_a_refusal_outlives_imports_that_do_not_mention_it(store: Store) -> None:
    store.put_users([User(user_id="u", consent=False, attributes={"a": 1})])
    store.put_users([User(user_id="u", attributes={"a": 2})])
    store.bulk_users(pl.DataFrame({"user_id": ["u", "w"], "consent": [None, True], "a": [3, 4]}, schema_overrides={"consent": pl.Boolean}))
    store.bulk_users(pl.DataFrame({"user_id": ["u"], "a": [5]}))
    assert store.user("u") == User(user_id="u", consent=False, attributes={"a": 5})
    assert store.user("w") == User(user_id="w", consent=True, attributes={"a": 4})
    store.put_users([User(user_id="u", consent=None)])  # mentioned: asked again
    assert store.user("u") == User(user_id="u", consent=None)


def test_the_last_of_one_user_in_a_batch_wins(store: Store) -> None:
    store.put_users([User(user_id="u", attributes={"a": 1}), User(user_id="u", consent=True, attributes={"a": 2}), User(user_id="u", attributes={"a": 3})])
    assert store.user("u") == User(user_id="u", consent=True, attributes={"a": 3})


def test_a_users_patch(store: Store) -> None:
    store.put_users([User(user_id="u", consent=True, attributes={"a": 1, "b": 2})])
    store.patch_user(User(user_id="u", attributes={"a": None, "c": 3}))
    assert store.user("u") == User(user_id="u", consent=True, attributes={"b": 2, "c": 3})
    store.patch_user(User(user_id="u", consent=False))
    assert store.user("u") == User(user_id="u", consent=False, attributes={"b": 2, "c": 3})
    store.patch_user(User(user_id="new", attributes={"a": 1}))
    assert store.user("new") == User(user_id="new", consent=None, attributes={"a": 1})


def test_someone_of_whom_there_is_only_an_event_is_a_user(store: Store) -> None:
    store.add_events([Event(user_id="u", item_id="i", event="view", time=1)])
    assert store.user("u") == User(user_id="u", consent=None)
    store.put_users([User(user_id="u", attributes={"a": 1})])
    assert store.counts() == (1, 1, 1) and len(store.history("u", 9)) == 1


def test_keys(store: Store, url: str) -> None:
    store.add_key("k1", "secret", "ab", ["admin"], [], 5)
    store.add_key("k0", "browser", "cd", ("recommend:read",), ["https://shop.example"], 6)
    assert store.key("k1") == Key("k1", "secret", "ab", ("admin",), (), 5)
    assert [k.id for k in list(store.keys())] == ["k1", "k0"]
    with pytest.raises(UsageError, match="k1"):
        store.add_key("k1", "secret", "xx", [], [], 7)
    assert store.revoke_key("k1") and not store.revoke_key("k1") and not store.revoke_key("nobody")
    assert (found := store.key("k1")) is not None and found.revoked is not None
    assert store.key("nobody") is None
    with Store.open(url, read_only=True) as other:
        assert other.keys() == store.keys()


def test_a_store_opened_for_reading_does_not_write(store: Store, url: str) -> None:
    with Store.open(url, read_only=True) as reader:
        for write in (
            lambda: reader.add_events([]),
            lambda: reader.put_items([]),
            lambda: reader.delete_item("a"),
            lambda: reader.revoke_key("k"),
            lambda: reader.erase_user("u"),
        ):
            with pytest.raises(StoreError, match="opened for reading"):
                write()


def test_unset_is_never_stored(store: Store) -> None:
    store.put_items([Item(item_id="a")])
    assert UNSET not in msgspec.structs.astuple(store.item("a") or FULL)
