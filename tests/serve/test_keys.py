"""Keys: what each may do, and that no route forgot to ask."""

from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar, get
from litestar.testing import TestClient

from daogou.errors import ConfigError, UnknownName, UsageError
from daogou.scenario import Project
from daogou.serve import app as app_module
from daogou.serve import keys
from daogou.serve.app import create_app
from daogou.store import Store

Client = TestClient[Litestar]
ORIGIN = "https://shop.example"
SCOPES: dict[str, str] = {
    "POST /v1/guide": "recommend:read",
    "POST /v1/search": "recommend:read",
    "POST /v1/recommendations": "recommend:read",
    "POST /v1/rank": "recommend:read",
    "GET /v1/items/{item_id}/similar": "recommend:read",
    "GET /v1/items/{item_id}/bought-together": "recommend:read",
    "GET /v1/search": "recommend:read",
    "GET /v1/placements": "recommend:read",
    "GET /v1/items/{item_id}": "recommend:read",
    "GET /v1/onboarding": "recommend:read",
    "POST /v1/onboarding": "events:write",
    "POST /v1/events": "events:write",
    "POST /v1/events:import": "events:write",
    "PUT /v1/items/{item_id}": "catalog:write",
    "PATCH /v1/items/{item_id}": "catalog:write",
    "DELETE /v1/items/{item_id}": "catalog:write",
    "POST /v1/items:import": "catalog:write",
    "PUT /v1/users/{user_id}": "catalog:write",
    "PATCH /v1/users/{user_id}": "catalog:write",
    "POST /v1/users:import": "catalog:write",
    "GET /v1/users/{user_id}": "users:read",
    "GET /v1/users/{user_id}/export": "users:read",
    "GET /v1/users/{user_id}/profile": "users:read",
    "GET /v1/users/{user_id}/profile/corrections": "users:read",
    "POST /v1/users/{user_id}/profile/corrections": "catalog:write",
    "DELETE /v1/users/{user_id}/profile/corrections": "catalog:write",
    "DELETE /v1/users/{user_id}": "users:erase",
    "GET /metrics": "admin",
    "GET /v1/keys": "admin",
    "POST /v1/keys": "admin",
    "DELETE /v1/keys/{key_id}": "admin",
}
PUBLIC = {"GET /healthz", "GET /readyz"}


@pytest.fixture
def closed(project: Project) -> Iterator[tuple[Client, Store]]:
    with Store.open(project.store_url) as store, TestClient(create_app(project, open_access=False, store=store)) as client:
        yield client, store


def documented(client: Client) -> list[tuple[str, str]]:
    """Every operation of the OpenAPI document: the matrix is generated, so that no route escapes it."""
    document = client.get("/v1/openapi.json").json()
    return [(method.upper(), path) for path, operations in document["paths"].items() for method in operations]


def send(client: Client, method: str, path: str, **headers: str) -> int:
    path = path.replace("{item_id}", "i1").replace("{user_id}", "u1")
    return client.request(method, path, headers=headers, json={} if method in ("POST", "PUT", "PATCH") else None).status_code


@pytest.mark.promise("S2")
def test_every_route_refuses_no_key_a_wrong_key_and_a_wrong_scope(closed: tuple[Client, Store]) -> None:
    client, store = closed
    right = {scope: keys.create(store, "server", scopes=[scope]).token for scope in keys.SCOPES}
    forged = right["admin"][:-1] + ("0" if right["admin"][-1] != "0" else "1")
    wrong_keys: list[dict[str, str]] = [{}, {"X-API-Key": forged}, {"X-API-Key": "dg_server_none_" + "0" * 48}]
    wrong_keys += [{"Authorization": "Bearer nonsense"}, {"Authorization": "Basic dTpw"}, {"Authorization": f"Bearer {right['admin']}x"}]
    guarded = [(method, path) for method, path in documented(client) if f"{method} {path}" not in PUBLIC]
    assert {f"{method} {path}" for method, path in guarded} == set(SCOPES), "a route was added or lost: say its scope here"
    for method, path in guarded:
        scope = SCOPES[f"{method} {path}"]
        for wrong in wrong_keys:
            assert send(client, method, path, **wrong) == 401, (method, path, wrong)
        for other, token in right.items():
            allowed = other in (scope, "admin")
            status = send(client, method, path, Authorization=f"Bearer {token}")
            assert (status != 403) == allowed and status != 401, (method, path, other, status)
            if method == "DELETE" and allowed:
                client.put("/v1/items/i1", json={}, headers={"X-API-Key": right["catalog:write"]})
    for public in PUBLIC:
        assert send(client, *public.split()) == 200


