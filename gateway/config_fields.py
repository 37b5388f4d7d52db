"""Reading the members of a configuration's tables. Every function raises Malformed, with the member's path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tee.canonical import kind_of
from tee.errors import Malformed

_KINDS = {str: "text", bool: "true or false", int: "an integer", list: "an array ([[...]] in TOML)", dict: "a table"}


def typed(table: Mapping[str, Any], name: str, kind: type, default: Any, path: str) -> Any:
    """The member, of that kind; the default where it is not there."""
    value = table.get(name, default)
    if value is not default and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise Malformed(f"{path}.{name}", kind_of(value), _KINDS[kind])
    return value


def texts(table: Mapping[str, Any], name: str, path: str, most: int) -> tuple[str, ...]:
    """The texts of an array, or the one that stands there alone; each once, and none empty."""
    value = table.get(name, [])
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise Malformed(f"{path}.{name}", kind_of(value), "text, or an array of texts")
    if len(value) > most or len(set(value)) != len(value):
        raise Malformed(f"{path}.{name}", f"{len(value)} texts", f"at most {most}, each once")
    return tuple(value)


def bounded(value: int, least: int, most: int, path: str) -> int:
    """The number, within its bounds."""
    if not least <= value <= most:
        raise Malformed(path, value, f"{least} to {most}")
    return value


def refuse_unknown(table: Any, known: set[str], path: str) -> None:
    """Refuse what is no table, and names that are none of these."""
    if not isinstance(table, Mapping):
        raise Malformed(path, kind_of(table), "a table")
    if unknown := sorted(set(table) - known):
        raise Malformed(f"{path}.{unknown[0][:64]}", "an unknown name", f"one of {', '.join(sorted(known))}")
