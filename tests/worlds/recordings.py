"""The recorded answers of real providers, each with the language it is in and the provider here that speaks it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.conftest import find_vectors

# What no surface of ours asks for, or asks elsewhere: by a part of the name, and where it is tested.
NOT_ANSWERS = {
    "batch-with-anthropic": "a line of a batch",
    "count-tokens-with": "a count of tokens",
    "usage-limit-exceeded": "a count of tokens",
    "json-only-text-first-1.response.chunks.jsonl": "payloads without their frames: test_bedrock.py",
    "embedding": "vectors: test_embeddings.py",
    "mantle-signed-requests": "a list of models",
    "bedrock-invoke/": "Claude by Bedrock's other path, which no connector takes",
}
_STREAMS = {".sse": "text/event-stream", ".ndjson": "application/x-ndjson",
            ".bin": "application/vnd.amazon.eventstream"}  # fmt: skip
_MARKS = (  # of a stream's language
    (b'"choices"', "openai_chat"),
    (b'"response.', "openai_responses"),
    (b"message_start", "anthropic_messages"),
    (b'"candidates"', "gemini"),
    (b'"done"', "ollama"),
)
# Where a folder holds answers in another language than its family's: who else speaks that.
_SPEAKERS = {"openai_chat": "vllm", "openai_responses": "openai-responses"}
_OWN = {"anthropic": "anthropic_messages", "minimax": "anthropic_messages", "gemini": "gemini", "vertex": "gemini",
        "bedrock": "bedrock_converse", "ollama": "ollama", "openai-responses": "openai_responses",
        **dict.fromkeys(("azure", "deepseek", "kimi", "nvidia", "vllm", "zai"), "openai_chat")}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recorded:
    """One answer. `language` is its dialect, empty for a refusal; `family` names the provider of `every_family`."""

    path: Path
    status: int
    content_type: str
    language: str
    family: str

    @property
    def streamed(self) -> bool:
        """Whether it is a stream."""
        return self.content_type in _STREAMS.values()

    @property
    def raw(self) -> bytes:
        """Its bytes."""
        return self.path.read_bytes()

    def __str__(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"


@cache
def recorded_answers() -> tuple[tuple[Recorded, ...], tuple[str, ...]]:
    """All recordings of answers and refusals; and the names of those that are neither."""
    folder = find_vectors() / "dialects"
    rows = map(json.loads, (folder / "index.jsonl").read_text().splitlines())
    indexed = {row["response"]: row for row in rows if row.get("response")}
    found, others = [], []
    for path in sorted(folder.glob("*/*.response.*")):
        name = f"{path.parent.name}/{path.name}"
        if any(part in name for part in NOT_ANSWERS):
            others.append(name)
        else:
            row = indexed.get(name, {})
            found.append(_read(path, row.get("status") or 200, row.get("content_type") or "application/json"))
    return tuple(found), tuple(others)


def recorded_requests() -> list[tuple[Path, Any]]:
    """All recordings of what clients of the three languages with a surface of ours sent."""
    folder, found = find_vectors() / "dialects", []
    for path in sorted(folder.glob("*/*.request.json")):
        sent = json.loads(path.read_bytes())
        name = f"{path.parent.name}/{path.name}"
        if isinstance(sent, dict) and "model" in sent and not any(part in name for part in NOT_ANSWERS):
            found.append((path, sent))
    return found


def _read(path: Path, status: int, content_type: str) -> Recorded:
    vendor, raw = path.parent.name, path.read_bytes()
    stream = _STREAMS.get(path.suffix)
    if stream == "application/vnd.amazon.eventstream":
        language = "bedrock_converse"
    elif stream:
        language = next(name for mark, name in _MARKS if mark in raw)
    else:
        language = _language(json.loads(raw)) if status == 200 else ""
    family = vendor if language in ("", _OWN.get(vendor)) else _SPEAKERS.get(language, "anthropic")
    family = {"openai-chat": "openai", "bedrock-openai": "vllm"}.get(family, family)
    if (vendor, language) == ("azure", "openai_responses"):
        family = "azure-responses"
    return Recorded(path, status, stream or content_type, language, family)


def _language(answer: Any) -> str:
    members = {
        "choices": "openai_chat", "candidates": "gemini", "promptFeedback": "gemini", "done": "ollama",
        "stop_reason": "anthropic_messages",
    }  # fmt: skip
    if isinstance(answer.get("output"), dict):
        return "bedrock_converse"
    return "openai_responses" if "output" in answer else next(members[name] for name in members if name in answer)
