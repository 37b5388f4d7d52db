"""Members of a client's request, read strictly. Every function raises InvalidRequest with `param` at the member."""

from __future__ import annotations

import math
from typing import TypeVar

from gateway.errors import InvalidRequest
from gateway.inference import GATEWAY_FIELDS
from gateway.jsonbody import kind_of

MAX_TOKENS = (1 << 31) - 1
"""A count beyond this is a lie or a bug, and would overflow the sums of metering."""

_MAX_MODEL = 256  # characters: receipts and records repeat the name, also that of a model which does not exist
T = TypeVar("T")


def read_model(fields: dict[str, object]) -> str:
    """The model's id; the members that speak to the gateway are checked on the way."""
    for name in GATEWAY_FIELDS:
        read_text(fields, name)
    model = read_text(fields, "model")
    if not model:
        raise InvalidRequest.at("model", "nothing", "the id of a model")
    if len(model) > _MAX_MODEL or not model.isprintable():
        found = f"{len(model)} characters" if len(model) > _MAX_MODEL else "unprintable characters"
        raise InvalidRequest.at("model", found, f"at most {_MAX_MODEL} printable characters")
    return model


def read_text(fields: dict[str, object], name: str, place: str | None = None) -> str | None:
    """A string, or None if absent."""
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest.at(place or name, kind_of(value), "a string")
    return value


def read_boolean(fields: dict[str, object], name: str, place: str | None = None) -> bool:
    """A boolean, False if absent."""
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest.at(place or name, kind_of(value), "true or false")
    return bool(value)


def read_number(fields: dict[str, object], name: str, least: float, most: float) -> float | None:
    """A number in a range, or None if absent."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest.at(name, kind_of(value), f"a number from {least:g} to {most:g}")
    if not least <= value <= most:
        raise InvalidRequest.at(name, "a number out of range", f"a number from {least:g} to {most:g}")
    return float(value)


def read_integer(fields: dict[str, object], name: str, least: int, most: int) -> int | None:
    """An integer in a range. JSON has one kind of number, and some clients write 1 as 1.0."""
    value = read_number(fields, name, least, most)
    if value is not None and not value.is_integer():
        raise InvalidRequest.at(name, "a fraction", f"an integer from {least} to {most}")
    return None if value is None else int(value)


def read_strings(fields: dict[str, object], name: str) -> tuple[str, ...]:
    """A list of strings, or a single one; empty if absent."""
    value = fields.get(name)
    if value is None:
        return ()
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InvalidRequest.at(name, kind_of(value), "a string or a list of strings")
    return tuple(words)


def read_object(fields: dict[str, object], name: str, place: str | None = None) -> dict[str, object] | None:
    """An object, or None if absent."""
    value = fields.get(name)
    if value is not None and not isinstance(value, dict):
        raise InvalidRequest.at(place or name, kind_of(value), "an object")
    return value


def read_objects(fields: dict[str, object], name: str, place: str | None = None) -> list[dict[str, object]] | None:
    """A list of objects, or None if absent."""
    value, place = fields.get(name), place or name
    if value is None:
        return None
    if not isinstance(value, list):
        raise InvalidRequest.at(place, kind_of(value), "a list of objects")
    for number, item in enumerate(value):
        if not isinstance(item, dict):
            raise InvalidRequest.at(f"{place}[{number}]", kind_of(item), "an object")
    return value


def word(fields: dict[str, object], name: str) -> str:
    """A string where one is expected, empty for anything else: for members that are the provider's business."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def table(fields: dict[str, object], name: str) -> dict[str, object]:
    """An object where one is expected, empty for anything else."""
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def rows(value: object) -> list[dict[str, object]]:
    """The objects of a list; nothing, if it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def count(value: object) -> int | None:
    """A number of tokens that a provider claims; None if it is none, or beyond belief."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_TOKENS:
        return None
    return None if isinstance(value, float) and math.isnan(value) else int(value)
