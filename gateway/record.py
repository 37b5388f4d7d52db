"""What a call needs of the record, whether that is kept in this process or in the keeper's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gateway.draft import ReceiptDraft, Returned
from gateway.money.bill import Reservation
from gateway.storage.calls import Activity, Progress
from tee.keys.httpsig import SignedAnswer


class AnswerSigner(Protocol):
    """What signs answers as they leave."""

    def sign_checkpoint(self, sent: Progress, keyset_digest: str) -> dict[str, Any]:
        """The signed checkpoint of a stream of which that much has left, begun under that keyset (SPEC §7.4)."""

    def sign_answer(self, answer: SignedAnswer) -> dict[str, str]:
        """The signature fields of a buffered answer, whose receipt is durable (SPEC §7.5)."""


class StreamRecord(AnswerSigner, Protocol):
    """What a relay needs."""

    def follow(self, draft: ReceiptDraft, progress: Callable[[], Progress]) -> None:
        """Note a stream's draft now, and its progress until it is closed."""

    def submit_close(
        self, draft: ReceiptDraft, returned: Returned, chat_id: str | None, activity: Activity | None
    ) -> object:
        """Have the receipt signed and stored; usable while a task is being cancelled, because it awaits nothing."""

    async def close(
        self, draft: ReceiptDraft, returned: Returned, chat_id: str | None, activity: Activity | None
    ) -> None:
        """Have the receipt signed and stored, durably. Raises GatewayError."""


class CallRecord(StreamRecord, Protocol):
    """What the pipeline needs."""

    def require_keyset(self) -> str:
        """The digest of the keyset in force. Raises KeysetExpired: what begins now could get no receipt."""

    async def open(self, draft: ReceiptDraft, key_id: str, wanted: Reservation | None = None) -> int | None:
        """Open a call, durably; the index of its `route` leaf, None for a call that goes nowhere. Raises GatewayError:
        InsufficientCredits where `wanted` cannot be held, and then it is open as `draft.unsent()`.

        Whatever comes of a caller that is cancelled meanwhile, its receipt is written.
        """
