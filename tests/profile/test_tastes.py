"""Shares, lift and evidence against sums done by hand; nothing stands out where nothing is known."""

from collections.abc import Sequence

import numpy as np
import pytest

from daogou.profile import tastes
from daogou.profile.tastes import Lived, Taste
from daogou.profile.traits import Traits


def lived(items: Sequence[int], event: str = "purchase", weight: float = 1.0) -> Lived:
    n = len(items)
    return Lived(np.array(items, np.int32), np.arange(n, dtype=np.int64) * 100, np.full(n, weight, np.float32), [event] * n)


def of(traits: Traits, events: Lived, taken_I: np.ndarray | None = None) -> dict[tuple[str, str], Taste]:
    table = traits.table()
    usual_T = tastes.usual_shares(table, np.zeros(40, np.float32) if taken_I is None else taken_I)
    return {tuple(t.trait): t for t in tastes.tastes(table, usual_T, events)}


def test_the_share_is_drawn_towards_everybodys(traits: Traits) -> None:
    found = of(traits, lived([0, 8, 16, 24]))  # all velvet running shoes
    velvet = found["category", "Shoes > Running"]
    assert velvet.usual == pytest.approx(0.25) and velvet.share == pytest.approx((4 + 5 * 0.25) / (4 + 5))
    assert velvet.lift == pytest.approx(velvet.share / 0.25)
    assert velvet.events == {"purchase": 4} and (velvet.first, velvet.last, velvet.n_items) == (0, 300, 4)
    assert [n for _, n in velvet.items] == [1, 1, 1]


def test_everybodys_events_are_what_is_usual(traits: Traits) -> None:
    taken_I = np.zeros(40, np.float32)
    taken_I[::4] = 1000.0  # everybody takes running shoes
    assert ("category", "Shoes > Running") not in of(traits, lived([0, 8, 16, 24]), taken_I)
    caps = of(traits, lived([3, 7, 11, 15]), taken_I)["category", "Hats > Caps"]
    assert caps.usual == pytest.approx(0.1 * 10 / (0.1 * 40 + 10_000), rel=1e-4) and caps.lift > 100


def test_one_look_weighs_less_than_one_purchase(traits: Traits) -> None:
    look, bought = (of(traits, lived([3, 7], event, weight)) for event, weight in (("view", 0.1), ("purchase", 1.0)))
    trait = ("category", "Hats > Caps")
    assert trait not in look and bought[trait].lift > 1.25
    assert look == {} or max(t.lift for t in look.values()) < max(t.lift for t in bought.values())


def test_what_says_the_same_again_is_left_out(traits: Traits) -> None:
    found = of(traits, lived([0, 8, 16, 24, 32]))
    assert ("title", "velvet") not in found  # the very events of the category and the colour
    assert len([key for key in found if key[0] == "category"]) == 1  # not the path and its last step


def test_a_habit_with_one_item_is_no_taste_for_its_kind(traits: Traits) -> None:
    events = lived([3] * 30 + list(range(0, 40, 4)))
    assert ("category", "Hats > Caps") not in of(traits, events)
    assert ("category", "Hats > Caps") in of(traits, lived([3] * 30)), "of a newcomer it is all that is known"


def test_sensitive_attributes_are_never_counted(traits: Traits) -> None:
    assert all(attribute != "faith" for attribute, _ in of(traits, lived(list(range(10)))))
    assert any(t.attribute == "faith" for t in Traits(traits.catalogue).table().traits), "the control: undeclared, it would be"


def test_nobody_and_unknown_items(traits: Traits) -> None:
    assert of(traits, lived([])) == {}
    assert of(traits, lived([99, 1000])) == {}
    assert ("category", "Hats > Caps") in of(traits, lived([3, 99, 7, 11]))


def test_the_strongest_come_first(traits: Traits) -> None:
    found = list(of(traits, lived([3, 7, 11, 15, 2, 6, 1, 5])).values())
    for attribute in {t.trait.attribute for t in found}:
        bits = [t.bits for t in found if t.trait.attribute == attribute]
        assert bits == sorted(bits, reverse=True)
    assert all(t.lift >= tastes.LEAST_LIFT for t in found)
