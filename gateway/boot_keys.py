"""The keys by which answers are signed as they leave: made at boot, and held by every process that answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nacl.signing import SigningKey

from gateway.storage.calls import Progress
from tee.canonical import kind_of
from tee.errors import Malformed
from tee.keys.httpsig import SignedAnswer, sign_answer
from tee.keys.identity import hex_bytes
from tee.log.stream import sign_stream_checkpoint


@dataclass(frozen=True, slots=True)
class BootKeys:
    """Each signs one kind of message, about bytes that only the process which sends them has seen."""

    stream: SigningKey = field(default_factory=SigningKey.generate, repr=False)
    http: SigningKey = field(default_factory=SigningKey.generate, repr=False)

    def sign_checkpoint(self, sent: Progress, keyset_digest: str, now: int) -> dict[str, Any]:
        """The signed checkpoint of a stream of which that much has left (SPEC §7.4)."""
        document = {
            "receipt_id": sent.receipt_id,
            "workload_keyset_digest": keyset_digest,
            "events": sent.sent_events,
            "bytes": sent.sent_bytes,
            "body_hash": "sha256:" + sent.sent_sha256,
            "time": now,
        }
        return sign_stream_checkpoint(document, self.stream)

    def sign_answer(self, answer: SignedAnswer, now: int) -> dict[str, str]:
        """The signature fields of a buffered answer's head (SPEC §7.5)."""
        return sign_answer(answer, now, self.http)

    def encode(self) -> dict[str, str]:
        """SECRET: for a worker, over the connection that it inherited and nothing else."""
        return {"stream": bytes(self.stream).hex(), "http": bytes(self.http).hex()}


def decode_boot_keys(fields: Any) -> BootKeys:
    """The keys as the keeper gave them. Raises Malformed, without a word of what was found."""
    if not isinstance(fields, dict) or fields.keys() != {"stream", "http"}:
        raise Malformed("frame.boot_keys", kind_of(fields), "two seeds")
    seeds = {name: hex_bytes(value, 32, "frame.boot_keys") for name, value in fields.items()}
    return BootKeys(**{name: SigningKey(seed) for name, seed in seeds.items()})
