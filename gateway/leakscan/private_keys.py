"""Private keys in their armour: PEM, OpenSSH and PGP, however their lines are escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator

_ARMOUR = re.compile(rb"-(?=----BEGIN )")  # begins with one literal: looked for at the speed of memory
_BEGIN = re.compile(rb"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(rb"-----END (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
# What stands between them, in JSON at any depth, and in sources where each line is a string of its own.
_BODY = re.compile(rb"(?:[0-9A-Za-z+/=:;,.()\s_-]|\\+[nrt\"]|\\+u[0-9A-Fa-f]{4}|['>|*#])*+")
# What is taken of one that breaks off.
_LINES = re.compile(rb"(?:(?:\s|\\+[nrt\"]|['>|+]){1,12}[0-9A-Za-z+/=]{16,}+)*+")
_SHORTEST = 100  # bytes: that of Ed25519 has 119 with its armour; less is an example's `...`


def find_private_keys(text: bytes) -> Iterator[tuple[int, int]]:
    """Where they stand, each with its armour, or up to where it breaks off. Reads no byte more than a few times."""
    armour = _ARMOUR.search(text)
    begin = _BEGIN.search(text, armour.start()) if armour else None
    read = 0  # up to where the text may all belong to one key
    ended = -1, -1  # the first end behind `begin`, as far as that
    while begin:
        after = begin.end()
        following = _BEGIN.search(text, after)
        if after >= read:
            body = _BODY.match(text, after)
            read, ended = body.end() if body else after, (-1, -1)
        if ended[0] < after:
            end = _END.search(text, after, read)
            ended = end.span() if end else (read, -1)
        lines = _LINES.match(text, after)
        whole = ended[1] > 0 and (following is None or ended[0] < following.start())
        until = ended[1] if whole else lines.end() if lines else after
        if until - begin.start() >= _SHORTEST:
            yield begin.start(), until
        begin = following
