"""Claude Code, without a terminal: it always streams from /v1/messages."""

import json
import os
from pathlib import Path

from features import BASE, KEY, command, events, run, same, within

os.environ.update(
    ANTHROPIC_BASE_URL=BASE,
    ANTHROPIC_AUTH_TOKEN=KEY,
    ANTHROPIC_DEFAULT_HAIKU_MODEL="mock-text",  # for its small errands
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",  # no statistics, no error reports, no look for a newer version
)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def ask(*words):
    """What happened, in order."""
    return events(command("claude", "-p", "--output-format", "stream-json", "--verbose", *words))


def blocks(told, kind):
    messages = [event["message"]["content"] for event in told if event["type"] in ("assistant", "user")]
    return [block for content in messages for block in content if isinstance(block, dict) and block["type"] == kind]


def stream():
    told = ask("--model", "mock-text", "hello")
    same(told[-1]["subtype"], "success")
    return within("hello", within("This is a mock answer. You said:", told[-1]["result"]))


def tools():
    Path("mock").write_text("a file that a mock would look for\n")
    told = ask("--model", "mock-1", "--tools", "Glob", "--allowedTools", "Glob", "--", "mock:call=Glob")
    (call,), (result,) = blocks(told, "tool_use"), blocks(told, "tool_result")
    same((call["name"], call["input"]), ("Glob", {"pattern": "mock"}))
    same(bool(result.get("is_error")), False)
    return within("mock", within("The tool said:", told[-1]["result"]))


def structured():
    told = ask("--model", "mock-1", "--tools", "", "--json-schema", json.dumps(SCHEMA), "--", "hello")
    return same(told[-1]["structured_output"], {"city": "mock"})


run(stream=stream, tools=tools, structured=structured)
