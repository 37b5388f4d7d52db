"""OpenAI's text completions, from which chat grew: a prompt is asked as the user's only message, or passes verbatim."""

from __future__ import annotations

from functools import partial

from gateway.dialects.dialect import Attestation, Surface, Verbatim
from gateway.dialects.fields import (
    MAX_TOKENS,
    read_boolean,
    read_integer,
    read_model,
    read_number,
    read_object,
    read_strings,
    read_text,
)
from gateway.dialects.fold import fold_events, no_place_for_vectors
from gateway.dialects.openai_chat_stream import DONE
from gateway.dialects.openai_chat_verbatim import ChatPassage, answer_facts
from gateway.dialects.openai_chat_verbatim import forward_body as forward_chat
from gateway.dialects.openai_objects import encode_error, write_failure, write_usage
from gateway.errors import InvalidRequest, UpstreamFailed
from gateway.inference import (
    Embedding,
    Failure,
    Finish,
    Foreign,
    InferenceRequest,
    Media,
    Message,
    RefusalDelta,
    Start,
    StreamEvent,
    Text,
    TextDelta,
    Usage,
)
from gateway.jsonbody import encode_json, kind_of, parse_json_object

NAME = "openai_completions"
ID_PREFIX = "cmpl-"
MAX_PROMPTS = 2048
"""In one request, as many as OpenAI takes inputs for embeddings."""

_PLACED = frozenset(
    {"model", "prompt", "max_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop",
     "n", "stream", "user"}
)  # fmt: skip
# What only a provider of text completions can do; asked in chat, the request would mean something else.
_ONLY_HERE = ("best_of", "echo", "logprobs", "suffix")
_SEED = (1 << 63) - 1


def decode_request(body: bytes) -> InferenceRequest:
    """Read and check a client's request. Raises: InvalidRequest with `param` at the member at fault."""
    fields = parse_json_object(body)
    prompts = _prompts(fields.get("prompt"))
    choices = read_integer(fields, "n", 1, 128) or 1
    options = read_object(fields, "stream_options") or {}
    return InferenceRequest(
        dialect=NAME,
        model=read_model(fields),
        messages=tuple(Message("user", (_said(prompt),)) for prompt in prompts),
        max_tokens=read_integer(fields, "max_tokens", 0, MAX_TOKENS) or None,
        temperature=read_number(fields, "temperature", 0.0, 2.0),
        top_p=read_number(fields, "top_p", 0.0, 1.0),
        presence_penalty=read_number(fields, "presence_penalty", -2.0, 2.0),
        frequency_penalty=read_number(fields, "frequency_penalty", -2.0, 2.0),
        seed=read_integer(fields, "seed", -_SEED, _SEED),
        stop=read_strings(fields, "stop"),
        choices=choices * len(prompts),
        stream=read_boolean(fields, "stream"),
        include_usage=read_boolean(options, "include_usage", "stream_options.include_usage"),
        user=read_text(fields, "user"),
        extra={name: value for name, value in fields.items() if name not in _PLACED},
    )


def refuse_untranslatable(request: InferenceRequest) -> None:
    """What no chat can be asked for. Raises: InvalidRequest."""
    only = "as this model's provider answers chats only"
    for name in _ONLY_HERE:
        if request.extra.get(name):
            raise InvalidRequest.at(name, "a wish for more than text", f"none, {only}")
    if any(isinstance(block, Foreign) for message in request.messages for block in message.content):
        raise InvalidRequest.at("prompt", "tokens", f"text, {only}")
    if request.choices > 1:
        name = "n" if len(request.messages) == 1 else "prompt"
        raise InvalidRequest.at(name, "more than one answer to give", f"one, {only}")


