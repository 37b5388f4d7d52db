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
from tee.log.checkpoint import SignedCheckpoint, cosigned_at, open_checkpoint, parse_size
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


@dataclass(slots=True)
class WitnessClient:
    """One witness, and the size that it saw last."""

    witness: Witness
    http: httpx2.AsyncClient = field(repr=False)
    seen: int = 0

    async def cosign(self, signed: SignedCheckpoint, prove: ProveConsistency) -> NoteSignature:
        """Its cosignature. Raises Unavailable, AheadOfUs."""
        answer = await self._post(signed, prove)
        if answer.status_code == 409:  # it remembers another size than we do: it says which
            self.seen = self._size_of(answer)
            if self.seen > signed.checkpoint.size:
                raise AheadOfUs(self.witness.name, self.seen)
            answer = await self._post(signed, prove)
        if answer.status_code != 200:
            raise self._refused(answer.status_code)
        line = self._signature_of(answer, signed.note)
        self.seen = signed.checkpoint.size
        return line

    async def seen_of(self, log_key: NoteKey) -> int:
        """The size of the newest checkpoint that it shows of this log; 0 if it shows none that verifies."""
        name = hashlib.sha256(log_key.name.encode()).hexdigest()
        try:
            answer = await self.http.get(f"{self.witness.url.rstrip('/')}/{name}/checkpoint", timeout=TIMEOUT_SECONDS)
            signed = open_checkpoint(answer.content[:MAX_ANSWER_SIZE], log_key, "checkpoint")
        except (httpx2.HTTPError, Malformed):
            return 0
        return signed.checkpoint.size

    async def _post(self, signed: SignedCheckpoint, prove: ProveConsistency) -> httpx2.Response:
        hashes = [base64.b64encode(value).decode() for value in prove(self.seen, signed.checkpoint.size)]
        head = "\n".join([f"old {self.seen}", *hashes, "", ""]).encode()
        url = f"{self.witness.url.rstrip('/')}/add-checkpoint"
        try:
            return await self.http.post(url, content=head + signed.note.encode(), timeout=TIMEOUT_SECONDS)
        except httpx2.HTTPError as error:
            reason = f"does not answer ({type(error).__name__})"
            raise Unavailable(f"witness {self.witness.name}", reason, retryable=True) from None

    def _size_of(self, answer: httpx2.Response) -> int:
        try:
            return parse_size(answer.text[:32].strip(), "size")
        except Malformed as error:
            reason = f"answered 409 without a size ({error})"
            raise Unavailable(f"witness {self.witness.name}", reason, retryable=False) from None

    def _signature_of(self, answer: httpx2.Response, note: Note) -> NoteSignature:
        """The one line of this witness, verified. Other lines are not asked for, and not kept."""
        try:
            lines = parse_note(note.text.encode() + b"\n" + answer.content[:MAX_ANSWER_SIZE], "cosignature")
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

    async def largest_seen(self, log_key: NoteKey) -> int:
        """The largest tree of this log that a witness says it has seen, 0 where none answers."""
        sizes = await asyncio.gather(*(client.seen_of(log_key) for client in self._clients))
        return max(sizes, default=0)

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
