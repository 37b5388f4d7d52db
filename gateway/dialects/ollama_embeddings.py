"""Embeddings of Ollama's own language (/api/embed)."""

from __future__ import annotations

from dataclasses import replace

from gateway.dialects.embedding_inputs import dimensions_of, no_stream, texts_of, vectors
from gateway.dialects.fields import count, word
from gateway.dialects.ollama import PROVIDER as CHATS
from gateway.dialects.quirks import Quirks
from gateway.errors import UpstreamFailed
from gateway.inference import Failure, InferenceRequest, Start, StreamEvent, Usage
from gateway.jsonbody import encode_json, read_json_object


def encode_request(request: InferenceRequest, _quirks: Quirks) -> bytes:
    """Write the request. Raises: InvalidRequest for tokens."""
    size = dimensions_of(request)
    wish = {} if size is None else {"dimensions": size}
    return encode_json({"model": request.model, "input": texts_of(request), **wish})


def decode_answer(body: bytes) -> list[StreamEvent]:
    """Read the answer. Raises: UpstreamFailed if it is none."""
    answer = read_json_object(body)
    if answer is None:
        raise UpstreamFailed("answer: found bytes that are no JSON object, wanted embeddings")
    if answer.get("error"):
        return [Failure(word(answer, "error") or "the provider reported an error without a message")]
    tokens = count(answer.get("prompt_eval_count"))
    found = vectors(answer.get("embeddings"), None if tokens is None else Usage(tokens, 0))
    return [Start("", word(answer, "model")), *found]


PROVIDER = replace(
    CHATS,
    path=lambda _model, _stream: "/api/embed",
    encode_request=encode_request,
    decoder=no_stream,
    decode_answer=decode_answer,
)
