"""OpenAI embeddings as their providers see them, for requests that did not come in this language's own bytes."""

from __future__ import annotations

import base64
import struct

from gateway.dialects.embedding_inputs import vectors
from gateway.dialects.fields import rows, word
from gateway.dialects.openai_embeddings import NAME
from gateway.dialects.openai_objects import read_failure, read_usage
from gateway.dialects.quirks import PLAIN, Quirks
from gateway.errors import UpstreamFailed
from gateway.inference import GATEWAY_FIELDS, Foreign, InferenceRequest, Start, StreamEvent, Text
from gateway.jsonbody import encode_json, read_json_object


def encode_request(request: InferenceRequest, _quirks: Quirks = PLAIN) -> bytes:
    """Write the request."""
    inputs: list[object] = []
    for block in (block for message in request.messages for block in message.content):
        if isinstance(block, Text):
            inputs.append(block.text)
        elif isinstance(block, Foreign) and block.dialect == NAME:
            inputs.append(block.value["input"])
    extra = {name: value for name, value in request.extra.items() if name not in GATEWAY_FIELDS}
    user = {} if request.user is None else {"user": request.user}
    return encode_json({"model": request.model, "input": inputs, **extra, **user})


def decode_answer(body: bytes) -> list[StreamEvent]:
    """Read the answer, whatever the order and the form of its vectors. Raises: UpstreamFailed if it is none."""
    answer = read_json_object(body)
    if answer is None:
        raise UpstreamFailed("answer: found bytes that are no JSON object, wanted embeddings")
    if failure := read_failure(answer):
        return [failure]
    found: dict[object, object] = {}
    for place, row in enumerate(rows(answer.get("data"))):
        index = row.get("index", place)
        found[index if isinstance(index, int) else place] = row.get("embedding")
    if set(found) != set(range(len(found))):
        raise UpstreamFailed("answer.data: found vectors whose indices leave gaps, wanted one for each input")
    in_order = [_numbers(found[index]) for index in range(len(found))]
    return [Start("", word(answer, "model")), *vectors(in_order, read_usage(answer.get("usage")))]


def _numbers(vector: object) -> object:
    """The numbers of a vector in base64: of 32 bits, least byte first."""
    if not isinstance(vector, str):
        return vector
    try:
        raw = base64.b64decode(vector, validate=True)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    except (ValueError, struct.error):
        raise UpstreamFailed("answer.data: found text that is no base64 of numbers") from None
