"""JSON from outside: strict for what clients send, lenient for what providers send, bounded for both."""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import NoReturn

from gateway.errors import InvalidRequest

MAX_DEPTH = 128
"""Levels of nesting. JSON schemas of real tools stay below 30; parsers in other languages give up near 100 to 1000."""
MAX_CONTAINERS = 100_000
"""Objects and lists in a request. Real ones hold a few thousand; parsed, each takes a hundred times its two bytes.
Answers have no such bound: one with log probabilities holds 40 for each token."""

# The closing quote is optional so that an unterminated string is consumed in one match: otherwise each escaped quote
# in it would start a fresh scan to the end, and the cost would be quadratic.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(b for b in range(256) if b not in b"[]{}")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
# A key may be the user's own words (a tool schema), so an error repeats it only if it is a word of the protocol.
_PROTOCOL_KEYS = frozenset(
    {"model", "messages", "role", "content", "tools", "tool_calls", "tool_choice", "function", "arguments", "type",
     "max_tokens", "max_completion_tokens", "temperature", "top_p", "n", "stop", "stream", "stream_options",
     "include_usage", "reasoning_effort", "response_format", "sf_policy", "sf_provider", "input", "system", "prompt"}
)  # fmt: skip


def parse_json_object(body: bytes) -> dict[str, object]:
    """Parse one JSON object, and refuse every text that two parsers could read in two ways.

    Raises: InvalidRequest for duplicate keys (the provider could read the other one), NaN and infinities, invalid
    UTF-8, unpaired surrogates, nesting deeper than `MAX_DEPTH`, and anything that is not an object.
    """
    text = _decode(body)
    if excess := _excess(body, MAX_CONTAINERS):
        raise InvalidRequest.at("body", *excess)
    try:
        value = _STRICT.decode(text)
    except json.JSONDecodeError as error:
        raise InvalidRequest.at("body", f"a JSON syntax error at character {error.pos}", "a JSON object") from None
    except (ValueError, RecursionError):
        # The interpreter's own bound on integers (4300 digits).
        raise InvalidRequest.at("body", "a number with too many digits", "numbers of ordinary size") from None
    if not isinstance(value, dict):
        raise InvalidRequest.at("body", kind_of(value), "a JSON object")
    if _SURROGATE_ESCAPE.search(body) and not _is_unicode(value):
        raise InvalidRequest.at("body", "an unpaired surrogate escape", "text that UTF-8 can carry")
    return value


def read_json_object(text: str | bytes) -> dict[str, object] | None:
    """The JSON object that a provider sent, or None if it is not one. The last of duplicate keys counts."""
    try:
        raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        if _excess(raw, len(raw)):
            return None
        value = json.loads(text if isinstance(text, str) else text.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def encode_json(value: object) -> bytes:
    """Compact JSON in UTF-8; in ASCII with escapes where a provider split a character between two deltas."""
    try:
        return _COMPACT.encode(value).encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def kind_of(value: object) -> str:
    """Name the JSON kind of a value, for errors that must not repeat the value itself."""
    if value is None:
        return "null"
    # A boolean is an int in Python, so it is asked for first.
    for kind, name in ((bool, "a boolean"), (int | float, "a number"), (str, "a string"), (list, "a list")):
        if isinstance(value, kind):
            return name
    return "an object"


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest.at("body", f"a byte that is not UTF-8 at offset {error.start}", "UTF-8") from None


def _excess(body: bytes, max_containers: int) -> tuple[str, str] | None:
    """Which bound on nesting is passed, as found and wanted; measured in linear time and without recursion.

    A closing bracket too many is left to the parser.
    """
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return None
    brackets = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    if brackets.count(b"[") + brackets.count(b"{") > max_containers:
        return f"more than {max_containers} objects and lists", f"at most {max_containers}"
    if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > MAX_DEPTH:
        return f"nesting deeper than {MAX_DEPTH} levels", f"at most {MAX_DEPTH} levels"
    return None


def _unique_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InvalidRequest.at(
            twice if twice in _PROTOCOL_KEYS else "body", "the same key twice in one object", "each key once"
        )
    return value


def _refuse_constant(_name: str) -> NoReturn:
    raise InvalidRequest.at("body", "NaN or Infinity", "finite numbers")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        _refuse_constant(digits)
    return value


# Made once: making them costs as much as a small document does.
_STRICT = json.JSONDecoder(object_pairs_hook=_unique_object, parse_constant=_refuse_constant, parse_float=_finite_float)
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _is_unicode(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
