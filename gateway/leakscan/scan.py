"""Find the credentials in the body of a request, and write it without them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.leakscan.places import find_places
from gateway.leakscan.plain import read_plain
from gateway.leakscan.private_keys import find_private_keys
from gateway.leakscan.rule import Rule
from gateway.leakscan.rules import OURS, PRIVATE_KEY, RULES
from gateway.leakscan.suspicion import suspected

MAX_PLACES = 16
"""Places that are told of one request: a receipt must stay small."""
SHORTEST_OWN = 16
"""Characters of a caller's key below which it may be a word of the prompt as well."""

_Span = tuple[int, int, str]  # from, to, and the kind


@dataclass(frozen=True, slots=True)
class Finding:
    """So many credentials of one kind, and the paths of the first ones. Never one of them, nor its length or digest."""

    kind: str
    count: int
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found in a body, and `redacted`: the body with a mark for each; all other bytes are as they came."""

    findings: tuple[Finding, ...]
    redacted: bytes = field(repr=False)


def scan(body: bytes, own: str | None = None) -> Scan:
    """Look at all that a request says, keys of objects too. `own` is the key by which its caller is known."""
    plain = read_plain(body)
    found = [*_find(plain.text, own)]
    if not found:
        return Scan((), body)
    spans = [(plain.raw(start), plain.raw(end), kind) for start, end, kind in _settled(found, plain.text)]
    return Scan(_told(body, spans), _marked(body, spans))


def _find(text: bytes, own: str | None) -> Iterator[_Span]:
    if own is not None and len(own) >= SHORTEST_OWN:
        yield from _find_word(text, own.encode())
    yield from ((*span, PRIVATE_KEY) for span in find_private_keys(text))
    if suspects := set(suspected(text)):
        for rule in RULES:  # in their order: of two that find the same, the first has the word
            if rule in suspects:
                yield from _find_by(rule, text)


def _find_word(text: bytes, word: bytes) -> Iterator[_Span]:
    at = text.find(word)
    while at >= 0:
        yield at, at + len(word), OURS
        at = text.find(word, at + len(word))


def _find_by(rule: Rule, text: bytes) -> Iterator[_Span]:
    for match in rule.pattern.finditer(text):
        start, end = match.span(rule.pattern.groups)
        start -= rule.lead
        if end - start <= rule.longest and rule.check(text[start:end]):
            yield start, end, rule.kind


def _settled(found: list[_Span], text: bytes) -> list[_Span]:
    """In order, none within another, and none that takes a part of an escape with it."""
    spans: list[_Span] = []
    for start, end, kind in sorted(found, key=lambda span: (span[0], -span[1])):
        if spans and start < spans[-1][1]:
            spans[-1] = spans[-1][0], max(end, spans[-1][1]), spans[-1][2]
        else:
            spans.append((_after_escape(text, start), end, kind))
    return spans


def _after_escape(text: bytes, start: int) -> int:
    r"""`start`, or what follows the escape of which that is the letter: in `\npm_` no token begins at the n."""
    if text[start - 1 : start] != b"\\" or text[start : start + 1] not in b"bfnrtu":
        return start
    return start + (5 if text[start : start + 1] == b"u" else 1)


def _told(body: bytes, spans: list[_Span]) -> tuple[Finding, ...]:
    counts = Counter(kind for _, _, kind in spans)
    places: dict[str, dict[str, None]] = {kind: {} for kind in counts}
    told = spans[:MAX_PLACES]
    for (_, _, kind), place in zip(told, find_places(body, [start for start, _, _ in told]), strict=True):
        places[kind][place] = None
    return tuple(Finding(kind, counts[kind], tuple(places[kind])) for kind in sorted(counts))


def _marked(body: bytes, spans: list[_Span]) -> bytes:
    parts: list[bytes] = []
    at = 0
    for start, end, kind in spans:
        parts += (body[at:start], b"[redacted:%b]" % kind.encode())
        at = end
    return b"".join([*parts, body[at:]])
