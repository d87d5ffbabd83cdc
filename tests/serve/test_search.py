"""Search with counts over HTTP."""

from collections.abc import Iterator

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from daogou.scenario import Project
from daogou.serve.app import create_app
from daogou.store import Store

Client = TestClient[Litestar]


@pytest.fixture
def client(project: Project) -> Iterator[Client]:
    with Store.open(project.store_url) as store, TestClient(create_app(project, open_access=True, store=store)) as made:
        yield made


def test_items_counts_spelling_and_what_gave_way(client: Client) -> None:
    body = {"text": "thign", "filter": "price <= 20", "prefer": ['brand = "brand1"', "price < 0"], "k": 3, "user_id": "u1"}
    found = client.post("/v1/search", json=body).json()
    assert found["corrected"] == "thing" and found["relaxed"] == ["price < 0"] and found["total"] == 5 and len(found["items"]) == 3
    assert all(one["item"]["brand"] == "brand1" and one["item"]["price"] <= 20 for one in found["items"])
    facets = {facet["attribute"]: facet["values"] for facet in client.post("/v1/search", json={"text": "thing"}).json()["facets"]}
    assert [(one["label"], one["items"]) for one in facets["brand"]] == [(f"brand{n}", 10) for n in range(4)]
    assert sum(one["items"] for one in facets["price"]) == 40
    assert client.post("/v1/search", json={"filter": facets["price"][0]["filter"]}).json()["total"] == facets["price"][0]["items"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": "x" * 501}, "text"),
        ({"filter": "prize < 3"}, "filter"),
        ({"facets": ["colour"]}, "facets"),
        ({"image": ""}, "image"),
        ({"k": 0}, "k"),
        ({"q": "thing"}, "q"),
    ],
)
def test_what_is_wrong_is_named(client: Client, body: dict[str, object], field: str) -> None:
    answer = client.post("/v1/search", json=body)
    assert answer.status_code == 400 and answer.json()["extra"][0]["field"] == field


@pytest.mark.parametrize("text", ["😀" * 100, "'; DROP TABLE items; --", "\u0000", "不要" * 250, "{x}"])
def test_bad_input_is_answered(client: Client, text: str) -> None:
    answer = client.post("/v1/search", json={"text": text})
    assert answer.status_code == 200 and answer.json()["relaxed"] in ([], ["text"])
