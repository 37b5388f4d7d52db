"""Price and Tariff: what tokens cost, in micro-USD per million of them, and what a call comes to."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.inference import Usage

MILLION = 1_000_000
WHOLE = 10_000  # basis points


@dataclass(frozen=True, slots=True)
class Rates:
    """Micro-USD per million tokens of each class.

    A class of None has no price of its own: it is charged as what it is part of, `input` or `output`; the hour of
    `cache_write_1h` as `cache_write`.
    """

    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None

    def of(self, usage: Usage) -> int:
        """What these tokens cost, in millionths of a micro-USD: sums are rounded once, at their end."""
        write = _or(self.cache_write, self.input)
        hour = min(usage.cache_write_1h_tokens, usage.cache_write_tokens)
        heard, spoken = usage.audio_prompt_tokens, usage.audio_completion_tokens
        parts = (
            (usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens - heard, self.input),
            (usage.cached_tokens, _or(self.cached_input, self.input)),
            (usage.cache_write_tokens - hour, write),
            (hour, _or(self.cache_write_1h, write)),
            (heard, _or(self.audio_input, self.input)),
            (usage.completion_tokens - usage.reasoning_tokens - spoken, self.output),
            (usage.reasoning_tokens, _or(self.reasoning, self.output)),
            (spoken, _or(self.audio_output, self.output)),
        )
        # What two classes share is counted once in each, so that the rest may come out below nothing.
        return sum(tokens * rate for tokens, rate in parts if tokens > 0)

    def dearest(self, *, audio: bool) -> tuple[int, int]:
        """The highest price that a token of a prompt, and of a completion, can have."""
        into = [
            self.input,
            self.cached_input,
            self.cache_write,
            self.cache_write_1h,
            self.audio_input if audio else None,
        ]
        out = [self.output, self.reasoning, self.audio_output if audio else None]
        return max(each or 0 for each in into), max(each or 0 for each in out)


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one model: `request` micro-USD for each call, and rates.

    `above` holds the rates of longer prompts, shortest first: they count for the whole call once its prompt has more
    tokens than that. `max_output` and `context` are the model's own bounds in tokens; None: not known.
    """

    rates: Rates
    request: int = 0
    above: tuple[tuple[int, Rates], ...] = ()
    max_output: int | None = None
    context: int | None = None

    def rates_for(self, prompt_tokens: int) -> Rates:
        """The rates of a call with so long a prompt."""
        found = self.rates
        for tokens, rates in self.above:
            if prompt_tokens > tokens:
                found = rates
        return found


@dataclass(frozen=True, slots=True)
class Tariff:
    """A price with the operator's margin, in basis points of it."""

    price: Price
    margin: int = 0

    def cost(self, usage: Usage) -> int:
        """What a call comes to that used this, in micro-USD, rounded up once."""
        return self.total(self.price.rates_for(usage.prompt_tokens).of(usage))

    def main_rates(self) -> tuple[float, float]:
        """The prices of a prompt and of a completion with the margin, in US dollars per million tokens: to be shown."""
        rates, whole = self.price.rates, WHOLE * MILLION
        return rates.input * (WHOLE + self.margin) / whole, rates.output * (WHOLE + self.margin) / whole

    def total(self, millionths: int) -> int:
        """Tokens' worth with the call's own fee and the margin, in micro-USD, rounded up."""
        gross = (millionths + self.price.request * MILLION) * (WHOLE + self.margin)
        return -(-gross // (MILLION * WHOLE))


def _or(own: int | None, other: int) -> int:
    return other if own is None else own
