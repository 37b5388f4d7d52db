"""ReceiptDraft: what is known of a call so far; closing it gives the document to sign (SPEC §7)."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from tee.canonical import digest_bytes
from tee.errors import Malformed
from tee.log.receipt import API_VERSION

MAX_CHAT_ID = 512  # characters; the provider chose it, and a receipt must stay small and canonical whatever it chose


@dataclass(frozen=True, slots=True)
class ReceiptDraft:
    """A call in the making. `events` are ACI/1 events in order, without the last ones."""

    receipt_id: str
    decision_id: str
    endpoint: str
    method: str
    model: str | None
    events: tuple[dict[str, Any], ...]
    keyset_digest: str = ""  # in force when the call began, so that its receipt names what the call was carried by

    def with_event(self, kind: str, **members: Any) -> ReceiptDraft:
        """The draft with one more event."""
        return replace(self, events=(*self.events, {"type": kind, **members}))

    @property
    def route(self) -> dict[str, Any] | None:
        """The event of the decision that sent the call on; None for a call that was refused."""
        return next((event for event in self.events if event["type"] == "route"), None)

    def encode(self) -> str:
        """JSON, for the database."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__}, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Returned:
    """What left the gateway: the hash covers exactly `size` bytes of body, `events` events if it is a stream."""

    status: int
    content_type: str
    size: int
    sha256: str
    complete: bool
    events: int = 0
    checkpoint: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Signer:
    """Under which keyset, with which key, and when (seconds since 1970) a receipt is signed."""

    keyset_digest: str
    key_id: str
    served_at: int


def new_draft(receipt_id: str, decision_id: str, endpoint: str, body: bytes, keyset_digest: str) -> ReceiptDraft:
    """The draft of a POST that has arrived whole, and begins under this keyset."""
    received = {"type": "request.received", "body_hash": digest_bytes(body)}
    return ReceiptDraft(receipt_id, decision_id, endpoint, "POST", None, (received,), keyset_digest)


def decode_draft(text: str) -> ReceiptDraft:
    """A draft from the database. Raises Malformed."""
    try:
        fields = json.loads(text)
        return ReceiptDraft(**fields | {"events": tuple(fields["events"])})
    except (ValueError, TypeError, KeyError):
        raise Malformed("calls.draft", "another text", "what a gateway stored: restore the database") from None


def close_draft(draft: ReceiptDraft, returned: Returned, chat_id: str | None, signer: Signer) -> dict[str, Any]:
    """The unsigned receipt. A `chat_id` that is no printable text of at most 512 characters is left out."""
    if chat_id is not None and (len(chat_id) > MAX_CHAT_ID or not chat_id.isprintable()):
        chat_id = None
    body_hash = "sha256:" + returned.sha256
    answer = {
        "type": "response.returned",
        "body_hash": body_hash,
        "status": returned.status,
        "content_type": returned.content_type,
    }
    stream = {"type": "stream", "bytes": returned.size, "events": returned.events, "complete": returned.complete}
    if returned.checkpoint is not None:
        stream["checkpoint"] = returned.checkpoint
    return {
        "api_version": API_VERSION,
        "receipt_id": draft.receipt_id,
        "chat_id": chat_id,
        "model": draft.model,
        "endpoint": draft.endpoint,
        "method": draft.method,
        "served_at": signer.served_at,
        "event_log": [*draft.events, answer, stream],
        "key_id": signer.key_id,
        "workload_keyset_digest": signer.keyset_digest,
    }
