"""Where in a JSON document something stands, told without a word of its content."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_TOKENS = 200_000
"""Strings, brackets and commas that are read to tell a place; what stands behind them is in the `body`."""
BODY = "body"

# A string without an end is consumed in one match: else each quote in it would begin another way to the end.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)
# A key may be the user's own words, so it is repeated only if it is a word of a protocol.
_WORDS = frozenset(
    b"""
    alt annotations arguments audio cache_control caption chat_template_kwargs citations content context custom data
    description detail document documents encrypted_content enum examples extra_body file file_data file_id file_url
    filename format function functions grammar id image image_url include input input_audio input_schema input_text
    instructions items json_schema logit_bias mcp_servers messages metadata model name options output parameters
    parts prediction prefix previous_response_id prompt prompt_cache_key properties provider reasoning
    reasoning_content refusal response_format result role safety_identifier schema server_url signature source stop
    stop_sequences suffix summary system template text thinking thinking_config title tool_call_id tool_calls
    tool_choice tool_result tool_use_id tools transforms type url user user_id web_search_options headers
    authorization_token authorization custom_tool default definitions
    """.split()
)


@dataclass(slots=True)
class _Level:
    """An object (its key, as it may be told) or a list (its index) that is being read."""

    key: str | None = None
    index: int = 0
    listed: bool = False
    awaits_key: bool = True

    def shown(self) -> str:
        return f"[{self.index}]" if self.listed else f".{self.key or '*'}"


def find_places(body: bytes, offsets: Sequence[int]) -> list[str]:
    """The path of the string in which each of these ascending offsets stands, such as `messages[0].content`."""
    places: list[str] = []
    levels: list[_Level] = []
    for number, token in enumerate(_TOKEN.finditer(body)):
        if len(places) == len(offsets) or number == MAX_TOKENS:
            break
        start, end = token.span()
        is_key = _read(levels, body[start], token[0])
        while len(places) < len(offsets) and offsets[len(places)] < end:
            within = body[start] == ord('"') and offsets[len(places)] > start
            places.append(_path(levels, is_key) if within else BODY)
    return places + [BODY] * (len(offsets) - len(places))


def _read(levels: list[_Level], kind: int, token: bytes) -> bool:
    """Go on by one token. Whether it was a key."""
    top = levels[-1] if levels else None
    if kind in b"{[":
        levels.append(_Level(listed=kind == ord("[")))
    elif top is None:
        return False
    elif kind in b"}]":
        levels.pop()
    elif kind == ord(","):
        top.index, top.awaits_key = top.index + 1, True
    elif not top.listed and top.awaits_key:
        top.key, top.awaits_key = (token[1:-1].decode() if token[1:-1] in _WORDS else None), False
        return True
    return False


def _path(levels: list[_Level], is_key: bool) -> str:
    """Where the reading stands; of a key only that it is one."""
    path = "".join([level.shown() for level in (levels[:-1] if is_key else levels)]) + (".*" if is_key else "")
    return path.removeprefix(".")[:128] or BODY
