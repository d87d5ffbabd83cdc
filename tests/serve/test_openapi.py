"""The document is what is checked in; its page lives on own files."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]
ROOT = Path(__file__).parents[2]
FILES = ROOT / "src/daogou/serve/static/api-docs"


def document(client: Client) -> dict[str, Any]:
    response = client.get("/v1/openapi.json")
    assert response.status_code == 200
    body: dict[str, Any] = response.json()
    return body


def test_the_document_is_the_one_that_is_checked_in(reading: Client) -> None:
    """It changes on purpose or not at all. After a change: python -m daogou.serve.document > docs/openapi.json"""
    assert document(reading) == json.loads((ROOT / "docs/openapi.json").read_text("utf-8"))


def test_pages_are_no_part_of_it(reading: Client) -> None:
    assert {path.split("/")[1] for path in document(reading)["paths"]} == {"v1", "healthz", "readyz", "metrics"}


def test_every_reference_leads_somewhere(reading: Client) -> None:
    text = json.dumps(document(reading))
    names = set(re.findall(r"#/components/schemas/([^\"]+)", text))
    assert names <= set(document(reading)["components"]["schemas"])
    assert {"Request", "Answer", "Answered", "Problem", "Loaded"} <= names


def test_bodies_refuse_unknown_fields_in_the_document_too(reading: Client) -> None:
    schemas = document(reading)["components"]["schemas"]
    for name in ("Request", "RankBody", "EventBody", "ItemBody", "UserBody", "SessionEvent"):
        assert schemas[name]["additionalProperties"] is False, name


def test_vendored_files_are_those_of_the_manifest() -> None:
    manifest = json.loads((FILES / "manifest.json").read_text("utf-8"))
    assert manifest["package"] == "swagger-ui-dist"
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((FILES / name).read_bytes()).hexdigest() == digest, name
    own = {"index.html", "start.js", "icon.svg", "manifest.json"}
    assert {file.name for file in FILES.iterdir()} == own | set(manifest["sha256"])


def test_the_page_asks_for_nothing_but_own_files_and_runs_nothing_inline(reading: Client) -> None:
    html = reading.get("/v1/docs").text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert addresses and all(address.startswith("/v1/docs/files/") for address in addresses)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bon\w+=|\bstyle=", html)
    for address in addresses:
        assert reading.get(address).status_code == 200, address
    assert "http" not in (FILES / "start.js").read_text("utf-8").replace("/v1/openapi.json", "")
