"""The `llm` command: `chat` by its own OpenAI models, `messages` by the plugin llm-anthropic."""

import json
import os
import sys
from pathlib import Path

from features import ANSWER, BASE, KEY, SUNNY, command, run, same, within

FUNCTION = f"def weather(city: str) -> str:\n    'The weather of a city.'\n    return '{SUNNY} in ' + city"
SCHEMA = "city, days int"

home = Path(os.environ["LLM_USER_PATH"])
home.mkdir(exist_ok=True)
if sys.argv[1] == "chat":
    MODEL, TEXT = "gateway", "gateway-text"
    able = {"supports_tools": True, "supports_schema": True, "api_base": f"{BASE}/v1", "api_key_name": "gateway"}
    rows = [{"model_id": MODEL, "model_name": "mock-1", **able}, {"model_id": TEXT, "model_name": "mock-text", **able}]
    (home / "extra-openai-models.yaml").write_text(json.dumps(rows))  # which is YAML too
    (home / "keys.json").write_text(json.dumps({"gateway": KEY}))
else:
    # The plugin knows Anthropic's names only: an operator gives one of them to a model of his.
    MODEL = TEXT = "claude-sonnet-4.5"
    os.environ.update(ANTHROPIC_BASE_URL=BASE, ANTHROPIC_API_KEY=KEY)


def answer():
    return same(command("llm", "-m", TEXT, "--no-stream", "hello").strip(), ANSWER)


def stream():
    return same(command("llm", "-m", TEXT, "hello").strip(), ANSWER)


def tools():
    return within(f"{SUNNY} in mock", command("llm", "-m", MODEL, "--functions", FUNCTION, "hello"))


def structured():
    return same(json.loads(command("llm", "-m", MODEL, "--schema", SCHEMA, "hello")), {"city": "mock", "days": 1})


run(answer=answer, stream=stream, tools=tools, structured=structured)
