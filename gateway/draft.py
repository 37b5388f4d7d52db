"""ReceiptDraft: what is known of a call so far; closing it gives the document to sign (SPEC §7)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tee.canonical import digest_bytes, encode_canonical, encode_items, encode_members
from tee.errors import Malformed
from tee.log.receipt import API_VERSION

MAX_CHAT_ID = 512  # characters; the provider chose it, and a receipt must stay small and canonical whatever it chose


@dataclass(frozen=True, slots=True)
class Event:
    """An ACI/1 event: its type, and its canonical form, which is made once and stands in all that is signed."""

    kind: str
    encoded: bytes


@dataclass(frozen=True, slots=True)
class ReceiptDraft:
    """A call in the making. `events` are in order, without the last ones."""

    receipt_id: str
    decision_id: str
    endpoint: str
    method: str
    model: str | None
    events: tuple[Event, ...]
    keyset_digest: str = ""  # in force when the call began, so that its receipt names what the call was carried by

    def with_event(self, kind: str, **members: Any) -> ReceiptDraft:
        """The draft with one more event."""
        return self._with((*self.events, new_event(kind, members)))

    def with_members(self, kind: str, members: Mapping[str, bytes]) -> ReceiptDraft:
        """The same of members that are canonical already."""
        return self._with((*self.events, Event(kind, encode_members({"type": b'"%b"' % kind.encode(), **members}))))

    def forwarded(self, body_hash: str) -> ReceiptDraft:
        """The draft of a call whose answer is to another body than the one that was forwarded first."""
        known = new_event("request.forwarded", {"body_hash": body_hash})
        return self._with(tuple(known if event.kind == known.kind else event for event in self.events))

    def unsent(self) -> ReceiptDraft:
        """The draft of a call that was refused when its way was known already: it went nowhere."""
        return self._with(tuple(event for event in self.events if event.kind not in ("route", "request.forwarded")))

    def _with(self, events: tuple[Event, ...]) -> ReceiptDraft:
        # Spelled out, since each call has five of them: `replace` takes four times as long.
        told = self.receipt_id, self.decision_id, self.endpoint, self.method, self.model
        return ReceiptDraft(*told, events, self.keyset_digest)

    @property
    def route(self) -> bytes | None:
        """The event of the decision that sent the call on, encoded; None for a call that was refused."""
        return next((event.encoded for event in self.events if event.kind == "route"), None)

    def encode(self) -> str:
        """JSON, for the database."""
        members = {name: encode_canonical(getattr(self, name)) for name in self.__slots__ if name != "events"}
        return encode_members(members | {"events": encode_items(event.encoded for event in self.events)}).decode()


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


def new_event(kind: str, members: dict[str, Any]) -> Event:
    """An event. Raises Malformed for members that have no canonical form."""
    return Event(kind, encode_canonical({"type": kind, **members}))


def new_draft(receipt_id: str, decision_id: str, endpoint: str, body: bytes, keyset_digest: str) -> ReceiptDraft:
    """The draft of a POST that has arrived whole, and begins under this keyset."""
    received = new_event("request.received", {"body_hash": digest_bytes(body)})
    return ReceiptDraft(receipt_id, decision_id, endpoint, "POST", None, (received,), keyset_digest)


def decode_draft(text: str) -> ReceiptDraft:
    """A draft from the database, or of a worker. Raises Malformed."""
    try:
        fields = json.loads(text)
        events = tuple(Event(event["type"], encode_canonical(event)) for event in fields["events"])
        return ReceiptDraft(**fields | {"events": events})
    except (ValueError, TypeError, KeyError):
        raise Malformed("calls.draft", "another text", "what a gateway stored: restore the database") from None


def close_draft(draft: ReceiptDraft, returned: Returned, chat_id: str | None, signer: Signer) -> dict[str, bytes]:
    """The members of the unsigned receipt, each in its canonical form.

    A `chat_id` that is no printable text of at most 512 characters is left out.
    """
    if chat_id is not None and (len(chat_id) > MAX_CHAT_ID or not chat_id.isprintable()):
        chat_id = None
    members = {
        "api_version": API_VERSION,
        "receipt_id": draft.receipt_id,
        "chat_id": chat_id,
        "model": draft.model,
        "endpoint": draft.endpoint,
        "method": draft.method,
        "served_at": signer.served_at,
        "key_id": signer.key_id,
        "workload_keyset_digest": signer.keyset_digest,
    }
    events = [event.encoded for event in (*draft.events, *_last_events(returned))]
    return {name: encode_canonical(value) for name, value in members.items()} | {"event_log": encode_items(events)}


def _last_events(returned: Returned) -> tuple[Event, Event]:
    answer = {
        "body_hash": "sha256:" + returned.sha256,
        "status": returned.status,
        "content_type": returned.content_type,
    }
    stream: dict[str, Any] = {"bytes": returned.size, "events": returned.events, "complete": returned.complete}
    if returned.checkpoint is not None:
        stream["checkpoint"] = returned.checkpoint
    return new_event("response.returned", answer), new_event("stream", stream)
