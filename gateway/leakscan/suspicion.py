"""Which rules may find anything in a text: all that nearly every prompt costs of a scan."""

from __future__ import annotations

import re

from gateway.leakscan.rule import Rule
from gateway.leakscan.rules import RULES

SHORTEST_RUN = 20
"""Characters. Every credential but the passwords of URLs has as many in one run of those below: AWS's ids, exactly."""
LEAD = 32
"""Characters before a run that are looked at too: the `SG.`, the name of a variable."""
LONGEST_RUN = 4096
"""Characters: what is longer is a picture."""

_TOKEN_BYTES = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_+/="
_RUN = bytes(ord("x") if byte in _TOKEN_BYTES else ord(" ") for byte in range(256))
_MARK = b"x" * SHORTEST_RUN
_NAME = b"abcdefghijklmnopqrstuvwxyz-_/="  # of these alone a run is a name: no credential goes without digit or capital
_HEAD = re.compile(rb"[0-9A-Za-z]{2}[-_.=/]")  # most keywords hold one, by which all of them are found in one pass

_Words = list[tuple[bytes, Rule]]


def suspected(text: bytes) -> list[Rule]:
    """The rules of which a keyword stands where it may mean something; a rule may come twice."""
    words = list(_LOOSE)
    near = _around_runs(text)
    if near:
        words += _PLAIN
        for head in _BY_HEAD.keys() & set(_HEAD.findall(near)):
            words += _BY_HEAD[head]
    return [rule for word, rule in words if word in (text if rule.loose else near)]


def _around_runs(text: bytes) -> bytes:
    """Long runs of the characters of tokens, each with what stands before it."""
    runs, found, at = text.translate(_RUN), [], 0
    while (start := runs.find(_MARK, at)) >= 0:
        at = runs.find(b" ", start)
        at = len(text) if at < 0 else at
        if at - start <= LONGEST_RUN and text[start:at].strip(_NAME):
            found.append(text[max(0, start - LEAD) : at])
    return b"\n".join(found)


def _indexed() -> tuple[_Words, _Words, dict[bytes, _Words]]:
    """Loose keywords; those without a head; and the others by theirs."""
    loose: _Words = []
    plain: _Words = []
    by_head: dict[bytes, _Words] = {}
    for rule in RULES:
        for word in rule.keywords:
            head = _HEAD.search(word)
            rows = loose if rule.loose else plain if head is None else by_head.setdefault(head[0], [])
            rows.append((word, rule))
    return loose, plain, by_head


_LOOSE, _PLAIN, _BY_HEAD = _indexed()
