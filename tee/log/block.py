"""What an answer says of its own place in the log: the attestation block, as the client received it (SPEC §7.3)."""

from __future__ import annotations

from collections.abc import Iterator

from tee.canonical import Json, parse_json

BLOCKS = ("_sf_attestation", "attestation")
# A quote inside a JSON string stands behind a backslash, so this finds member names and nothing that a model said.
_NAME = b'"rekor_index"'


def route_indices(body: bytes) -> list[Json]:
    """Every `rekor_index` that this answer shows, a JSON object or a stream of events. Raises Malformed."""
    found = []
    for raw in _documents(body):
        document = parse_json(raw, "response")
        # The Responses API carries the whole answer inside its last event.
        for part in (document, document.get("response") if isinstance(document, dict) else None):
            blocks = [part.get(name) for name in BLOCKS] if isinstance(part, dict) else []
            found += [block.get("rekor_index") for block in blocks if isinstance(block, dict)]
    return [index for index in found if index is not None]


def _documents(body: bytes) -> Iterator[bytes]:
    """The JSON texts that name an index: the body, or the data of its events."""
    if body.lstrip(b" \t\r\n").startswith(b"{"):
        lines = [body]
    else:
        events = body.replace(b"\r", b"\n").split(b"\n")
        lines = [line.removeprefix(b"data:") for line in events if line.startswith(b"data:")]
    return (line for line in lines if _NAME in line)
