"""Small edits of JSON bytes that leave all other bytes as they are."""

from __future__ import annotations

import re

from gateway.errors import UpstreamFailed
from gateway.jsonbody import encode_json, read_json_object

# A quote inside a JSON string is always preceded by a backslash, so this matches keys and nothing else.
_MODEL_KEY = re.compile(rb'(?<!\\)"model"\s*+:\s*+')
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
# A key spelled with escapes ("mod\u0065l") hides from _MODEL_KEY; every letter of it would begin like this.
_ESCAPED_LETTER = b"\\u006"


def renamed(body: bytes, upstream_model: str) -> bytes | None:
    """A request with its model replaced; None if the one place of the name cannot be told by a plain search."""
    keys = list(_MODEL_KEY.finditer(body))
    if len(keys) != 1 or _ESCAPED_LETTER in body:
        return None
    value = _STRING.match(body, keys[0].end())
    return body[: value.start()] + encode_json(upstream_model) + body[value.end() :] if value else None


def attach_attestation(answer: bytes, attestation: dict[str, object]) -> bytes:
    """Put the attestation into a buffered answer, before its last brace; all other bytes stay the provider's.

    If the provider sent members of these names ours replace them, at the cost of re-serialising.
    Raises: UpstreamFailed if the answer is no JSON object.
    """
    fields = read_json_object(answer)
    if fields is None:
        raise UpstreamFailed("answer: found bytes that are no JSON object, wanted a chat completion")
    ours: dict[str, object] = {"_sf_attestation": attestation, "attestation": attestation}
    if fields.keys() & ours.keys():
        return encode_json({**fields, **ours})
    end = answer.rindex(b"}")
    return answer[:end] + (b"," if fields else b"") + encode_json(ours)[1:-1] + answer[end:]
