"""The clients that are run: exact versions, what they speak, and what each has to be told."""

from __future__ import annotations

from dataclasses import dataclass

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
SURFACES = {"chat": CHAT, "responses": RESPONSES, "messages": MESSAGES}


@dataclass(frozen=True, slots=True)
class Environment:
    """A throw-away folder with one client's packages: of Python's index, or of npm's."""

    name: str
    npm: bool
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Client:
    """One program, and the surfaces on which it is run. `packages` are the ones that the table shows."""

    title: str
    environment: Environment
    program: str
    surfaces: tuple[str, ...]
    packages: tuple[str, ...]
    note: str = ""


_SDKS = Environment("sdks-python", False, ("openai==3.54.0", "anthropic==2.12.0"))
_LANGCHAIN = Environment(
    "langchain",
    False,
    ("langchain-openai==1.7.3", "langchain-anthropic==1.7.7", "langchain-core==1.7.2", "openai==3.54.0"),
)
_PYDANTIC = Environment(
    "pydantic-ai", False, ("pydantic-ai-slim[openai,anthropic]==2.68.0", "openai==3.54.0", "anthropic==2.12.0")
)
_INSTRUCTOR = Environment("instructor", False, ("instructor[anthropic]==1.17.0", "openai==3.3.0", "anthropic==0.93.0"))
_LLM = Environment("llm", False, ("llm==0.36", "llm-anthropic==0.30", "openai==3.54.0", "anthropic==1.17.0"))
_NODE = "node@22.23.3"  # of npm's own: what these packages ask for, whatever the machine has
_SDKS_JS = Environment("sdks-javascript", True, (_NODE, "openai@7.55.0", "@anthropic-ai/sdk@1.12.0", "zod@4.6.7"))
_VERCEL = Environment(
    "vercel", True, (_NODE, "ai@7.0.173", "@ai-sdk/openai@4.0.118", "@ai-sdk/anthropic@4.0.105", "zod@4.6.7")
)
_CODEX = Environment("codex", True, ("@openai/codex@0.169.0",))
_CLAUDE = Environment("claude-code", True, (_NODE, "@anthropic-ai/claude-code@2.1.328"))

CLIENTS = (
    Client("OpenAI SDK (Python)", _SDKS, "openai_sdk.py", ("chat", "responses"), ("openai",)),
    Client("OpenAI SDK (JavaScript)", _SDKS_JS, "openai_sdk.mjs", ("chat", "responses"), ("openai",)),
    Client("Anthropic SDK (Python)", _SDKS, "anthropic_sdk.py", ("messages",), ("anthropic",)),
    Client("Anthropic SDK (JavaScript)", _SDKS_JS, "anthropic_sdk.mjs", ("messages",), ("@anthropic-ai/sdk",)),
    Client(
        "LangChain",
        _LANGCHAIN,
        "langchain_client.py",
        ("chat", "responses", "messages"),
        ("langchain-openai", "langchain-anthropic"),
        "`stream_usage=True` if a stream is to tell its usage: at an address of one's own it does not ask for it.",
    ),
    Client(
        "pydantic-ai",
        _PYDANTIC,
        "pydantic_ai_agent.py",
        ("chat", "responses", "messages"),
        ("pydantic-ai-slim",),
        "It goes by a model's name what Claude can do: a model of another name needs a `ModelProfile` with "
        "`supports_json_schema_output=True` for its native structured output.",
    ),
    Client("instructor", _INSTRUCTOR, "instructor_client.py", ("chat", "messages"), ("instructor",)),
    Client(
        "Vercel AI SDK",
        _VERCEL,
        "vercel.mjs",
        ("chat", "responses", "messages"),
        ("ai", "@ai-sdk/openai", "@ai-sdk/anthropic"),
        "`baseURL` ends in `/v1` for Anthropic's language too.",
    ),
    Client(
        "llm",
        _LLM,
        "llm_cli.py",
        ("chat", "messages"),
        ("llm", "llm-anthropic"),
        "Models of its own are rows of `extra-openai-models.yaml` with `api_base`, `supports_tools` and "
        "`supports_schema`. The plugin knows Anthropic's names only, and reads `ANTHROPIC_BASE_URL`: give a model such "
        "a name.",
    ),
    Client(
        "Codex CLI",
        _CODEX,
        "codex_cli.py",
        ("responses",),
        ("@openai/codex",),
        'A provider in `config.toml` with `wire_api = "responses"`; `check_for_update_on_startup = false` and '
        "`analytics.enabled = false` keep it from calling elsewhere.",
    ),
    Client(
        "Claude Code",
        _CLAUDE,
        "claude_code.py",
        ("messages",),
        ("@anthropic-ai/claude-code",),
        "`ANTHROPIC_BASE_URL` and `ANTHROPIC_AUTH_TOKEN`, and `ANTHROPIC_DEFAULT_HAIKU_MODEL` for its small errands; "
        "`CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1` keeps it from calling elsewhere.",
    ),
)
