"""AWS on this machine: a key service that answers only attested recipients, and the metadata of an instance."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tests.vectors import der
from tests.worlds.gateway import free_port

REGION = "eu-west-1"
ARN = f"arn:aws:kms:{REGION}:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ACCESS_KEY, SECRET_KEY, TOKEN = "ASIAWORLD", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session/token+with=="
GOOD_PCRS = {"4": "44" * 48, "7": "77" * 48, "12": "cc" * 48}
Answer = dict[str, Any]


class Refused(Exception):
    """A KMS error: status and type."""


def document(public_key: bytes, pcrs: dict[str, str] = GOOD_PCRS) -> bytes:
    """The attestation document of this world's hypervisor: what a real one says, unsigned."""
    return json.dumps({"pcrs": pcrs, "public_key": public_key.hex()}).encode()


def indefinite(tag: int, content: bytes) -> bytes:
    """BER: an element that ends with two zero bytes."""
    return bytes((tag, 0x80)) + content + b"\0\0"


def enveloped(plaintext: bytes, public_key: rsa.RSAPublicKey, ber: bool = False) -> bytes:
    """CMS EnvelopedData for one key (RFC 5652 §6.1), as KMS makes it; also in BER, in two pieces."""
    content_key, iv = secrets.token_bytes(32), secrets.token_bytes(16)
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES256(content_key), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()
    sha256 = der.sequence(der.oid("2.16.840.1.101.3.4.2.1"), der.null())
    mgf1 = der.sequence(der.oid("1.2.840.113549.1.1.8"), sha256)
    oaep = der.sequence(der.explicit(0, sha256), der.explicit(1, mgf1))
    wrapped = public_key.encrypt(content_key, padding.OAEP(padding.MGF1(SHA256()), SHA256(), None))
    recipient = der.sequence(
        der.integer(2),
        der.tlv(0x80, bytes(20)),
        der.sequence(der.oid("1.2.840.113549.1.1.7"), oaep),
        der.octets(wrapped),
    )
    algorithm = der.sequence(der.oid("2.16.840.1.101.3.4.1.42"), der.octets(iv))
    kind, data = der.oid("1.2.840.113549.1.7.3"), der.oid("1.2.840.113549.1.7.1")
    if not ber:
        content = der.sequence(data, algorithm, der.tlv(0x80, ciphertext))
        return der.sequence(kind, der.explicit(0, der.sequence(der.integer(2), der.set_of(recipient), content)))
    pieces = indefinite(0xA0, der.octets(ciphertext[:16]) + der.octets(ciphertext[16:]))
    content = indefinite(0x30, data + algorithm + pieces)
    body = indefinite(0x30, der.integer(2) + der.set_of(recipient) + content)
    return indefinite(0x30, kind + indefinite(0xA0, body))


def signature_of(method: str, url: str, headers: dict[str, str], body: bytes, region: str, service: str) -> str:
    """The signature that botocore makes of a request, its time and token taken from its headers."""
    credentials = Credentials(ACCESS_KEY, SECRET_KEY)
    request = AWSRequest(method=method, url=url, data=body, headers=headers)
    request.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(credentials, service, region)
    return str(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))


