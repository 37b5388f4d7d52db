"""Rule: one form of credential, and how it is found in linear time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from gateway.leakscan.likeness import is_random

# What follows is a token of its own: no letter or digit stands before it, but for the last of an escape of JSON's
# (`\n`, `\u597d`) or of a URL's (`%3D`). `{it}` has a fixed width.
_FRESH = r"(?:(?<![0-9A-Za-z]{it})|(?<=\\[bfnrt]{it})|(?<=\\u[0-9A-Fa-f]{{4}}{it})|(?<=%[0-9A-Fa-f]{{2}}{it}))"


@dataclass(frozen=True, slots=True)
class Rule:
    """`keywords`: without one of them nothing is looked for. `lead`: bytes before the match that belong to it. Group 1
    of `pattern`, if it has one, is all that is secret of a match. `check` decides; `longest` bounds it.

    A keyword is looked for in and close before runs of characters that tokens are made of, or if `loose` anywhere.
    """

    kind: str
    keywords: tuple[bytes, ...]
    pattern: re.Pattern[bytes]
    check: Callable[[bytes], bool] = is_random
    lead: int = 0
    longest: int = 4096
    loose: bool = False


def new_token(
    kind: str,
    prefix: str,
    tail: str,
    check: Callable[[bytes], bool] = is_random,
    *,
    keywords: str | None = None,
    before: tuple[str, int] = ("", 0),
    longest: int = 400,
) -> Rule:
    """The rule of tokens that are `prefix`, literally or by a pattern of fixed width, then `tail`.

    `keywords`, between blanks, are the prefix unless it is a pattern. `before` is a pattern of what comes before the
    prefix, and its width. A tail that has no upper bound takes all it can (`++`), so that no text is read twice.
    """
    it = before[0] + prefix
    required = rf"(?<={it})" if before[0] else ""
    pattern = prefix + required + _FRESH.format(it=it) + tail + r"(?![0-9A-Za-z])"
    words = tuple(word.encode() for word in (keywords or prefix.replace("\\", "")).split())
    return Rule(kind, words, re.compile(pattern.encode(), re.DOTALL), check, before[1], longest)


def new_context(kind: str, keywords: str, pattern: str, check: Callable[[bytes], bool], *, loose: bool = False) -> Rule:
    """The rule of what is told by the words around it; its group 1 is the secret."""
    words = tuple(word.encode() for word in keywords.split())
    return Rule(kind, words, re.compile(pattern.encode(), re.DOTALL), check, loose=loose)
