"""Gemini: what Google was recorded to send and to take, in front of OpenAI's and Anthropic's clients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.connectors.quirks_table import quirks_of
from gateway.dialects import anthropic_messages, gemini, openai_chat
from gateway.dialects.dialect import Surface
from gateway.dialects.fold import Reply, fold_events
from gateway.dialects.gemini_arguments import MAX_ARGUMENTS
from gateway.dialects.gemini_schema import schema_for_gemini
from gateway.dialects.gemini_stream import MAX_TOOL_CALLS, Decoder
from gateway.errors import GatewayError, InvalidRequest, UpstreamFailed
from gateway.inference import (
    EFFORTS,
    Failure,
    Finish,
    Foreign,
    InferenceRequest,
    Media,
    Message,
    OutputFormat,
    Reasoning,
    ReasoningDelta,
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
from gateway.translate import Exchange, Translation
from tests.conftest import find_vectors

CHAT, MESSAGES = openai_chat, anthropic_messages
HI = Message("user", (Text("hi"),))
ASKED = InferenceRequest("elsewhere", "m", (HI,), stream=True, include_usage=True)
OLD, NEW = "gemini-2.5-flash", "gemini-3-flash-preview"
PICTURE = Media("image", "image/png", "AAAA")
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "text", "STOP", "$.a[0].b", "OTHER"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall", "name",
                         "args", "partialArgs", "jsonPath", "stringValue", "willContinue", "finishReason", "error",
                         "inlineData", "promptFeedback", "blockReason", "usageMetadata", "promptTokenCount"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


def recordings(pattern: str) -> Iterator[tuple[str, bytes]]:
    """Every recording of a generated answer or of its request; embeddings and counts of tokens are other questions."""
    paths: list[Path] = [
        path for vendor in ("gemini", "vertex") for path in sorted((find_vectors() / "dialects" / vendor).glob(pattern))
    ]
    for path in paths:
        raw = path.read_bytes()
        if "count-tokens" not in path.name and not any(mark in raw for mark in (b'"embeddings"', b'"embedding"',
                                                       b'"totalTokens"', b'"taskType"', b'"predictions"')):  # fmt: skip
            yield path.name, raw


def sse(*answers: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(answer).encode() + b"\r\n\r\n" for answer in answers)


def said(*parts: Any, reason: str = "", **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    return {"candidates": [candidate | ({"finishReason": reason} if reason else {})], **more}


def decoded(stream: bytes, size: int = 0) -> list[StreamEvent]:
    decoder, step = Decoder(1 << 24), size or len(stream) or 1
    events = [event for at in range(0, len(stream), step) for event in decoder.push(stream[at : at + step])]
    return events + decoder.finish()


def through(surface: Surface, events: list[StreamEvent]) -> Reply:
    """The answer as a client of this surface streams it, read by that language's own decoder."""
    encoder = surface.encoder(ASKED, "t", 1)
    stream = b"".join(encoder.encode(event) for event in events) + encoder.finish(None)
    decoder = {CHAT.NAME: CHAT.PROVIDER, MESSAGES.NAME: MESSAGES.PROVIDER}[surface.name].decoder(1 << 24)
    return fold_events(decoder.push(stream) + decoder.finish())


def written(*messages: Message, model: str = NEW, **fields: Any) -> dict[str, Any]:
    request = InferenceRequest("elsewhere", model, messages or (HI,), **fields)
    found = json.loads(gemini.encode_request(request, quirks_of("gemini", model)))
    assert isinstance(found, dict)
    return found


def check_same(name: str, before: Reply, after: Reply) -> None:
    assert after.text == before.text, name
    calls = [[block for block in reply.blocks if isinstance(block, ToolCall)] for reply in (before, after)]
    assert calls[0] == calls[1], name  # seals too
    thoughts = ["".join(b.text for b in reply.blocks if isinstance(b, Thinking)) for reply in (before, after)]
    assert thoughts[0] == thoughts[1], name
    assert after.finish.reason == before.finish.reason, name
    assert after.usage.total_tokens == before.usage.total_tokens, name
    assert after.failure == before.failure is None, name


def test_recorded_streams_are_read_in_any_chunking_and_reach_both_kinds_of_client() -> None:
    seen = calls = 0
    for name, stream in recordings("*.response.sse"):
        events = decoded(stream)
        assert events == decoded(stream, 7), name
        reply = fold_events(events)
        check_same(name, reply, through(CHAT.SURFACE, events))
        check_same(name, reply, through(MESSAGES.SURFACE, events))
        last = [json.loads(row[6:]) for row in stream.decode().splitlines() if row.startswith("data: ")][-1]
        assert reply.usage.total_tokens == last["usageMetadata"]["totalTokenCount"], name
        assert reply.start.model == last["modelVersion"], name
        seen += 1
        calls += reply.finish.reason == "tool_calls"
    assert (seen, calls) == (17, 8)


def test_recorded_answers_reach_both_kinds_of_client() -> None:
    seen = 0
    for name, raw in recordings("*.response.json"):
        answer = json.loads(raw)
        if "error" in answer:
            assert gemini.decode_error(raw, 400) == gemini.decode_error(b"[" + raw + b"]\n", 400)
            assert gemini.decode_error(raw, 400).code == "INVALID_ARGUMENT"
            continue
        events = gemini.decode_answer(raw)
        for side in (CHAT, MESSAGES):
            again = side.PROVIDER.decode_answer(side.SURFACE.encode_answer(events, ASKED, "t", 1, None))
            check_same(name, fold_events(events), fold_events(again))
        assert fold_events(events).usage.total_tokens == answer["usageMetadata"]["totalTokenCount"], name
        seen += 1
    assert seen == 14