def test_pages_of_documents_need_no_key(closed: tuple[Client, Store]) -> None:
    client, _ = closed
    assert [client.get(path).status_code for path in ("/v1/openapi.json", "/v1/docs", "/v1/docs/files/start.js")] == [200, 200, 200]


def test_a_route_without_a_scope_does_not_start(monkeypatch: pytest.MonkeyPatch, project: Project) -> None:
    """The control of the matrix: a guard that was forgotten is found before the server listens."""

    @get("/v1/forgotten")
    async def forgotten() -> str:
        return "everything"

    monkeypatch.setattr(app_module, "_pages", lambda _: [forgotten])
    with pytest.raises(ConfigError, match="GET /v1/forgotten"):
        create_app(project, open_access=False)


def test_the_store_never_sees_a_secret(project: Project) -> None:
    with Store.open(project.store_url) as store:
        made = keys.create(store, "server")
        kind, key_id, secret = made.token.split("_")[1:]
        assert (kind, key_id) == ("server", made.id)
        (entry,) = store.keys()
        assert entry.secret_sha256 == keys.digest(secret)
        assert len(secret) == 48
    for file in project.directory.glob("store.sqlite3*"):
        assert secret.encode() not in file.read_bytes()


def test_listing_and_revoking(closed: tuple[Client, Store]) -> None:
    client, store = closed
    made, other = keys.create(store, "server"), keys.create(store, "admin")
    assert [entry.id for entry in keys.listing(store)] == [made.id, other.id]
    assert send(client, "GET", "/v1/placements", **{"X-API-Key": made.token}) == 200
    keys.revoke(store, made.id)
    assert send(client, "GET", "/v1/placements", **{"X-API-Key": made.token}) == 401
    assert send(client, "GET", "/v1/placements", **{"X-API-Key": other.token}) == 200
    with pytest.raises(UnknownName):
        keys.revoke(store, "none")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("master", {}),
        ("server", {"scopes": ["everything"]}),
        ("browser", {}),
        ("browser", {"origins": [ORIGIN], "scopes": ["catalog:write"]}),
        ("browser", {"origins": ["*"]}),
        ("browser", {"origins": ["https://*.shop.example"]}),
        ("browser", {"origins": ["https://shop.example/path"]}),
        ("browser", {"origins": ["shop.example"]}),
    ],
)
def test_keys_that_cannot_be(project: Project, kind: str, options: dict[str, Any]) -> None:
    with Store.open(project.store_url) as store:
        with pytest.raises(UsageError):
            keys.create(store, kind, **options)
        assert list(store.keys()) == []


def test_a_browser_key_asks_from_its_own_pages_at_a_bounded_rate(closed: tuple[Client, Store]) -> None:
    client, store = closed
    token = keys.create(store, "browser", origins=[ORIGIN + "/"]).token
    head = {"X-API-Key": token, "Origin": ORIGIN}
    answer = client.post("/v1/recommendations", json={"placement": "home.guest"}, headers=head)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert send(client, "POST", "/v1/recommendations", **{"X-API-Key": token}) == 403
    assert send(client, "POST", "/v1/recommendations", **{"X-API-Key": token, "Origin": "https://elsewhere.example"}) == 403
    assert send(client, "DELETE", "/v1/users/u1", **head) == 403
    preflight = client.options("/v1/recommendations", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"})
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, ORIGIN)
    elsewhere = client.options("/v1/recommendations", headers={"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"})
    assert "access-control-allow-origin" not in elsewhere.headers
    statuses = [client.get("/v1/placements", headers=head) for _ in range(80)]
    refused = [response for response in statuses if response.status_code == 429]
    assert refused and int(refused[0].headers["retry-after"]) >= 1
    assert {response.status_code for response in statuses} == {200, 429}
