"""Codex CLI, without a terminal: it always streams from /v1/responses."""

import json
import os
from pathlib import Path

from features import ANSWER, BASE, command, events, run, same, within

# No request but the model's: no statistics, and no look for a newer version.
CONFIG = f"""
model = "mock-text"
model_provider = "gateway"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.gateway]
name = "SafeRouter"
base_url = "{BASE}/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"
"""
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
          "additionalProperties": False}  # fmt: skip

home = Path(os.environ["CODEX_HOME"])
home.mkdir(exist_ok=True)
(home / "config.toml").write_text(CONFIG)
schema = home / "schema.json"
schema.write_text(json.dumps(SCHEMA))


def ask(*words):
    """What happened, in order."""
    told = events(command("codex", "exec", "--json", "--skip-git-repo-check", *words))
    return [event["item"] for event in told if event["type"] == "item.completed"]


def said(items):
    return [item["text"] for item in items if item["type"] == "agent_message"][-1]


def stream():
    return same(said(ask("hello")), ANSWER)


def tools():
    items = ask("-m", "mock-1", "mock:call=exec_command")
    (ran,) = [item for item in items if item["type"] == "command_execution"]
    return f"ran `{within('mock', ran['command'])}`; {within('The tool said', said(items))}"


def structured():
    return same(said(ask("--output-schema", str(schema), "hello")), '{"city": "mock"}')


run(stream=stream, tools=tools, structured=structured)
