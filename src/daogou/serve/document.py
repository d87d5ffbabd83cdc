"""The OpenAPI document without a server: ``python -m daogou.serve.document > docs/openapi.json``."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from daogou.scenario import Project
from daogou.serve.app import create_app
from daogou.store import Store


def document() -> bytes:
    """As /v1/openapi.json answers it, indented."""
    with TemporaryDirectory() as directory:
        project = Project(directory=Path(directory))
        with Store.open(project.store_url) as store:
            schema = create_app(project, open_access=False, store=store).openapi_schema.to_schema()
    return msgspec.json.format(msgspec.json.encode(schema), indent=1) + b"\n"


if __name__ == "__main__":
    sys.stdout.buffer.write(document())
