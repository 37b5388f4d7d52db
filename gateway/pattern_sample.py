"""A text that a regular expression finds, for the expressions that schemas use.

Known are letters, classes, groups, alternatives, repetitions and anchors. Nothing is ever searched: an expression of a
stranger could take for ever.
"""

from __future__ import annotations

import string
from collections.abc import Callable

MAX_PATTERN = 1024  # characters
MAX_GROUPS = 64
MAX_TEXT = 4096  # characters: a few repetitions of repetitions could fill any memory
_ASCII = frozenset(string.printable)
_WORD = frozenset(string.ascii_letters + string.digits + "_")
_DIGIT, _SPACE = frozenset(string.digits), frozenset(" \t\n\r\f\v")
_CLASSES = {"d": _DIGIT, "w": _WORD, "s": _SPACE, "D": _ASCII - _DIGIT, "W": _ASCII - _WORD, "S": _ASCII - _SPACE}
_LETTERS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}
_SIGNS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_PREFERRED = string.ascii_lowercase + string.digits + string.ascii_uppercase + string.punctuation + " \t\n"

Node = Callable[[int], str]
"""A part of an expression: its text, given by how often what may be repeated is repeated beyond its least."""


class _Unknown(Exception):
    """A word of the language that is not known here."""


def sample_pattern(pattern: str, least: int = 0, most: int = 1 << 30) -> str | None:
    """A text of `least` to `most` characters that `pattern` finds; None if none is found here."""
    if len(pattern) > MAX_PATTERN:
        return None
    try:
        node = _Parser(pattern).whole()
        text = _long_enough(node, least)
    except _Unknown:
        return None
    if not pattern.endswith("$"):
        text = text.ljust(least, "x")
    elif not pattern.startswith("^"):
        text = text.rjust(least, "x")
    return text if least <= len(text) <= most else None


def _long_enough(node: Node, least: int) -> str:
    """The first text of `least` characters, or the longest."""
    text, longer = "", node(0)
    extra = 0
    while len(text) < len(longer) and len(longer) < least:
        extra += 1
        text, longer = longer, node(extra)
    return longer


class _Parser:
    """Reads an expression from left to right."""

    def __init__(self, pattern: str) -> None:
        self._pattern, self._at, self._groups = pattern, 0, 0

    def whole(self) -> Node:
        node = self._alternatives()
        if self._at < len(self._pattern):
            raise _Unknown
        return node

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self) -> str:
        taken = self._peek()
        if not taken:
            raise _Unknown
        self._at += 1
        return taken

    def _alternatives(self) -> Node:
        first = self._sequence()
        while self._peek() == "|":
            self._at += 1
            self._sequence()
        return first

    def _sequence(self) -> Node:
        nodes: list[Node] = []
        while self._peek() not in ("", "|", ")"):
            nodes.append(self._repeated(self._atom()))
        return lambda extra: "".join(node(extra) for node in nodes)

    def _atom(self) -> Node:
        taken = self._take()
        if taken == "(":
            return self._group()
        if taken == "[":
            return _one_of(self._class())
        if taken == "\\":
            return _one_of(self._escaped())
        if taken in "*+?{":
            raise _Unknown
        if taken in "^$":
            return lambda _extra: ""
        return _one_of(_ASCII - {"\n"} if taken == "." else frozenset(taken))

    def _group(self) -> Node:
        self._groups += 1
        if self._groups > MAX_GROUPS:
            raise _Unknown
        if self._peek() == "?":
            self._at += 1
            if self._take() != ":":  # what looks around, and names
                raise _Unknown
        node = self._alternatives()
        if self._take() != ")":
            raise _Unknown
        return node

    def _repeated(self, node: Node) -> Node:
        sign = self._peek()
        if sign not in ("*", "+", "?", "{"):
            return node
        self._at += 1
        least, most = _SIGNS.get(sign) or self._counts()
        if self._peek() == "?":
            self._at += 1

        def repeat(extra: int) -> str:
            text, times = node(extra), least + extra if most is None else min(most, least + extra)
            if len(text) * times > MAX_TEXT:
                raise _Unknown
            return text * times

        return repeat

    def _counts(self) -> tuple[int, int | None]:
        """`m}`, `m,}` or `m,n}`."""
        end = self._pattern.find("}", self._at)
        low, comma, high = self._pattern[self._at : max(end, self._at)].partition(",")
        if not all(part.isascii() and part.isdigit() and len(part) < 5 for part in (low, high or "0")):
            raise _Unknown
        self._at = end + 1
        return int(low), int(high) if high else None if comma else int(low)

    def _class(self) -> frozenset[str]:
        inverse = self._peek() == "^"
        self._at += inverse
        found: set[str] = set()
        first = True
        while first or self._peek() != "]":
            first = False
            begins = self._member()
            if self._peek() == "-" and self._pattern[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                ends = self._member()
                if len(begins) != 1 or len(ends) != 1:
                    raise _Unknown
                (low,), (high,) = begins, ends
                found |= {low, high, *(char for char in _ASCII if low <= char <= high)}
            else:
                found |= begins
        self._at += 1
        return _ASCII - found if inverse else frozenset(found)

    def _member(self) -> frozenset[str]:
        taken = self._take()
        return self._escaped() if taken == "\\" else frozenset(taken)

    def _escaped(self) -> frozenset[str]:
        taken = self._take()
        if taken in _CLASSES:
            return _CLASSES[taken]
        if taken in _LETTERS:
            return frozenset(_LETTERS[taken])
        if taken.isalnum():  # a reference back, a property, a code point, a border
            raise _Unknown
        return frozenset(taken)


def _one_of(allowed: frozenset[str]) -> Node:
    chosen = next((char for char in _PREFERRED if char in allowed), min(allowed, default=""))
    if not chosen:
        raise _Unknown
    return lambda _extra: chosen
