import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daogou.data.dataset import from_frames
from daogou.data.histories import Histories
from daogou.data.vocab import Vocabulary

rows = st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=8)


def test_vocabulary_appends_and_never_moves_a_code(tmp_path) -> None:
    vocab = Vocabulary(["a", "b"])
    before = vocab.digest()
    vocab.extend(["b", "鞋"])
    assert vocab.codes(["鞋", "a", "zz"]).tolist() == [2, 0, -1]
    assert vocab.codes(pl.Series(["鞋", "zz", "b"])).tolist() == [2, -1, 1]
    assert vocab.code(None) == -1
    assert vocab.digest() != before
    vocab.save(tmp_path / "v.json")
    assert Vocabulary.load(tmp_path / "v.json").ids == ["a", "b", "鞋"]
    with pytest.raises(IndexError):
        vocab.id(-1)


@given(rows)
def test_selecting_rows_keeps_each_row(lists: list[list[int]]) -> None:
    h = Histories.of(lists)
    order = np.arange(len(lists))[::-1].copy()
    turned = h[order]
    assert [turned.item[turned.start[b] : turned.start[b + 1]].tolist() for b in range(len(lists))] == lists[::-1]
    part = h[1:3]
    assert [part.item[part.start[b] : part.start[b + 1]].tolist() for b in range(len(part))] == lists[1:3]


@given(rows, st.integers(1, 4))
def test_tail_keeps_the_newest(lists: list[list[int]], n: int) -> None:
    tail = Histories.of(lists).tail(n)
    assert [tail.item[tail.start[b] : tail.start[b + 1]].tolist() for b in range(len(lists))] == [row[-n:] for row in lists]


@given(rows)
def test_matrix_counts_and_seen_marks(lists: list[list[int]]) -> None:
    h = Histories.of(lists)
    dense = h.matrix(8).toarray()
    for b, row in enumerate(lists):
        assert dense[b].tolist() == [row.count(i) for i in range(8)]
    assert np.array_equal(h.seen(8), dense > 0)
    assert [h.age[h.start[b] : h.start[b + 1]].tolist() for b in range(len(lists))] == [list(range(len(r)))[::-1] for r in lists]


def frames() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    events = pl.DataFrame(
        {
            "user_id": ["u1", "u2", "u1", "u1", "u3"],
            "item_id": ["x", "y", "z", "x", "x"],
            "event": ["buy", "buy", "look", "back", "buy"],
            "time": [20, 5, 10, 10, 7],
        }
    )
    items = pl.DataFrame({"item_id": ["w", "z"], "price": [1.5, None]})
    users = pl.DataFrame({"user_id": ["u3"], "age": ["30s"]})
    return events, items, users


def test_snapshot_orders_events_stably_and_aligns_tables() -> None:
    data = from_frames(*frames(), weights={"buy": 1.0, "look": 0.1, "back": -1.0})
    assert data.items.ids == ["w", "z", "x", "y"]
    assert data.users.ids == ["u3", "u1", "u2"]
    u1 = data.events.user == data.users.code("u1")
    assert [data.items.id(i) for i in data.events.item[u1]] == ["z", "x", "x"]  # equal times keep the order of the rows
    assert data.item_table["item_id"].to_list() == data.items.ids
    assert data.item_table["price"].to_list() == [1.5, None, None, None]
    history = data.histories[np.array([data.users.code("u1")])]
    assert [data.items.id(i) for i in history.item] == ["z", "x"]  # an event that takes back teaches no taste
    assert np.allclose(history.weight, [0.1, 1.0])
    queries = data.queries()
    assert queries.attributes["age"].tolist() == ["30s", None, None]
    assert data.attributes(np.array([-1, 0]))["age"].tolist() == [None, "30s"]


def test_a_catalogue_without_events_is_a_dataset() -> None:
    events = pl.DataFrame(schema={"user_id": pl.String, "item_id": pl.String, "event": pl.String, "time": pl.Int64})
    data = from_frames(events, pl.DataFrame({"item_id": ["a", "b"]}))
    assert (data.n_items, data.n_users, len(data.histories), data.end) == (2, 0, 0, 0)
