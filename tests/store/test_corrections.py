"""What people say of their profile: one word for each value, on disk before it is acknowledged, gone when it is taken back."""

import pytest

from daogou.data.rows import Correction, Event
from daogou.errors import UsageError
from daogou.store import Store
from daogou.store.corrections import MOST


def word(value: str, says: str = "wrong", time: int = 1, attribute: str = "brand") -> Correction:
    return Correction(attribute=attribute, value=value, says=says, time=time)  # type: ignore[arg-type]


def test_the_same_word_twice_is_one_and_the_last_word_counts(store: Store) -> None:
    store.put_corrections("u", [word("X"), word("Y", "more", 2)])
    store.put_corrections("u", [word("X", time=9)])
    assert store.corrections("u") == [word("X"), word("Y", "more", 2)]
    store.put_corrections("u", [word("X", "more", 10)])
    assert store.corrections("u") == [word("Y", "more", 2), word("X", "more", 10)]
    assert store.corrections("other") == store.corrections("nobody") == []


def test_words_survive_closing(url: str) -> None:
    with Store.open(url) as store:
        store.put_corrections("u", [word("X")])
    with Store.open(url) as store:
        assert store.corrections("u") == [word("X")] and store.user("u") is not None


def test_taking_back(store: Store) -> None:
    for user in ("u", "other"):
        store.put_corrections(user, [word("X"), word("Y"), word("X", attribute="item_id")])
    assert store.drop_corrections("u", "brand", "X") == 1
    assert store.drop_corrections("u", "brand", "X") == store.drop_corrections("nobody") == 0
    assert store.corrections("u") == [word("Y"), word("X", attribute="item_id")]
    assert store.drop_corrections("u") == 2
    assert store.corrections("u") == [] and len(store.corrections("other")) == 3


def test_too_many_or_wrong_ones_change_nothing(store: Store) -> None:
    store.put_corrections("u", [word(f"v{n}") for n in range(MOST)])
    with pytest.raises(UsageError, match="of one person"):
        store.put_corrections("u", [word("v0", "more"), word("one too many")])
    assert store.corrections("u")[0] == word("v0") and len(store.corrections("u")) == MOST
    for bad in (word("x", says="never"), word(""), word("x" * 300)):
        with pytest.raises(UsageError, match="cannot be stored"):
            store.put_corrections("u", [bad])
    store.put_corrections("other", [])
    assert store.user("other") is not None


def test_someone_erased_comes_back_without_what_they_said(store: Store) -> None:
    store.put_corrections("someone-to-erase", [word("X")])
    assert store.erase_user("someone-to-erase").tables["corrections"] == 1
    store.add_events([Event(user_id="someone-to-erase", item_id="i", event="view", time=1)])
    assert store.corrections("someone-to-erase") == []
