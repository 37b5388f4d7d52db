"""Plain: the bytes of a JSON text with its needless escapes undone, and where they stood."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field

MAX_ESCAPES = 300_000
"""A text with more is read as it is. To undo so many takes a tenth of a second, and no prompt has them."""

# At any depth: JSON in a string of JSON has two or more backslashes.
# Begins where their run does, so that each run is read once.
_ESCAPE = re.compile(rb"(?<!\\)\\++(?:u00([0-7][0-9A-Fa-f])|/)")
# Only these hide a character that credentials are made of. (Go escapes < > &, C# escapes quotes: they are left.)
# A pattern that begins with one literal is looked for at the speed of memory.
_HIDING = re.compile(rb"\\(?:/|u00(?:2[b-fB-F]|3[0-9aAdD]|4[0-9a-fA-F]|5[0-9aAfF]|6[0-9a-fA-F]|7[0-9aAeE]))")


@dataclass(frozen=True, slots=True)
class Plain:
    """`text` to look in; `raw` tells where a place of it stands in the bytes that it was made of."""

    text: bytes
    _places: list[int] = field(default_factory=list)  # in `text`, of each character that was an escape
    _removed: list[int] = field(default_factory=list)  # bytes up to and with each

    def raw(self, at: int) -> int:
        """The place before the byte `at` of `text`, in the raw bytes."""
        before = bisect_left(self._places, at)
        return at + (self._removed[before - 1] if before else 0)


def read_plain(body: bytes) -> Plain:
    """The text of a body. Nearly all have nothing to undo, and cost one search."""
    if not _HIDING.search(body) or body.count(b"\\u00") + body.count(b"\\/") > MAX_ESCAPES:
        return Plain(body)
    pieces: list[bytes] = []
    places: list[int] = []
    removed: list[int] = []
    end = gone = 0
    for escape in _ESCAPE.finditer(body):
        pieces += (body[end : escape.start()], _character(escape[1]))
        places.append(escape.start() - gone)
        end, gone = escape.end(), gone + escape.end() - escape.start() - 1
        removed.append(gone)
    return Plain(b"".join([*pieces, body[end:]]), places, removed)


def _character(digits: bytes | None) -> bytes:
    """What an escape says; a blank for what would end a string, or begin an escape."""
    character = b"/" if digits is None else bytes([int(digits, 16)])
    return character if character.isalnum() or character in b"-_./+=:@~%?&" else b" "
