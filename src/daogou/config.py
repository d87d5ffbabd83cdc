"""Typed configuration: decoding and nothing else.

Every settings object is a frozen msgspec struct that refuses unknown keys. A hyperparameter is written once, as a field whose
annotation carries its range, unit and meaning; tuning, documentation and the console read them from there.
"""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from daogou.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every settings object, hyperparameters included."""


def hyper(doc: str, low: float | None = None, high: float | None = None, *, log: bool = False, unit: str = "", **limits: Any) -> Any:
    """Annotation of a hyperparameter: ``l2: Annotated[float, hyper("penalty …", 1, 1e4, log=True)] = 100.0``.

    `low`–`high` is the range that tuning searches (on a log scale with `log`); `limits` (ge, gt, le, lt) is what is valid at all.
    """
    search = None if low is None or high is None else {"low": low, "high": high, "log": log}
    return msgspec.Meta(description=doc, extra={"search": search, "unit": unit}, **limits)


class Hyperparameter(msgspec.Struct, frozen=True):
    """What `hyper` said about one field, read back."""

    name: str
    default: Any
    doc: str
    unit: str
    low: float | None
    high: float | None
    log: bool


def hyperparameters(config: type[Config]) -> Iterator[Hyperparameter]:
    """The hyperparameters of a config class, in order of declaration."""
    for field in msgspec.inspect.type_info(config).fields:  # type: ignore[attr-defined]
        meta: dict[str, Any] = {}
        kind = field.type
        if isinstance(kind, msgspec.inspect.Metadata):
            meta = {**(kind.extra_json_schema or {}), **(kind.extra or {})}
        search = meta.get("search") or {}
        yield Hyperparameter(
            field.name, field.default, meta.get("description", ""), meta.get("unit", ""), search.get("low"), search.get("high"), bool(search.get("log", False))
        )


def read_toml(path: Path, kind: type[T]) -> T:
    """Decodes a TOML file into `kind`.

    Raises:
        ConfigError: with file, line where it can be found, key, and the nearest valid key for an unknown one.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as e:
        raise ConfigError(f"cannot read it ({e.strerror})", fix="give the path of an existing TOML file", where=str(path)) from e
    except UnicodeDecodeError as e:
        raise ConfigError("it is not UTF-8", fix="save it as UTF-8", where=str(path)) from e
    return decode_toml(text, kind, str(path))


def decode_toml(text: str, kind: type[T], where: str) -> T:
    """As `read_toml`, from text; `where` names the source in errors."""
    try:
        return msgspec.toml.decode(text, type=kind)
    except msgspec.ValidationError as e:
        raise _explain(str(e), text, kind, where) from e
    except msgspec.DecodeError as e:
        raise ConfigError(f"not valid TOML: {e}", fix="mend the syntax", where=where) from e


def _explain(message: str, text: str, kind: type[msgspec.Struct], where: str) -> ConfigError:
    found, _, path = message.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    key, fix = path.rsplit(".", 1)[-1], ""
    if "unknown field `" in found:
        key = found.split("unknown field `")[1].split("`")[0]
        names = {f for struct in _structs(kind) for f in struct.__struct_fields__}
        near = get_close_matches(key, names, n=1)
        fix = f"did you mean `{near[0]}`?" if near else "valid keys: " + ", ".join(kind.__struct_fields__)
    if line := _line_of(text, path, key):
        where = f"{where} line {line}"
    return ConfigError(f"{path}: {found}" if path else found, fix=fix, where=where, field=path or key)


def _line_of(text: str, path: str, key: str) -> int | None:
    """The line where `key` stands: msgspec knows no lines. In arrays of tables, the one that `path` counts to."""
    stem = re.escape(key.split("[")[0])
    if not stem:
        return None
    array = re.search(r"(\w+)\[(\d+)\]", path)
    skip = int(array[2]) + 1 if array else 0
    for n, line in enumerate(text.splitlines(), 1):
        if skip and array and re.match(rf"\s*\[\[\s*{array[1]}\s*\]\]", line):
            skip -= 1
        elif skip <= 0 and re.match(rf"\s*(\[+\s*)?\"?{stem}\"?\s*[=.\]]", line):
            return n
    return None


def _structs(kind: Any) -> Iterator[type[msgspec.Struct]]:
    seen: set[Any] = set()

    def walk(node: Any) -> Iterator[type[msgspec.Struct]]:
        if isinstance(node, msgspec.inspect.StructType):
            if node.cls in seen:
                return
            seen.add(node.cls)
            yield node.cls
            for field in node.fields:
                yield from walk(field.type)
        for name in ("type", "item_type", "value_type"):
            if hasattr(node, name):
                yield from walk(getattr(node, name))
        for name in ("types", "item_types"):
            for child in getattr(node, name, ()):
                yield from walk(child)

    yield from walk(msgspec.inspect.type_info(kind))
