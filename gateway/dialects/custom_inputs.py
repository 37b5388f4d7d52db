"""Calls of tools whose input is plain text, as they stream into a language where every input is an object."""

from __future__ import annotations

from dataclasses import replace

from gateway.inference import ToolCallDelta
from gateway.jsonbody import encode_json


class CustomInputs:
    """Writes the text of each such call as the one member `input` of an object, which `close` ends."""

    def __init__(self) -> None:
        self._open: set[int] = set()

    def wrap(self, event: ToolCallDelta) -> ToolCallDelta:
        """The delta as a piece of JSON; only the first of a call need say that it is custom."""
        if not event.custom and event.index not in self._open:
            return event
        opening = "" if event.index in self._open else '{"input":"'
        self._open.add(event.index)
        return replace(event, custom=False, arguments=opening + encode_json(event.arguments).decode()[1:-1])

    def close(self) -> list[ToolCallDelta]:
        """What ends the objects, once the answer is complete."""
        ends = [ToolCallDelta(index, None, None, '"}') for index in sorted(self._open)]
        self._open.clear()
        return ends
