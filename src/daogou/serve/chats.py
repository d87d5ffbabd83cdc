"""What was said in the conversations of the pages, so that a page can show one again: in memory alone, as long as the guide itself remembers it.

Of the goods only the ids are kept: what they are called and cost is looked up whenever they are shown.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec import Struct
from msgspec.structs import replace

from daogou.guide.dialogue import TTL_S, Reply

CONVERSATIONS = 2_000
"""Kept at once; the one not heard of for longest is forgotten first."""
TURNS = 12
"""Kept of one conversation, the last ones."""
LONGEST = 400
"""Characters kept of what was said."""


class Turn(Struct, frozen=True, kw_only=True):
    """What a shopper said, and what the guide answered. Photos are not kept, only that there was one."""

    said: str = ""
    photo: bool = False
    dropped: tuple[str, ...] = ()
    "Labels of the chips that were taken away."
    reply: Reply


@dataclass(slots=True)
class _Chat:
    user_id: str
    turns: list[Turn] = field(default_factory=list)
    heard: float = 0.0


class Chats:
    """May be used from many threads."""

    def __init__(self, *, conversations: int = CONVERSATIONS, ttl_s: float = TTL_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._ttl_s, self._clock = conversations, ttl_s, clock
        self._chats: OrderedDict[str, _Chat] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._chats)

    def of(self, conversation_id: str, user_id: str) -> list[Turn]:
        """The turns of a conversation of this person, oldest first; none where it is another's or forgotten."""
        with self._lock:
            self._forget_old()
            chat = self._chats.get(conversation_id)
            return list(chat.turns) if chat is not None and chat.user_id == user_id else []

    def add(self, user_id: str, turn: Turn) -> None:
        """Keeps a turn under the conversation that its reply names."""
        name = turn.reply.conversation_id
        short = turn.said if len(turn.said) <= LONGEST else turn.said[: LONGEST - 1] + "…"
        bare = replace(turn, said=short, reply=replace(turn.reply, items=[replace(one, item=None) for one in turn.reply.items]))
        with self._lock:
            chat = self._chats.get(name)
            if chat is None or chat.user_id != user_id:
                chat = self._chats[name] = _Chat(user_id)
            chat.turns = [*chat.turns, bare][-TURNS:]
            chat.heard = self._clock()
            self._chats.move_to_end(name)
            self._forget_old()

    def forget(self, user_id: str) -> None:
        """Drops the conversations of a person."""
        with self._lock:
            for name in [name for name, chat in self._chats.items() if chat.user_id == user_id]:
                del self._chats[name]

    def _forget_old(self) -> None:
        oldest = self._clock() - self._ttl_s
        while self._chats and (len(self._chats) > self._most or next(iter(self._chats.values())).heard < oldest):
            self._chats.popitem(last=False)
