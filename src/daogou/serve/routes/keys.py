"""Keys of the API, while the server runs: one process writes to the store, and this is the one."""

from typing import Annotated

from litestar import Router, delete, get, post
from litestar.params import JSONBody, PathParameter
from msgspec import Meta, Struct

from daogou.errors import UnknownName
from daogou.serve import keys
from daogou.serve.errors import NotFound
from daogou.serve.openapi import needs
from daogou.serve.services import Given
from daogou.serve.wire import Name, ShortText

ADMIN = needs("admin")
KEYED = {**ADMIN, "opt": {"scope": "admin", "keyed": True}}
"""Not under open access either: a key made there would still hold when the server asks for keys."""
MOST = 50
KeyId = Annotated[str, PathParameter(max_length=64, description="The key's id: the third part of the token, as the listing shows it.")]


class KeyBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the new key may do. Without `scopes` it has those of its kind."""

    kind: Annotated[Name, Meta(description="`server` (a shop's own systems), `browser` (a web page, from `origins` alone) or `admin`.")] = "server"
    scopes: Annotated[list[Name], Meta(max_length=MOST)] = []
    origins: Annotated[list[ShortText], Meta(max_length=MOST)] = []


class Revoked(Struct, frozen=True, kw_only=True):
    """A key that is refused from now on."""

    id: str


@get("/keys", **ADMIN, summary="The keys in force")
async def list_keys(services: Given) -> list[keys.KeyEntry]:
    """Oldest first; no secret is stored, so none is shown."""
    return await services.desk.run(keys.listing, services.store)


@post("/keys", **KEYED, status_code=201, summary="Make a key")
async def create_key(data: JSONBody[KeyBody], services: Given) -> keys.NewKey:
    """`token` is shown this once: the store keeps its digest."""
    return await services.desk.run(keys.create, services.store, data.kind, scopes=data.scopes, origins=data.origins)


@delete("/keys/{key_id:str}", **KEYED, status_code=200, summary="Revoke a key")
async def revoke_key(key_id: KeyId, services: Given) -> Revoked:
    """It is refused from the next request on, also where it is the one that asks."""
    try:
        await services.desk.run(keys.revoke, services.store, key_id)
    except UnknownName as e:
        raise NotFound("key", "key_id", key_id) from e
    return Revoked(id=key_id)


router = Router("/", route_handlers=[list_keys, create_key, revoke_key], tags=["operation"])
