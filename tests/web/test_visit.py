import msgspec
from hypothesis import given
from hypothesis import strategies as st

from daogou.serve.web import visit
from daogou.serve.web.visit import LONGEST, Visit, seal, start, unseal

SECRET, OTHER = b"a" * 32, b"b" * 32
IDS = st.text(min_size=1, max_size=256)


@given(st.text(max_size=50), st.dictionaries(IDS, st.integers(1, 99), max_size=5))
def test_what_was_sealed_is_read_back(user: str, cart: dict[str, int]) -> None:
    before = Visit(session="guest-1", user=user, cart=cart)
    assert unseal(seal(before, SECRET), SECRET) == before


@given(st.data())
def test_a_changed_cookie_counts_for_nothing(data: st.DataObject) -> None:
    value = seal(Visit(session="guest-1", user="1003", cart={"7": 2}), SECRET)
    at = data.draw(st.integers(0, len(value) - 2))  # the very last sign has bits that base64 does not use
    other = data.draw(st.characters(codec="ascii", exclude_characters=value[at]))
    assert unseal(value[:at] + other + value[at + 1 :], SECRET) is None


@given(st.text(max_size=300))
def test_any_text_is_a_visit_or_none(value: str) -> None:
    assert unseal(value, SECRET) is None


def test_another_secret_and_another_shape_are_refused() -> None:
    assert unseal(seal(start(), OTHER), SECRET) is None

    class Wider(msgspec.Struct):
        session: str = "guest-1"
        admin: bool = True

    assert unseal(seal(Wider(), SECRET), SECRET) is None  # type: ignore[arg-type]
    assert unseal(seal(Visit(session="guest-1", cart={"7": 0}), SECRET), SECRET) is None


@given(st.lists(st.tuples(IDS, st.integers(-1, 200)), max_size=40))
def test_the_cookie_never_outgrows_the_browser(steps: list[tuple[str, int]]) -> None:
    mine = start("u" * 256)
    for item_id, count in steps:
        before = dict(mine.cart)
        put = mine.put(item_id, count)
        assert len(seal(mine, SECRET)) <= LONGEST
        assert put or mine.cart == before
        mine.like(item_id)
        assert len(seal(mine, SECRET)) <= LONGEST
    assert all(1 <= count <= visit.MOST_OF_ONE for count in mine.cart.values())


def test_guests_are_strangers_to_each_other() -> None:
    assert start().person != start().person
    assert start("1003").person == "1003"
