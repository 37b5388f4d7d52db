"""Two JSON Schemas as one that asks for both."""

from __future__ import annotations

from itertools import product
from typing import Any

MAX_BRANCHES = 64  # of two lists of alternatives, each with each
_HIGHER = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_LOWER = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})
_BOTH = frozenset({"items", "additionalProperties", "contains"})
_LISTS = frozenset({"anyOf", "oneOf"})


def merge(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What fulfils `one` and `other`; a word that both say, and that cannot be joined, is the latter's."""
    merged = dict(one)
    for name, part in other.items():
        merged[name] = _joined(name, merged[name], part) if name in merged else part
    return merged


def _joined(name: str, mine: Any, theirs: Any) -> Any:
    if isinstance(mine, dict) and isinstance(theirs, dict) and name == "properties":
        return {key: _all(mine.get(key), theirs.get(key)) for key in dict.fromkeys((*mine, *theirs))}
    if name in _BOTH:
        return _all(mine, theirs)
    if isinstance(mine, list) and isinstance(theirs, list):
        return _joined_lists(name, mine, theirs)
    if _is_number(mine) and _is_number(theirs):
        if name in _HIGHER:
            return max(mine, theirs)
        if name in _LOWER:
            return min(mine, theirs)
    if name == "type":
        return _common_type(mine, theirs)
    return theirs


def _joined_lists(name: str, mine: list[Any], theirs: list[Any]) -> Any:
    if name == "required":
        return [*mine, *(one for one in theirs if one not in mine)]
    if name == "allOf":
        return [*mine, *theirs]
    if name == "enum":
        return [one for one in mine if one in theirs]
    if name in _LISTS:
        return [_all(a, b) for a, b in list(product(mine, theirs))[:MAX_BRANCHES]]
    return _common_type(mine, theirs) if name == "type" else theirs


def _all(mine: Any, theirs: Any) -> Any:
    if mine is None or mine is True or mine == theirs:
        return theirs
    if theirs is None or theirs is True:
        return mine
    if mine is False or theirs is False:
        return False
    return {"allOf": [mine, theirs]}


def _common_type(mine: Any, theirs: Any) -> Any:
    """The types that both allow, perhaps none; an integer is a number."""
    ours, others = (value if isinstance(value, list) else [value] for value in (mine, theirs))
    common = [kind for kind in ours if kind in others or (kind == "integer" and "number" in others)]
    common += [kind for kind in others if kind == "integer" and "number" in ours and kind not in common]
    return common[0] if len(common) == 1 else common


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
