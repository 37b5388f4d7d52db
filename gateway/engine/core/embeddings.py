"""Embeddings as numbers: the request in OpenAI's language, and the vectors of its answer."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Sequence

from gateway.dialects.fields import rows
from gateway.dialects.openai_objects import read_failure, read_usage
from gateway.errors import UpstreamFailed
from gateway.inference import Usage
from gateway.jsonbody import encode_json, read_json_object


def encode_inputs(model: str, texts: Sequence[str], encoding_format: str | None) -> bytes:
    """The request's body."""
    form = {} if encoding_format is None else {"encoding_format": encoding_format}
    return encode_json({"model": model, "input": list(texts), **form})


def decode_vectors(body: bytes, wanted: int) -> tuple[list[list[float]], Usage | None]:
    """One vector for each text, in the order of the texts. Raises: UpstreamFailed for anything else."""
    answer = read_json_object(body)
    if answer is None:
        raise UpstreamFailed("answer: found bytes that are no JSON object, wanted embeddings")
    if failure := read_failure(answer):
        raise UpstreamFailed(f"The provider failed: {failure.message}", code=failure.code)
    found: dict[int, list[float]] = {}
    for place, row in enumerate(rows(answer.get("data"))):
        index = row.get("index", place)
        if isinstance(index, int):
            found[index] = _vector(row.get("embedding"))
    if sorted(found) != list(range(wanted)):
        raise UpstreamFailed(f"answer.data: found {len(found)} embeddings, wanted one for each of {wanted} inputs")
    return [found[index] for index in range(wanted)], read_usage(answer.get("usage"))


def _vector(value: object) -> list[float]:
    """Numbers, or base64 of 32-bit floats, least byte first."""
    if isinstance(value, str):
        try:
            raw = base64.b64decode(value, validate=True)
            numbers = list(struct.unpack(f"<{len(raw) // 4}f", raw))
        except (ValueError, struct.error):
            raise UpstreamFailed("answer.data: found text that is no base64 of floats") from None
    elif isinstance(value, list) and all(isinstance(one, int | float) for one in value):
        numbers = [float(one) for one in value]
    else:
        raise UpstreamFailed("answer.data: found an embedding that is no list of numbers")
    if not all(map(math.isfinite, numbers)):
        raise UpstreamFailed("answer.data: found a number that is not finite")
    return numbers
