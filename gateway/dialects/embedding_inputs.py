"""What is asked for and given in embeddings, whatever the language: texts in, vectors out."""

from __future__ import annotations

from typing import NoReturn

from gateway.dialects.fields import MAX_TOKENS, read_integer
from gateway.errors import InvalidRequest, UpstreamFailed
from gateway.inference import Embedding, InferenceRequest, StreamEvent, Text, Usage

MAX_DIMENSIONS = 1 << 16
"""Of one vector that a provider may give. The longest of today have 8192."""


def texts_of(request: InferenceRequest) -> list[str]:
    """The inputs. Raises: InvalidRequest for tokens, which only the provider that made them can read."""
    texts = []
    for number, block in enumerate(block for message in request.messages for block in message.content):
        if not isinstance(block, Text):
            raise InvalidRequest.at(f"input[{number}]", "tokens", "text, as this model's provider reads no tokens")
        texts.append(block.text)
    return texts


def only_text_of(request: InferenceRequest) -> str:
    """The input of a model that takes one. Raises: InvalidRequest."""
    texts = texts_of(request)
    if len(texts) != 1:
        raise InvalidRequest.at("input", f"a list of {len(texts)}", "one text, as this model takes one in a call")
    return texts[0]


def dimensions_of(request: InferenceRequest) -> int | None:
    """How long the vectors shall be, if the client said so."""
    return read_integer(request.extra, "dimensions", 1, MAX_TOKENS)


def vectors(found: object, usage: Usage | None) -> list[StreamEvent]:
    """The events of a provider's list of vectors. Raises: UpstreamFailed for anything else."""
    if not isinstance(found, list) or not found:
        raise UpstreamFailed("answer: found no list of vectors, wanted one for each input")
    events: list[StreamEvent] = [Embedding(_vector(one)) for one in found]
    return [*events, usage] if usage else events


def no_stream(_max_frame: int) -> NoReturn:
    """Embeddings are never streamed. Raises: UpstreamFailed."""
    raise UpstreamFailed("The provider answered a request for embeddings with a stream.")


def _vector(value: object) -> tuple[float, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_DIMENSIONS:
        raise UpstreamFailed(f"answer: found a vector that is no list of 1 to {MAX_DIMENSIONS} numbers")
    if any(isinstance(number, bool) or not isinstance(number, int | float) or not _is_single(number)
           for number in value):  # fmt: skip
        raise UpstreamFailed("answer: found a vector with something that is no number of 32 bits")
    return tuple(map(float, value))


def _is_single(number: float) -> bool:
    """Whether it can be written in 32 bits, as clients read it; NaN and infinities cannot be in JSON."""
    return -3.4e38 < number < 3.4e38
