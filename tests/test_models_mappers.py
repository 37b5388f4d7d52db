"""The pure mappers: each is a cut out of what a dialect writes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.models import (
    AssistantTurn,
    CommandBlock,
    Conversation,
    DoneEmission,
    Emission,
    ImageBlock,
    StopEmission,
    StopReason,
    StreamOptions,
    TextBlock,
    TextEmission,
    ThinkingBlock,
    ThinkingLevel,
    ToolCallBlock,
    ToolChoice,
    ToolDescriptor,
    ToolResultBlock,
    ToolTurn,
    Usage,
    UsageEmission,
    UserTurn,
    build_converse_body,
    get_card,
    map_bedrock_stop_reason,
    map_converse_stream_event,
    to_anthropic_request,
    to_google_contents,
    to_google_system_instruction,
    to_google_tools,
    to_openai_chat_messages,
    to_openai_tool_choice,
    to_openai_tools,
    to_responses_input,
    to_responses_tools,
)
from gateway.models.conversion.bedrock import ConverseStream
from gateway.models.conversion.request import wire_id
from tests.worlds.canned import HELLO

SCHEMA: dict[str, object] = {"type": "object", "properties": {"msg": {"type": "string"}}}
TOOLS = (ToolDescriptor("echo", "says it again", SCHEMA),)
LOOP = Conversation(
    (
        UserTurn((TextBlock("look"), ImageBlock("image/png", "iVBORw0KGgo="))),
        AssistantTurn(
            (CommandBlock("xyzzy", ("--plugh",)), TextBlock("I call."), ToolCallBlock("c1", "echo", {"msg": "hi"}))
        ),
        ToolTurn((ToolResultBlock("c1", "failed", True),)),
        UserTurn((ToolResultBlock("c1", {"again": 1}), TextBlock("and?"))),
    ),
    system="Be terse.",
    tools=TOOLS,
)


def test_openai_chat() -> None:
    """R250: messages, tools, and the choice's own words."""
    messages = to_openai_chat_messages(LOOP)
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "tool", "tool", "user"]
    assert messages[1]["content"][1]["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgo="
    assert messages[2]["tool_calls"][0]["function"] == {"name": "echo", "arguments": '{"msg":"hi"}'}
    assert messages[4]["content"] == '{"again":1}'
    assert to_openai_tools(TOOLS) == [
        {"type": "function", "function": {"name": "echo", "description": "says it again", "parameters": SCHEMA}}
    ]
    assert [to_openai_tool_choice(choice) for choice in ToolChoice] == ["auto", "required", "none"]
    assert to_openai_tools(()) == []


def test_a_command_stays_between_the_host_and_its_shell() -> None:
    """R199: no wire language has a place for it."""
    for written in (to_openai_chat_messages(LOOP), to_responses_input(LOOP), to_google_contents(LOOP)):
        assert "xyzzy" not in repr(written) and "I call." in repr(written)
    only = Conversation((UserTurn((TextBlock("x"),)), AssistantTurn((CommandBlock("ls"),))))
    assert len(to_openai_chat_messages(only)) == 1


def test_anthropic_hoists_the_system_and_knows_current_ids() -> None:
    """R250, R253: old ids become those that are served now; a card's own limit is asked for."""
    card = get_card("claude-opus-4")
    assert card is not None
    body = to_anthropic_request(card, LOOP, StreamOptions(tool_choice=ToolChoice.REQUIRED))
    assert body["model"] == "claude-opus-4-8"
    assert body["max_tokens"] == card.max_output_tokens
    assert "Be terse." in repr(body["system"])
    assert all(message["role"] in ("user", "assistant") for message in body["messages"])
    assert body["tools"][0]["input_schema"] == SCHEMA and body["tool_choice"]["type"] == "any"
    assert body["stream"] is True
    results = [part for message in body["messages"] for part in message["content"] if part["type"] == "tool_result"]
    assert results[0]["is_error"] is True
    ids = {
        name: wire_id(known)
        for name in ("claude-sonnet-4", "claude-haiku-3-5", "claude-sonnet-4-5", "gpt-4o")
        if (known := get_card(name)) is not None
    }
    assert ids == {
        "claude-sonnet-4": "claude-sonnet-4-6", "claude-haiku-3-5": "claude-haiku-4-5",
        "claude-sonnet-4-5": "claude-sonnet-4-5", "gpt-4o": "gpt-4o",
    }  # fmt: skip


def test_a_thinking_budget_is_for_cards_that_reason() -> None:
    """R206, R253 and contradiction C22: a budget where the model takes one, the adaptive way from 4.6 on."""
    old, new, none = (get_card(name) for name in ("claude-sonnet-4-5", "claude-opus-4", "claude-haiku-3-5"))
    assert old is not None and new is not None and none is not None
    thinking = {
        level: to_anthropic_request(old, HELLO, StreamOptions(thinking=level)).get("thinking")
        for level in ThinkingLevel
    }
    budgets = [thinking[level]["budget_tokens"] for level in list(ThinkingLevel)[1:]]
    assert budgets == sorted(budgets) and 1024 <= budgets[0] < budgets[-1] < old.max_output_tokens
    assert thinking[ThinkingLevel.OFF] in (None, {"type": "disabled"})
    adaptive = to_anthropic_request(new, HELLO, StreamOptions(thinking=ThinkingLevel.HIGH))
    assert adaptive["thinking"]["type"] == "adaptive" and adaptive["output_config"]["effort"] == "high"
    assert "thinking" not in to_anthropic_request(none, HELLO, StreamOptions(thinking=ThinkingLevel.HIGH))


def test_responses() -> None:
    """R250: flat items and flat tools."""
    items = to_responses_input(LOOP)
    kinds = [item.get("type", "message") for item in items]
    assert kinds.count("function_call") == 1 and kinds.count("function_call_output") == 2
    call = items[kinds.index("function_call")]
    assert (call["call_id"], call["name"], call["arguments"]) == ("c1", "echo", '{"msg":"hi"}')
    (tool,) = to_responses_tools(TOOLS)
    assert (tool["type"], tool["name"], tool["parameters"]) == ("function", "echo", SCHEMA)


def test_google() -> None:
    """R250: contents, the system apart, declarations of functions; a result names its function."""
    contents = to_google_contents(LOOP)
    assert [content["role"] for content in contents][:2] == ["user", "model"]
    parts = [part for content in contents for part in content["parts"]]
    assert next(part["functionCall"] for part in parts if "functionCall" in part)["args"] == {"msg": "hi"}
    assert {part["functionResponse"]["name"] for part in parts if "functionResponse" in part} == {"echo"}
    assert to_google_system_instruction(LOOP)["parts"] == [{"text": "Be terse."}]
    assert to_google_system_instruction(replace(LOOP, system=None)) is None
    (tools,) = to_google_tools(TOOLS)
    assert tools["functionDeclarations"][0]["name"] == "echo"


def test_bedrock() -> None:
    """R242: the body, the reasons, and events one by one."""
    card = get_card("amazon.nova-lite-v1:0")
    assert card is not None
    body = build_converse_body(card, HELLO, StreamOptions(max_output_tokens=7))
    assert body == {
        "messages": [{"role": "user", "content": [{"text": "hello"}]}],
        "system": [{"text": "Be terse."}],
        "inferenceConfig": {"maxTokens": 7},
    }
    words = {
        "end_turn": StopReason.COMPLETE, "stop_sequence": StopReason.COMPLETE, "tool_use": StopReason.TOOL_CALLS,
        "max_tokens": StopReason.MAX_OUTPUT, "content_filtered": StopReason.REFUSAL,
        "guardrail_intervened": StopReason.REFUSAL, "malformed_model_output": StopReason.ERROR,
    }  # fmt: skip
    assert {word: map_bedrock_stop_reason(word) for word in words} == words
    stream = ConverseStream(card.id)
    events: list[tuple[str, dict[str, object]]] = [
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}}),
        ("messageStop", {"stopReason": "max_tokens"}),
        ("metadata", {"usage": {"inputTokens": 4, "outputTokens": 1, "cacheReadInputTokens": 2}}),
    ]
    emissions: list[Emission] = [
        each for kind, payload in events for each in map_converse_stream_event(stream, kind, payload)
    ]
    assert emissions == [
        TextEmission("Hi"), StopEmission(StopReason.MAX_OUTPUT), UsageEmission(Usage(4, 1, cache_read_tokens=2))
    ]  # fmt: skip
    assert isinstance(stream.projection.end(), DoneEmission)


@pytest.mark.parametrize("mapped", [to_openai_chat_messages, to_responses_input, to_google_contents])
def test_mapping_changes_nothing(mapped: object) -> None:
    """R250: the same twice, and thoughts without a seal are no vendor's business to check."""
    asked = replace(LOOP, turns=(*LOOP.turns, AssistantTurn((ThinkingBlock("hm"), TextBlock("so")))))
    assert callable(mapped) and mapped(asked) == mapped(asked)