class Encoder:
    """Writes a stream of text. Reasoning has no place in it."""

    def __init__(self, request: InferenceRequest, token: str, created: int) -> None:
        self._head: dict[str, object] = {"id": ID_PREFIX + token, "created": created, "model": request.model}
        self._include_usage = request.include_usage
        self._usage: Usage | None = None
        self._failure: Failure | None = None
        self._finished = False

    def encode(self, event: StreamEvent) -> bytes:
        """Render one event; Usage and Failure wait for the end. Raises: UpstreamFailed for what is no text."""
        if isinstance(event, Start):
            created = event.created or self._head["created"]
            self._head |= {"model": event.model or self._head["model"], "created": created}
        elif isinstance(event, Usage):
            self._usage = event
        elif isinstance(event, Failure):
            self._failure = event
        elif isinstance(event, Finish):
            self._finished = True
            return self._chunk("", _reason(event))
        elif isinstance(event, TextDelta | RefusalDelta) and event.text:
            return self._chunk(event.text, None)
        elif isinstance(event, Media):
            raise _no_words(event)
        elif isinstance(event, Embedding):
            raise no_place_for_vectors()
        return b""

    def finish(self, attestation: Attestation | None) -> bytes:
        """The attestation, then usage and `[DONE]`; after a failure its error instead, and no `[DONE]`."""
        end = b"" if attestation is None else block_frame(self._head, attestation)
        if self._failure is not None:
            return end + _frame(write_failure(self._failure))
        if self._include_usage:
            usage = write_usage(self._usage or Usage(0, 0))
            end += _frame({**self._head, "object": "text_completion", "choices": [], "usage": usage})
        return end + DONE if self._finished else end

    def _chunk(self, text: str, reason: str | None) -> bytes:
        chunk = {**self._head, "object": "text_completion", "choices": [_choice(text, reason)]}
        return _frame({**chunk, "usage": None} if self._include_usage else chunk)


def encode_answer(
    events: list[StreamEvent], request: InferenceRequest, token: str, created: int, attestation: Attestation | None
) -> bytes:
    """Write a buffered answer from the events of a whole stream; an error object if it ended in Failure.

    Raises: UpstreamFailed for what is no text.
    """
    reply = fold_events(events)
    ours = {} if attestation is None else {"_sf_attestation": attestation, "attestation": attestation}
    if reply.failure is not None:
        return encode_json({**write_failure(reply.failure), **ours})
    if media := next((event for event in events if isinstance(event, Media)), None):
        raise _no_words(media)
    said = "".join(event.text for event in events if isinstance(event, TextDelta | RefusalDelta))
    answer = {
        "id": ID_PREFIX + token,
        "object": "text_completion",
        "created": reply.start.created or created,
        "model": reply.start.model or request.model,
        "choices": [_choice(said, _reason(reply.finish))],
        "usage": write_usage(reply.usage),
    }
    return encode_json({**answer, **ours})


def block_frame(head: dict[str, object], attestation: Attestation) -> bytes:
    """The frame that carries the attestation: a named event that is also a valid chunk without text."""
    chunk = {**head, "object": "text_completion", "choices": [_choice("", None)]}
    return b"event: sf_attestation\n" + _frame({**chunk, "_sf_attestation": attestation, "attestation": attestation})


def _no_words(media: Media) -> UpstreamFailed:
    return UpstreamFailed(f"answer: found {media.kind} content, which text completions have no place for")


def _prompts(prompt: object) -> list[object]:
    """The prompts, each a string or a list of tokens."""
    wanted = f"a string, a list of tokens, or a list of 1 to {MAX_PROMPTS} of those"
    if isinstance(prompt, str):
        return [prompt]
    if not isinstance(prompt, list) or not prompt:
        raise InvalidRequest.at("prompt", "an empty list" if prompt == [] else kind_of(prompt), wanted)
    if all(isinstance(token, int) for token in prompt):
        return [prompt]
    if len(prompt) > MAX_PROMPTS or not all(isinstance(one, str | list) for one in prompt):
        raise InvalidRequest.at("prompt", f"a list of {len(prompt)} of another kind", wanted)
    return prompt


def _said(prompt: object) -> Text | Foreign:
    return Text(prompt) if isinstance(prompt, str) else Foreign(NAME, {"prompt": prompt})


def _choice(text: str, reason: str | None) -> dict[str, object]:
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}


def _reason(finish: Finish) -> str:
    return finish.reason if finish.reason in ("length", "content_filter") else "stop"


def _frame(value: dict[str, object]) -> bytes:
    return b"data: " + encode_json(value) + b"\n\n"


VERBATIM = Verbatim(forward_chat, partial(ChatPassage, write_block=block_frame), answer_facts)
SURFACE = Surface(NAME, ID_PREFIX, decode_request, Encoder, encode_answer, encode_error, VERBATIM)
