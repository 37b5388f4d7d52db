"""What keeper and worker say to each other: bounded frames of JSON, and our own values inside them."""

from __future__ import annotations

import json
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from gateway.errors import GatewayError
from gateway.tenancy.tenant import ApiKey, Tenant
from tee.canonical import kind_of
from tee.errors import Malformed

LENGTH = 4  # bytes of the length before each frame, most significant first
MAX_FRAME = 8 << 20  # a draft is smaller than its receipt (256 KiB), and progress is sent in parts
Message = dict[str, Any]
T = TypeVar("T")


def encode_frame(message: Message) -> bytes:
    """One message. Raises Malformed for one beyond the bound."""
    raw = json.dumps(message, separators=(",", ":")).encode()
    if len(raw) > MAX_FRAME:
        raise Malformed("frame", f"{len(raw)} bytes", f"at most {MAX_FRAME}")
    return len(raw).to_bytes(LENGTH, "big") + raw


class Frames:
    """Messages out of bytes as they arrive."""

    def __init__(self) -> None:
        self._held = bytearray()

    def push(self, raw: bytes) -> list[Message]:
        """The messages that are whole now. Raises Malformed; nothing can be read after that."""
        self._held += raw
        messages = []
        while len(self._held) >= LENGTH:
            size = int.from_bytes(self._held[:LENGTH], "big")
            if size > MAX_FRAME:
                raise Malformed("frame", f"{size} bytes", f"at most {MAX_FRAME}")
            if len(self._held) < LENGTH + size:
                break
            messages.append(_parse(bytes(self._held[LENGTH : LENGTH + size])))
            del self._held[: LENGTH + size]
        return messages


def encode_value(value: Any) -> Message:
    """A flat value (a frozen dataclass with slots) as JSON."""
    return {name: getattr(value, name) for name in value.__slots__}


def decode_value(kind: type[T], fields: Any) -> T:
    """The value again: exactly its members, each of its own type. Raises Malformed."""
    hints = _members(kind)  # type: ignore[arg-type]
    if not isinstance(fields, dict) or fields.keys() != hints.keys():
        raise Malformed(f"frame.{kind.__name__}", kind_of(fields), f"an object of {', '.join(hints)}")
    for name, hint in hints.items():
        if not isinstance(fields[name], hint):
            raise Malformed(f"frame.{kind.__name__}.{name}", kind_of(fields[name]), str(hint))
    return kind(**fields)


def encode_key(key: ApiKey) -> Message:
    """An API key with its tenant."""
    return encode_value(key) | {"tenant": encode_value(key.tenant), "scopes": sorted(key.scopes)}


def decode_key(fields: Any) -> ApiKey:
    """The key again. Raises Malformed."""
    try:
        tenant = fields["tenant"] | {"allowed_policies": tuple(fields["tenant"]["allowed_policies"])}
        fields = fields | {"tenant": decode_value(Tenant, tenant), "scopes": frozenset(fields["scopes"])}
    except (KeyError, TypeError):
        raise Malformed("frame.ApiKey", kind_of(fields), "a key with its tenant and its scopes") from None
    return decode_value(ApiKey, fields)


def encode_error(error: GatewayError) -> Message:
    """An error that the other process shall raise."""
    names = ("status", "error_type", "code", "message", "retry_after")
    return {name: getattr(error, name) for name in names}


def decode_error(fields: Message) -> GatewayError:
    """The error, for the answer that it had become here."""
    error = GatewayError(fields["message"], code=fields["code"], retry_after=fields["retry_after"])
    error.status, error.error_type = fields["status"], fields["error_type"]
    return error


@cache
def _members(kind: Any) -> dict[str, Any]:
    return {name: _plain(hint) for name, hint in get_type_hints(kind).items()}


def _plain(hint: Any) -> Any:
    """A type that `isinstance` takes: of `dict[str, int] | None` what it is, not what is in it."""
    if isinstance(hint, UnionType):
        return tuple(_plain(each) for each in get_args(hint))
    return get_origin(hint) or hint


def _parse(raw: bytes) -> Message:
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        raise Malformed("frame", "no JSON", "a JSON object") from None
    if not isinstance(message, dict):
        raise Malformed("frame", kind_of(message), "a JSON object")
    return message
