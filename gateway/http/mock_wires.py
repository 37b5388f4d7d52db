"""How the mock provider is asked and answers beside chat: responses, text completions, embeddings."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gateway.transcripts import fragments

MOST_DIMENSIONS = 4096
_DIMENSIONS = 8


@dataclass(frozen=True, slots=True)
class Reply:
    """What the mock will say: reasoning and text as tokens, and the calls of tools, each its name and its arguments."""

    reasoning: list[str]
    text: list[str]
    calls: list[tuple[str, str]]
    finish_reason: str
    prompt_tokens: int

    def usage(self) -> dict[str, Any]:
        """OpenAI's usage object; a token is a word."""
        tool_tokens = sum(len(fragments(arguments)) for _, arguments in self.calls)
        completion = len(self.text) + len(self.reasoning) + tool_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": len(self.reasoning), "audio_tokens": 0},
        }


@dataclass(frozen=True, slots=True)
class Wire:
    """One path: its request as one of chat, and the Reply in its own words; `head` has id, created and model."""

    as_chat: Callable[[dict[str, Any]], dict[str, Any]]
    whole: Callable[[Reply, dict[str, Any]], dict[str, Any]]
    frames: Callable[[Reply, dict[str, Any], bool], Iterator[bytes]]


def call_id(head: dict[str, Any], at: int) -> str:
    """The id of a call: one answer's calls differ, and an equal question gets equal ones."""
    return f"call_{str(head['id'])[-24:]}{at or ''}"


def frame(value: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def embeddings(body: dict[str, Any]) -> dict[str, Any] | None:
    """A unit vector for each input, made of its digest; None for what is no input."""
    value = body.get("input")
    alone = isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, int) for one in value))
    inputs: Any = [value] if alone else value
    if not value or not isinstance(inputs, list) or not all(isinstance(one, str | list) for one in inputs):
        return None
    size = body.get("dimensions")
    size = int(min(size, MOST_DIMENSIONS)) if isinstance(size, int | float) and size >= 1 else _DIMENSIONS
    rows = []
    for at, one in enumerate(inputs):
        vector: Any = _vector(one, size)
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
        rows.append({"object": "embedding", "index": at, "embedding": vector})
    words = sum(len(one.split() if isinstance(one, str) else one) for one in inputs)
    usage = {"prompt_tokens": words, "total_tokens": words}
    return {"object": "list", "data": rows, "model": body["model"], "usage": usage}


def _vector(value: Any, size: int) -> list[float]:
    seed = json.dumps(value).encode()
    raw = b"".join(hashlib.sha256(seed + at.to_bytes(4)).digest()[:2] for at in range(size))
    numbers = [number / 32768 - 1 for number in struct.unpack(f"<{size}H", raw)]
    length = math.hypot(*numbers) or 1.0
    return [number / length for number in numbers]


def _prompt_as_chat(body: dict[str, Any]) -> dict[str, Any]:
    prompt = body.get("prompt")
    said = prompt if isinstance(prompt, str) else json.dumps(prompt)
    return {**body, "messages": [{"role": "user", "content": said}]}


def _text_whole(reply: Reply, head: dict[str, Any]) -> dict[str, Any]:
    choice = {"text": "".join(reply.text), "index": 0, "logprobs": None, "finish_reason": reply.finish_reason}
    return {**_renamed(head, "cmpl-"), "object": "text_completion", "choices": [choice], "usage": reply.usage()}


def _text_frames(reply: Reply, head: dict[str, Any], with_usage: bool) -> Iterator[bytes]:
    chunk = {**_renamed(head, "cmpl-"), "object": "text_completion", **({"usage": None} if with_usage else {})}
    for text, reason in [*((token, None) for token in reply.text), ("", reply.finish_reason)]:
        choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}
        yield frame({**chunk, "choices": [choice]})
    if with_usage:
        yield frame({**chunk, "choices": [], "usage": reply.usage()})
    yield b"data: [DONE]\n\n"


def _responses_as_chat(body: dict[str, Any]) -> dict[str, Any]:
    """Items of no interest to the mock are left out."""
    said = body.get("input")
    items = [{"role": "user", "content": said}] if isinstance(said, str) else said if isinstance(said, list) else []
    messages = [{"role": "system", "content": body["instructions"]}] if body.get("instructions") else []
    for item in (item for item in items if isinstance(item, dict)):
        if "role" in item:
            messages.append({"role": item["role"], "content": item.get("content")})
        elif item.get("type") == "function_call":
            messages.append({"role": "assistant", "tool_calls": [{"function": item}]})
        elif str(item.get("type")).endswith("_output"):
            messages.append({"role": "tool", "content": item.get("output")})
    chat = {**body, "messages": messages, "max_tokens": body.get("max_output_tokens")}
    tools = body.get("tools")
    if isinstance(tools, list):
        chat["tools"] = [tool for tool in tools if isinstance(tool, dict) and tool.get("type") == "function"]
    if isinstance(body.get("tool_choice"), dict):
        chat["tool_choice"] = {"function": body["tool_choice"], **body["tool_choice"]}
    text, reasoning = body.get("text"), body.get("reasoning")
    if isinstance(text, dict) and isinstance(text.get("format"), dict):
        chat["response_format"] = {**text["format"], "json_schema": text["format"]}
    if isinstance(reasoning, dict):
        chat["reasoning_effort"] = reasoning.get("effort")
    return chat


