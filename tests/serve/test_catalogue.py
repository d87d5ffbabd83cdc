"""Items one at a time."""

from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]


def test_put_replaces_and_patch_changes(client: Client) -> None:
    put = client.put("/v1/items/x", json={"title": "X", "price": 3.5, "attributes": {"size": "M"}})
    assert put.status_code == 200
    assert (put.json()["title"], put.json()["price"], put.json()["attributes"]) == ("X", 3.5, {"size": "M"})
    assert client.patch("/v1/items/x", json={"price": 4}).json()["title"] == "X"
    assert client.patch("/v1/items/x", json={"title": None}).json().get("title") is None
    replaced = client.put("/v1/items/x", json={"item_id": "x", "brand": "B"}).json()
    assert (replaced.get("price"), replaced["brand"]) == (None, "B")
    assert client.get("/v1/items/x").json() == replaced


def test_a_deleted_item_is_gone_from_every_answer(client: Client) -> None:
    assert client.delete("/v1/items/i1").json() == {"item_id": "i1", "deleted": True}
    assert client.get("/v1/items/i1").status_code == 404
    assert client.delete("/v1/items/i1").status_code == 404
    assert client.patch("/v1/items/i1", json={"price": 1}).status_code == 404
    assert client.get("/v1/search", params={"q": "thing 1"}).json()["items"][0]["item_id"] != "i1"
    assert client.post("/v1/recommendations", json={"placement": "product.similar", "items": ["i1"]}).status_code == 400


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"item_id": "other"}, "item_id"),
        ({"price": "dear"}, "price"),
        ({"price": -1}, "price"),
        ({"created": 10**20}, "created"),
        ({"created": -5}, "created"),
        ({"tittle": "X"}, "tittle"),
        ({"attributes": {"colour": "red"}}, "attributes.colour"),
        ({"attributes": {"size": 3}}, "attributes.size"),
        ({"attributes": []}, "attributes"),
        ([], "body"),
    ],
)
def test_a_wrong_item_names_its_field(reading: Client, body: Any, field: str) -> None:
    for method in (reading.put, reading.patch):
        response = method("/v1/items/i1", json=body)
        assert response.status_code == 400, response.text
        assert response.json()["extra"][0]["field"] == field
    assert reading.get("/v1/items/i1").json()["title"] == "Thing 1"


def test_ids_of_any_script_pass_through_the_path(client: Client) -> None:
    assert client.put("/v1/items/红色 跑鞋%20+&?", json={}).status_code in (200, 404)
    assert client.put("/v1/items/%E7%BA%A2%E8%89%B2%20a+b", json={"title": "红"}).json()["item_id"] == "红色 a+b"
    assert client.get("/v1/items/%E7%BA%A2%E8%89%B2%20a+b").json()["title"] == "红"
    assert client.get("/v1/items/" + "x" * 300).status_code == 400
