"""The JSON of the vocabulary: `kind` or `role` first, camelCase members, nothing for what is not said."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from gateway.jsonbody import encode_json
from gateway.models.contract.errors import GatewayError, GatewayErrorKind
from tee.canonical import kind_of, parse_json
from tee.errors import Malformed

T = TypeVar("T")
MAX_SHAPE = 64 << 20
"""Bytes: a long conversation with its pictures."""


def encode_shape(value: object) -> bytes:
    """A value of the vocabulary as compact JSON, in the bytes that JavaScript's `JSON.stringify` would give."""
    return encode_json(_written(value))


def parse_shape(kind: type[T], raw: bytes) -> T:
    """The value again; `kind` is its class, or a union such as Emission. Unknown members are passed over.

    Raises: Malformed.
    """
    if len(raw) > MAX_SHAPE:
        raise Malformed("shape", f"{len(raw)} bytes", f"at most {MAX_SHAPE}")
    value: T = _read(kind, parse_json(raw, "shape"), "shape")
    return value


def _written(value: object) -> object:
    if isinstance(value, GatewayError):
        members = {"kind": value.kind, "message": value.message, "status": value.upstream_status}
        members["provider"] = value.provider
        return {name: member for name, member in members.items() if member is not None}
    if is_dataclass(value):
        tag = {name: str(getattr(value, name)) for name in ("kind", "role") if hasattr(type(value), name)}
        said = {_camel(each.name): getattr(value, each.name) for each in fields(value) if _is_said(value, each)}
        return {name: _written(member) for name, member in {**tag, **said}.items()}
    if isinstance(value, tuple | list):
        return [_written(member) for member in value]
    if isinstance(value, dict):
        return {name: _written(member) for name, member in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_said(value: object, each: Field[Any]) -> bool:
    if not each.metadata.get("written", True):
        return False
    return each.default is MISSING or getattr(value, each.name) is not None


@cache
def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _read(hint: Any, value: Any, path: str) -> Any:
    if hint in (object, Any):
        return value
    if isinstance(hint, UnionType):
        return _read_union(get_args(hint), value, path)
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise Malformed(path, kind_of(value), "an array")
        return tuple(_read(get_args(hint)[0], each, f"{path}[{at}]") for at, each in enumerate(value))
    if hint is GatewayError:
        return _read_error(value, path)
    if is_dataclass(hint):
        return _read_members(hint, value, path)
    if issubclass(get_origin(hint) or hint, StrEnum):
        if value not in tuple(hint):
            raise Malformed(path, kind_of(value), "one of " + ", ".join(hint))
        return hint(value)
    wanted = get_origin(hint) or hint
    number = wanted is float and isinstance(value, int)
    if not (isinstance(value, wanted) or number) or (isinstance(value, bool) and wanted is not bool):
        raise Malformed(path, kind_of(value), wanted.__name__)
    return value


def _read_union(hints: tuple[Any, ...], value: Any, path: str) -> Any:
    if NoneType in hints:
        return None if value is None else _read(next(each for each in hints if each is not NoneType), value, path)
    for name in ("kind", "role"):
        said = value.get(name) if isinstance(value, dict) else None
        for hint in hints:
            if said is not None and said == getattr(hint, name, None):
                return _read(hint, value, path)
    raise Malformed(path, kind_of(value), "one of " + ", ".join(hint.__name__ for hint in hints))


def _read_members(hint: Any, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise Malformed(path, kind_of(value), "an object")
    hints, read = get_type_hints(hint), {}
    for each in fields(hint):
        name = _camel(each.name)
        if name in value and each.metadata.get("written", True):
            read[each.name] = _read(hints[each.name], value[name], f"{path}.{name}")
        elif each.default is MISSING:
            raise Malformed(f"{path}.{name}", "nothing", "a member that must be there")
    return hint(**read)


def _read_error(value: Any, path: str) -> GatewayError:
    if not isinstance(value, dict):
        raise Malformed(path, kind_of(value), "an object")
    status = _read(int | None, value.get("status"), f"{path}.status")
    provider = _read(str | None, value.get("provider"), f"{path}.provider")
    message = _read(str, value.get("message"), f"{path}.message")
    kind = _read(GatewayErrorKind, value.get("kind"), f"{path}.kind")
    return GatewayError(kind, message, status=status, provider=provider)
