"""Quirks: how one provider's service of a model differs from the language that it speaks, as data."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.inference import EFFORTS, Reasoning

# Tokens of thinking at each effort, where a model takes a budget only (Gemini 2.5's own table, and Claude's minimum).
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 32768}


@dataclass(frozen=True, slots=True)
class Quirks:
    """Differences that a dialect obeys when it writes a request; the defaults are the language's own rules.

    - `max_tokens_field`: the member's name, where vendors disagree
    - `default_max_tokens`: what to ask for if the client did not, where the language demands a number
    - `drops`: names of InferenceRequest's fields that this model refuses: temperature, top_p, seed, …; and `strict`
      tools, `cache_points`, `tool_cache_points`
    - `thinking`: how the wish to think is said: `type` (on or off), `budget` (tokens), `template` (of the prompt),
      `effort` (a word only), `always` (it cannot be turned off); empty for the language's usual way
    - `budget`: the least and the most tokens of thinking, where it takes a number; a least above 0 is never off
    - `efforts`: the words that this model takes, least first; empty if all of them, or if it takes none
    - `text_only`: content must be plain strings; `developer`: whether that role exists
    - `replays_reasoning`: earlier reasoning must be sent back with the tool calls that it led to
    - `required_tools`: whether a tool can be forced
    """

    max_tokens_field: str = "max_tokens"
    default_max_tokens: int = 4096
    drops: frozenset[str] = frozenset()
    thinking: str = ""
    budget: tuple[int, int] = (0, 32768)
    efforts: tuple[str, ...] = ()
    text_only: bool = False
    developer: bool = False
    replays_reasoning: bool = False
    required_tools: bool = True


PLAIN = Quirks()
"""No quirks."""


def effort_of(reasoning: Reasoning, known: tuple[str, ...] = ()) -> str:
    """The effort that a client wants, as the nearest of `known` words (all, if empty); a tie takes the lesser."""
    word = reasoning.effort
    if word is None:
        budget = reasoning.budget or 0
        word = "off" if budget <= 0 else next((name for name, most in _BUDGETS.items() if budget <= most), "max")
    if not known or word in known:
        return word
    place = EFFORTS.index(word)
    return min(known, key=lambda name: (abs(EFFORTS.index(name) - place), EFFORTS.index(name)))


def budget_of(reasoning: Reasoning, most: int) -> int:
    """Tokens of thinking that a client wants, at most `most`; 0 for none."""
    if reasoning.budget is not None:
        return max(0, min(reasoning.budget, most))
    return min(_BUDGETS.get(reasoning.effort or "off", 0), most)