def test_recorded_requests_are_what_the_same_chat_is_written_as() -> None:
    """Each recording is read by the test's own few lines, and the request that says the same must give it again."""
    seen = 0
    for name, raw in recordings("*.request.json"):
        theirs = _camel(json.loads(raw))
        if any(mark in json.dumps(theirs) for mark in ("google_search", "googleSearch", "codeExecution", "fileSearch")):
            continue  # tools of Google's own, which no other language can ask for
        model = NEW if "gemini-3" in name or "other-model" in name or "thought-signature" in name else OLD
        found = written(*_messages(theirs), model=model, **_fields(theirs))
        assert _comparable(found) == _comparable(theirs), name
        seen += 1
    assert seen >= 18


def _camel(value: Any) -> Any:
    """Protobuf reads both spellings; clients recorded here send both."""
    if isinstance(value, list):
        return [_camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    names = {"function_call", "function_response", "thought_signature", "file_data", "file_uri", "mime_type",
             "inline_data", "function_declarations", "parameters_json_schema", "max_output_tokens"}  # fmt: skip
    spelled = {name: name.split("_")[0] + "".join(part.title() for part in name.split("_")[1:]) for name in names}
    return {spelled.get(key, key): _camel(item) for key, item in value.items()}


def _messages(theirs: dict[str, Any]) -> list[Message]:
    system = theirs.get("systemInstruction", {"parts": []})["parts"]
    messages = [Message("system", tuple(Text(part["text"]) for part in system))] if system else []
    for content in theirs["contents"]:
        blocks: list[Any] = []
        for part in content["parts"]:
            seal = ThoughtSignature("gemini", part["thoughtSignature"]) if "thoughtSignature" in part else None
            if seal and seal.value.startswith("Y29udGV4"):
                seal = None  # Google's word for a call that another model made: ours to add
            if call := part.get("functionCall"):
                blocks.append(ToolCall(call.get("id", ""), call["name"], json.dumps(call["args"]), signature=seal))
            elif result := part.get("functionResponse"):
                response = result["response"]
                blocks.append(
                    ToolResult(result.get("id", ""), (Text(json.dumps(response)),), "error" in response, result["name"])
                )
                blocks += [ToolResult("", (_file(shown),)) for shown in result.get("parts", [])]
            else:
                blocks.append(Text(part["text"], seal) if "text" in part else _file(part))
        role = "tool" if isinstance(blocks[0], ToolResult) else {"model": "assistant"}.get(content["role"], "user")
        messages.append(Message(role, tuple(blocks)))
    return messages


def _file(part: dict[str, Any]) -> Media:
    found = part["fileData"]
    return Media("image", found["mimeType"], url=found["fileUri"])


def _fields(theirs: dict[str, Any]) -> dict[str, Any]:
    config, tools = theirs.get("generationConfig", {}), theirs.get("tools", [])
    fields: dict[str, Any] = {"max_tokens": config.get("maxOutputTokens")}
    if schema := config.get("responseJsonSchema"):
        fields["output_format"] = OutputFormat("json_schema", "n", schema)
    if thinking := config.get("thinkingConfig"):
        fields["reasoning"] = Reasoning(thinking["thinkingLevel"].lower(), visible=thinking["includeThoughts"])
    rows = tools["functionDeclarations"] if isinstance(tools, dict) else [
        row for tool in tools for row in tool["functionDeclarations"]
    ]  # fmt: skip
    fields["tools"] = tuple(
        Tool(row["name"], row["description"], row.get("parametersJsonSchema") or row.get("parameters")) for row in rows
    )
    if choice := theirs.get("toolConfig"):
        choice = choice["functionCallingConfig"]
        if choice["mode"] == "ANY":
            fields["tool_choice"] = ToolChoice("required", tuple(choice["allowedFunctionNames"]))
    return fields


def _comparable(request: dict[str, Any]) -> Any:
    """What must agree: words, order, roles, calls, seals, names, schemas. Not the wording around a tool's result, in
    which the recorded clients differ among themselves, nor which of Google's two schema members is used.
    """
    contents = []
    for content in request["contents"]:
        parts: list[Any] = []
        shown: list[Any] = []
        for part in content["parts"]:
            if result := part.get("functionResponse"):
                if result["name"] != "unknown":
                    parts.append({"result": result["name"], "id": result.get("id"),
                                  "failed": "error" in result["response"]})  # fmt: skip
                shown += result.get("parts", [])
            else:
                parts.append(part)
        contents += [(content["role"], parts), *([("user", shown)] if shown else [])]
    config = dict(request.get("generationConfig", {}))
    config.pop("responseModalities", None)
    if "thinkingConfig" in config:
        config["thinkingConfig"] = {**config["thinkingConfig"]}
        config["thinkingConfig"]["thinkingLevel"] = config["thinkingConfig"]["thinkingLevel"].upper()
    tools = request.get("tools", [])
    rows = tools["functionDeclarations"] if isinstance(tools, dict) else [
        row for tool in tools for row in tool["functionDeclarations"]
    ]  # fmt: skip
    declared = [(r["name"], r["description"], r.get("parametersJsonSchema") or r.get("parameters")) for r in rows]
    system = [part["text"] for part in request.get("systemInstruction", {"parts": []})["parts"]]
    choice = request.get("toolConfig", {}).get("functionCallingConfig", {})
    return contents, config, declared, system, {} if choice.get("mode") == "VALIDATED" else choice
