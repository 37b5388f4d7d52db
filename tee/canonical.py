"""Canonical JSON (RFC 8785) and the digests over it (SPEC §1)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

import rfc8785

from tee.errors import Malformed

MAX_DEPTH = 64  # our documents are at most 8 deep; deeper input is an attack on the parser
MAX_SAFE_INTEGER = 2**53 - 1  # RFC 7493: beyond it a JavaScript verifier would read another number

# Where names are ASCII and numbers are integers this is RFC 8785, and much cheaper: every call has six such texts.
_PLAIN = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, sort_keys=True, separators=(",", ":")
)

Json = Any


def encode_canonical(value: Json) -> bytes:
    """The RFC 8785 bytes of `value`.

    Refuses what canonicalises two ways: floats and integers beyond 2^53-1, member names outside ASCII.
    Raises Malformed.
    """
    _require_unambiguous(value, [])
    try:
        return _PLAIN.encode(value).encode()
    except UnicodeEncodeError:
        raise Malformed("document", "a lone surrogate", "text that UTF-8 can carry") from None


def encode_members(members: dict[str, bytes]) -> bytes:
    """The object of these members, whose values are canonical already. Their names are ours: plain words."""
    return b"{%b}" % b",".join([b'"%b":%b' % (name.encode(), members[name]) for name in sorted(members)])


def encode_items(items: Iterable[bytes]) -> bytes:
    """The array of these items, which are canonical already."""
    return b"[%b]" % b",".join(items)


def canonicalize(value: Json) -> bytes:
    """RFC 8785 as published, floats and all: for foreign documents and the standard's own vectors."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        raise Malformed("document", "no I-JSON value", "an I-JSON value") from None


def digest(value: Json) -> str:
    """`sha256:<64 lowercase hex>` over the canonical form of `value`."""
    return digest_bytes(encode_canonical(value))


def digest_bytes(raw: bytes) -> str:
    """`sha256:<64 lowercase hex>` over bytes exactly as observed."""
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def kind_of(value: object) -> str:
    """What kind of JSON value this is, in the words that every verifier prints."""
    kinds = {bool: "a boolean", int: "an integer", float: "a number with a fraction", str: "text"}
    kinds |= {list: "an array", dict: "an object", type(None): "null"}
    return kinds.get(type(value), "another kind of value")


def shown(value: object) -> str:
    """A value for a message, printable and short: text quoted in ASCII, integers as they are, else its kind."""
    if isinstance(value, str):
        return json.dumps(value)[:200]
    return str(value)[:32] if type(value) is int else kind_of(value)


def step(name: str) -> str:
    """A member's name as a step of a path in a message: as it is if plain and short, else quoted."""
    return name if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name, re.ASCII) else shown(name)


def parse_json(raw: bytes, field: str) -> Json:
    """Parse JSON strictly: UTF-8, no duplicate names, no NaN, at most 64 deep. Raises Malformed."""
    depth = _nesting(raw)
    if depth > MAX_DEPTH:
        raise Malformed(field, f"nesting {depth} deep", f"at most {MAX_DEPTH}")
    try:
        return json.loads(raw.decode(), object_pairs_hook=_unique_members, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise Malformed(field, f"invalid UTF-8 at byte {error.start}", "UTF-8") from None
    except ValueError:  # also a number of more digits than Python reads
        raise Malformed(field, "broken JSON", "one JSON value") from None


def _nesting(raw: bytes) -> int:
    """An upper bound of the nesting depth; brackets inside strings do not count."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in raw:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in (0x5B, 0x7B):
            depth += 1
            deepest = max(deepest, depth)
        elif byte in (0x5D, 0x7D):
            depth -= 1
    return deepest


def _unique_members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member twice")
    return members


def _no_constant(_word: str) -> Json:
    raise ValueError("NaN or Infinity")


def _require_unambiguous(value: Json, trail: list[str | int]) -> None:
    """`trail` leads to `value`: it becomes words only where something is refused."""
    if len(trail) > MAX_DEPTH:
        raise Malformed(_path(trail), f"nesting beyond {MAX_DEPTH}", f"at most {MAX_DEPTH}")
    if value is None or isinstance(value, str | bool):
        return
    if isinstance(value, int):
        if abs(value) > MAX_SAFE_INTEGER:
            raise Malformed(_path(trail), "an integer beyond 2^53-1", "a safe integer or a string")
    elif isinstance(value, dict):
        deepest = len(trail) == MAX_DEPTH
        for name, member in value.items():
            if not isinstance(name, str) or not name.isascii():
                raise Malformed(_path(trail), "a member name outside ASCII", "ASCII member names")
            if type(member) is not str or deepest:  # most members are text, of which nothing else can be wrong
                trail.append(name)
                _require_unambiguous(member, trail)
                trail.pop()
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            trail.append(index)
            _require_unambiguous(member, trail)
            trail.pop()
    elif isinstance(value, float):
        raise Malformed(_path(trail), "a number with a fraction or exponent", "an integer or a string")
    else:
        raise Malformed(_path(trail), kind_of(value), "a JSON value")


def _path(trail: list[str | int]) -> str:
    return "document" + "".join(f"[{at}]" if isinstance(at, int) else f".{step(at)}" for at in trail)
