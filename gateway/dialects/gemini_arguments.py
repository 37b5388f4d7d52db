"""Gemini: a tool call whose arguments arrive in pieces, each with its place as a JSONPath."""

from __future__ import annotations

import re
from itertools import pairwise

from gateway.dialects.fields import rows, word
from gateway.errors import UpstreamFailed
from gateway.inference import ThoughtSignature
from gateway.jsonbody import MAX_DEPTH

MAX_ARGUMENTS = 8 << 20
"""Characters of one call, as long as a frame may be; places count too."""

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,9})\]|\['([^'\\]*)'\]|\[\"([^\"\\]*)\"\]")


class PartialCall:
    """One call that is still being told. A place that cannot be (an index that leaves a gap) is passed over."""

    def __init__(
        self, call_id: str, name: str, signature: ThoughtSignature | None, arguments: dict[str, object]
    ) -> None:
        self.id, self.name, self.signature = call_id, name, signature
        self._arguments = arguments
        self._path = ""
        self._pieces: list[str] = []  # of the text at `_path`; joined once, since most come letter by letter
        self._size = 0

    def add(self, call: dict[str, object]) -> None:
        """Take the pieces of one frame. Raises: UpstreamFailed beyond the bound."""
        for piece in rows(call.get("partialArgs")):
            path, text = word(piece, "jsonPath"), piece.get("stringValue")
            self._size += len(path) + (len(text) if isinstance(text, str) else 8)
            if self._size > MAX_ARGUMENTS:
                raise UpstreamFailed(f"partialArgs: found more than {MAX_ARGUMENTS} characters, wanted at most so many")
            if path != self._path:
                self._settle()
                self._path = path
            if isinstance(text, str):
                self._pieces.append(text)
            elif "numberValue" in piece or "boolValue" in piece or "nullValue" in piece:
                value = piece.get("numberValue", piece.get("boolValue"))
                _put(self._arguments, path, value if isinstance(value, int | float) else None)

    def arguments(self) -> dict[str, object]:
        """All that was told."""
        self._settle()
        return self._arguments

    def _settle(self) -> None:
        if self._pieces:
            _put(self._arguments, self._path, "".join(self._pieces))
            self._pieces = []


def _put(arguments: dict[str, object], path: str, value: object) -> None:
    """Set the value at a place such as `$.items[0].name`; objects and lists on the way come into being."""
    steps = _steps(path)
    if not steps:
        return
    here: object = arguments
    for step, following in pairwise(steps):
        fresh: object = [] if isinstance(following, int) else {}
        here = _entry(here, step, fresh)
    if isinstance(here, dict) and isinstance(steps[-1], str):
        here[steps[-1]] = value
    elif isinstance(here, list) and isinstance(steps[-1], int) and steps[-1] <= len(here):
        here[steps[-1] : steps[-1] + 1] = [value]


def _entry(here: object, step: str | int, fresh: object) -> object:
    """What stands there, `fresh` if nothing does; None where nothing can."""
    if isinstance(here, dict) and isinstance(step, str):
        return here.setdefault(step, fresh)
    if isinstance(here, list) and isinstance(step, int) and step <= len(here):
        if step == len(here):
            here.append(fresh)
        return here[step]
    return None


def _steps(path: str) -> list[str | int]:
    """The names and indices of a path; none if it cannot be read, or leads deeper than any request may."""
    steps: list[str | int] = []
    at = 1 if path.startswith("$") else len(path) + 1
    while at < len(path) and len(steps) < MAX_DEPTH:
        found = _STEP.match(path, at)
        if found is None:
            return []
        name, index, *quoted = found.groups()
        steps.append(int(index) if index is not None else next(word for word in (name, *quoted) if word is not None))
        at = found.end()
    return steps if at == len(path) else []
