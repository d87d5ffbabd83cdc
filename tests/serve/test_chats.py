"""What conversations are remembered for the pages, and for how long."""

from daogou.data.rows import Item
from daogou.guide.dialogue import Reply
from daogou.request import Answered
from daogou.serve.chats import LONGEST, TURNS, Chats, Turn


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def turn(name: str, said: str = "shoes") -> Turn:
    one = Answered(item_id="a", score=1.0, propensity=1.0, reason="because", explanation=None, item=Item(item_id="a", title="Secret title", price=5.0))
    return Turn(said=said, reply=Reply(conversation_id=name, request_id="r", reply="Here.", understood=[], total=1, items=[one]))


def test_turns_come_back_in_order_and_without_the_goods_records() -> None:
    chats = Chats()
    for said in ("shoes", "black ones"):
        chats.add("u", turn("c", said))
    kept = chats.of("c", "u")
    assert [one.said for one in kept] == ["shoes", "black ones"]
    assert [one.item_id for one in kept[0].reply.items] == ["a"] and kept[0].reply.items[0].item is None  # prices are looked up when shown


def test_another_person_sees_nothing_and_takes_nothing_over() -> None:
    chats = Chats()
    chats.add("u", turn("c"))
    assert chats.of("c", "v") == [] and chats.of("d", "u") == []
    chats.add("v", turn("c", "mine"))
    assert [one.said for one in chats.of("c", "v")] == ["mine"] and chats.of("c", "u") == []


def test_old_turns_and_long_words_are_cut() -> None:
    chats = Chats()
    for n in range(TURNS + 3):
        chats.add("u", turn("c", f"{n} " + "x" * 1000))
    kept = chats.of("c", "u")
    assert len(kept) == TURNS and kept[0].said.startswith("3 ") and max(len(one.said) for one in kept) == LONGEST


def test_conversations_end_with_time_and_with_number() -> None:
    clock = Clock()
    chats = Chats(conversations=2, ttl_s=10.0, clock=clock)
    for name in ("a", "b", "c"):
        chats.add("u", turn(name))
    assert len(chats) == 2 and chats.of("a", "u") == [] and chats.of("b", "u")
    clock.now = 6.0
    chats.add("u", turn("b"))  # heard of again: now the younger one
    clock.now = 11.0
    assert chats.of("c", "u") == [] and len(chats.of("b", "u")) == 2
    clock.now = 17.0
    assert chats.of("b", "u") == [] and len(chats) == 0


def test_a_person_is_forgotten() -> None:
    chats = Chats()
    for user, name in (("u", "a"), ("v", "b"), ("u", "c")):
        chats.add(user, turn(name))
    chats.forget("u")
    assert len(chats) == 1 and chats.of("b", "v")
