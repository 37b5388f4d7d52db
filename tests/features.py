"""What each family of providers and each surface can say, found out by asking it: the cells of docs/dialects.md."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.connectors.catalog import FAMILIES
from gateway.connectors.quirks_table import quirks_of
from gateway.dialects.dialect import ProviderSide, Surface
from gateway.dialects.fold import fold_events
from gateway.dialects.quirks import Quirks
from gateway.errors import GatewayError
from gateway.inference import (
    EFFORTS,
    Failure,
    Finish,
    InferenceRequest,
    Media,
    Message,
    OutputFormat,
    Reasoning,
    ReasoningDelta,
    Refusal,
    RefusalDelta,
    StreamEvent,
    Text,
    TextDelta,
    Thinking,
    ThoughtSignature,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    ToolResult,
    Usage,
)
from gateway.languages import SERVICES
from tests.worlds.eventstream import event_message

MODELS = {
    "openai": "gpt-5", "openai-responses": "gpt-5", "azure": "gpt-5", "azure-responses": "gpt-5",
    "anthropic": "claude-opus-5", "minimax": "MiniMax-M3", "gemini": "gemini-3-flash", "vertex": "gemini-3-flash",
    "bedrock": "anthropic.claude-opus-5", "deepseek": "deepseek-v4-pro", "zai": "glm-4.7", "kimi": "kimi-k2.6",
    "nvidia": "nemotron", "vllm": "qwen3", "ollama": "qwen3", "mock": "mock-1",
}  # fmt: skip
"""The model by which each family is asked: what its newest can."""

CHATS = SERVICES["/v1/chat/completions"].providers
ASKED = InferenceRequest("elsewhere", "m", (Message("user", (Text("hi"),)),), stream=True, include_usage=True)
TOOL = Tool("weather", "Tells it.", {"type": "object", "properties": {"city": {"type": "string"}}})
USED = Usage(190, 140, 61, 52, 43, 5, 34, 6)
CLASSES = {"cached_tokens": "cached", "cache_write_tokens": "written", "reasoning_tokens": "reasoning",
           "audio_prompt_tokens": "audio"}  # fmt: skip
PICTURE = Media("image", "image/png", "iVBORw0KGgo=")
PAPER = Media("document", "application/pdf", "JVBERi0=", name="a.pdf")
SAID = "Paris"


@dataclass(frozen=True, slots=True)
class Subject:
    """A family, and the language in which it is asked for chats."""

    family: str
    model: str
    side: ProviderSide
    quirks: Quirks

    def writes(self, **fields: object) -> str:
        """The request as it would be sent, or empty if it is refused. Text is never escaped in it."""
        try:
            request = replace(ASKED, model=self.model, **fields)  # type: ignore[arg-type]
            return self.side.encode_request(request, self.quirks).decode()
        except GatewayError:
            return ""

    def hears(self, *turns: Message) -> str:
        """The request with these turns."""
        return self.writes(messages=(*ASKED.messages, *turns), tools=(TOOL,))


def subjects() -> list[Subject]:
    """All families, in the catalog's order."""
    return [Subject(name, MODELS[name], CHATS[row.dialect], quirks_of(name, MODELS[name]))
            for name, row in FAMILIES.items()]  # fmt: skip


# Answers of the languages that no client of ours speaks, by hand; the others write their own.
_CALLS = [("weather", {"city": "Oslo"}), ("weather", {"city": "Bern"})]
_GEMINI = {
    "responseId": "r", "modelVersion": "m",
    "candidates": [{"finishReason": "STOP", "content": {"role": "model", "parts": [
        {"text": "hm", "thought": True}, {"text": SAID, "thoughtSignature": "c2VhbA=="},
        *({"functionCall": {"name": name, "args": args}} for name, args in _CALLS)]}}],
    "usageMetadata": {"promptTokenCount": 190, "candidatesTokenCount": 97, "thoughtsTokenCount": 43,
                      "cachedContentTokenCount": 61,
                      "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 34}]},
}  # fmt: skip
_BEDROCK = {
    "output": {"message": {"role": "assistant", "content": [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2VhbA=="}}}, {"text": SAID},
        *({"toolUse": {"toolUseId": f"t{at}", "name": name, "input": args}} for at, (name, args) in
          enumerate(_CALLS))]}},
    "stopReason": "tool_use",
    "usage": {"inputTokens": 77, "outputTokens": 140, "cacheReadInputTokens": 61, "cacheWriteInputTokens": 52},
}  # fmt: skip
_BEDROCK_STREAM = (
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "c2VhbA=="}}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": SAID}}),
    ("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t", "name": "weather"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"city"'}}}),
    ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": ':"Oslo"}'}}}),
    ("messageStop", {"stopReason": "tool_use"}),
    ("metadata", {"usage": _BEDROCK["usage"]}),
)
_OLLAMA = {
    "model": "m", "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "stop",
    "message": {"role": "assistant", "thinking": "hm", "content": SAID, "tool_calls": [
        {"function": {"name": name, "arguments": args}} for name, args in _CALLS]},
    "prompt_eval_count": 190, "eval_count": 140,
}  # fmt: skip
_EVENTS: list[StreamEvent] = [
    ReasoningDelta("hm"),
    TextDelta(SAID),
    ToolCallDelta(0, "t0", "weather", '{"city":'),
    ToolCallDelta(0, None, None, '"Oslo"}'),
    ToolCallDelta(1, "t1", "weather", '{"city":"Bern"}'),
    Finish("tool_calls"),
    USED,
]
_REFUSALS = {
    "gemini": json.dumps({**_GEMINI, "candidates": [{"finishReason": "SAFETY"}]}),
    "bedrock_converse": json.dumps({**_BEDROCK, "stopReason": "guardrail_intervened"}),
}
_ERRORS = {
    "gemini": {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED", "details": [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "18s"}]}},
    "bedrock_converse": {"message": "slow down"},
    "ollama": {"error": "slow down"},
    "anthropic_messages": {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}},
}  # fmt: skip


