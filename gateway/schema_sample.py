"""A value for a JSON Schema: always the same one, as plain as the schema allows.

Known are types, `enum`, `const`, `$ref` within the schema, `allOf`, `anyOf`, `oneOf` (the first branch that has a
value), bounds, formats and the common patterns. `not`, `if` and references to elsewhere are not heeded: what a sampler
cannot honour it passes over, and the value is then merely a plausible one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from gateway.pattern_sample import sample_pattern
from gateway.schema_merge import merge

MAX_STEPS = 5000  # values that are tried for one schema: a hostile one could ask for as many as it likes
MAX_DEPTH = 48  # levels, some Python calls each
MAX_LENGTH = 4096  # characters of one string, and items of one array
_MOST = 10**15  # beyond it floats skip integers
_LEAST_STEP = Decimal("1e-9")
_FORMATS = {
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "date-time": "2026-01-01T00:00:00Z",
    "duration": "P1D",
    "email": "mock@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uri-reference": "/mock",
    "url": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "json-pointer": "/mock",
    "regex": "mock",
    "byte": "bW9jaw==",
    "decimal": "1.5",
}
_HINTS = (  # what a schema without a type speaks of
    ("object", ("properties", "required", "additionalProperties", "minProperties", "patternProperties")),
    ("array", ("items", "prefixItems", "minItems", "maxItems", "contains")),
    ("string", ("minLength", "maxLength", "pattern", "format")),
    ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
)


class _Impossible(Exception):
    """No value of this schema is within reach."""


def sample(schema: Any, word: str = "mock") -> Any:
    """A value of `schema`, whose free texts say `word`; `{}` for a schema that has no value, or is none."""
    try:
        return _Sampler(schema, word).value(schema, 0)
    except (_Impossible, RecursionError):
        return {}


def sample_object(schema: Any, word: str = "mock") -> dict[str, Any]:
    """As `sample`, for what must be an object: the arguments of a tool."""
    typed = {"type": "object", **schema} if isinstance(schema, dict) else {}
    value = sample(typed, word)
    return value if isinstance(value, dict) else {}


class _Sampler:
    """One schema's samples. `_open` are the references that are being followed: a second time they lead nowhere."""

    def __init__(self, root: Any, word: str) -> None:
        self._root, self._word = root, word
        self._open: list[str] = []
        self._steps = 0
        self._nth = 0  # which of several values that must differ

    def value(self, schema: Any, depth: int) -> Any:
        self._steps += 1
        if schema is False or depth > MAX_DEPTH or self._steps > MAX_STEPS:
            raise _Impossible
        if not isinstance(schema, dict):
            return self._plain({}, "string", depth)
        if isinstance(schema.get("$ref"), str):
            return self._referred(schema, depth)
        if _objects(schema.get("allOf")):
            return self._joined(schema, depth)
        for name in ("anyOf", "oneOf"):
            if isinstance(schema.get(name), list) and schema[name]:
                return self._branched(schema, name, depth)
        return self._single(schema, depth)

    def _referred(self, schema: dict[str, Any], depth: int) -> Any:
        place = schema["$ref"]
        if place in self._open:
            raise _Impossible
        beside = {name: part for name, part in schema.items() if name != "$ref"}
        target = self._target(place)
        self._open.append(place)
        try:
            return self.value(merge(beside, target) if isinstance(target, dict) else target, depth + 1)
        finally:
            self._open.pop()

    def _joined(self, schema: dict[str, Any], depth: int) -> Any:
        """All of `allOf` as one schema, without the references of its parts, which it follows once each."""
        whole = {name: part for name, part in schema.items() if name != "allOf"}
        parts, followed = _objects(schema["allOf"]), []
        while parts:
            self._steps += 1
            part = parts.pop(0)
            place = part.get("$ref")
            if self._steps > MAX_STEPS or place in self._open:
                raise _Impossible
            if isinstance(place, str):
                parts.insert(0, {name: value for name, value in part.items() if name != "$ref"})
                if place not in followed:
                    followed.append(place)
                    parts[:0] = _objects([self._target(place)])
            else:
                parts[:0] = _objects(part.get("allOf"))
                whole = merge(whole, {name: value for name, value in part.items() if name != "allOf"})
        self._open += followed
        try:
            return self.value(whole, depth + 1)
        finally:
            del self._open[len(self._open) - len(followed) :]

    def _target(self, place: str) -> Any:
        """What a JSON pointer names within the schema; what is elsewhere may be anything."""
        found = self._root
        if not place.startswith("#"):
            return {}
        for name in place[1:].split("/")[1:]:
            name = name.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and name.isascii() and name.isdigit() and int(name) < len(found):
                found = found[int(name)]
            else:
                found = found.get(name, {}) if isinstance(found, dict) else {}
        return found

    def _branched(self, schema: dict[str, Any], name: str, depth: int) -> Any:
        base = {key: part for key, part in schema.items() if key != name}
        for branch in schema[name]:
            try:
                whole = {**base, "allOf": [branch]} if isinstance(branch, dict) else branch
                return self.value(whole, depth + 1)
            except _Impossible:
                continue
        raise _Impossible

    def _single(self, schema: dict[str, Any], depth: int) -> Any:
        if "const" in schema:
            return schema["const"]
        choices = schema.get("enum")
        if isinstance(choices, list):
            if not choices:
                raise _Impossible
            return choices[self._nth % len(choices)]
        kinds = schema.get("type")
        kinds = [kind for kind in kinds if isinstance(kind, str)] if isinstance(kinds, list) else kinds
        if isinstance(kinds, list):
            if not kinds:
                raise _Impossible
            kinds = next((kind for kind in kinds if kind != "null"), "null")
        if not isinstance(kinds, str):
            kinds = next((kind for kind, hints in _HINTS if any(hint in schema for hint in hints)), "string")
        return self._plain(schema, kinds, depth)

    def _plain(self, schema: dict[str, Any], kind: str, depth: int) -> Any:
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer" | "number":
                return _number(schema, kind, self._nth)
            case "boolean":
                return self._nth % 2 == 0
            case "null":
                return None
            case _:
                return self._string(schema)

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        required = schema.get("required")
        required = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
        more = schema.get("additionalProperties", True)
        most, least = _count(schema, "maxProperties", MAX_LENGTH), _count(schema, "minProperties", 0)
        room = most - len(set(required))
        value: dict[str, Any] = {}
        for name in dict.fromkeys((*properties, *required)):
            if name not in required:
                room -= 1
                if room < 0:
                    continue
            try:
                value[name] = self.value(properties.get(name, more), depth + 1)
            except _Impossible:
                if name in required:
                    raise
        for number in range(least - len(value)):
            value[f"{self._word}{number}"] = self.value(more, depth + 1)
        return value

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        least, most = _count(schema, "minItems", 0), _count(schema, "maxItems", MAX_LENGTH)
        items, first = schema.get("items", {}), schema.get("prefixItems", [])
        if isinstance(items, list):  # how tuples were written before 2020-12
            items, first = schema.get("additionalItems", {}), items
        first = first if isinstance(first, list) else []
        if isinstance(schema.get("contains"), dict) and not first:
            first = [{"allOf": [part for part in (items, schema["contains"]) if isinstance(part, dict)]}]
        usual, value, before = 1 if not first and items is not False else 0, [], self._nth
        for at in range(min(most, max(least, len(first), usual))):
            self._nth = before + at if schema.get("uniqueItems") is True else before
            try:
                value.append(self.value(first[at] if at < len(first) else items, depth + 1))
            except _Impossible:
                if at < least:
                    raise
                break
            finally:
                self._nth = before
        return value

    def _string(self, schema: dict[str, Any]) -> str:
        least, most = _count(schema, "minLength", 0), _count(schema, "maxLength", MAX_LENGTH)
        pattern, form = schema.get("pattern"), schema.get("format")
        drawn = sample_pattern(pattern, least, most) if isinstance(pattern, str) else None
        if drawn is not None:
            return drawn
        if isinstance(form, str) and form in _FORMATS:
            return _FORMATS[form]
        return f"{self._nth or ''}{self._word}"[:most].ljust(least, "x")


