"""What the mock provider says: the request of a chat in, a Reply out. Nothing here waits or sends."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from gateway.http.mock_wires import Reply
from gateway.schema_sample import sample, sample_object, schema_in_text
from gateway.transcripts import ECHO, choose_transcript, echo_arguments, tokens

# Model -> the orders that it always follows.
MODELS: dict[str, dict[str, str]] = {
    "mock-1": {},
    "mock-reasoner": {},
    "mock-text": {},
    "mock-503": {"error": "503"},
    "mock-429": {"error": "429"},
    "mock-cut": {"cut": ""},
    "mock-stall": {"stall": ""},
    "mock-slow": {"slow": "2"},
}
MAX_CHUNKS = 100_000
_ORDER = re.compile(r"mock:([a-z-]+)(?:=([\w.-]+))?")
_REASONING = "This is a mock: it does not think, it only counts words."


def read_orders(body: dict[str, Any]) -> dict[str, str]:
    """What the model always does, and what the last user message orders beside."""
    return MODELS.get(str(body.get("model")), {}) | dict(_ORDER.findall(_said(body)))


def reply_to(body: dict[str, Any], orders: dict[str, str]) -> Reply:
    """The answer to a chat."""
    words = sum(len(_text_of(message.get("content")).split()) for message in body["messages"])
    effort = body.get("reasoning_effort")
    thinks = effort != "none" and (effort is not None or body["model"] == "mock-reasoner")
    tool, text = _scene(body, orders)
    if "chunks" in orders and not tool:
        text = ["mock", *(f" {number}" for number in range(1, int(min(number_of(orders["chunks"], 1), MAX_CHUNKS))))]
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    most = max(0, int(limit)) if isinstance(limit, int | float) else len(text)
    finish = "tool_calls" if tool else "length" if len(text) > most else "stop"
    return Reply(list(tokens(_REASONING)) if thinks else [], text[:most], tool, finish, words)


def number_of(text: str, default: float) -> float:
    """A number in an order; the default for what is none."""
    try:
        value = float(text)
    except ValueError:
        return default
    return value if math.isfinite(value) else default


def _scene(body: dict[str, Any], orders: dict[str, str]) -> tuple[tuple[str, str] | None, list[str]]:
    """The call, if a tool is to be called, and the text beside it or instead."""
    said, result = _said(body), _result(body)
    tool = _chosen_tool(body, orders, result)
    if tool is not None:
        name, schema = tool
        text = list(choose_transcript(said, [name], None).text) if name == ECHO else []
        arguments = sample_object(_needed(schema), said if name == ECHO else "mock")
        if name == ECHO and not arguments:
            arguments = dict(echo_arguments(said))
        return (name, json.dumps(arguments)), text
    shaped = _shaped(body, said)
    return None, list(choose_transcript(said, [], result).text if shaped is None else tokens(json.dumps(shaped)))


def _needed(schema: Any) -> Any:
    """Parameters without the optional ones, if it says which they are: an agent's tools fail at a made-up folder."""
    if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
        return schema
    required = schema.get("required")
    if not isinstance(required, list) or not required:
        return schema
    return {**schema, "properties": {name: part for name, part in schema["properties"].items() if name in required}}


def _chosen_tool(body: dict[str, Any], orders: dict[str, str], result: str | None) -> tuple[str, Any] | None:
    """Name and parameters of the tool to call: the one that is forced or ordered, else `echo`, else the first that the
    conversation has not called yet. `auto` calls one in answer to a user only, and never calls one of `mock-text`.
    """
    mode, names = _choice(body.get("tool_choice"))
    tools = {name: schema for name, schema in _tools(body.get("tools")).items() if not names or name in names}
    if mode == "none" or (mode == "auto" and (result is not None or body["model"] == "mock-text")):
        return None
    called = _called(body)
    wanted = (orders.get("call"), ECHO, *(name for name in tools if name not in called), *tools)
    name = next((name for name in wanted if name in tools), None)
    return None if name is None else (name, tools[name])


def _choice(choice: Any) -> tuple[str, list[Any]]:
    """`none`, `auto` or `required`, and the names among which it is to be chosen; none are all."""
    if not isinstance(choice, dict):
        return (choice if choice in ("none", "required") else "auto"), []
    allowed = choice.get("allowed_tools", choice)
    if isinstance(allowed, dict) and isinstance(allowed.get("tools"), list):
        return ("required" if allowed.get("mode") == "required" else "auto"), list(_tools(allowed["tools"]))
    function = choice.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    return ("auto", []) if name is None else ("required", [name])


def _tools(tools: Any) -> dict[str, Any]:
    """Parameters by name; what is no function is left out."""
    entries = (
        [tool.get("function", tool) for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    )
    functions = [entry for entry in entries if isinstance(entry, dict)]
    return {one["name"]: one.get("parameters") for one in functions if isinstance(one.get("name"), str)}


def _called(body: dict[str, Any]) -> set[Any]:
    """The tools that were called since the user spoke last."""
    names: set[Any] = set()
    for message in body["messages"]:
        if message.get("role") == "user":
            names.clear()
        calls = message.get("tool_calls")
        names |= set(_tools(calls)) if isinstance(calls, list) else set()
    return names


def _result(body: dict[str, Any]) -> str | None:
    """What tools said since the assistant spoke last; None if none did. Clients may add words of a user's to it."""
    results: list[str] = []
    for message in reversed(body["messages"]):
        if message.get("role") == "assistant":
            break
        if message.get("role") == "tool":
            results.insert(0, _text_of(message.get("content")))
    return " ".join(results) if results else None


def _shaped(body: dict[str, Any], said: str) -> Any:
    """The value that a wanted format asks for; None where any text will do."""
    wanted = body.get("response_format")
    wanted = wanted if isinstance(wanted, dict) else {}
    if wanted.get("type") == "json_schema":
        named = wanted.get("json_schema")
        schema = named.get("schema") if isinstance(named, dict) else None
        return sample(schema) if isinstance(schema, dict) else {}
    if wanted.get("type") != "json_object":
        return None
    shown = (schema_in_text(_text_of(message.get("content"))) for message in body["messages"])
    schema = next((schema for schema in shown if schema is not None), None)
    return {"mock": True, "echo": said} if schema is None else sample_object(schema)


def _said(body: dict[str, Any]) -> str:
    users = [message for message in body["messages"] if message.get("role") == "user"]
    return _text_of(users[-1].get("content")) if users else ""


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)
    return content if isinstance(content, str) else ""
