"""Keys and scopes: who may ask what.

A key reads ``dg_<kind>_<id>_<secret>``; the store holds its id, kind, scopes, origins and the sha256 of the secret, never the secret.
A `browser` key stands in a page for everyone to read: it may only ask and report, from listed origins, at a bounded rate per address.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Literal, get_args

from msgspec import Struct

from daogou.errors import UnknownName, UsageError
from daogou.serve.errors import Refused
from daogou.serve.wire import now
from daogou.store import Key, Store

Scope = Literal["recommend:read", "events:write", "catalog:write", "users:read", "users:erase", "admin"]
Kind = Literal["server", "browser", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
DEFAULT_SCOPES: dict[Kind, tuple[Scope, ...]] = {
    "server": ("recommend:read", "events:write", "catalog:write", "users:read", "users:erase"),
    "browser": ("recommend:read", "events:write"),
    "admin": ("admin",),
}


class NewKey(Struct, frozen=True, kw_only=True):
    """A key that was just made. `token` is shown once and kept nowhere."""

    id: str
    kind: str
    token: str
    scopes: list[str]
    origins: list[str]


class KeyEntry(Struct, frozen=True, kw_only=True):
    """What may be said of a key afterwards."""

    id: str
    kind: str
    scopes: list[str]
    origins: list[str]
    created: int


def create(store: Store, kind: str, *, scopes: Sequence[str] = (), origins: Sequence[str] = ()) -> NewKey:
    """Makes a key and stores its digest.

    Args:
        kind: `server`, `browser` or `admin`; says the scopes where `scopes` is empty.
        origins: `https://shop.example`, for browser keys: the pages that may use it.

    Raises:
        UnknownName: a kind or scope that does not exist.
        UsageError: a browser key with more scopes than it may have, or without origins.
    """
    if kind not in DEFAULT_SCOPES:
        raise UnknownName("kind of key", kind, DEFAULT_SCOPES, field="kind")
    for scope in scopes:
        if scope not in SCOPES:
            raise UnknownName("scope", scope, SCOPES, field="scopes")
    granted = list(scopes) or list(DEFAULT_SCOPES[kind])
    if kind == "browser":
        _check_browser(granted, origins)
    key_id, secret = secrets.token_hex(6), secrets.token_hex(24)
    store.add_key(key_id, kind, digest(secret), granted, [o.rstrip("/") for o in origins], now())
    return NewKey(id=key_id, kind=kind, token=f"dg_{kind}_{key_id}_{secret}", scopes=granted, origins=list(origins))


def _check_browser(scopes: Sequence[str], origins: Sequence[str]) -> None:
    if too_much := set(scopes) - set(DEFAULT_SCOPES["browser"]):
        raise UsageError(
            f"a browser key with {sorted(too_much)[0]}",
            expected=" and ".join(DEFAULT_SCOPES["browser"]) + " only: everyone can read it in the page",
            fix="make a server key for the rest",
            field="scopes",
        )
    if not origins:
        raise UsageError("a browser key without origins", expected="the pages that may use it", fix="--origins https://shop.example", field="origins")
    for origin in origins:
        scheme, separator, host = origin.rstrip("/").partition("://")
        if scheme not in ("http", "https") or not separator or not host or "/" in host or "*" in host:
            raise UsageError(f"origin {origin!r}", expected="scheme and host, such as https://shop.example", field="origins")


def listing(store: Store) -> list[KeyEntry]:
    """The keys in force, oldest first."""
    keys = store.keys()
    return [KeyEntry(id=k.id, kind=k.kind, scopes=list(k.scopes), origins=list(k.origins), created=k.created) for k in keys if k.revoked is None]


def revoke(store: Store, key_id: str) -> None:
    """Ends a key at once.

    Raises:
        UnknownName: there is no such key.
    """
    known = [entry.id for entry in listing(store)]
    if key_id not in known:
        raise UnknownName("key", key_id, known, field="id")
    store.revoke_key(key_id)


def digest(secret: str) -> str:
    """What the store keeps of a secret. The secret has 192 random bits, so a fast hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def find(store: Store, token: str) -> Key:
    """The key of this token, if it is in force.

    Raises:
        Refused: 401, in the same words whether the form, the id or the secret is wrong.
    """
    parts = token.split("_")
    _, kind, key_id, secret = parts if len(parts) == 4 and parts[0] == "dg" else ("", "", "", "")
    key = store.key(key_id)
    # Compared even where there is no such key: an unknown id takes as long as a wrong secret.
    right = hmac.compare_digest(digest(secret), key.secret_sha256 if key else digest(""))
    if key is None or not right or key.kind != kind or key.revoked is not None:
        raise refused()
    return key


def origins(store: Store) -> set[str]:
    """Every origin that some key in force allows: those whose preflight is answered."""
    keys = store.keys()
    return {origin for key in keys if key.revoked is None for origin in key.origins}


def may(key: Key, scope: str) -> bool:
    """Whether the key's scopes cover `scope`; `admin` covers all."""
    return scope in key.scopes or "admin" in key.scopes


def refused() -> Refused:
    """401: no key, or none that is known."""
    return Refused(401, "no valid key", expected="`Authorization: Bearer dg_…` or `X-API-Key: dg_…`", fix="daogou keys create")
