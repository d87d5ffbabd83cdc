"""Items: one at a time here, many through `:import`. What changes here changes the next answer."""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Router, delete, get, patch, put
from litestar.params import JSONBody, PathParameter

from daogou.data.rows import Item
from daogou.serve.body import RowBody
from daogou.serve.errors import BadRequest, NotFound
from daogou.serve.openapi import needs
from daogou.serve.services import Given, Services
from daogou.serve.wire import Deleted, item_flaws

WRITE = needs("catalog:write")
ItemId = Annotated[str, PathParameter(max_length=256, description="The item's id, as the shop's own systems call it.")]


class ItemBody(RowBody):
    """An Item whose id may be left out: the path has it."""

    key: ClassVar[str] = "item_id"
    row: ClassVar[type[msgspec.Struct]] = Item
    wire: ClassVar[Any] = RowBody.without_key(Item, "item_id")


def checked(item: Item, services: Services) -> Item:
    """The item, or `BadRequest` where its attributes are not what the scenario declares."""
    if flaws := item_flaws(item, services.scenario.attributes.items):
        raise BadRequest("the item does not fit the scenario", flaws)
    return item


@put("/items/{item_id:str}", **WRITE, dto=ItemBody, return_dto=None, summary="Put an item into the catalogue")
async def put_item(item_id: ItemId, data: JSONBody[Item], services: Given) -> Item:
    """Replaces the whole row; fields that are left out are empty afterwards."""
    await services.desk.run(services.store.put_items, [checked(data, services)])
    return await _changed(item_id, services)


@patch("/items/{item_id:str}", **WRITE, dto=ItemBody, return_dto=None, summary="Change fields of an item")
async def patch_item(item_id: ItemId, data: JSONBody[Item], services: Given) -> Item:
    """Only the fields that are sent change; null empties one. Stock and price count in the very next answer."""
    await _existing(item_id, services)
    await services.desk.run(services.store.patch_item, checked(data, services))
    return await _changed(item_id, services)


@get("/items/{item_id:str}", **needs("recommend:read"), summary="One item of the catalogue")
async def get_item(item_id: ItemId, services: Given) -> Item:
    """As it is stored."""
    return await _existing(item_id, services)


@delete("/items/{item_id:str}", **WRITE, status_code=200, summary="Take an item out of the catalogue")
async def delete_item(item_id: ItemId, services: Given) -> Deleted:
    """It is not recommended from now on; what people did with it stays."""
    if not await services.desk.run(services.store.delete_item, item_id):
        raise NotFound("item", "item_id", item_id)
    await services.desk.run(services.live.catalogue_changed, [item_id])
    return Deleted(item_id=item_id, deleted=True)


async def _existing(item_id: str, services: Services) -> Item:
    item = await services.desk.run(services.store.item, item_id)
    if item is None:
        raise NotFound("item", "item_id", item_id)
    return item


async def _changed(item_id: str, services: Services) -> Item:
    await services.desk.run(services.live.catalogue_changed, [item_id])
    return await _existing(item_id, services)


router = Router("/", route_handlers=[put_item, patch_item, get_item, delete_item], tags=["catalogue"])