def surface_of(side: ProviderSide) -> Surface | None:
    """The side of the same language that clients see, where there is one."""
    return next((service.surface for service in SERVICES.values() if service.surface.name == side.name), None)


def answered(side: ProviderSide, events: list[StreamEvent] | None = None) -> list[StreamEvent]:
    """A buffered answer of this language, read."""
    surface = surface_of(side)
    if surface is not None:
        return side.decode_answer(surface.encode_answer(events or _EVENTS, ASKED, "t", 1, None))
    hand_made = {"gemini": _GEMINI, "bedrock_converse": _BEDROCK, "ollama": _OLLAMA}
    return side.decode_answer(json.dumps(hand_made[side.name]).encode())


def streamed(side: ProviderSide) -> list[StreamEvent]:
    """The same as a stream."""
    surface = surface_of(side)
    if surface is not None:
        encoder = surface.encoder(ASKED, "t", 1)
        raw = b"".join(map(encoder.encode, _EVENTS)) + encoder.finish(None)
    elif side.name == "bedrock_converse":
        raw = b"".join(event_message(name, value) for name, value in _BEDROCK_STREAM)
    elif side.name == "gemini":
        raw = b"data: " + json.dumps(_GEMINI).encode() + b"\r\n\r\n"
    else:
        raw = json.dumps(_OLLAMA).encode() + b"\n"
    decoder = side.decoder(1 << 20)
    return [event for at in range(0, len(raw), 7) for event in decoder.push(raw[at : at + 7])] + decoder.finish()


def text(subject: Subject) -> str:
    """Streamed and buffered answers give the same words."""
    both = fold_events(streamed(subject.side)).text, fold_events(answered(subject.side)).text
    return "streamed, buffered" if both == (SAID, SAID) else "no"


def tools(subject: Subject) -> str:
    """A tool is offered, its call read, call and result given back."""
    call = Message("assistant", (ToolCall("t0", "weather", '{"city":"Oslo"}'),))
    result = Message("tool", (ToolResult("t0", (Text("sun"),), name="weather"),))
    said = subject.hears(call, result)
    read = any(isinstance(event, ToolCallDelta) for event in streamed(subject.side))
    return "yes" if read and all(word in said for word in ("Tells it.", "Oslo", "sun")) else "no"


def parallel_tools(subject: Subject) -> str:
    """Two calls of one answer are two; and whether a client can forbid that."""
    calls = [block for block in fold_events(answered(subject.side)).blocks if isinstance(block, ToolCall)]
    forbidden = subject.writes(tools=(TOOL,), parallel_tool_calls=False)
    plain = subject.writes(tools=(TOOL,))
    if [json.loads(call.arguments)["city"] for call in calls] != ["Oslo", "Bern"]:
        return "no"
    return "yes, can be forbidden" if forbidden != plain else "yes"


def streamed_arguments(subject: Subject) -> str:
    """Whether arguments come in pieces."""
    pieces = [event for event in streamed(subject.side)
              if isinstance(event, ToolCallDelta) and event.index == 0 and event.arguments]  # fmt: skip
    return "in pieces" if len(pieces) > 1 else "whole"


