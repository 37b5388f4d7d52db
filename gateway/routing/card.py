"""What an operator states of a model: its size, its price, what it takes in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StatedCard:
    """A model as its operator describes it. None: nothing is said, so the catalog counts."""

    family: str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    input_usd_per_million: float | None = None
    output_usd_per_million: float | None = None
    modalities: tuple[str, ...] = ()


UNSTATED = StatedCard()
