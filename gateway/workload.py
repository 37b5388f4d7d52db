"""The workload: its keys, its keyset, and the evidence over it."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from gateway.build import build_version, repo_commit
from gateway.config import Config
from gateway.draft import Signer
from gateway.errors import RateLimited
from gateway.platform_evidence import make_platform_evidence
from tee.attest.attester import Attester, PlatformAttester
from tee.canonical import digest
from tee.errors import Malformed, Unavailable
from tee.evidence import Evidence
from tee.keys.binding import encode_statement, report_data_of
from tee.keys.identity import identity_message, subject_of
from tee.log.receipt import sign_receipt
from tee.private_files import write_private
from tee.quote import FORMAT, encode_base64
from tee.snp.report import parse_report
from tee.verify import verify_report

IDENTITY_FILE = "identity.key"
RENEW_CHECK_SECONDS = 30.0
RETRY_AFTER_SECONDS = 2.0


def load_identity(folder: Path) -> SigningKey:
    """The persistent identity, a 32-byte Ed25519 seed (mode 0600), made on first use. Raises Malformed."""
    path = folder / IDENTITY_FILE
    if not path.exists():
        write_private(path, bytes(SigningKey.generate()))
    seed = path.read_bytes()
    if len(seed) != 32:
        raise Malformed(str(path), f"{len(seed)} bytes", "32 bytes: restore it, or delete it to start a new identity")
    return SigningKey(seed)


def workload_document(config: Config, source: str, identity_key: bytes) -> dict[str, Any]:
    """The workload document (SPEC §4.3): what this instance is, and how it is configured."""
    digests = config.digests()
    seed = b"".join(bytes.fromhex(text[7:]) for text in (source, digests["providers"], digests["models"]))
    return {
        "version": 1,
        "audience": config.audience,
        "build": {
            "version": build_version(),
            "repo_url": config.repo_url,
            "repo_commit": repo_commit(),
            "image_digest": None,
            "source_digest": source,
        },
        "configuration": digests,
        "seed_measurement": "sha256:" + hashlib.sha256(seed).hexdigest(),
        "identity_key": identity_key.hex(),
        "http_signature_key": None,
        "stream_key": None,
        "log": None,
        "platform_evidence": list(config.platform_evidence),
    }


@dataclass(frozen=True, slots=True)
class Keyset:
    """A keyset in force: its document, its digest, and when it ends (seconds since 1970)."""

    document: dict[str, Any]
    digest: str
    not_after: int


class WorkloadKeys:
    """The keys of this boot. Each has one purpose; the receipt key signs receipts and nothing else."""

    def __init__(self, identity: SigningKey, workload: dict[str, Any], lifetime: int, now: Callable[[], float]) -> None:
        self._identity = identity
        self._receipt_key = SigningKey.generate()
        self._receipt_key_id = "receipt-" + secrets.token_hex(8)
        self._lifetime = lifetime
        self._now = now
        self.workload = workload
        self.keyset = self.new_keyset()

    def __repr__(self) -> str:
        return f"WorkloadKeys({self.keyset.digest})"

    def new_keyset(self) -> Keyset:
        """A keyset over the same keys that ends one lifetime from now."""
        not_after = int(self._now()) + self._lifetime
        public = bytes(self._receipt_key.verify_key).hex()
        document = {
            "subject": subject_of(digest(self.workload)),
            "not_after": not_after,
            "receipt_signing_keys": [{"key_id": self._receipt_key_id, "algo": "ed25519", "public_key": public}],
            "e2ee_public_keys": [],
            "tls_public_keys": [],
        }
        return Keyset(document, digest(document), not_after)

    @property
    def half_spent(self) -> bool:
        """Whether the keyset has lived half its life: time to renew."""
        return self._now() > self.keyset.not_after - self._lifetime / 2

    def sign_receipt(self, document: dict[str, Any]) -> dict[str, Any]:
        """The receipt with its signature."""
        return sign_receipt(document, self._receipt_key)

    def signer(self) -> Signer:
        """Who signs now."""
        return Signer(self.keyset.digest, self._receipt_key_id, int(self._now()))

    def sign_keyset(self, keyset: Keyset) -> str:
        """The identity's signature over a keyset, hex."""
        return self._identity.sign(identity_message(keyset.digest)).signature.hex()

    def verifying_keys(self) -> dict[str, Any]:
        """The public keys: identity, log, receipt."""
        return {
            "identity_key": bytes(self._identity.verify_key).hex(),
            "log": None,
            "receipt_signing_keys": self.keyset.document["receipt_signing_keys"],
            "workload_keyset_digest": self.keyset.digest,
        }


