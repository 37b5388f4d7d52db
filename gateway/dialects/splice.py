"""Small edits of JSON bytes, in bodies and in frames, that leave all other bytes as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from gateway.dialects.sse import parse_frame
from gateway.errors import UpstreamFailed
from gateway.inference import GATEWAY_FIELDS, InferenceRequest
from gateway.jsonbody import encode_json, read_json_object

# A quote inside a JSON string is always preceded by a backslash, so without one there this is a key and nothing else.
# (As part of the pattern, that condition would make the search fifteen times as slow.)
_MODEL_KEY = re.compile(rb'"model"\s*+:\s*+')
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
# A key spelled with escapes ("mod\u0065l") hides from _MODEL_KEY; every letter of it would begin like this.
_ESCAPED_LETTER = b"\\u006"
_OURS = ("_sf_attestation", "attestation")
_BLANKS = re.compile(r"[ \t\r\n]*")


def renamed(body: bytes, upstream_model: str) -> bytes | None:
    """A request with its model replaced; None if the one place of the name cannot be told by a plain search."""
    keys = [key for key in _MODEL_KEY.finditer(body) if body[key.start() - 1 : key.start()] != b"\\"]
    if len(keys) != 1 or _ESCAPED_LETTER in body:
        return None
    value = _STRING.match(body, keys[0].end())
    return body[: value.start()] + encode_json(upstream_model) + body[value.end() :] if value else None


def forward_body(body: bytes, request: InferenceRequest, upstream_model: str) -> bytes:
    """The bytes for a provider: the client's own wherever possible. `request` is what `body` was decoded to."""
    spliced = body if upstream_model == request.model else renamed(body, upstream_model)
    if spliced is None or any(name in request.extra for name in GATEWAY_FIELDS):
        fields = json.loads(body)
        kept = {name: value for name, value in fields.items() if name not in GATEWAY_FIELDS}
        return encode_json(kept | {"model": upstream_model})
    return spliced


def attach_attestation(answer: bytes, attestation: dict[str, object]) -> bytes:
    """Put the attestation into a JSON object; all other bytes stay. Raises: UpstreamFailed if it is none."""
    return attach_to_object(answer, read_answer(answer), attestation)


def read_answer(answer: bytes) -> dict[str, object]:
    """The JSON object that a buffered answer is. Raises: UpstreamFailed if it is none."""
    fields = read_json_object(answer)
    if fields is None:
        raise UpstreamFailed("The provider answered with a body that is no JSON object.")
    return fields


def attach_to_object(answer: bytes, fields: dict[str, object], attestation: dict[str, object]) -> bytes:
    """Put the attestation before the last brace of an object, which was read as `fields`.

    If the provider sent members of these names ours replace them, at the cost of re-serialising.
    """
    if any(name in fields for name in _OURS):
        return encode_json(fields | dict.fromkeys(_OURS, attestation))
    end, block = answer.rindex(b"}"), encode_json(attestation)
    ours = b",".join([b'"%b":%b' % (name.encode(), block) for name in _OURS])
    return answer[:end] + (b"," if fields else b"") + ours + answer[end:]


def attach_to_frame(
    frame: bytes,
    attestation: dict[str, object],
    attach: Callable[[bytes, dict[str, object]], bytes] = attach_attestation,
) -> bytes:
    """Put the attestation into the JSON of a frame; all other bytes stay the provider's.

    A frame whose data stands in several lines, which no provider sends, is written anew.
    """
    start, end = frame.find(b"{"), frame.rfind(b"}") + 1
    if start >= 0 and read_json_object(frame[start:end]) is not None:
        return frame[:start] + attach(frame[start:end], attestation) + frame[end:]
    event = parse_frame(frame)
    one_line = encode_json(json.loads(event.data))
    return b"event: %b\ndata: %b\n\n" % (event.event.encode(), attach(one_line, attestation))


def attach_inside(event: bytes, name: str, attestation: dict[str, object]) -> bytes:
    """Put the attestation into the object that the member `name` of an object holds; all other bytes stay.

    Raises: UpstreamFailed if there is no such object.
    """
    text = event.decode()
    span = _member(text, name)
    if span is None:
        raise UpstreamFailed(f"event: found no object {name}, wanted one")
    inner = attach_attestation(text[span[0] : span[1]].encode(), attestation)
    return text[: span[0]].encode() + inner + text[span[1] :].encode()


def _member(text: str, name: str) -> tuple[int, int] | None:
    """Where the value of a member stands in the JSON text of an object; of several the last, as parsers have it."""
    decoder, found, at = json.JSONDecoder(), None, _blank_end(text, text.index("{") + 1)
    while text[at] == '"':
        key, at = decoder.raw_decode(text, at)
        start = _blank_end(text, _blank_end(text, at) + 1)  # past the colon
        _, at = decoder.raw_decode(text, start)
        found = (start, at) if key == name else found
        at = _blank_end(text, at)
        if text[at] == ",":
            at = _blank_end(text, at + 1)
    return found


def _blank_end(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at
