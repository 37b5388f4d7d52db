"""A streamed answer: the provider's bytes to the client, our event before their end, the receipt before the last."""

from __future__ import annotations

from collections.abc import AsyncIterator

from gateway.call import CLIENT_LEFT, STREAM_TYPE, Call, Sent
from gateway.dialects.dialect import Passage
from gateway.errors import UpstreamFailed, failure_of
from gateway.record import StreamRecord
from gateway.storage.calls import Progress
from gateway.stream_checkpoints import StreamCheckpoints
from gateway.upstream import UpstreamAnswer


class Relay:
    """One stream. Whatever happens to it, exactly one receipt is signed."""

    def __init__(self, call: Call, answer: UpstreamAnswer, audit: StreamRecord, passage: Passage) -> None:
        self._call = call
        self._answer = answer
        self._audit = audit
        self._passage = passage
        self._sent = sent = Sent(200, STREAM_TYPE)
        self._recorded = False
        draft = call.draft  # the signer does not hold this relay: each would wait for the garbage collector
        self._checkpoints = StreamCheckpoints(
            sent,
            lambda: audit.sign_checkpoint(sent.progress(draft.receipt_id), draft.keyset_digest),
            in_band=call.demands.checkpoints,
        )
        audit.follow(call.draft, self._signed_progress)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes for the client. Raises NotRecorded before the last of them if the receipt cannot be stored."""
        try:
            async for chunk in self._answer.chunks():
                if ready := self._passage.push(chunk):
                    yield ready
                    self._sent.add(ready)  # the reader came back for more, so these were taken
                    self._checkpoints.sign_due()
                    if comment := self._checkpoints.comment():
                        yield comment
                        self._sent.add(comment)
            tail, complete = self._ending()
        except UpstreamFailed as error:
            tail, complete = self._passage.closing(self._call.attestation_wanted(), failure_of(error)), False
        activity = self._call.meter.read(200, self._passage.seen().usage, partial=not complete)
        await self._audit.close(self._call.draft, self._sent.followed_by(tail, complete), self._chat_id, activity)
        self._recorded = True
        yield tail

    async def close(self) -> None:
        """Let go of the provider; a stream that was cut gets its receipt now."""
        if not self._recorded:
            self._recorded = True
            activity = self._call.meter.read(CLIENT_LEFT, self._passage.seen().usage, partial=True)
            self._audit.submit_close(self._call.draft, self._sent.returned(False), self._chat_id, activity)
        await self._answer.close()

    def _progress(self) -> Progress:
        return self._sent.progress(self._call.draft.receipt_id)

    def _signed_progress(self) -> Progress:
        """What has left, and the newest checkpoint of it: a stream that has slowed down is signed for here."""
        self._checkpoints.sign_due()
        return self._progress()

    @property
    def _chat_id(self) -> str | None:
        return self._passage.seen().chat_id or None

    def _ending(self) -> tuple[bytes, bool]:
        """The last bytes of a stream whose provider has ended, and whether the answer is whole."""
        tail = self._passage.closing(self._call.attestation_wanted())
        return tail, self._passage.seen().whole
