"""Embeddings of Bedrock, which Converse does not have: each vendor's models are invoked in words of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

from gateway.dialects.bedrock_converse import PROVIDER as CONVERSE
from gateway.dialects.embedding_inputs import dimensions_of, no_stream, only_text_of, texts_of, vectors
from gateway.dialects.fields import count, read_text, rows
from gateway.dialects.quirks import Quirks
from gateway.errors import InvalidRequest, UpstreamFailed
from gateway.inference import InferenceRequest, StreamEvent, Usage
from gateway.jsonbody import encode_json, read_json_object

_DOCUMENT = "search_document"  # what Cohere's models are told of a text, if the client does not say `input_type`


def encode_request(request: InferenceRequest, _quirks: Quirks) -> bytes:
    """Write the request, in the words of the model's vendor; an id may begin with a region, or be an ARN.

    Raises: InvalidRequest for tokens, for several inputs of a model that takes one, and for other models.
    """
    for name, write in _WRITERS:
        if name in request.model:
            return encode_json(write(request, dimensions_of(request)))
    known = ", ".join(name for name, _ in _WRITERS)
    raise InvalidRequest.at("model", "one that is not known to embed", f"one of Bedrock's with {known} in its id")


def decode_answer(body: bytes) -> list[StreamEvent]:
    """Read the answer of any of them; Cohere's and Nova's count no tokens. Raises: UpstreamFailed if it is none."""
    answer = read_json_object(body)
    if answer is None:
        raise UpstreamFailed("answer: found bytes that are no JSON object, wanted embeddings")
    tokens = count(answer.get("inputTextTokenCount"))
    usage = None if tokens is None else Usage(tokens, 0)
    if "embedding" in answer:
        return vectors([answer["embedding"]], usage)
    found = answer.get("embeddings")
    if isinstance(found, dict):
        return vectors(found.get("float"), usage)
    named = rows(found)
    return vectors([row.get("embedding") for row in named] if named else found, usage)


def _titan(request: InferenceRequest, size: int | None) -> dict[str, object]:
    """The first Titan knows no dimensions, so they are named only if the client does."""
    return {"inputText": only_text_of(request), **({} if size is None else {"dimensions": size})}


def _cohere(request: InferenceRequest, size: int | None) -> dict[str, object]:
    kind = read_text(request.extra, "input_type") or _DOCUMENT
    wish = {} if size is None else {"output_dimension": size}
    return {"texts": texts_of(request), "input_type": kind, "embedding_types": ["float"], **wish}


def _nova(request: InferenceRequest, size: int | None) -> dict[str, object]:
    wish = {} if size is None else {"embeddingDimension": size}
    text = {"truncationMode": "NONE", "value": only_text_of(request)}
    asked = {"embeddingPurpose": "GENERIC_INDEX", "text": text, **wish}
    return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": asked}


_WRITERS: tuple[tuple[str, Callable[[InferenceRequest, int | None], dict[str, object]]], ...] = (
    ("amazon.titan-embed", _titan),
    ("cohere.embed", _cohere),
    ("amazon.nova-2-multimodal-embeddings", _nova),
)

PROVIDER = replace(
    CONVERSE,
    path=lambda model, _stream: f"/model/{quote(model, safe='')}/invoke",
    encode_request=encode_request,
    decoder=no_stream,
    decode_answer=decode_answer,
)