class KmsWorld:
    """One key. Its policy allows only boot images with these PCRs. `lie` changes what is answered."""

    def __init__(self) -> None:
        self.pcrs = dict(GOOD_PCRS)
        self.ber = False
        self.key_size = 32
        self.lie: Callable[[Answer], Answer] = lambda answer: answer
        self.raw: tuple[int, bytes] | None = None
        self.requests: list[tuple[str, Answer]] = []
        self._key = AESGCM(secrets.token_bytes(32))
        self.endpoint = ""

    def answer(self, action: str, request: Answer) -> Answer:
        """What KMS does with a request whose signature held."""
        self.requests.append((action, request))
        if request["KeyId"] != ARN:
            raise Refused(400, "NotFoundException")
        recipient = request.get("Recipient")
        if recipient is None or recipient["KeyEncryptionAlgorithm"] != "RSAES_OAEP_SHA_256":
            raise Refused(400, "AccessDeniedException")  # no RecipientAttestation value: the condition cannot hold
        attested = json.loads(base64.b64decode(recipient["AttestationDocument"]))
        if attested["pcrs"] != self.pcrs:
            raise Refused(400, "AccessDeniedException")
        public_key = load_der_public_key(bytes.fromhex(attested["public_key"]))
        assert isinstance(public_key, rsa.RSAPublicKey) and public_key.key_size == 2048
        context = json.dumps(request["EncryptionContext"], sort_keys=True).encode()
        answer = {"KeyId": ARN}
        if action == "GenerateDataKey":
            assert request["KeySpec"] == "AES_256"
            plaintext, nonce = secrets.token_bytes(self.key_size), secrets.token_bytes(12)
            blob = nonce + self._key.encrypt(nonce, plaintext, context)
            answer["CiphertextBlob"] = base64.b64encode(blob).decode()
        else:
            assert action == "Decrypt"
            blob = base64.b64decode(request["CiphertextBlob"])
            try:
                plaintext = self._key.decrypt(blob[:12], blob[12:], context)
            except InvalidTag:
                raise Refused(400, "InvalidCiphertextException") from None
        cms = enveloped(plaintext, public_key, self.ber)
        return self.lie(answer | {"CiphertextForRecipient": base64.b64encode(cms).decode()})


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server on a free port of the loopback; its origin."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Quiet(BaseHTTPRequestHandler):
    """Logs nothing, and closes after each answer."""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def kms_world() -> Iterator[KmsWorld]:
    """The key service, over a real socket."""
    world = KmsWorld()

    class Handler(Quiet):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if world.raw is not None:
                return self.reply(*world.raw)
            try:
                self._require_signature(body)
                action = self.headers["x-amz-target"].removeprefix("TrentService.")
                return self.reply(200, json.dumps(world.answer(action, json.loads(body))).encode())
            except Refused as refusal:
                status, kind = refusal.args
                fault = {"__type": kind, "message": f"User {ACCESS_KEY} with {TOKEN} may not"}
                return self.reply(status, json.dumps(fault).encode())

        def _require_signature(self, body: bytes) -> None:
            signed = self.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
            headers = {name: self.headers[name] for name in signed}
            wanted = {"host", "x-amz-date", "x-amz-target", "x-amz-security-token", "content-type"}
            if set(signed) != wanted or headers["x-amz-security-token"] != TOKEN:
                raise Refused(400, "IncompleteSignatureException")
            expected = signature_of("POST", world.endpoint + "/", headers, body, REGION, "kms")
            if not self.headers["authorization"].endswith(f"Signature={expected}"):
                raise Refused(400, "InvalidSignatureException")

    with served(Handler) as world.endpoint:
        yield world


@contextmanager
def metadata_world(answers: dict[str, tuple[int, bytes]]) -> Iterator[str]:
    """An instance's metadata service (IMDSv2): `answers` by the end of the path. No token, no answer."""

    class Handler(Quiet):
        def do_PUT(self) -> None:
            assert self.path == "/latest/api/token" and self.headers["x-aws-ec2-metadata-token-ttl-seconds"]
            self.reply(*answers.get("token", (200, b"a-session")))

        def do_GET(self) -> None:
            if self.headers["x-aws-ec2-metadata-token"] != "a-session":
                return self.reply(401, b"")
            folder, _, name = self.path.rpartition("/")
            assert folder == "/latest/meta-data/iam/security-credentials"
            return self.reply(*answers[name])

    with served(Handler) as url:
        yield url


@contextmanager
def moto_server() -> Iterator[str]:
    """moto's imitation of AWS, in a process of its own. It asks for no rights until /moto-api/reset-auth is posted."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environ = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "1000000"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx2.get(f"{url}/moto-api/data.json", trust_env=False, verify=False)
                break
            except httpx2.HTTPError:
                assert process.poll() is None, "moto did not start"
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(10)
