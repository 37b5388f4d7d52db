"""Embeddings of Google's models: Google AI takes a batch of contents, Vertex a list of instances."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

from gateway.dialects.embedding_inputs import dimensions_of, no_stream, texts_of, vectors
from gateway.dialects.fields import count, rows, table
from gateway.dialects.gemini import PROVIDER
from gateway.dialects.gemini_fields import read_failure
from gateway.dialects.quirks import Quirks
from gateway.errors import UpstreamFailed
from gateway.inference import InferenceRequest, StreamEvent, Usage
from gateway.jsonbody import encode_json, read_json_object


def encode_batch(request: InferenceRequest, _quirks: Quirks) -> bytes:
    """Write the request of Google AI. Raises: InvalidRequest for tokens."""
    size = dimensions_of(request)
    wish: dict[str, object] = {} if size is None else {"outputDimensionality": size}
    name = "models/" + request.model
    asked = [{"model": name, "content": {"parts": [{"text": text}]}, **wish} for text in texts_of(request)]
    return encode_json({"requests": asked})


def encode_instances(request: InferenceRequest, _quirks: Quirks) -> bytes:
    """Write the request of Vertex. Raises: InvalidRequest for tokens."""
    size = dimensions_of(request)
    wish: dict[str, object] = {} if size is None else {"parameters": {"outputDimensionality": size}}
    return encode_json({"instances": [{"content": text} for text in texts_of(request)], **wish})


def decode_answer(body: bytes) -> list[StreamEvent]:
    """Read the answer of either. Google AI counts no tokens in most. Raises: UpstreamFailed if it is none."""
    answer = read_json_object(body)
    if answer is None:
        raise UpstreamFailed("answer: found bytes that are no JSON object, wanted embeddings")
    if failure := read_failure(answer):
        return [failure]
    predicted = [table(row, "embeddings") for row in rows(answer.get("predictions"))]
    found = predicted or rows(answer.get("embeddings"))
    counts = [count(table(row, "statistics").get("token_count")) for row in predicted]
    counts += [count(table(answer, "usageMetadata").get("promptTokenCount"))]
    known = [tokens for tokens in counts if tokens is not None]
    return vectors([row.get("values") for row in found], Usage(sum(known), 0) if known else None)


BATCH = replace(
    PROVIDER,
    path=lambda model, _stream: f"/models/{quote(model, safe='@')}:batchEmbedContents",
    encode_request=encode_batch,
    decoder=no_stream,
    decode_answer=decode_answer,
)
"""The side of Google AI."""
INSTANCES = replace(
    BATCH,
    name="vertex",
    path=lambda model, _stream: f"/models/{quote(model, safe='@')}:predict",
    encode_request=encode_instances,
)
"""The side of Vertex."""