def schema_in_text(text: str) -> dict[str, Any] | None:
    """The schema that a prompt shows, as libraries do that ask for JSON without naming a schema; None without one."""
    decoder = json.JSONDecoder()
    for start in _braces(text):
        try:
            found, _end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and isinstance(found.get("properties"), dict):
            return found
    return None


def _braces(text: str, most: int = 64) -> Iterator[int]:
    """Where the first objects of a text could begin: each is a try, and a text may be all braces."""
    at = text.find("{")
    while at >= 0 and most > 0:
        yield at
        at, most = text.find("{", at + 1), most - 1


def _number(schema: dict[str, Any], kind: str, nth: int) -> int | float:
    """The plainest number within the bounds; `nth` further ones follow it where there is room."""
    step = _step(schema, kind)
    low, high = _decimal(schema, "minimum"), _decimal(schema, "maximum")
    above, below = _decimal(schema, "exclusiveMinimum"), _decimal(schema, "exclusiveMaximum")

    def fits(value: Decimal) -> bool:
        return (
            (low is None or value >= low)
            and (high is None or value <= high)
            and (above is None or value > above)
            and (below is None or value < below)
            and (step is None or value % step == 0)
        )

    fine = step or Decimal(1)
    tries = [1 + nth * fine, fine * (nth + 1), Decimal(nth)]
    floors = [bound for bound in (low, above) if bound is not None]
    roofs = [bound for bound in (high, below) if bound is not None]
    if floors:
        first = math.ceil(max(floors) / fine) * fine
        tries += [first + nth * fine, first + (nth + 1) * fine, max(floors) + nth]
    if roofs:
        last = math.floor(min(roofs) / fine) * fine
        tries += [last - nth * fine, last - (nth + 1) * fine, min(roofs) - nth]
    if floors and roofs:
        tries.append((max(floors) + min(roofs)) / 2)
    found = next((value for value in tries if fits(value)), Decimal(1))
    return int(found) if found % 1 == 0 else float(found)


def _step(schema: dict[str, Any], kind: str) -> Decimal | None:
    """Of what the number must be a multiple; one too small to count with is passed over."""
    step = _decimal(schema, "multipleOf")
    step = None if step is None or abs(step) < _LEAST_STEP else abs(step)
    if kind != "integer":
        return step
    return Decimal(step.as_integer_ratio()[0]) if step else Decimal(1)


def _decimal(schema: Mapping[str, Any], name: str) -> Decimal | None:
    value = schema.get(name)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MOST
    return Decimal(str(value)) if usable else None


def _count(schema: Mapping[str, Any], name: str, default: int) -> int:
    value = _decimal(schema, name)
    return default if value is None or value < 0 else min(int(value), MAX_LENGTH)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []
