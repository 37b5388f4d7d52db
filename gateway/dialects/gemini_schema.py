"""Gemini: a JSON Schema as Google reads it."""

from __future__ import annotations

_OF_NAMES = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_OF_ONE = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else")
_OF_MANY = ("anyOf", "oneOf", "allOf", "prefixItems")
_LEFT_OUT = ("$schema", "$id", "$comment")


def schema_for_gemini(schema: dict[str, object]) -> dict[str, object]:
    """The same schema without what Google refuses (where it comes from) or passes over (`const`: an enum of one)."""
    written: dict[str, object] = {}
    for name, value in schema.items():
        if name in _OF_NAMES and isinstance(value, dict):
            written[name] = {key: _inner(inner) for key, inner in value.items()}
        elif name in _OF_MANY and isinstance(value, list):
            written[name] = [_inner(inner) for inner in value]
        elif name in _OF_ONE:
            written[name] = _inner(value)
        elif name == "const":
            written.setdefault("enum", [value])
        elif name not in _LEFT_OUT:
            written[name] = value
    return written


def _inner(value: object) -> object:
    return schema_for_gemini(value) if isinstance(value, dict) else value