def tool_choice(subject: Subject) -> str:
    """Which choices are said, each in a way of its own."""
    both = (TOOL, replace(TOOL, name="clock"))
    usual = {subject.writes(tools=both), subject.writes(tools=both, tool_choice=ToolChoice("auto")), ""}
    choices = {"none": ToolChoice("none"), "required": ToolChoice("required"),
               "named": ToolChoice("required", ("weather",))}  # fmt: skip
    said = [name for name, choice in choices.items() if subject.writes(tools=both, tool_choice=choice) not in usual]
    return ", ".join(["auto", *said])


def images(subject: Subject) -> str:
    """A picture in a question."""
    return "yes" if PICTURE.data in subject.hears(Message("user", (PICTURE,))) else "refused"


def documents(subject: Subject) -> str:
    """A document in a question."""
    return "yes" if PAPER.data in subject.hears(Message("user", (PAPER,))) else "refused"


def reasoning(subject: Subject) -> str:
    """Visible reasoning is read."""
    both = answered(subject.side), streamed(subject.side)
    return "yes" if all(any(isinstance(event, ReasoningDelta) for event in events) for events in both) else "no"


def signatures(subject: Subject) -> str:
    """A seal on reasoning goes back to the vendor that made it; or its plain reasoning does."""
    seal = ThoughtSignature(subject.side.name, "c2VhbA==")
    call = ToolCall("t0", "weather", "{}", signature=seal if subject.side.name == "gemini" else None)
    turn = Message("assistant", (Thinking("hm, I think", seal), call))
    said = subject.hears(turn, Message("tool", (ToolResult("t0", (Text("sun"),), name="weather"),)))
    return "sealed" if "c2VhbA==" in said else "as text" if "hm, I think" in said else "not given back"


def efforts(subject: Subject) -> str:
    """The words that are told apart, of all that a client can say."""
    by_wire: dict[str, str] = {}
    for effort in ("off", "low", "medium", "high", "max", "minimal", "xhigh"):
        by_wire.setdefault(subject.writes(reasoning=Reasoning(effort), max_tokens=60_000), effort)
    return "not said" if len(by_wire) == 1 else ", ".join(sorted(by_wire.values(), key=EFFORTS.index))


def json_schema(subject: Subject) -> str:
    """A schema for the answer."""
    schema: dict[str, object] = {"type": "object", "properties": {"ville": {"type": "string"}}}
    return "yes" if "ville" in subject.writes(output_format=OutputFormat("json_schema", "city", schema)) else "no"


def stop_reasons(subject: Subject) -> str:
    """Why an answer ended, as far as the language tells it."""
    found = [finish.reason for finish in answered(subject.side) if isinstance(finish, Finish)]
    for reason in ("stop", "length", "content_filter"):
        found += [each for each in _finishes(subject.side, reason) if each not in found]
    return ", ".join(sorted(found))


def _finishes(side: ProviderSide, reason: str) -> list[str]:
    surface = surface_of(side)
    if surface is not None:
        events = side.decode_answer(surface.encode_answer([TextDelta("a"), Finish(reason)], ASKED, "t", 1, None))
    else:
        words = {"gemini": {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"},
                 "bedrock_converse": {"stop": "end_turn", "length": "max_tokens",
                                      "content_filter": "content_filtered"}}.get(side.name, {})  # fmt: skip
        word = words.get(reason, reason)
        answer = {
            "gemini": {"candidates": [{"finishReason": word, "content": {"parts": [{"text": "a"}]}}]},
            "bedrock_converse": {"output": {"message": {"content": [{"text": "a"}]}}, "stopReason": word},
            "ollama": {**_OLLAMA, "message": {"content": "a"}, "done_reason": word},
        }[side.name]
        events = side.decode_answer(json.dumps(answer).encode())
    return [event.reason for event in events if isinstance(event, Finish)]


def usage_classes(subject: Subject) -> str:
    """The classes of tokens that are told apart, beside prompt and completion."""
    usage = fold_events(answered(subject.side)).usage
    return ", ".join(word for name, word in CLASSES.items() if getattr(usage, name)) or "none"


def refusals(subject: Subject) -> str:
    """How a model's refusal is told."""
    surface = surface_of(subject.side)
    if surface is not None:
        refused: list[StreamEvent] = [RefusalDelta("I won't."), Finish("content_filter")]
        reply = fold_events(subject.side.decode_answer(surface.encode_answer(refused, ASKED, "t", 1, None)))
    elif subject.side.name in _REFUSALS:
        reply = fold_events(subject.side.decode_answer(_REFUSALS[subject.side.name].encode()))
    else:
        return "no word for it"
    own = any(isinstance(block, Refusal) for block in reply.blocks)
    return "text of its own" if own else "stop reason" if reply.finish.reason == "content_filter" else "no word for it"


def errors(subject: Subject) -> str:
    """What is read of an error's body."""
    body = _ERRORS.get(subject.side.name, {"error": {"message": "slow down", "type": "t", "code": "rate_limit"}})
    failure: Failure = subject.side.decode_error(json.dumps(body).encode(), 429)
    assert failure.message == "slow down"
    parts = [("code", failure.code), ("type", failure.error_type), ("wait", failure.retry_after)]
    return ", ".join(["message", *(name for name, value in parts if value)])


def embeddings(subject: Subject) -> str:
    """How `/v1/embeddings` is answered."""
    return _offer("/v1/embeddings", subject, "not offered")


def count_tokens(subject: Subject) -> str:
    """How `/v1/messages/count_tokens` is answered."""
    return _offer("/v1/messages/count_tokens", subject, "estimated here")


def _offer(path: str, subject: Subject, without: str) -> str:
    service, connector = SERVICES[path], FAMILIES[subject.family]
    asked = replace(ASKED, messages=(Message("user", (Text("hi"),)),))
    try:
        if service.answer_here(asked, connector) is not None:
            return without
    except GatewayError:
        return without
    return "verbatim" if service.provider(asked, connector).name == service.surface.name else "translated"


def verbatim(subject: Subject) -> str:
    """Paths on which bytes pass unchanged, as both sides speak one language."""
    connector = FAMILIES[subject.family]
    chats = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages")
    found = [path for path in chats if SERVICES[path].provider(ASKED, connector).name == SERVICES[path].surface.name]
    return ", ".join(f"`{path}`" for path in found) or "none"


def shown_reasoning(surface: Surface) -> str:
    """Whether a client of this path sees reasoning, and gets a seal on it that it can give back."""
    seal = ThoughtSignature("gemini", "c2VhbA==")
    raw = _shown(surface, [ReasoningDelta("hm, I think"), ReasoningDelta("", seal), TextDelta("a"), Finish("stop")])
    return "with its seal" if b"c2VhbA==" in raw else "text" if b"hm, I think" in raw else "left out"


def shown_calls(surface: Surface) -> str:
    """Whether it sees calls of tools."""
    return "in pieces" if b"Oslo" in _shown(surface, _EVENTS) else "left out"


def shown_pictures(surface: Surface) -> str:
    """A picture that the model made."""
    try:
        raw = _shown(surface, [PICTURE, Finish("stop")])
    except GatewayError:
        return "the answer fails"
    return "in words" if b"![" in raw else "yes"


def shown_refusals(surface: Surface) -> str:
    """What a model says instead of an answer."""
    raw = _shown(surface, [RefusalDelta("I won't."), Finish("content_filter")])
    own = rb'"(refusal|delta)":"I won'
    return "text of its own" if re.search(own, raw) else "text, and the stop reason"


def shown_usage(surface: Surface) -> str:
    """The classes of tokens that are told apart."""
    raw = _shown(surface, _EVENTS)
    words = {"cached": b"61", "written": b"52", "reasoning": b"43", "audio": b"34"}
    return ", ".join(name for name, number in words.items() if re.search(rb":%b[,}]" % number, raw)) or "none"


def shown_failures(surface: Surface) -> str:
    """A provider that breaks off in the middle."""
    raw = _shown(surface, [TextDelta("a"), Failure("it broke", "upstream_cut")])
    ended = any(mark in raw for mark in (b"[DONE]", b"message_stop", b"response.completed"))
    return "an error, no end" if b"it broke" in raw and not ended else "no"


def _shown(surface: Surface, events: list[StreamEvent]) -> bytes:
    encoder = surface.encoder(ASKED, "t", 1)
    return b"".join(map(encoder.encode, events)) + encoder.finish(None)


QUESTIONS: dict[str, Callable[[Subject], str]] = {
    "tools": tools, "tool choice": tool_choice, "images": images, "documents": documents, "effort": efforts,
    "JSON schema": json_schema, "reasoning given back": signatures,
}  # fmt: skip
ANSWERS: dict[str, Callable[[Subject], str]] = {
    "text": text, "parallel calls": parallel_tools, "arguments": streamed_arguments, "reasoning": reasoning,
    "stop reasons": stop_reasons, "usage apart": usage_classes, "refusals": refusals, "errors": errors,
}  # fmt: skip
PATHS: dict[str, Callable[[Subject], str]] = {
    "embeddings": embeddings, "count_tokens": count_tokens, "byte for byte": verbatim,
}  # fmt: skip
SHOWN: dict[str, Callable[[Surface], str]] = {
    "calls": shown_calls, "reasoning": shown_reasoning, "pictures": shown_pictures, "refusals": shown_refusals,
    "usage apart": shown_usage, "a failure midway": shown_failures,
}  # fmt: skip
