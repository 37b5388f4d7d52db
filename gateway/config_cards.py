"""The configuration of models' cards: what their operator states of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.config_fields import bounded, refuse_unknown, texts, typed
from gateway.routing.card import StatedCard
from tee.errors import Malformed

MODALITIES = ("text", "image", "audio", "video", "document")
MAX_TOKENS = 1 << 30
MAX_USD = 1_000_000  # per million tokens: a dollar for each


def decode_card(table: Mapping[str, Any], path: str) -> StatedCard:
    """`card` of a model. Raises Malformed."""
    refuse_unknown(table, set(StatedCard.__slots__), path)
    modalities = texts(table, "modalities", path, len(MODALITIES))
    if unknown := [each for each in modalities if each not in MODALITIES]:
        raise Malformed(f"{path}.modalities", repr(unknown[0][:64]), f"of {', '.join(MODALITIES)}")
    return StatedCard(
        typed(table, "family", str, None, path),
        _tokens(table, "context_window", path),
        _tokens(table, "max_output_tokens", path),
        _usd(table, "input_usd_per_million", path),
        _usd(table, "output_usd_per_million", path),
        modalities,
    )


def _tokens(table: Mapping[str, Any], name: str, path: str) -> int | None:
    value = typed(table, name, int, None, path)
    return None if value is None else bounded(value, 1, MAX_TOKENS, f"{path}.{name}")


def _usd(table: Mapping[str, Any], name: str, path: str) -> float | None:
    value = table.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_USD:
        raise Malformed(f"{path}.{name}", repr(value)[:64], f"US dollars per million tokens, 0 to {MAX_USD}")
    return float(value)
