"""OpenAI embeddings: requests are checked, and pass verbatim or are translated; vectors in both forms."""

from __future__ import annotations

import base64
import struct

from gateway.dialects.dialect import Attestation, Passage, Seen, Verbatim
from gateway.dialects.fields import MAX_TOKENS, read_integer, read_model, read_text, word
from gateway.dialects.openai_objects import read_failure, read_usage
from gateway.dialects.splice import forward_body
from gateway.errors import InvalidRequest, UpstreamFailed
from gateway.inference import (
    Block,
    Embedding,
    Foreign,
    InferenceRequest,
    Message,
    Start,
    StreamEvent,
    Text,
    Usage,
)
from gateway.jsonbody import encode_json, kind_of, parse_json_object

NAME = "openai_embeddings"
MAX_INPUTS = 2048
"""In one request: OpenAI takes no more."""

_PLACED = frozenset({"model", "input", "user"})
_FORMS = ("float", "base64")


def decode_request(body: bytes) -> InferenceRequest:
    """Read and check a client's request; each input is a message. Raises: InvalidRequest with `param` at the fault."""
    fields = parse_json_object(body)
    form = read_text(fields, "encoding_format")
    if form is not None and form not in _FORMS:
        raise InvalidRequest.at("encoding_format", "an unknown form", " or ".join(_FORMS))
    read_integer(fields, "dimensions", 1, MAX_TOKENS)
    return InferenceRequest(
        dialect=NAME,
        model=read_model(fields),
        messages=tuple(Message("user", (block,)) for block in _inputs(fields.get("input"))),
        user=read_text(fields, "user"),
        extra={name: value for name, value in fields.items() if name not in _PLACED},
    )


def encode_answer(
    events: list[StreamEvent], request: InferenceRequest, _token: str, _created: int, attestation: Attestation | None
) -> bytes:
    """Write an answer from another language's vectors. A usage that the provider did not tell is written as 0.

    Raises: UpstreamFailed unless there is one for each input.
    """
    found = [event.vector for event in events if isinstance(event, Embedding)]
    if len(found) != len(request.messages):
        raise UpstreamFailed(f"answer: found {len(found)} vectors, wanted {len(request.messages)}")
    start = next((event for event in events if isinstance(event, Start)), None)
    usage = next((event for event in events if isinstance(event, Usage)), Usage(0, 0))
    in_base64 = request.extra.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _in_base64(vector) if in_base64 else vector}
        for index, vector in enumerate(found)
    ]
    answer: dict[str, object] = {
        "object": "list",
        "data": data,
        "model": (start.model if start else "") or request.model,
        "usage": {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens},
    }
    ours = {} if attestation is None else {"_sf_attestation": attestation, "attestation": attestation}
    return encode_json({**answer, **ours})


def answer_facts(fields: dict[str, object]) -> Seen:
    """What an answer says of itself."""
    whole = read_failure(fields) is None and isinstance(fields.get("data"), list)
    return Seen(read_usage(fields.get("usage")), word(fields, "id"), whole)


def no_stream(_request: InferenceRequest, _created: int, _max_frame: int) -> Passage:
    """Embeddings are never streamed. Raises: UpstreamFailed."""
    raise UpstreamFailed("The provider answered a request for embeddings with a stream.")


def _in_base64(vector: tuple[float, ...]) -> str:
    """Numbers of 32 bits, least byte first."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _inputs(value: object) -> list[Block]:
    """Texts as they are; tokens, which only their provider can read, as they came."""
    wanted = f"a string, a list of tokens, or a list of 1 to {MAX_INPUTS} of those"
    if isinstance(value, str):
        return [Text(value)]
    if not isinstance(value, list) or not value:
        raise InvalidRequest.at("input", "an empty list" if value == [] else kind_of(value), wanted)
    if all(isinstance(token, int) for token in value):
        return [Foreign(NAME, {"input": value})]
    if len(value) > MAX_INPUTS:
        raise InvalidRequest.at("input", f"a list of {len(value)}", wanted)
    blocks: list[Block] = []
    for number, one in enumerate(value):
        if not isinstance(one, str | list):
            raise InvalidRequest.at(f"input[{number}]", kind_of(one), "a string or a list of tokens")
        blocks.append(Text(one) if isinstance(one, str) else Foreign(NAME, {"input": one}))
    return blocks


VERBATIM = Verbatim(forward_body, no_stream, answer_facts)
