"""Bodies: decoded once, strictly, straight from bytes into structs; what is wrong is named by its field.

Litestar's own road decodes to dicts first and converts leniently ("5" passes for 5). As a DTO this one keeps the type in the OpenAPI document.
"""

from collections.abc import Generator, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar, TypeVar

import msgspec
from litestar._openapi.schema_generation import SchemaCreator
from litestar.dto import AbstractDTO
from litestar.dto.data_structures import DTOFieldDefinition
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from daogou.serve.errors import BadRequest
from daogou.serve.wire import Flaw, shown

T = TypeVar("T")


def decode(raw: bytes, kind: type[T]) -> T:
    """`raw` JSON as `kind`.

    Raises:
        BadRequest: with the field, what was found there and what was expected.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        detail = "the body does not have the right shape" if isinstance(e, msgspec.ValidationError) else "the body is not JSON"
        raise BadRequest(detail, [flaw(e, raw, kind)]) from e


def flaw(error: Exception, raw: bytes, kind: Any, index: int | None = None) -> Flaw:
    """What msgspec says of a body or a row of type `kind`, as a small manual. `index` says which row."""
    if not isinstance(error, msgspec.ValidationError):
        found = "nothing" if not raw.strip() else "nested too deeply" if isinstance(error, RecursionError) else str(error)
        return Flaw(field="body", found=found, expected="a JSON text in UTF-8", index=index)
    message, _, path = str(error).partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    if message.startswith("Object contains unknown field `"):
        name = message.split("`")[1]
        known = [f.encode_name for f in _fields(kind, path)]
        near = get_close_matches(name, known, n=1)
        fix = f"did you mean `{near[0]}`?" if near else ""
        return Flaw(field=_join(path, name), found="an unknown field", expected="one of " + ", ".join(known), fix=fix, index=index)
    if message.startswith("Object missing required field `"):
        return Flaw(field=_join(path, message.split("`")[1]), found="nothing", expected="a value: the field is required", index=index)
    expected, _, got = message.removeprefix("Expected ").partition(", got ")
    return Flaw(field=path or "body", found=_value(raw, path) or got, expected=expected.replace("`", ""), index=index)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _steps(path: str) -> list[str]:
    return [step for step in path.replace("[", ".[").split(".") if step]


def _fields(kind: Any, path: str) -> Sequence[msgspec.inspect.Field]:
    """The fields of the struct that stands at `path` below `kind`."""
    node = _container(msgspec.inspect.type_info(kind))
    for step in _steps(path):
        if isinstance(node, msgspec.inspect.ListType):
            node = _container(node.item_type)
        elif isinstance(node, msgspec.inspect.StructType):
            node = _container(next(field.type for field in node.fields if field.encode_name == step))
    return node.fields if isinstance(node, msgspec.inspect.StructType) else ()


def _container(node: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """The struct or list behind optional and annotated types."""
    if isinstance(node, msgspec.inspect.Metadata):
        return _container(node.type)
    if isinstance(node, msgspec.inspect.UnionType):
        return _container(next(kind for kind in node.types if not isinstance(kind, msgspec.inspect.NoneType)))
    return node


def _value(raw: bytes, path: str) -> str:
    """The value at `path`, as the caller wrote it."""
    try:
        node = msgspec.json.decode(raw)
        for step in _steps(path):
            node = node[int(step[1:-1])] if step.startswith("[") else node[step]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, IndexError, TypeError, ValueError):
        return ""
    return shown(node)


class Body(AbstractDTO[Any]):
    """Decodes a body into the annotated type of a handler's `data`; the base of bodies that need more."""

    wire: ClassVar[Any] = None
    "Type for the OpenAPI document where it is not the handler's annotation."

    def decode_bytes(self, value: bytes) -> Any:
        return decode(value, self.asgi_connection.route_handler.parsed_data_field.annotation)

    def decode_builtins(self, value: Any) -> Any:
        raise BadRequest("the body is not JSON", [Flaw(field="Content-Type", found="a form", expected="application/json")])

    @classmethod
    def create_for_field_definition(cls, field_definition: FieldDefinition, handler_id: str, backend_cls: Any = None) -> None:
        """Nothing to prepare: the type itself is the schema."""

    @classmethod
    def create_openapi_schema(cls, field_definition: FieldDefinition, handler_id: str, schema_creator: SchemaCreator) -> Reference | Schema:
        kind = field_definition if cls.wire is None else FieldDefinition.from_annotation(cls.wire)
        return schema_creator.for_field_definition(kind)

    @classmethod
    def is_supported_model_type_field(cls, field_definition: FieldDefinition) -> bool:
        return True

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Generator[DTOFieldDefinition, None, None]:
        yield from ()

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:
        return False


class RowBody(Body):
    """A row whose key stands in the path: `key` may be left out of the body, and must agree where it is not."""

    key: ClassVar[str]
    row: ClassVar[type[msgspec.Struct]]

    @staticmethod
    def without_key(row: type[msgspec.Struct], key: str) -> type[msgspec.Struct]:
        """`row` with an optional key: what the OpenAPI document shows."""
        fields = [(f.name, f.type | None, None) if f.name == key else (f.name, f.type, f.default) for f in msgspec.structs.fields(row)]
        return msgspec.defstruct(f"{row.__name__}Body", fields, kw_only=True, forbid_unknown_fields=True, module=__name__)

    def decode_bytes(self, value: bytes) -> Any:
        wanted = self.asgi_connection.path_params[self.key]
        given: Any = decode(value, dict[str, Any])
        if (named := given.setdefault(self.key, wanted)) != wanted:
            raise BadRequest("the body is of another row than the path", [Flaw(field=self.key, found=shown(named), expected=shown(wanted))])
        try:
            return msgspec.convert(given, self.row)
        except msgspec.ValidationError as e:
            raise BadRequest("the body does not have the right shape", [flaw(e, value, self.row)]) from e
