"""Who looks at the pages, kept in one signed cookie: the chosen shopper, the language, what lies in the cart. Nothing of it is stored on the server.

cookie = base64url(JSON of the visit) "." base64url(HMAC-SHA256(secret, first part))
"""

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from daogou.data.rows import Id

COOKIE = "daogou-visit"
GUEST = "guest-"
"How the user ids of guests begin."
LONGEST = 3900
"Bytes of the cookie's value; browsers keep 4096 of name and value together."
OF_CHAT = 60
"Bytes kept free for the name of a conversation."
MOST_OF_ONE = 99

Count = Annotated[int, Meta(ge=1, le=MOST_OF_ONE)]


class Visit(Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One browser's visit. `session` is random; a guest's events carry it as their user id, so that they can be learned from within the visit."""

    session: Id
    user: Annotated[str, Meta(max_length=256)] = ""
    "The chosen shopper; empty = a guest."
    locale: Annotated[str, Meta(max_length=16)] = ""
    "The chosen language; empty = what the browser asks for."
    cart: dict[Id, Count] = {}
    taken: int = 0
    "How often the cart was taken: the same cart sent twice is taken once."
    liked: list[Id] = []
    "The last items that were liked in this visit, so that their buttons say so."
    chat: Annotated[str, Meta(max_length=64)] = ""
    "The conversation with the guide; empty = none yet."

    @property
    def person(self) -> str:
        """The user id of this visit's events."""
        return self.user or self.session

    def put(self, item_id: str, count: int) -> bool:
        """Sets how many of an item lie in the cart (0 takes it out); False, and no change, where the cookie would grow too large."""
        before = dict(self.cart)
        if count <= 0:
            self.cart.pop(item_id, None)
        else:
            self.cart[item_id] = min(count, MOST_OF_ONE)
        if not self._fits():
            self.cart = before
            return False
        return True

    def like(self, item_id: str) -> None:
        """Remembers that an item was liked; the oldest are forgotten first."""
        self.liked = [*(i for i in self.liked if i != item_id), item_id][-20:]
        while not self._fits() and self.liked:
            self.liked = self.liked[1:]

    def _fits(self) -> bool:
        """Whether a browser would keep the cookie, a conversation still to come included."""
        return len(_packed(self)) + 44 + (0 if self.chat else OF_CHAT) <= LONGEST


def start(user: str = "", locale: str = "") -> Visit:
    """A new visit."""
    return Visit(session=GUEST + secrets.token_hex(8), user=user, locale=locale)


def seal(visit: Visit, secret: bytes) -> str:
    """The cookie's value."""
    packed = _packed(visit)
    return f"{packed}.{_signature(packed, secret)}"


def unseal(value: str, secret: bytes) -> Visit | None:
    """The visit of a cookie; None where it is absent, damaged or signed by someone else."""
    packed, _, signature = value.rpartition(".")
    if len(value) > LONGEST or not hmac.compare_digest(signature.encode(), _signature(packed, secret).encode()):
        return None
    try:
        return msgspec.json.decode(urlsafe_b64decode(packed + "=" * (-len(packed) % 4)), type=Visit)
    except (ValueError, msgspec.DecodeError):
        return None


def _packed(visit: Visit) -> str:
    return urlsafe_b64encode(msgspec.json.encode(visit)).rstrip(b"=").decode()


def _signature(packed: str, secret: bytes) -> str:
    return urlsafe_b64encode(hmac.digest(secret, packed.encode(), sha256)).rstrip(b"=").decode()
