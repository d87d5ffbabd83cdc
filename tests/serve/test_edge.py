"""What every answer carries, and what is written about it."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import structlog
from litestar import Litestar
from litestar.testing import TestClient

from daogou.scenario import Project
from daogou.serve.app import create_app
from daogou.serve.edge import Edge

Client = TestClient[Litestar]
PATHS = ["/v1/placements", "/v1/docs", "/v1/openapi.json", "/nowhere", "/healthz", "/v1/items/none", "/v1/search"]


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_has_the_security_headers(reading: Client, path: str) -> None:
    headers = reading.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["x-frame-options"], headers["referrer-policy"]) == ("nosniff", "DENY", "same-origin")
    assert "server" not in headers


def test_request_ids_are_kept_if_harmless_and_made_otherwise(reading: Client) -> None:
    assert reading.get("/healthz", headers={"X-Request-Id": "abc-1.2:3"}).headers["x-request-id"] == "abc-1.2:3"
    made = [reading.get("/healthz", headers={"X-Request-Id": wrong}).headers["x-request-id"] for wrong in ("", "x" * 65, "a b", "<script>")]
    assert all(len(one) == 16 for one in made)
    assert len(set(made)) == 4


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("DELETE", "/healthz", 405), ("PUT", "/v1/recommendations", 405)])
def test_unknown_paths_and_methods_have_the_same_body(reading: Client, method: str, path: str, status: int) -> None:
    response = reading.request(method, path)
    assert response.status_code == status
    assert response.json() | {"detail": ""} == {"status_code": status, "detail": "", "extra": []}


def test_metrics_count_by_route_and_never_by_person(client: Client) -> None:
    client.get("/v1/users/someone-private")
    client.post("/v1/recommendations", json={"placement": "home.guest", "user_id": "someone-private"})
    client.post("/v1/events", json=[{"user_id": "someone-private", "item_id": "i1", "event": "view"}, {}])
    text = client.get("/metrics").text
    assert "someone-private" not in text
    assert 'daogou_requests_total{method="GET",route="/v1/users/{user_id}",status="404"} 1.0' in text
    assert 'daogou_answers_total{placement="home.guest"} 1.0' in text
    assert 'daogou_rows_total{outcome="rejected",table="events"} 1.0' in text
    assert 'daogou_request_seconds_bucket{le="+Inf",route="/v1/events"} 1.0' in text
    assert "process_resident_memory_bytes" in text
    assert f'daogou_release_info{{release="{client.app.state.live.release}"}} 1.0' in text


def test_a_caller_who_leaves_halfway_is_no_defect(app: Litestar, loopback: Callable[[Litestar], AbstractContextManager[int]]) -> None:
    with loopback(app) as port, structlog.testing.capture_logs() as caught:
        for path in ("/v1/events", "/v1/events:import"):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n[".encode())
                time.sleep(0.1)
        deadline = time.monotonic() + 10
        while sum(line["event"] == "request" for line in caught) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert [line["status"] for line in caught if line["event"] == "request"] == [400, 400]
    assert "internal error" not in {line["event"] for line in caught}


def test_logs_name_nobody(client: Client) -> None:
    client.post("/v1/events", json={"user_id": "someone-private", "item_id": "i1", "event": "view"})
    with structlog.testing.capture_logs() as caught:
        client.get("/v1/users/someone-private/export", headers={"X-Request-Id": "rid-1"})
        client.delete("/v1/users/someone-private")
        client.post("/v1/recommendations", json={"placement": "none", "user_id": "someone-private"})
    assert [(line["route"], line["status"]) for line in caught if line["event"] == "request"] == [
        ("/v1/users/{user_id}/export", 200),
        ("/v1/users/{user_id}", 200),
        ("/v1/recommendations", 400),
    ]
    assert "someone-private" not in json.dumps(caught, default=str)


def test_logs_are_json_lines_with_the_request_id() -> None:
    """In a process of its own: configuring logs is for the process that serves."""
    script = """
import logging, structlog
from daogou.serve import logs
logs.configure("info")
with structlog.contextvars.bound_contextvars(request_id="rid-1"):
    structlog.get_logger().info("request", route="/v1/x", ms=1.5)
    structlog.get_logger().debug("not shown")
    logging.getLogger("uvicorn.error").info("started on %s", "port")
try:
    1 / 0
except ZeroDivisionError as e:
    structlog.get_logger().error("internal error", exc_info=e)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    first, second, third = (json.loads(line) for line in run.stderr.splitlines())
    assert first.pop("timestamp") and second.pop("timestamp")
    assert first == {"event": "request", "level": "info", "request_id": "rid-1", "route": "/v1/x", "ms": 1.5}
    assert second == {"event": "started on port", "level": "info", "request_id": "rid-1"}
    assert "ZeroDivisionError" in third["exception"]


def test_a_defect_is_a_500_without_its_cause(trained: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(trained, open_access=True)
    with TestClient(app, raise_server_exceptions=False) as client:

        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("the password is 1234")

        monkeypatch.setattr(app.state.live.engine, "search", broken)
        response = client.get("/v1/search", params={"q": "x"})
        assert response.status_code == 500
        assert "1234" not in response.text
        assert response.json()["status_code"] == 500


def test_too_many_at_once_are_told_to_come_back(trained: Project) -> None:
    app = create_app(trained, open_access=True)
    edge = app.asgi_handler
    assert isinstance(edge, Edge)
    edge._most = 0
    with TestClient(app) as client:
        response = client.get("/healthz")
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert response.json()["status_code"] == 503
        edge._most = 10
        assert client.get("/healthz").status_code == 200
        assert "daogou_requests_shed_total 1.0" in client.get("/metrics").text
