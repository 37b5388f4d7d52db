"""Asks witnesses to cosign checkpoints, and knows when their quorum has (C2SP tlog-witness; SPEC §15.3)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx2

from tee.errors import Malformed, Unavailable
from tee.log.checkpoint import Checkpoint, SignedCheckpoint, cosigned_at, open_checkpoint, parse_size
from tee.log.note import Note, NoteKey, NoteSignature, parse_note
from tee.log.witnesses import Witness, WitnessPolicy

LOG = logging.getLogger("saferouter")
TIMEOUT_SECONDS = 10.0
MAX_ANSWER_SIZE = 64 << 10

ProveConsistency = Callable[[int, int], list[bytes]]


class AheadOfUs(Exception):
    """A witness has seen a larger tree under this origin than the one that it was shown."""

    def __init__(self, witness: str, size: int) -> None:
        self.witness, self.size = witness, size
        super().__init__(f"witness {witness} has seen {size} leaves")


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a witness said."""

    status: int
    body: bytes


@dataclass(slots=True)
class WitnessClient:
    """One witness, and the size that it saw last."""

    witness: Witness
    http: httpx2.AsyncClient = field(repr=False)
    seen: int = 0

    async def cosign(self, signed: SignedCheckpoint, prove: ProveConsistency) -> NoteSignature:
        """Its cosignature. Raises Unavailable, AheadOfUs."""
        answer = await self._post(signed, prove)
        if answer.status == 409:  # it remembers another size than we do: it says which
            self.seen = self._size_of(answer)
            if self.seen > signed.checkpoint.size:
                raise AheadOfUs(self.witness.name, self.seen)
            answer = await self._post(signed, prove)
        if answer.status != 200:
            raise self._refused(answer.status)
        line = self._signature_of(answer, signed.note)
        self.seen = signed.checkpoint.size
        return line

    async def seen_of(self, log_key: NoteKey) -> Checkpoint | None:
        """The newest checkpoint that it shows of this log; None if it shows none that verifies."""
        name = hashlib.sha256(log_key.name.encode()).hexdigest()
        try:
            answer = await self._request("GET", f"{name}/checkpoint", b"")
            return open_checkpoint(answer.body, log_key, "checkpoint").checkpoint
        except (Unavailable, Malformed):
            return None

    async def _post(self, signed: SignedCheckpoint, prove: ProveConsistency) -> _Answer:
        proof = await asyncio.to_thread(prove, self.seen, signed.checkpoint.size)
        hashes = [base64.b64encode(value).decode() for value in proof]
        head = "\n".join([f"old {self.seen}", *hashes, "", ""]).encode()
        return await self._request("POST", "add-checkpoint", head + signed.note.encode())

    async def _request(self, method: str, path: str, content: bytes) -> _Answer:
        """One exchange, bounded in time and size whatever the witness does. Raises Unavailable."""
        url, body = f"{self.witness.url.rstrip('/')}/{path}", b""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS), self.http.stream(method, url, content=content) as answer:
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_ANSWER_SIZE:
                        reason = f"answers more than {MAX_ANSWER_SIZE} bytes"
                        raise Unavailable(f"witness {self.witness.name}", reason, retryable=False)
        except (httpx2.HTTPError, TimeoutError) as error:
            reason = f"does not answer ({type(error).__name__})"
            raise Unavailable(f"witness {self.witness.name}", reason, retryable=True) from None
        return _Answer(answer.status_code, body)

    def _size_of(self, answer: _Answer) -> int:
        try:
            return parse_size(answer.body[:32].decode("ascii", "replace").strip(), "size")
        except Malformed as error:
            reason = f"answered 409 without a size ({error})"
            raise Unavailable(f"witness {self.witness.name}", reason, retryable=False) from None

    def _signature_of(self, answer: _Answer, note: Note) -> NoteSignature:
        """The one line of this witness, verified. Other lines are not asked for, and not kept."""
        try:
            lines = parse_note(note.text.encode() + b"\n" + answer.body, "cosignature")
            if cosigned_at(lines, self.witness.key, "cosignature") is None:
                raise Malformed("cosignature", "no line by its key", self.witness.key.encode())
        except Malformed as error:
            raise Unavailable(f"witness {self.witness.name}", f"cosigned nothing ({error})", retryable=False) from None
        key = self.witness.key
        return next(line for line in lines.signatures if (line.name, line.key_id) == (key.name, key.key_id))

    def _refused(self, status: int) -> Unavailable:
        words = {
            403: "does not accept the log's signature: give its operator the log's verifying key",
            404: "does not know this log: give its operator the origin and the verifying key",
            422: "finds no consistency with what it saw: this log or the witness has lost its history",
        }
        reason = words.get(status, f"answered {status}")
        return Unavailable(f"witness {self.witness.name}", reason, retryable=status >= 500 or status == 429)


class Quorum:
    """The witnesses of this log's own policy."""

    def __init__(self, policy: WitnessPolicy) -> None:
        self._policy = policy
        self._http = httpx2.AsyncClient(follow_redirects=False)
        self._clients = [WitnessClient(witness, self._http) for witness in policy.witnesses.values() if witness.url]
        self._said: dict[str, str] = {}

    async def collect(self, signed: SignedCheckpoint, prove: ProveConsistency) -> SignedCheckpoint | None:
        """The checkpoint with the quorum's cosignatures; None if too few answered."""
        answers = await asyncio.gather(*(self._ask(client, signed, prove) for client in self._clients))
        lines = [line for line in answers if line is not None]
        note = Note(signed.note.text, (*signed.note.signatures, *lines))
        if not self._policy.reached(set(self._policy.cosigned(note, "checkpoint"))):
            return None
        return SignedCheckpoint(signed.checkpoint, note)

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()

    async def seen(self, log_key: NoteKey) -> list[Checkpoint]:
        """What the witnesses that answer have seen of this log."""
        found = await asyncio.gather(*(client.seen_of(log_key) for client in self._clients))
        return [checkpoint for checkpoint in found if checkpoint is not None]

    async def _ask(
        self, client: WitnessClient, signed: SignedCheckpoint, prove: ProveConsistency
    ) -> NoteSignature | None:
        name = client.witness.name
        try:
            line = await client.cosign(signed, prove)
        except (Unavailable, AheadOfUs) as error:
            if self._said.get(name) != str(error):  # once, not every few seconds
                self._said[name] = str(error)
                LOG.warning("%s", error)
            return None
        self._said.pop(name, None)
        return line
