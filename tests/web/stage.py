"""The stage of the page's tests: a server for the page, and a gateway that says whatever a test wants."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from tee.attest.mock import MockChip
from tee.canonical import digest
from tee.keys.binding import encode_statement, report_data_of
from tee.keys.identity import identity_message, subject_of
from tee.quote import FORMAT, encode_base64

ZERO_DIGEST = "sha256:" + "0" * 64
IDENTITY, RECEIPT_KEY = SigningKey(b"i" * 32), SigningKey(b"r" * 32)

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class StubGateway:
    """A gateway without a pipeline: `answer(method, path, body)` is all it does. It remembers what it was asked."""

    origin: str = ""
    answer: Callable[[str, str, bytes], Answer] = lambda *_: (404, {}, b"")
    asked: list[tuple[str, str, bytes, str | None]] = field(default_factory=list)

    def nonce(self) -> bytes:
        """The nonce of the last quote request."""
        body = next(body for method, path, body, _ in reversed(self.asked) if path == "/attestation/quote")
        return bytes.fromhex(json.loads(body)["nonce"])


class _QuietPages(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Tests print nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The files of `folder` at an http origin."""
    with _running(ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietPages, directory=str(folder)))) as origin:
        yield origin


@contextmanager
def stub_gateway() -> Iterator[StubGateway]:
    """A StubGateway at its own origin, open to pages of every other."""
    gateway = StubGateway()

    class Handler(BaseHTTPRequestHandler):
        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            if self.command == "OPTIONS":
                reply: Answer = (204, {}, b"")
            else:
                gateway.asked.append((self.command, self.path, body, self.headers.get("authorization")))
                reply = gateway.answer(self.command, self.path, body)
            status, headers, answer = reply
            cors = {"access-control-allow-origin": "*", "access-control-allow-headers": "content-type, authorization"}
            self.send_response(status)
            for name, value in {**cors, **headers, "content-length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(answer)
            except ConnectionError:
                self.close_connection = True  # the page reads no more than it wants

        do_GET = do_POST = do_OPTIONS = _respond  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Tests print nothing."""

    with _running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as gateway.origin:
        yield gateway


@contextmanager
def _running(server: ThreadingHTTPServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def new_quote(chip: MockChip, audience: str, nonce: bytes | None, not_after: int | None = None) -> dict[str, Any]:
    """An honest quote of a mock gateway, its keys valid for three days unless told otherwise."""
    workload = {
        "version": 1,
        "audience": audience,
        "build": {
            "version": "0.1.0",
            "repo_url": "https://git.example/saferouter",
            "repo_commit": "0" * 40,
            "image_digest": None,
            "source_digest": ZERO_DIGEST,
        },
        "configuration": dict.fromkeys(("providers", "models", "policies", "prices", "settings"), ZERO_DIGEST),
        "seed_measurement": ZERO_DIGEST,
        "identity_key": IDENTITY.verify_key.encode().hex(),
        "http_signature_key": None,
        "stream_key": None,
        "log": None,
        "platform_evidence": [],
    }
    keyset = {
        "subject": subject_of(digest(workload)),
        "not_after": not_after or int(dt.datetime.now(dt.UTC).timestamp()) + 3 * 24 * 3600,
        "receipt_signing_keys": [
            {"key_id": "receipt-1", "algo": "ed25519", "public_key": RECEIPT_KEY.verify_key.encode().hex()}
        ],
        "e2ee_public_keys": [],
        "tls_public_keys": [],
    }
    statement = encode_statement(digest(keyset), nonce)
    evidence = chip.attest(report_data_of(statement))
    endorsements = evidence.endorsements
    return {
        "format": FORMAT,
        "tee_type": "mock",
        "report_b64": encode_base64(evidence.report),
        "endorsements": {
            "kind": "mock",
            "vek_b64": encode_base64(endorsements.vek),
            "ask_b64": encode_base64(endorsements.intermediate),
            "ark_b64": encode_base64(endorsements.ark),
            "crl_b64": encode_base64(endorsements.crl or b""),
        },
        "statement": statement.decode(),
        "keyset": keyset,
        "workload": workload,
        "identity_signature": IDENTITY.sign(identity_message(digest(keyset))).signature.hex(),
        "platform_evidence": [],
        "log": None,
    }


def json_answer(document: Any) -> Answer:
    """A 200 with this document."""
    return 200, {"content-type": "application/json"}, json.dumps(document).encode()
