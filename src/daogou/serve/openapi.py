"""The OpenAPI document, and the page that shows it: from own files, so that it opens without a network and under the security policy."""

from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from litestar import MediaType, Router, get
from litestar._openapi.schema_generation import SchemaCreator
from litestar._openapi.schema_generation.plugins.struct import StructSchemaPlugin
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, Schema, SecurityScheme, Tag
from litestar.static_files import create_static_files_router
from litestar.typing import FieldDefinition

from daogou import __version__
from daogou.serve.wire import Problem

PUBLIC = {"public": True}
SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"header": []}]
PROBLEMS = {
    400: "The request is wrong; `extra` names each field.",
    401: "No key, or none that is known.",
    403: "The key may not do this.",
    404: "What the path names does not exist.",
    405: "The path knows no such method.",
    413: "The body is too large.",
    429: "Too many requests from this address.",
    503: "Too busy, or the store is away; try again after Retry-After seconds.",
}
DESCRIPTION = """Recommendations, search and behaviour over HTTP and JSON. Bodies refuse unknown fields; every error has the shape of `Problem`.
Times are µs since 1970 UTC. A key has scopes: `recommend:read`, `events:write`, `catalog:write`, `users:read`, `users:erase`, `admin`."""


def needs(scope: str) -> dict[str, Any]:
    """Arguments of a route decorator: the scope that a key must have, and what the document says of it."""
    return {
        "opt": {"scope": scope},
        "security": SECURITY,
        "responses": {code: ResponseSpec(Problem, description=text, generate_examples=False) for code, text in PROBLEMS.items()},
    }


class StrictStructs(StructSchemaPlugin):
    """Says in the document what the decoder does: structs that forbid unknown fields have no additional properties."""

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: SchemaCreator) -> Schema:
        schema = super().to_openapi_schema(field_definition, schema_creator)
        if field_definition.type_.__struct_config__.forbid_unknown_fields:
            schema.additional_properties = False
        return schema


@get("/docs", opt=PUBLIC, media_type=MediaType.HTML, include_in_schema=False, sync_to_thread=False)
def page() -> str:
    """The document for people."""
    return _files().joinpath("index.html").read_text("utf-8")


def _files() -> Traversable:
    return resources.files("daogou.serve") / "static" / "api-docs"


def config() -> OpenAPIConfig:
    """Document at /v1/openapi.json, page at /v1/docs."""
    files = create_static_files_router("/docs/files", [str(_files())], opt=PUBLIC, include_in_schema=False, name="api-docs")
    return OpenAPIConfig(
        title="daogou",
        version=__version__,
        description=DESCRIPTION,
        use_handler_docstrings=True,
        render_plugins=(JsonRenderPlugin(path="/openapi.json"),),
        openapi_router=Router("/v1", route_handlers=[page, files], opt=PUBLIC, include_in_schema=False),
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(type="http", scheme="bearer", description="dg_<kind>_<id>_<secret>"),
                "header": SecurityScheme(type="apiKey", name="X-API-Key", security_scheme_in="header"),
            }
        ),
        tags=[
            Tag("answers", "Questions of pages"),
            Tag("intake", "Events, and many rows at once"),
            Tag("catalogue", "Items"),
            Tag("people", "Users and their rights"),
            Tag("operation", "For those who run it"),
        ],
    )