class QuoteDesk:
    """Hands out quotes: one device, one worker, a bounded queue; each nonce gets a report of its own."""

    def __init__(
        self, attester: Attester, keys: WorkloadKeys, max_waiting: int, platform: PlatformAttester | None = None
    ) -> None:
        self._attester = attester
        self._platform = platform
        self._keys = keys
        self._max_waiting = max_waiting
        self._waiting = 0
        self._worker = ThreadPoolExecutor(1, "attester")
        self._current: dict[str, Any] | None = None

    @property
    def tee_type(self) -> str:
        """`sev_snp` or `mock`."""
        return self._attester.tee_type

    async def start(self, store: Callable[[str, str], None]) -> None:
        """Make the boot quote, check it, and store it before the keyset signs anything."""
        await self._adopt(self._keys.keyset, store)

    async def renew(self, store: Callable[[str, str], None]) -> None:
        """Background work: a new keyset at half life, attested and stored before it is used."""
        while True:
            await asyncio.sleep(RENEW_CHECK_SECONDS)
            if self._keys.half_spent:
                await self._adopt(self._keys.new_keyset(), store)

    async def _adopt(self, keyset: Keyset, store: Callable[[str, str], None]) -> None:
        quote = await self._make(keyset, None)
        await asyncio.to_thread(store, keyset.digest, json.dumps(quote))
        self._keys.keyset, self._current = keyset, quote

    async def quote(self, nonce: bytes | None) -> dict[str, Any]:
        """A quote over this nonce (32 bytes); without one, the shared quote. Raises RateLimited, Unavailable."""
        if nonce is None and self._current is not None:
            return self._current
        if self._waiting >= self._max_waiting:
            raise RateLimited(
                f"{self._waiting} quotes are being made already: try again in a moment", retry_after=RETRY_AFTER_SECONDS
            )
        self._waiting += 1
        try:
            return await self._make(self._keys.keyset, nonce)
        finally:
            self._waiting -= 1

    async def _make(self, keyset: Keyset, nonce: bytes | None) -> dict[str, Any]:
        statement = encode_statement(keyset.digest, nonce)
        loop = asyncio.get_running_loop()
        evidence = await loop.run_in_executor(self._worker, self._attest, report_data_of(statement))
        platform = await loop.run_in_executor(self._worker, self._attest_platform, evidence.report, nonce)
        ends = evidence.endorsements
        return {
            "format": FORMAT,
            "tee_type": self._attester.tee_type,
            "report_b64": encode_base64(evidence.report),
            "endorsements": {
                "kind": "mock"
                if self._attester.tee_type == "mock"
                else parse_report(evidence.report).signing_key.name.lower(),
                "vek_b64": encode_base64(ends.vek),
                "ask_b64": encode_base64(ends.intermediate),
                "ark_b64": encode_base64(ends.ark),
                "crl_b64": None if ends.crl is None else encode_base64(ends.crl),
            },
            "statement": statement.decode(),
            "keyset": keyset.document,
            "workload": self._keys.workload,
            "identity_signature": self._keys.sign_keyset(keyset),
            "platform_evidence": platform,
            "log": None,
        }

    def _attest_platform(self, report: bytes, nonce: bytes | None) -> list[dict[str, str]]:
        return make_platform_evidence(self._platform, report, nonce, mock=self._attester.tee_type == "mock")

    def _attest(self, report_data: bytes) -> Evidence:
        """A report that verifies: one that would not is never served."""
        evidence = self._attester.attest(report_data)
        mock = self._attester.tee_type == "mock"
        verdict = verify_report(evidence, now=dt.datetime.now(dt.UTC), policy=None, accept_mock=mock)
        if verdict.outcome != "authentic":
            raise Unavailable("attester", f"its own report does not verify: {verdict.sentence()}", retryable=False)
        if parse_report(evidence.report).report_data != report_data:
            raise Unavailable("attester", "its report is over other data than was asked", retryable=False)
        return evidence
