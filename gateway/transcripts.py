"""The two transcripts that `mock-1` follows: a call of the tool `echo`, and prose that ends the turn.

The first is played where `echo` is offered and no result has come back yet, the second everywhere else.
Nothing here is drawn by chance: an equal question gets an equal answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

ECHO = "echo"
_TOKEN = re.compile(r"\s*\S+")


@dataclass(frozen=True, slots=True)
class Transcript:
    """What is said, in the pieces in which it is streamed, and the tool called after it, if one is."""

    text: tuple[str, ...]
    calls: str | None = None

    @property
    def stop(self) -> str:
        """Why it ends, in OpenAI's words."""
        return "stop" if self.calls is None else "tool_calls"


ECHO_CALL = Transcript(("Hello", " world"), ECHO)


def choose_transcript(said: str, tools: Iterable[str], result: str | None) -> Transcript:
    """The transcript for what the user said last, the names of the tools offered, and the result that came back."""
    if result is not None:
        return Transcript(tokens(f"This is a mock answer. The tool said: {result}"))
    return ECHO_CALL if ECHO in tools else Transcript(tokens(f"This is a mock answer. You said: {said}"))


def echo_arguments(said: str) -> dict[str, str]:
    """What `echo` is called with, where nothing is known of its parameters."""
    return {"text": said}


def tokens(text: str) -> tuple[str, ...]:
    """A text in words, each with the space before it."""
    return tuple(_TOKEN.findall(text))


def fragments(arguments: str) -> list[str]:
    """Arguments in the pieces in which they are streamed."""
    return [arguments[start : start + 6] for start in range(0, len(arguments), 6)]
