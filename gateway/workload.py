"""The workload: its keys, its keyset, and the documents about it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nacl.signing import SigningKey

from gateway.boot_keys import BootKeys
from gateway.build import build_version, repo_commit
from gateway.config import Config
from gateway.draft import Signer
from gateway.storage.calls import Progress
from tee.canonical import digest
from tee.evidence import Evidence
from tee.keys.httpsig import SignedAnswer
from tee.keys.identity import identity_message, subject_of
from tee.log.note import NoteKey
from tee.log.receipt import sign_encoded
from tee.log.sample import sign_sample
from tee.quote import FORMAT, encode_base64
from tee.snp.report import parse_report

Document = dict[str, Any]


def workload_document(
    config: Config, source: str, identity_key: bytes, log_key: NoteKey, boot_keys: BootKeys
) -> dict[str, Any]:
    """The workload document (SPEC §4.3): what this instance is, and how it is configured."""
    document = {
        "version": 1,
        "audience": config.audience,
        "build": {
            "version": build_version(),
            "repo_url": config.repo_url,
            "repo_commit": repo_commit(),
            "image_digest": None,
            "source_digest": source,
        },
        "identity_key": identity_key.hex(),
        "http_signature_key": bytes(boot_keys.http.verify_key).hex(),
        "stream_key": bytes(boot_keys.stream.verify_key).hex(),
        "log": {"origin": log_key.name, "vkey": log_key.encode()},
        "platform_evidence": list(config.platform_evidence),
    }
    return configured(document, config)


def configured(workload: Document, config: Config) -> Document:
    """The same workload under this configuration."""
    digests, source = config.digests(), workload["build"]["source_digest"]
    seed = b"".join(bytes.fromhex(text[7:]) for text in (source, digests["providers"], digests["models"]))
    return workload | {
        "configuration": digests,
        "seed_measurement": "sha256:" + hashlib.sha256(seed).hexdigest(),
    }


@dataclass(frozen=True, slots=True)
class Keyset:
    """A keyset: its document, its digest, when it ends (seconds since 1970), and the workload that it names."""

    document: dict[str, Any]
    digest: str
    not_after: int
    workload: Document = field(repr=False)


class WorkloadKeys:
    """The keys of this boot. Each has one purpose; the receipt key signs receipts and nothing else."""

    def __init__(
        self,
        identity: SigningKey,
        boot_keys: BootKeys,
        workload: dict[str, Any],
        lifetime: int,
        now: Callable[[], float],
    ) -> None:
        """`workload` must name the public halves of `boot_keys`."""
        self._identity = identity
        self.boot_keys = boot_keys
        self._receipt_key = SigningKey.generate()
        self._receipt_key_id = "receipt-" + secrets.token_hex(8)
        self.lifetime = lifetime
        self._now = now
        self.keyset = self.new_keyset(workload)
        self._ends: dict[str, int] = {}  # of every keyset that was in force

    def __repr__(self) -> str:
        return f"WorkloadKeys({self.keyset.digest})"

    def new_keyset(self, workload: Document | None = None) -> Keyset:
        """A keyset over the same keys, and over the same workload if no other is given, for one lifetime from now."""
        workload = self.workload if workload is None else workload
        not_after = int(self._now()) + self.lifetime
        public = bytes(self._receipt_key.verify_key).hex()
        document = {
            "subject": subject_of(digest(workload)),
            "not_after": not_after,
            "receipt_signing_keys": [{"key_id": self._receipt_key_id, "algo": "ed25519", "public_key": public}],
            "e2ee_public_keys": [],
            "tls_public_keys": [],
        }
        return Keyset(document, digest(document), not_after, workload)

    def put_in_force(self, keyset: Keyset) -> None:
        """From now on calls begin under this keyset, whose evidence is recorded."""
        now = self._now()
        self._ends = {name: end for name, end in self._ends.items() if end > now} | {keyset.digest: keyset.not_after}
        self.keyset = keyset

    @property
    def workload(self) -> Document:
        """What the keyset in force names."""
        return self.keyset.workload

    @property
    def life_left(self) -> float:
        """How much of the keyset's life is left: 1 at first, 0 or less once it has ended and may sign nothing."""
        return (self.keyset.not_after - self._now()) / self.lifetime

    def sign_receipt(self, members: dict[str, bytes]) -> bytes:
        """The signed receipt of these members; both are canonical."""
        return sign_encoded(members, self._receipt_key)

    def sign_checkpoint(self, sent: Progress, keyset_digest: str) -> dict[str, Any]:
        """A stream's checkpoint with its signature (SPEC §7.4)."""
        return self.boot_keys.sign_checkpoint(sent, keyset_digest, int(self._now()))

    def sign_answer(self, answer: SignedAnswer) -> dict[str, str]:
        """The signature fields of a buffered answer's head (SPEC §7.5)."""
        return self.boot_keys.sign_answer(answer, int(self._now()))

    def signer(self, keyset_digest: str) -> Signer:
        """Who signs now for a call that began under that keyset: it, while it lasts; of another boot's, the one in
        force.
        """
        now = int(self._now())
        lasts = self._ends.get(keyset_digest, 0) > now
        return Signer(keyset_digest if lasts else self.keyset.digest, self._receipt_key_id, now)

    def sign_keyset(self, keyset: Keyset) -> str:
        """The identity's signature over a keyset, hex."""
        return self._identity.sign(identity_message(keyset.digest)).signature.hex()

    def sign_sample(self, sample: dict[str, Any]) -> dict[str, Any]:
        """An audit sample with the identity's signature (SPEC §15.14)."""
        return sign_sample(sample, self._identity)

    def verifying_keys(self) -> dict[str, Any]:
        """The public keys: identity, log, receipt."""
        return {
            "identity_key": bytes(self._identity.verify_key).hex(),
            "log": self.workload["log"],
            "receipt_signing_keys": self.keyset.document["receipt_signing_keys"],
            "workload_keyset_digest": self.keyset.digest,
        }


def quote_document(
    keys: WorkloadKeys, keyset: Keyset, tee_type: str, evidence: Evidence, statement: bytes, platform: list[Document]
) -> Document:
    """The quote (SPEC §4.5): what is attested, and the evidence for it."""
    ends = evidence.endorsements
    kind = "mock" if tee_type == "mock" else parse_report(evidence.report).signing_key.name.lower()
    return {
        "format": FORMAT,
        "tee_type": tee_type,
        "report_b64": encode_base64(evidence.report),
        "endorsements": {
            "kind": kind,
            "vek_b64": encode_base64(ends.vek),
            "ask_b64": encode_base64(ends.intermediate),
            "ark_b64": encode_base64(ends.ark),
            "crl_b64": None if ends.crl is None else encode_base64(ends.crl),
        },
        "statement": statement.decode(),
        "keyset": keyset.document,
        "workload": keyset.workload,
        "identity_signature": keys.sign_keyset(keyset),
        "platform_evidence": platform,
        "log": None,
    }
