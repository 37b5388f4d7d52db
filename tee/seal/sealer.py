"""Sealer: seals small secrets so that only the same measured guest opens them again (SPEC §14)."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, Protocol

from nacl.utils import random

from tee.errors import TeeError, Unavailable, Undecryptable
from tee.seal.envelope import (
    DATA_KEY_SIZE,
    Envelope,
    Facts,
    Slot,
    encode_envelope,
    lock_payload,
    open_payload,
    parse_envelope,
    unwrap_data_key,
    wrap_data_key,
)


class Sealer(Protocol):
    """Seals for a purpose (lowercase words); what was sealed for one never opens for another."""

    def seal(self, plaintext: bytes, purpose: str) -> bytes:
        """An envelope around at most 64 KiB. Raises Unavailable, ValueError."""

    def unseal(self, envelope: bytes, purpose: str) -> bytes:
        """What was sealed. Raises Undecryptable, and Malformed or Unavailable for what its header says."""

    def refresh(self, envelope: bytes, purpose: str) -> bytes | None:
        """The next step of a hand-over, to be stored durably before the next call; None where nothing is due.

        Raises what unseal raises, where anything is due.
        """


class SecretSource(Protocol):
    """Where wrapping secrets come from: the firmware, a key service, a file. A call may block."""

    def new_secret(self, purpose: str) -> tuple[Facts, bytes]:
        """A secret (32 bytes) of this guest as it is now, and the facts that find it again. Raises Unavailable."""

    def secret_of(self, facts: Facts, purpose: str) -> bytes:
        """The secret (32 bytes) that these facts describe. Raises Undecryptable, Unavailable, Malformed."""

    def is_current(self, facts: Facts) -> bool:
        """Whether a secret of these facts needs no hand-over."""


class _Opened(NamedTuple):
    slot: Slot
    data_key: bytes
    plaintext: bytes

    def __repr__(self) -> str:
        return "_Opened()"


class EnvelopeSealer:
    """The Sealer over any source of secrets.

    A hand-over takes two steps, each stored whole: a second slot is added, and only when that slot has opened is
    the first one dropped. A crash between any two writes leaves an envelope that opens.
    """

    def __init__(self, source: SecretSource) -> None:
        self._source = source

    def seal(self, plaintext: bytes, purpose: str) -> bytes:
        """See Sealer."""
        data_key = random(DATA_KEY_SIZE)
        payload = lock_payload(plaintext, purpose, data_key)
        return encode_envelope(Envelope(purpose, payload, (self._new_slot(data_key, purpose),)))

    def unseal(self, envelope: bytes, purpose: str) -> bytes:
        """See Sealer."""
        return self._open(parse_envelope(envelope, purpose)).plaintext

    def refresh(self, envelope: bytes, purpose: str) -> bytes | None:
        """See Sealer."""
        parsed = parse_envelope(envelope, purpose)
        if len(parsed.slots) == 1 and self._source.is_current(parsed.slots[0].facts):
            return None
        opened = self._open(parsed)
        slots: tuple[Slot, ...] = (opened.slot,)
        if not self._source.is_current(opened.slot.facts):
            slots += (self._new_slot(opened.data_key, purpose),)
        return encode_envelope(replace(parsed, slots=slots))

    def _open(self, envelope: Envelope) -> _Opened:
        """Through the first slot that opens, current ones first. Raises the reason of the last one tried."""
        failure: TeeError = Undecryptable()
        for slot in sorted(envelope.slots, key=lambda slot: not self._source.is_current(slot.facts)):
            try:
                secret = self._source.secret_of(slot.facts, envelope.purpose)
                data_key = unwrap_data_key(slot, envelope.purpose, secret)
                return _Opened(slot, data_key, open_payload(envelope, data_key))
            except TeeError as error:
                failure = error
        raise failure

    def _new_slot(self, data_key: bytes, purpose: str) -> Slot:
        """A slot that is known to open: its secret is asked for twice."""
        facts, secret = self._source.new_secret(purpose)
        slot = wrap_data_key(data_key, purpose, facts, secret)
        try:
            if unwrap_data_key(slot, purpose, self._source.secret_of(facts, purpose)) == data_key:
                return slot
        except Undecryptable:
            pass
        raise Unavailable(str(facts["kind"]), "gave another key when asked again: nothing was sealed", retryable=False)
