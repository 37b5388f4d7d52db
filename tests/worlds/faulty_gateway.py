"""`saferouter` with a fault of its own: where a provider says FAULT it fails in a way that nobody has foreseen."""

from __future__ import annotations

import tee.cli
from gateway.dialects.dialect import Attestation, Seen
from gateway.relay import Relay
from gateway.translate import Exchange

_answer, _ending = Exchange.answer, Relay._ending


def _answer_or_fail(exchange: Exchange, body: bytes, attestation: Attestation | None) -> tuple[bytes, Seen]:
    if b"FAULT" in body:
        raise ZeroDivisionError
    return _answer(exchange, body, attestation)


def _end_or_fail(relay: Relay) -> tuple[bytes, bool]:
    if b"FAULT" in relay._reached.body:
        raise ZeroDivisionError
    return _ending(relay)


if __name__ == "__main__":
    Exchange.answer = _answer_or_fail  # type: ignore[assignment, method-assign]
    Relay._ending = _end_or_fail  # type: ignore[assignment, method-assign]
    tee.cli.main()
