"""Messages of Amazon's event stream, made here: true ones, and ones whose lengths lie."""

from __future__ import annotations

import json
import zlib
from typing import Any


def raw_message(headers: bytes, payload: bytes, *, size: int | None = None, headers_size: int | None = None) -> bytes:
    """A message with checksums that hold; `size` and `headers_size` are what it says of itself."""
    total = 16 + len(headers) + len(payload) if size is None else size
    prelude = total.to_bytes(4, "big") + (len(headers) if headers_size is None else headers_size).to_bytes(4, "big")
    body = prelude + zlib.crc32(prelude).to_bytes(4, "big") + headers + payload
    return body + zlib.crc32(body).to_bytes(4, "big")


def text_header(name: str, value: str) -> bytes:
    """One header that is text."""
    raw_name, raw_value = name.encode(), value.encode()
    return bytes([len(raw_name)]) + raw_name + b"\x07" + len(raw_value).to_bytes(2, "big") + raw_value


def event_message(kind: str, payload: dict[str, Any], *, message_type: str = "event") -> bytes:
    """An event, or an exception, as Bedrock sends them."""
    headers = text_header(f":{message_type}-type", kind) + text_header(":content-type", "application/json")
    return raw_message(headers + text_header(":message-type", message_type), json.dumps(payload).encode())
