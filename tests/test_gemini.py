"""Gemini: what Google was recorded to send and to take, in front of OpenAI's and Anthropic's clients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
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
        st.sampled_from(["candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall",
                         "name", "args", "partialArgs", "jsonPath", "stringValue", "willContinue", "finishReason",
                         "error", "inlineData", "promptFeedback", "blockReason", "usageMetadata",
                         "promptTokenCount"]),
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
                                                       b'"totalTokens"', b'"requests"', b'"predictions"')):  # fmt: skip
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
    decoder = (CHAT if surface is CHAT.SURFACE else MESSAGES).PROVIDER.decoder(1 << 24)
    return fold_events(decoder.push(stream) + decoder.finish())


def written(*messages: Message, model: str = NEW, **fields: Any) -> dict[str, Any]:
    request = InferenceRequest("elsewhere", model, messages or (HI,), **fields)
    found = json.loads(gemini.encode_request(request, quirks_of("gemini", model)))
    assert isinstance(found, dict)
    return found


def check_same(name: str, before: Reply, after: Reply) -> None:
    assert after.text == before.text, name
    calls = [[block for block in reply.blocks if isinstance(block, ToolCall)] for reply in (before, after)]
    plain = [[replace(call, signature=None) for call in some] for some in calls]
    assert plain[0] == plain[1], name
    # Messages carries the seal of a call in a block of thinking before it.
    seals = [b.signature for b in after.blocks if isinstance(b, ToolCall | Thinking) and b.signature is not None]
    assert seals == [call.signature for call in calls[0] if call.signature is not None], name
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
    assert (seen, calls) == (19, 8)


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
    fields: dict[str, Any] = {"max_tokens": config.get("maxOutputTokens"), "temperature": config.get("temperature")}
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


def test_calls_in_pieces_become_whole_calls() -> None:
    streams = dict(recordings("vercel-google-stream*.response.sse"))
    arguments = [
        [(b.name, json.loads(b.arguments)) for b in fold_events(decoded(stream)).blocks if isinstance(b, ToolCall)]
        for _, stream in sorted(streams.items())
    ]
    assert arguments[0] == [("read_theme", {}), *(("read_screen", {"id": letter}) for letter in "ABC")]
    assert arguments[1] == [("writeItems", {"operations": [
        {"action": "add", "description": "Fresh red apple", "itemid": "apple_001", "price": 0.5},
        {"action": "add", "description": "Ripe yellow banana", "itemid": "banana_001", "price": 0.3},
    ]})]  # fmt: skip


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([("$['a b'].c", "x"), ('$["d"]', "y")], {"a b": {"c": "x"}, "d": "y"}),
        ([("$.a[1]", "gap"), ("$.a[0]", "x"), ("$.a[0]", "yz"), ("$.a[1]", "z")], {"a": ["xyz", "z"]}),
        ([("$", "x"), ("a", "x"), ("$.a[", "x"), ("$..a", "x"), ("$[0]", "x"), ("$" + ".a" * 200, "x")], {}),
        ([("$.a", "x"), ("$.a.b", "y"), ("$.a[0]", "z"), ("$.a[999999999]", "z")], {"a": "x"}),
        ([("$.a[0].b", "x"), ("$.a[7].b", "gap"), ("$.a[0].b[2].c", "y")], {"a": [{"b": "x"}]}),
    ],
)
def test_odd_places_of_arguments(pieces: list[tuple[str, str]], expected: dict[str, Any]) -> None:
    parts = [{"functionCall": {"name": "f", "willContinue": True}}]
    for path, text in pieces:
        parts.append({"functionCall": {"partialArgs": [{"jsonPath": path, "stringValue": text}], "willContinue": True}})
    (call,) = fold_events(decoded(sse(*(said(part) for part in parts), said(reason="STOP")))).blocks
    assert isinstance(call, ToolCall)
    found = json.loads(call.arguments)
    # A name on the way to a gap has come into being, empty.
    assert {name: value for name, value in found.items() if value} == expected


def test_arguments_of_other_kinds_and_without_an_open_call() -> None:
    call = {"name": "f", "args": {"z": 1}, "partialArgs": [
        {"jsonPath": "$.n", "numberValue": 1.5}, {"jsonPath": "$.b", "boolValue": False},
        {"jsonPath": "$.x", "nullValue": "NULL_VALUE"}, {"jsonPath": "$.n2", "numberValue": "NaN"},
    ]}  # fmt: skip
    reply = fold_events(decoded(sse(said({"functionCall": {}}, {"functionCall": call}, reason="STOP"))))
    assert [json.loads(b.arguments) for b in reply.blocks if isinstance(b, ToolCall)] == [
        {"z": 1, "n": 1.5, "b": False, "x": None, "n2": None}
    ]


def test_a_call_that_is_never_said_to_end_ends_with_what_follows() -> None:
    first, second = ({"functionCall": {"name": name, "willContinue": True}} for name in "fg")
    events = decoded(sse(said(first), said(second), said({"text": "so"}, reason="STOP", responseId="r")))
    assert [type(event).__name__ for event in events] == [
        "ToolCallDelta",
        "ToolCallDelta",
        "TextDelta",
        "Finish",
    ]
    assert [call.name for call in fold_events(events).blocks if isinstance(call, ToolCall)] == ["f", "g"]


def test_a_call_without_end_is_refused_and_so_are_calls_without_number() -> None:
    piece = {"functionCall": {"partialArgs": [{"jsonPath": "$.a", "stringValue": "x" * (MAX_ARGUMENTS // 2)}],
                              "willContinue": True}}  # fmt: skip
    decoder = Decoder(1 << 24)
    decoder.push(sse(said({"functionCall": {"name": "f", "willContinue": True}}), said(piece)))
    with pytest.raises(UpstreamFailed, match="partialArgs"):
        decoder.push(sse(said(piece)))
    with pytest.raises(UpstreamFailed, match="functionCall"):
        Decoder().push(sse(said(*[{"functionCall": {"name": "f"}}] * (MAX_TOOL_CALLS + 1))))


def test_ids_are_gemini_s_own_or_made_of_the_answer_s_and_never_sent_back() -> None:
    call: dict[str, Any] = {"name": "f", "args": {}}
    answer = said({"functionCall": call}, {"functionCall": call | {"id": "g7"}}, reason="STOP", responseId="R-1/")
    ids = [block.id for block in fold_events(decoded(sse(answer))).blocks if isinstance(block, ToolCall)]
    assert ids == ["call_0_R-1", "g7"]
    results = tuple(ToolResult(each, (Text(each),)) for each in reversed(ids))
    turns = [Message("assistant", tuple(ToolCall(each, f"f{each}", "{}") for each in ids)), Message("tool", results)]
    model, user = written(HI, *turns, model=OLD)["contents"][1:]
    assert [part["functionCall"] for part in model["parts"]] == [
        {"name": "fcall_0_R-1", "args": {}}, {"id": "g7", "name": "fg7", "args": {}},
    ]  # fmt: skip
    lone = written(HI, Message("tool", (ToolResult("x", ()),)), Message("tool", (ToolResult("", (), name="n"),)))
    assert [part["functionResponse"]["name"] for part in lone["contents"][1]["parts"]] == ["unknown", "n"]
    # By order of the calls, since that is all that tells two without ids apart.
    assert [part["functionResponse"] for part in user["parts"]] == [
        {"name": "fcall_0_R-1", "response": {"output": "call_0_R-1"}},
        {"id": "g7", "name": "fg7", "response": {"output": "g7"}},
    ]


def test_seals_return_where_they_stood_and_calls_of_other_models_get_googles_word() -> None:
    seal, foreign = ThoughtSignature("gemini", "Cg=="), ThoughtSignature("anthropic_messages", "EqQB")
    said_before = Message("assistant", (
        Thinking("sealed", seal), Thinking("plain"), Thinking("theirs", foreign), Text("so", seal),
        ToolCall("1", "f", "{}", signature=foreign), ToolCall("2", "g", "no json"),
        ToolCall("3", "h", "{}", signature=seal),
    ))  # fmt: skip
    parts = written(HI, said_before)["contents"][1]["parts"]
    assert parts[:2] == [
        {"text": "sealed", "thought": True, "thoughtSignature": "Cg=="}, {"text": "so", "thoughtSignature": "Cg=="}
    ]  # fmt: skip
    assert [part.get("thoughtSignature", "")[:8] for part in parts[2:]] == ["Y29udGV4", "", "Cg=="]
    assert parts[3]["functionCall"]["args"] == {"input": "no json"}
    assert "Y29udGV4" not in json.dumps(written(HI, said_before, model=OLD))


def test_pictures_and_files_and_what_has_no_place() -> None:
    shown = (PICTURE, Media("document", url="gs://b/a.PDF?x"), Media("video", url="https://v.example/watch"))
    assert written(Message("user", shown))["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"fileData": {"fileUri": "gs://b/a.PDF?x", "mimeType": "application/pdf"}},
        {"fileData": {"fileUri": "https://v.example/watch"}},
    ]
    calls = Message("assistant", (ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}")))
    results = [Message("tool", (ToolResult("b", (PICTURE, Text("b")), True),)), Message("tool", (ToolResult("a", ()),))]
    *_, answers, pictures = written(HI, calls, *results)["contents"]
    assert [part["functionResponse"]["response"] for part in answers["parts"]] == [{"output": ""}, {"error": "b"}]
    assert pictures == {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}
    for block in (Media("document", file_id="file-1"), Foreign("openai_chat", {"type": "odd"})):
        with pytest.raises(InvalidRequest, match="no place"):
            written(Message("user", (block,)))


def test_tools_and_choices() -> None:
    schema: dict[str, object] = {
        "$schema": "x", "type": "object",
        "properties": {"const": {"const": 1}, "$id": {"anyOf": [{"const": "a"}, True]}},
        "items": {"$comment": "c", "enum": [1]}, "additionalProperties": False, "required": ["const"],
    }  # fmt: skip
    assert schema_for_gemini(schema) == {
        "type": "object", "properties": {"const": {"enum": [1]}, "$id": {"anyOf": [{"enum": ["a"]}, True]}},
        "items": {"enum": [1]}, "additionalProperties": False, "required": ["const"],
    }  # fmt: skip
    tools = (Tool("f", "d", schema), Tool("g"), Tool("c", custom=True), Foreign("openai_chat", {"type": "web"}))
    declared = written(tools=tools)["tools"][0]["functionDeclarations"]
    assert [row["name"] for row in declared] == ["f", "g", "c"]
    assert "parametersJsonSchema" not in declared[1]
    assert declared[2]["parametersJsonSchema"]["required"] == ["input"]

    def chosen(choice: ToolChoice) -> Any:
        return written(tools=tools, tool_choice=choice)["toolConfig"]["functionCallingConfig"]

    assert chosen(ToolChoice("required", ("f", "g"))) == {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}
    assert chosen(ToolChoice("none")) == {"mode": "NONE"}
    assert chosen(ToolChoice("auto")) == {"mode": "AUTO"}
    forced = written(tools=tools, tool_choice=ToolChoice("required", ("g",)))
    assert len(forced["tools"][0]["functionDeclarations"]) == 3
    some = written(tools=tools, tool_choice=ToolChoice("auto", ("g",)))["tools"][0]["functionDeclarations"]
    assert [row["name"] for row in some] == ["g"]
    assert "toolConfig" not in written(tool_choice=ToolChoice("auto"))
    for fields in ({"tool_choice": Foreign("openai_chat", {})}, {"output_format": Foreign("x", {})}, {"choices": 2}):
        with pytest.raises(InvalidRequest):
            written(tools=tools, **fields)


def test_settings_of_a_request() -> None:
    found = written(
        Message("system", (Text("s"),)), HI, Message("developer", (Text("t"),)), max_tokens=9, temperature=1.5,
        top_p=0.5, top_k=3, presence_penalty=0.1, frequency_penalty=0.2, seed=7, stop=("x", ""), user="u",
        parallel_tool_calls=False, output_format=OutputFormat("json_schema", "n", {"const": 1}),
    )  # fmt: skip
    assert found == {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "systemInstruction": {"parts": [{"text": "s"}, {"text": "t"}]},
        "generationConfig": {
            "maxOutputTokens": 9, "temperature": 1.5, "topP": 0.5, "topK": 3, "presencePenalty": 0.1,
            "frequencyPenalty": 0.2, "seed": 7, "stopSequences": ["x"], "responseMimeType": "application/json",
            "responseJsonSchema": {"enum": [1]},
        },
    }  # fmt: skip
    assert written(output_format=OutputFormat("json"))["generationConfig"] == {"responseMimeType": "application/json"}
    assert "generationConfig" not in written(output_format=OutputFormat("text"))
    assert written(Message("system", (Text("only"),)))["contents"] == [{"role": "user", "parts": [{"text": "only"}]}]


def test_every_effort_is_a_budget_or_a_level_that_the_model_takes() -> None:
    def thinking(model: str, effort: str | None, **more: Any) -> Any:
        return (
            written(model=model, reasoning=Reasoning(effort, **more)).get("generationConfig", {}).get("thinkingConfig")
        )

    budgets = {model: [thinking(model, effort)["thinkingBudget"] for effort in EFFORTS]
               for model in ("gemini-2.5-flash", "gemini-2.5-pro")}  # fmt: skip
    assert budgets == {
        "gemini-2.5-flash": [0, 1024, 2048, 8192, 24576, 24576, 24576],
        "gemini-2.5-pro": [128, 1024, 2048, 8192, 24576, 32768, 32768],
    }
    assert [thinking(NEW, effort)["thinkingLevel"] for effort in EFFORTS] == [
        "MINIMAL", "MINIMAL", "LOW", "MEDIUM", "HIGH", "HIGH", "HIGH",
    ]  # fmt: skip
    assert [thinking("gemini-3.1-pro-preview", effort)["thinkingLevel"] for effort in ("off", "max")] == ["LOW", "HIGH"]
    assert thinking("gemini-3-pro-preview", "medium")["thinkingLevel"] == "LOW"
    assert thinking("gemini-2.0-flash", "high") is None
    assert thinking(OLD, None, budget=700) == {"includeThoughts": True, "thinkingBudget": 700}
    assert thinking(NEW, "high", visible=False)["includeThoughts"] is False
    assert thinking(NEW, "off")["includeThoughts"] is False


def test_how_an_answer_ends() -> None:
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "cachedContentTokenCount": 4,
             "toolUsePromptTokenCount": 1, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 2},
                                     {"modality": "TEXT", "tokenCount": 3}],
             "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}]}  # fmt: skip
    counted = Usage(6, 5, 4, reasoning_tokens=3, audio_prompt_tokens=2, audio_completion_tokens=1)
    ends = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter", "SPII": "content_filter", "NEW": "stop"}
    for theirs, ours in ends.items():
        answer = said({"text": "a"}, reason=theirs, usageMetadata=usage)
        expected = [TextDelta("a"), Finish(ours, theirs), counted]
        assert decoded(sse(answer)) == gemini.decode_answer(json.dumps(answer).encode()) == expected
    called = decoded(sse(said({"functionCall": {"name": "f"}}, reason="MAX_TOKENS")))
    assert called[-1] == Finish("length", "MAX_TOKENS")
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 5}}
    assert gemini.decode_answer(json.dumps(blocked).encode()) == decoded(sse(blocked))
    assert decoded(sse(blocked)) == [Finish("content_filter", "PROHIBITED_CONTENT"), Usage(5, 0)]
    failed = said(reason="MALFORMED_FUNCTION_CALL", usageMetadata=usage)
    failed["candidates"][0]["finishMessage"] = "Malformed call"
    assert decoded(sse(failed)) == [counted, Failure("Malformed call", "MALFORMED_FUNCTION_CALL")]
    assert fold_events(decoded(sse(said({"text": "a"})))).failure is not None  # cut
    assert decoded(sse({"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}, said(reason="STOP"))) == [
        Failure("busy", "UNAVAILABLE", status=503)
    ]
    assert fold_events(decoded(b"data: [1]\r\n\r\n")).failure is not None
    for body in (b"[]", b"{}", b'{"candidates":[]}'):
        with pytest.raises(UpstreamFailed):
            gemini.decode_answer(body)


def test_parts_of_every_kind() -> None:
    parts = [
        {"text": "hm", "thought": True}, {"text": "", "thought": True, "thoughtSignature": "Cg=="},
        {"executableCode": {"code": "1"}, "thoughtSignature": "x"}, {"codeExecutionResult": {}}, {"text": ""},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"inlineData": {"mimeType": "text/csv", "data": "eA=="}},
        {"inlineData": {"mimeType": "image/png"}},
        {"thought": True, "inlineData": {"mimeType": "image/png", "data": "x"}},
        {"text": "a"}, {"text": "", "thoughtSignature": "Cw=="},
    ]  # fmt: skip
    assert decoded(sse(said(*parts, reason="STOP")))[:-1] == [
        ReasoningDelta("hm"), ReasoningDelta("", ThoughtSignature("gemini", "Cg==")), PICTURE,
        Media("document", "text/csv", "eA=="), TextDelta("a"), TextDelta("", ThoughtSignature("gemini", "Cw==")),
    ]  # fmt: skip


def test_errors_in_every_form() -> None:
    bad_key = {"code": 400, "message": "m", "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}
    assert gemini.decode_error(json.dumps({"error": bad_key}).encode(), 400) == Failure(
        "m", "API_KEY_INVALID", status=401
    )
    assert gemini.decode_error(b'{"error":"words"}', 500) == Failure("words")
    for body in (b"", b"[]", b"[", b"<html>", b'{"error":{}}', b'[{"error":[1]}]'):
        assert gemini.decode_error(body, 503).message


@settings(max_examples=300, deadline=None)
@given(st.lists(JSON, max_size=5), st.integers(1, 40))
def test_no_stream_and_no_answer_raises_anything_but_a_failure(frames: list[Any], size: int) -> None:
    frames = [*frames, *({"candidates": [{"content": {"parts": [frame]}}]} for frame in frames)]
    stream = sse(*frames)
    for surface in (CHAT.SURFACE, MESSAGES.SURFACE):
        passage = Translation(Exchange(surface, gemini.PROVIDER, ASKED, "t", 1), 1 << 20)
        out = b"".join(passage.push(stream[at : at + size]) for at in range(0, len(stream), size))
        assert b'"receipt_id"' in out + passage.closing({"receipt_id": "r"})
    for frame in frames:
        try:
            gemini.decode_answer(json.dumps(frame).encode())
        except GatewayError as error:
            assert error.status == 502
        gemini.decode_error(json.dumps(frame).encode(), 400)


@settings(max_examples=200, deadline=None)
@given(st.lists(JSON, max_size=3), JSON, st.sampled_from(["user", "assistant", "tool"]))
def test_no_request_raises_anything_but_a_refusal(content: Any, schema: Any, role: str) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    body = {"model": "m", "messages": [{"role": role, "content": content, "tool_calls": content}], "tools": tools}
    try:
        request = CHAT.SURFACE.decode_request(json.dumps(body).encode())
        gemini.encode_request(request, quirks_of("gemini", NEW))
    except GatewayError as error:
        assert error.status == 400
