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
    calls, text = _scene(body, orders)
    if "chunks" in orders and not calls:
        text = ["mock", *(f" {number}" for number in range(1, int(min(number_of(orders["chunks"], 1), MAX_CHUNKS))))]
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    most = int(max(0, min(limit, len(text)))) if isinstance(limit, int | float) else len(text)
    finish = "tool_calls" if calls else "length" if len(text) > most else "stop"
    return Reply(list(tokens(_REASONING)) if thinks else [], text[:most], calls, finish, words)


def number_of(text: str, default: float) -> float:
    """A number in an order; the default for what is none."""
    try:
        value = float(text)
    except ValueError:
        return default
    return value if math.isfinite(value) else default


def _scene(body: dict[str, Any], orders: dict[str, str]) -> tuple[list[tuple[str, str]], list[str]]:
    """The tools to call, and the text beside that or instead."""
    said, result = _said(body), _result(body)
    tools = _chosen_tools(body, orders, result)
    if tools:
        text = choose_transcript(said, tools, None).text if ECHO in tools else ()
        return [(name, json.dumps(_arguments(name, schema, said))) for name, schema in tools.items()], list(text)
    shaped = _shaped(body, said)
    return [], list(choose_transcript(said, [], result).text if shaped is None else tokens(json.dumps(shaped)))


def _arguments(name: str, schema: Any, said: str) -> dict[str, Any]:
    if name != ECHO:
        return sample_object(_needed(schema))
    return sample_object(_needed(schema), said) or dict(echo_arguments(said))


def _needed(schema: Any) -> Any:
    """Parameters without the optional ones, if it says which they are: an agent's tools fail at a made-up folder."""
    if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
        return schema
    required = schema.get("required")
    if not isinstance(required, list) or not required:
        return schema
    return {**schema, "properties": {name: part for name, part in schema["properties"].items() if name in required}}


def _chosen_tools(body: dict[str, Any], orders: dict[str, str], result: str | None) -> dict[str, Any]:
    """Name and parameters of the tool to call, of those that the conversation has not called yet: the ordered one, else
    `echo`, else the first. `auto` calls one in answer to a user only, and of `mock-text` none.
    """
    mode, names = _choice(body.get("tool_choice"))
    tools = {name: schema for name, schema in _tools(body.get("tools")).items() if not names or name in names}
    if mode == "none" or (mode == "auto" and (result is not None or body["model"] == "mock-text")):
        return {}
    if "parallel" in orders:
        return tools
    called = _called(body)
    left = [name for name in tools if name not in called] or list(tools)
    name = next((name for name in (orders.get("call"), ECHO, *left) if name in left), None)
    return {} if name is None else {name: tools[name]}


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
    if wanted.get("type") == "json_object":
        schema = _shown_schema(body, ("system", "developer", "user"))
        return {"mock": True, "echo": said} if schema is None else sample_object(schema)
    # Some libraries ask by words alone; an agent's words about its tools are no such thing.
    schema = None if _tools(body.get("tools")) else _shown_schema(body, ("system", "developer"))
    return None if schema is None else sample_object(schema)


def _shown_schema(body: dict[str, Any], roles: tuple[str, ...]) -> dict[str, Any] | None:
    texts = (_text_of(message.get("content")) for message in body["messages"] if message.get("role") in roles)
    return next((schema for schema in map(schema_in_text, texts) if schema is not None), None)


def _said(body: dict[str, Any]) -> str:
    users = [message for message in body["messages"] if message.get("role") == "user"]
    return _text_of(users[-1].get("content")) if users else ""


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)
    return content if isinstance(content, str) else ""
