"""Which models differ from the language that they speak, and how: facts of the vendors, first match wins."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from gateway.dialects.quirks import PLAIN, Quirks

_SAMPLING = frozenset({"temperature", "top_p", "top_k"})
_PENALTIES = frozenset({"presence_penalty", "frequency_penalty"})
_LOW_HIGH_MAX = ("low", "high", "max")
_LARGE = 32_000  # tokens that every Claude from 4 on may answer with

_OPENAI = Quirks(max_tokens_field="max_completion_tokens", developer=True, drops=frozenset({"top_k", "reasoning"}))
_OPENAI_REASONING = Quirks(
    max_tokens_field="max_completion_tokens",
    developer=True,
    drops=_SAMPLING | _PENALTIES,
    efforts=("low", "medium", "high"),
)

# Both ways to Google's models. 2.5 takes a number of tokens, 3 a level; earlier ones do not think.
_GOOGLE: tuple[tuple[str, Quirks], ...] = (
    (r"gemini-(1|2\.0)|gemma-[123]", Quirks(drops=frozenset({"reasoning"}))),
    (r"gemini-2\.5-pro", Quirks(thinking="budget", budget=(128, 32768))),
    (r"gemini-2\.5", Quirks(thinking="budget", budget=(0, 24576))),
    (r"gemini-3-pro", Quirks(efforts=("low", "high"))),
    (r"gemini-.*pro", Quirks(efforts=("low", "medium", "high"))),
)

# Bedrock: what its other models do not know. Ids may begin with a region, or be an ARN that ends with the id.
_PLAIN_BEDROCK = frozenset({"reasoning", "top_k", "strict", "cache_points"})
_HERE = r"(?:.*[./])?"
_BEDROCK: tuple[tuple[str, Quirks], ...] = (
    (r"anthropic\.claude-3-7", Quirks(thinking="budget", default_max_tokens=_LARGE, drops=frozenset({"strict"}))),
    (r"anthropic\.claude-(3|v2|instant)", Quirks(drops=frozenset({"reasoning", "strict", "cache_points"}))),
    (
        r"anthropic\.claude-(opus|sonnet|haiku)-4(-[015]\b|-\d{8}|$)",
        Quirks(thinking="budget", default_max_tokens=_LARGE),
    ),
    (r"anthropic\.claude-(opus|sonnet)-4-6", Quirks(default_max_tokens=_LARGE)),
    (r"anthropic\.", Quirks(drops=_SAMPLING, default_max_tokens=_LARGE)),
    (r"amazon\.nova", Quirks(drops=_PLAIN_BEDROCK - {"cache_points"} | {"tool_cache_points"})),
    (
        r"openai\.gpt-oss",
        Quirks(
            thinking="effort",
            efforts=("low", "medium", "high"),
            drops=_PLAIN_BEDROCK - {"reasoning"},
            required_tools=False,
        ),
    ),
    (r"", Quirks(drops=_PLAIN_BEDROCK)),
)

# Family, pattern at the start of the provider's own model id, quirks.
_TABLE: tuple[tuple[str, str, Quirks], ...] = (
    ("openai", r"o\d|gpt-5", _OPENAI_REASONING),
    ("openai", r"", _OPENAI),
    ("openai-responses", r"o\d", _OPENAI_REASONING),
    ("openai-responses", r"gpt-5|codex", replace(_OPENAI_REASONING, efforts=())),
    ("openai-responses", r"", _OPENAI),
    # Deployments have names of their operator's, who can do no better than to keep the model's in it. Azure's dated
    # versions knew `max_tokens` long before its successor, and its models of other vendors know no other.
    ("azure", r"(.*[^a-z])?(o\d|gpt-5)", _OPENAI_REASONING),
    ("azure", r"", Quirks(drops=frozenset({"top_k", "reasoning"}))),
    ("azure-responses", r"(.*[^a-z])?(o\d|gpt-5|codex)", replace(_OPENAI_REASONING, efforts=())),
    ("azure-responses", r"", _OPENAI),
    ("anthropic", r"claude-3-7", Quirks(thinking="budget", default_max_tokens=_LARGE)),
    ("anthropic", r"claude-3-5", Quirks(drops=frozenset({"reasoning"}), default_max_tokens=8192)),
    ("anthropic", r"claude-(3|2|instant)", Quirks(drops=frozenset({"reasoning"}))),
    ("anthropic", r"claude-(opus|sonnet|haiku)-4(-[015]\b|-\d{8}|$)",
     Quirks(thinking="budget", default_max_tokens=_LARGE)),
    ("anthropic", r"claude-(opus|sonnet)-4-6", Quirks(default_max_tokens=_LARGE)),
    ("anthropic", r"", Quirks(drops=_SAMPLING, default_max_tokens=_LARGE)),
    ("minimax", r"MiniMax-M2", Quirks(drops=frozenset({"reasoning", "top_k"}), default_max_tokens=_LARGE)),
    ("minimax", r"", Quirks(thinking="type", drops=frozenset({"top_k"}), default_max_tokens=_LARGE)),
    *((family, pattern, quirks) for family in ("gemini", "vertex") for pattern, quirks in _GOOGLE),
    *(("bedrock", _HERE + pattern, quirks) for pattern, quirks in _BEDROCK),
    ("deepseek", r"", Quirks(thinking="type", efforts=_LOW_HIGH_MAX, replays_reasoning=True)),
    ("zai", r"glm-5\.3", Quirks(thinking="always", efforts=_LOW_HIGH_MAX, replays_reasoning=True,
                               required_tools=False)),
    ("zai", r"glm-5\.2", Quirks(thinking="type", efforts=_LOW_HIGH_MAX, replays_reasoning=True, required_tools=False)),
    ("zai", r"", Quirks(thinking="type", replays_reasoning=True, required_tools=False)),
    ("kimi", r"kimi-k3", Quirks(thinking="always", efforts=_LOW_HIGH_MAX, drops=_SAMPLING | _PENALTIES,
                                replays_reasoning=True, required_tools=False)),
    ("kimi", r"kimi-k2\.7", Quirks(thinking="always", drops=_SAMPLING | _PENALTIES, replays_reasoning=True,
                                   required_tools=False)),
    ("kimi", r"kimi-", Quirks(thinking="type", drops=_SAMPLING | _PENALTIES, replays_reasoning=True,
                              required_tools=False)),
    ("nvidia", r"", Quirks(thinking="template", text_only=True)),
    ("vllm", r"", Quirks(thinking="template")),
    ("ollama", r"gpt-oss", Quirks(thinking="effort", efforts=("low", "medium", "high"), replays_reasoning=True)),
    ("ollama", r"(qwen3(\.\d+)?|deepseek-r1)(:|$)", Quirks(thinking="type")),
    # Models that cannot think refuse a request that says so, and those that can do so unasked.
    ("ollama", r"", Quirks(drops=frozenset({"reasoning"}))),
)  # fmt: skip
_COMPILED = tuple((family, re.compile(pattern), quirks) for family, pattern, quirks in _TABLE)


@lru_cache(512)  # one for each model of each provider
def quirks_of(family: str, upstream_model: str) -> Quirks:
    """The quirks of a family's model, by the id that its provider knows it by."""
    return next(
        (quirks for name, pattern, quirks in _COMPILED if name == family and pattern.match(upstream_model)), PLAIN
    )
