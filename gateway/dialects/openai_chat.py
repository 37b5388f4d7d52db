"""OpenAI chat completions: buffered answers and errors in both directions, and the dialect's two sides."""

from __future__ import annotations

from gateway.dialects.dialect import Attestation, ProviderSide, Surface
from gateway.dialects.fields import rows
from gateway.dialects.fold import fold_events
from gateway.dialects.openai_chat_fields import FAILED_FINISHES, chunk_usage, finish_word, read_start
from gateway.dialects.openai_chat_parts import NAME, encode_call, encode_image, reasoning_detail
from gateway.dialects.openai_chat_request import decode_request, encode_request
from gateway.dialects.openai_chat_stream import ID_PREFIX, Decoder, Encoder, ToolCallReader, read_message
from gateway.dialects.openai_chat_verbatim import VERBATIM
from gateway.dialects.openai_objects import decode_error, encode_error, read_failure, write_failure, write_usage
from gateway.errors import UpstreamFailed
from gateway.inference import (
    Block,
    Failure,
    Finish,
    InferenceRequest,
    Media,
    Refusal,
    StreamEvent,
    Text,
    Thinking,
    ToolCall,
)
from gateway.jsonbody import encode_json, read_json_object


def decode_answer(body: bytes) -> list[StreamEvent]:
    """Read a provider's buffered answer as the events that a stream would have given.

    Raises: UpstreamFailed if it is neither an answer nor an error object.
    """
    answer = read_json_object(body)
    if answer is None:
        raise UpstreamFailed("answer: found bytes that are no JSON object, wanted a chat completion")
    if failure := read_failure(answer):
        return [failure]
    choice = next(iter(rows(answer.get("choices"))), {})
    message = choice.get("message")
    if not isinstance(message, dict):
        raise UpstreamFailed("answer.choices[0].message: found nothing, wanted an object")
    start, usage = read_start(answer), chunk_usage(answer)
    tools = ToolCallReader()
    events = [*([start] if start else []), *read_message(message, tools)]
    reason = choice.get("finish_reason")
    if isinstance(reason, str) and reason in FAILED_FINISHES:
        return [*events, Failure("the provider gave up in the middle of the answer", reason)]
    said = reason if isinstance(reason, str) and reason else None
    events.append(Finish(finish_word(said or "", tools.any), said))
    return [*events, usage] if usage else events


def encode_answer(
    events: list[StreamEvent], request: InferenceRequest, token: str, created: int, attestation: Attestation | None
) -> bytes:
    """Write a buffered answer from the events of a whole stream; an error object if it ended in Failure.

    Raises: UpstreamFailed for what has no place in this language.
    """
    reply = fold_events(events)
    block: dict[str, object] = (
        {} if attestation is None else {"_sf_attestation": attestation, "attestation": attestation}
    )
    if reply.failure is not None:
        return encode_json({**write_failure(reply.failure), **block})
    return encode_json(
        {
            "id": ID_PREFIX + token,
            "object": "chat.completion",
            "created": reply.start.created or created,
            "model": reply.start.model or request.model,
            "choices": [
                {"index": 0, "message": _message(reply.blocks), "logprobs": None, "finish_reason": reply.finish.reason}
            ],
            "usage": write_usage(reply.usage),
            **block,
        }
    )


def _message(blocks: tuple[Block, ...]) -> dict[str, object]:
    text = "".join(block.text for block in blocks if isinstance(block, Text))
    calls = [encode_call(block) for block in blocks if isinstance(block, ToolCall)]
    thoughts = [block for block in blocks if isinstance(block, Thinking)]
    images = [encode_image(block) for block in blocks if isinstance(block, Media)]
    refusal = "".join(block.text for block in blocks if isinstance(block, Refusal)) or None
    # OpenAI sends null content beside tool calls and refusals, and clients branch on it.
    message: dict[str, object] = {
        "role": "assistant", "content": text if text or not (calls or refusal) else None, "refusal": refusal
    }  # fmt: skip
    if thoughts:
        message["reasoning_content"] = "".join(block.text for block in thoughts)
        message["reasoning_details"] = [reasoning_detail(block, at) for at, block in enumerate(thoughts)]
    if images:
        message["images"] = images
    if calls:
        message["tool_calls"] = calls
    return message


SURFACE = Surface(NAME, ID_PREFIX, decode_request, Encoder, encode_answer, encode_error, VERBATIM)
PROVIDER = ProviderSide(
    NAME,
    "text/event-stream",
    lambda _model, _stream: "/chat/completions",
    encode_request,
    Decoder,
    decode_answer,
    decode_error,
)