def _response_whole(reply: Reply, head: dict[str, Any]) -> dict[str, Any]:
    cut = reply.finish_reason == "length"
    usage = reply.usage()
    return {
        **_response_head(head),
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": _items(reply, head),
        "usage": {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": len(reply.reasoning)},
            "total_tokens": usage["total_tokens"],
        },
    }


def _response_frames(reply: Reply, head: dict[str, Any], _with_usage: bool) -> Iterator[bytes]:
    begun = {**_response_head(head), "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
    whole = _response_whole(reply, head)
    events: list[dict[str, Any]] = [{"type": f"response.{name}", "response": begun} for name in
                                    ("created", "in_progress")]  # fmt: skip
    for at, item in enumerate(whole["output"]):
        events += _item_events(at, item, reply)
    events.append({"type": f"response.{whole['status']}", "response": whole})
    for number, event in enumerate(events):
        yield b"event: " + event["type"].encode() + b"\n" + frame({**event, "sequence_number": number})


def _response_head(head: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": _renamed(head, "resp_")["id"],
        "object": "response",
        "created_at": head["created"],
        "model": head["model"],
        "error": None,
        "instructions": None,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "metadata": {},
        "store": False,
        "temperature": 1.0,
        "top_p": 1.0,
    }


def _items(reply: Reply, head: dict[str, Any]) -> list[dict[str, Any]]:
    token, items = str(head["id"])[-24:], []
    if reply.reasoning:
        summary = [{"type": "summary_text", "text": "".join(reply.reasoning)}]
        items.append({"id": f"rs_{token}", "type": "reasoning", "summary": summary})
    if reply.text or not reply.calls:
        part = {"type": "output_text", "text": "".join(reply.text), "annotations": [], "logprobs": []}
        said = {"id": f"msg_{token}", "type": "message", "status": "completed", "role": "assistant", "content": [part]}
        items.append(said)
    for at, (name, arguments) in enumerate(reply.calls):
        call = {"id": f"fc_{token}{at or ''}", "type": "function_call", "status": "completed"}
        items.append({**call, "call_id": call_id(head, at), "name": name, "arguments": arguments})
    return items


def _item_events(at: int, item: dict[str, Any], reply: Reply) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": at}
    if item["type"] == "message":
        begun, names, pieces = (
            {**item, "content": [], "status": "in_progress"},
            ("content_part", "output_text"),
            reply.text,
        )
        place_in: dict[str, Any] = {**place, "content_index": 0, "logprobs": []}
        part = item["content"][0]
    elif item["type"] == "reasoning":
        begun, names = {**item, "summary": []}, ("reasoning_summary_part", "reasoning_summary_text")
        place_in, part, pieces = {**place, "summary_index": 0}, item["summary"][0], reply.reasoning
    else:
        yield {"type": "response.output_item.added", "output_index": at, "item": {**item, "arguments": ""}}
        for fragment in fragments(item["arguments"]):
            yield {"type": "response.function_call_arguments.delta", **place, "delta": fragment}
        members = {"name": item["name"], "arguments": item["arguments"]}
        yield {"type": "response.function_call_arguments.done", **place, **members}
        yield {"type": "response.output_item.done", "output_index": at, "item": item}
        return
    yield {"type": "response.output_item.added", "output_index": at, "item": begun}
    yield {"type": f"response.{names[0]}.added", **place_in, "part": {**part, "text": ""}}
    for token in pieces:
        yield {"type": f"response.{names[1]}.delta", **place_in, "delta": token}
    yield {"type": f"response.{names[1]}.done", **place_in, "text": part["text"]}
    yield {"type": f"response.{names[0]}.done", **place_in, "part": part}
    yield {"type": "response.output_item.done", "output_index": at, "item": item}


def _renamed(head: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {**head, "id": prefix + str(head["id"]).removeprefix("chatcmpl-")}


COMPLETIONS = Wire(_prompt_as_chat, _text_whole, _text_frames)
RESPONSES = Wire(_responses_as_chat, _response_whole, _response_frames)
