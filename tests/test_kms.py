"""AWS: signatures, credentials, data keys that only an attested recipient reads, and sealing under them."""

from __future__ import annotations

import base64
import datetime as dt
import json
import logging
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from gateway.config import decode_config, read_aws_credentials
from gateway.sealing import choose_sealing, load_key
from tee.aws.cms import open_enveloped_data
from tee.aws.credentials import fetch_credentials
from tee.aws.kms import AttestKey, KmsKey
from tee.aws.kms_key import KmsKeyName, parse_key_name
from tee.aws.sigv4 import AwsCredentials, AwsScope, sign_request
from tee.errors import Malformed, TeeError, Unavailable, Undecryptable
from tee.seal.kms import KmsSource
from tee.seal.sealer import EnvelopeSealer, Sealer
from tests.contracts.sealer import CONTRACT
from tests.vectors import der
from tests.worlds.kms import (
    ACCESS_KEY,
    ARN,
    GOOD_PCRS,
    REGION,
    SECRET_KEY,
    TOKEN,
    KmsWorld,
    document,
    enveloped,
    kms_world,
    metadata_world,
    moto_server,
    signature_of,
)

AUDIENCE = "https://gw.example.com"
CREDENTIALS = AwsCredentials(ACCESS_KEY, SECRET_KEY, TOKEN)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@pytest.fixture
def world() -> Iterator[KmsWorld]:
    with kms_world() as running:
        yield running


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def sealer(world: KmsWorld, attest_key: AttestKey = document, audience: str = AUDIENCE) -> EnvelopeSealer:
    name = parse_key_name(ARN, world.endpoint)
    return EnvelopeSealer(KmsSource(KmsKey(name, lambda: CREDENTIALS, attest_key, now), audience))


# Signatures.


def test_signatures_equal_those_of_botocore_for_bedrock(vectors: Path) -> None:
    cases = json.loads((vectors / "dialects/bedrock-sigv4/sigv4_bedrock_botocore.json").read_text())["vectors"]
    assert len(cases) == 40
    for case in cases:
        credentials = AwsCredentials(case["access_key"], case["secret_key"], case["session_token"])
        headers = {"Content-Type": case["content_type"], "Accept": case["accept"]}
        moment = dt.datetime.strptime(case["timestamp"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
        scope = AwsScope(case["region"], case["service"])
        signed = sign_request(case["method"], case["url"], headers, case["body"].encode(), credentials, scope, moment)
        assert signed["authorization"] == case["authorization"], case["name"]


@pytest.mark.parametrize("path", ["/", "", "/a%2Fb/c~d", "/model/x%3A0/converse"])
def test_signatures_equal_those_of_botocore_live(path: str) -> None:
    url = f"https://kms.eu-west-1.amazonaws.com{path}"
    zone = dt.timezone(dt.timedelta(hours=9))
    moment = dt.datetime(2026, 3, 1, 3, 4, 5, tzinfo=zone)  # another day in UTC
    headers = {"X-Amz-Target": "TrentService.Decrypt", "Content-Type": "a  b"}
    signed = sign_request("POST", url, headers, b"body", CREDENTIALS, AwsScope(REGION, "kms"), moment)
    assert signed["x-amz-date"] == "20260228T180405Z"
    sent = {name: value for name, value in signed.items() if name != "authorization"}
    assert signed["authorization"].endswith(signature_of("POST", url, sent, b"body", REGION, "kms"))


def test_a_query_is_refused_rather_than_signed_wrongly() -> None:
    with pytest.raises(ValueError, match="query"):
        sign_request("GET", "https://h/?a=1", {}, b"", CREDENTIALS, AwsScope(REGION, "kms"), now())


# Credentials.


def test_credentials_come_from_the_machines_role() -> None:
    role = {"AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY, "Token": TOKEN, "Code": "Success"}
    with metadata_world({"": (200, b"gateway-role"), "gateway-role": (200, json.dumps(role).encode())}) as url:
        assert fetch_credentials(url) == CREDENTIALS


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"token": (403, b"")}, "status 403"),
        ({"token": (200, b"two\r\nlines")}, "something else than a role's credentials"),
        ({"": (404, b"")}, "give the machine a role"),
        ({"": (200, b"../../user-data")}, "something else"),
        ({"": (500, b"")}, "status 500"),
        ({"": (200, b"r"), "r": (200, b'{"AccessKeyId":"SECRET-THING"')}, "something else"),
        ({"": (200, b"r"), "r": (200, b'["SECRET-THING"]')}, "something else"),
        ({"": (200, b"r"), "r": (200, b'{"AccessKeyId":"SECRET-THING","SecretAccessKey":"a\\nb"}')}, "something else"),
        ({"": (200, b"r" * 70000)}, "more than 65536 bytes"),
    ],
)
def test_metadata_that_holds_no_credentials_is_named_and_not_shown(
    answers: dict[str, tuple[int, bytes]], words: str
) -> None:
    with metadata_world(answers) as url, pytest.raises(Unavailable, match=words) as caught:
        fetch_credentials(url)
    assert "SECRET-THING" not in str(caught.value)


def test_credentials_are_never_printed() -> None:
    assert repr(CREDENTIALS) == str(CREDENTIALS) == "AwsCredentials()"
    environ = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    assert read_aws_credentials(environ) == AwsCredentials(ACCESS_KEY, SECRET_KEY, None)
    assert read_aws_credentials(environ | {"AWS_SESSION_TOKEN": TOKEN}) == CREDENTIALS
    assert read_aws_credentials({"AWS_ACCESS_KEY_ID": ACCESS_KEY}) is None


@pytest.mark.parametrize(
    "arn",
    ["", ARN + "\n", ARN.replace("key/", "alias/"), ARN.replace("kms", "s3"), "1234abcd-12ab-34cd-56ef-1234567890ab"],
)
def test_a_key_is_named_by_its_arn(arn: str) -> None:
    with pytest.raises(Malformed, match="a key, no alias"):
        parse_key_name(arn)


def test_a_region_has_its_own_endpoint() -> None:
    china = ARN.replace("arn:aws:", "arn:aws-cn:").replace(REGION, "cn-north-1")
    assert parse_key_name(china) == KmsKeyName(china, "cn-north-1", "https://kms.cn-north-1.amazonaws.com.cn")


# CMS.


@pytest.mark.parametrize("ber", [False, True])
def test_an_envelope_for_our_key_opens(ber: bool, key: rsa.RSAPrivateKey) -> None:
    for size in (0, 15, 16, 32, 5000):
        plaintext = bytes(range(256)) * 20
        assert open_enveloped_data(enveloped(plaintext[:size], key.public_key(), ber), key) == plaintext[:size]


@pytest.mark.parametrize("options", [[], ["-stream"], ["-keyid"]], ids=["der", "ber", "keyid"])
def test_envelopes_of_openssl_open(options: list[str], key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    (tmp_path / "cert.pem").write_bytes(_certificate(key))
    plaintext = bytes(range(256)) * 40
    command = ["openssl", "cms", "-encrypt", "-binary", "-aes-256-cbc", "-outform", "DER", *options]
    command += ["-recip", str(tmp_path / "cert.pem"), "-keyopt", "rsa_padding_mode:oaep"]
    command += ["-keyopt", "rsa_oaep_md:sha256", "-keyopt", "rsa_mgf1_md:sha256"]
    raw = subprocess.run(command, input=plaintext, capture_output=True, check=True).stdout
    assert raw.startswith(b"\x30\x80") == (options == ["-stream"]), "indefinite lengths only in a stream"
    assert open_enveloped_data(raw, key) == plaintext


def _certificate(key: rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "recipient")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now(), now() + dt.timedelta(days=1))
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return builder.add_extension(identifier, False).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("ber", [False, True])
def test_a_broken_envelope_never_says_where(ber: bool, key: rsa.RSAPrivateKey) -> None:
    raw = enveloped(bytes(32), key.public_key(), ber)
    broken = [raw[:size] for size in range(len(raw))]
    broken += [raw[:at] + bytes((raw[at] ^ 0x80,)) + raw[at + 1 :] for at in range(0, 60)]
    broken += [
        raw + b"\0",
        b"\x30\x80" * 5000,
        b"\x30\x84\xff\xff\xff\xff",
        enveloped(bytes(32), _other().public_key()),
    ]
    for content in broken:
        try:
            opened = open_enveloped_data(content, key)
        except Undecryptable:
            continue
        # Bits that carry nothing (the recipient's name, versions) may change; what is opened may not.
        assert opened == bytes(32) and len(content) == len(raw)


@pytest.mark.parametrize(
    "name", ["1.2.840.113549.1.7.3", "1.2.840.113549.1.7.1", "1.2.840.113549.1.1.7", "2.16.840.1.101.3.4.1.42"]
)
def test_an_envelope_of_other_algorithms_is_refused(name: str, key: rsa.RSAPrivateKey) -> None:
    raw, identifier = enveloped(bytes(32), key.public_key()), der.oid(name)
    assert raw.count(identifier) == 1
    with pytest.raises(Undecryptable):
        open_enveloped_data(raw.replace(identifier, identifier[:-1] + b"\x63"), key)


def _other() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


# Data keys for an attested recipient.


@pytest.mark.parametrize("keeps", CONTRACT)
def test_the_key_service_keeps_the_contract_of_every_sealer(keeps: Callable[[Sealer], None], world: KmsWorld) -> None:
    keeps(sealer(world))


@pytest.mark.parametrize("ber", [False, True])
def test_nothing_readable_leaves_the_guest(ber: bool, world: KmsWorld) -> None:
    world.ber = ber
    envelope = sealer(world).seal(b"secret", "identity")
    assert sealer(world).unseal(envelope, "identity") == b"secret"
    assert [action for action, _ in world.requests] == ["GenerateDataKey", "Decrypt", "Decrypt"]
    keys = {request["Recipient"]["AttestationDocument"] for _, request in world.requests}
    assert len(keys) == 3, "each call has a key of its own"
    context = {"format": "saferouter/sealed/v1", "purpose": "identity", "audience": AUDIENCE}
    assert all(request["EncryptionContext"] == context and request["KeyId"] == ARN for _, request in world.requests)


@pytest.mark.parametrize("pcr", GOOD_PCRS)
def test_another_boot_image_is_denied(pcr: str, world: KmsWorld) -> None:
    envelope = sealer(world).seal(b"secret", "identity")
    other = sealer(world, lambda public_key: document(public_key, GOOD_PCRS | {pcr: "00" * 48}))
    for attempt in (partial(other.unseal, envelope, "identity"), partial(other.seal, b"secret", "identity")):
        with pytest.raises(Unavailable, match=r"AccessDenied.*PCRs \(4, 7, 12\)") as caught:
            attempt()
        assert not caught.value.retryable
        for secret in (ACCESS_KEY, SECRET_KEY, TOKEN):  # AWS's own message names who asked
            assert secret not in str(caught.value)


def test_another_audience_is_told_and_its_context_does_not_open(world: KmsWorld) -> None:
    envelope = sealer(world).seal(b"secret", "identity")
    other = sealer(world, audience="https://other.example.com")
    with pytest.raises(Unavailable, match=f"audience {AUDIENCE}, and this gateway is configured with https://other"):
        other.unseal(envelope, "identity")
    renamed = envelope.replace(AUDIENCE.encode(), b"https://other.example.com")
    with pytest.raises(Undecryptable):
        other.unseal(renamed, "identity")


def test_what_something_else_sealed_is_told(world: KmsWorld) -> None:
    document = json.loads(sealer(world).seal(b"secret", "identity"))
    slot = document["slots"][0]
    for change, words in (
        ({"kind": "mock-file"}, "sealed under mock-file, and this gateway seals with aws-kms"),
        ({"key_arn": ARN[:-1] + "f"}, "sealed under key_arn "),
        ({"ciphertext_b64": base64.b64encode(bytes(6145)).decode()}, "1 to 8192 characters"),
        ({"ciphertext_b64": "?"}, "base64"),
        ({"more": 1}, "an unknown member"),
    ):
        changed = document | {"slots": [slot | change]}
        raw = json.dumps(changed, sort_keys=True, separators=(",", ":")).encode()
        with pytest.raises((Unavailable, Malformed), match=words):
            sealer(world).unseal(raw, "identity")


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (lambda answer: answer | {"Plaintext": base64.b64encode(bytes(32)).decode()}, "answered in the clear"),
        (lambda answer: answer | {"KeyId": ARN[:-1] + "f"}, "for another key"),
        (lambda answer: answer | {"CiphertextForRecipient": None}, "without a CiphertextForRecipient"),
        (lambda answer: answer | {"CiphertextForRecipient": ""}, "without a CiphertextForRecipient"),
        (lambda answer: answer | {"CiphertextBlob": "?"}, "without a CiphertextBlob"),
        (lambda answer: answer | {"CiphertextForRecipient": "AAAA"}, "could not be opened"),
        (
            lambda answer: (
                answer
                | {"CiphertextForRecipient": base64.b64encode(enveloped(bytes(32), _other().public_key())).decode()}
            ),
            "could not be opened",
        ),
    ],
)
def test_an_answer_that_cannot_be_is_refused(lie: Callable[[Any], Any], words: str, world: KmsWorld) -> None:
    world.lie = lie
    with pytest.raises(TeeError, match=words):
        sealer(world).seal(b"secret", "identity")


def test_a_key_of_another_size_is_refused(world: KmsWorld) -> None:
    world.key_size = 31
    with pytest.raises(Undecryptable):
        sealer(world).seal(b"secret", "identity")


@pytest.mark.parametrize(
    ("raw", "words", "retryable"),
    [
        ((500, b"<html>"), "status 500 and no JSON object", True),
        ((200, b"[]"), "status 200 and no JSON object", False),
        ((400, b'{"__type":"com.amazonaws.kms#DisabledException"}'), "400 DisabledException.*key is disabled", False),
        ((400, b'{"__type":"ThrottlingException"}'), "400 ThrottlingException", True),
        ((500, b'{"__type":"KMSInternalException"}'), "500 KMSInternalException", True),
        ((400, b'{"__type":"\\u001b[31m"}'), "400 an unnamed error", False),
        ((302, b"{}"), "302 an unnamed error", False),
        ((200, b" " * 70000), "more than 65536 bytes", False),
    ],
)
def test_a_refusal_says_what_to_do(raw: tuple[int, bytes], words: str, retryable: bool, world: KmsWorld) -> None:
    world.raw = raw
    with pytest.raises(Unavailable, match=words) as caught:
        sealer(world).seal(b"secret", "identity")
    assert caught.value.retryable is retryable


def test_a_service_that_is_not_there_is_worth_a_retry(world: KmsWorld) -> None:
    name = parse_key_name(ARN, "http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="no answer") as caught:
        KmsKey(name, lambda: CREDENTIALS, document, now).generate_data_key({})
    assert caught.value.retryable and SECRET_KEY not in str(caught.value)


def test_a_document_that_the_service_would_not_take_is_not_sent(world: KmsWorld) -> None:
    with pytest.raises(Unavailable, match="up to 262144 bytes, not 262145"):
        sealer(world, lambda _: bytes(262145)).seal(b"secret", "identity")
    assert not world.requests


def test_without_attestation_the_key_service_is_refused() -> None:
    with pytest.raises(Unavailable, match=r"needs a NitroTPM attestation document.*whoever holds this machine's role"):
        KmsKey(parse_key_name(ARN), lambda: CREDENTIALS, None, now)


def test_a_gateway_keeps_its_identity_in_the_key_service(
    world: KmsWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in (("ACCESS_KEY_ID", ACCESS_KEY), ("SECRET_ACCESS_KEY", SECRET_KEY), ("SESSION_TOKEN", TOKEN)):
        monkeypatch.setenv(f"AWS_{name}", value)
    models = {"providers": [{"id": "mock", "family": "mock"}], "models": [{"id": "mock-1", "provider": "mock"}]}
    table = {"kind": "kms", "kms_key_arn": ARN, "kms_endpoint": world.endpoint}
    config = decode_config({**models, "state": str(tmp_path), "sealing": table}, {})
    caplog.set_level(logging.DEBUG)
    chosen = choose_sealing(config, "sev_snp", document)
    assert chosen.reason == f"The identity is sealed by {ARN}, as configured."
    first = load_key(tmp_path, "identity", chosen)
    assert bytes(load_key(tmp_path, "identity", choose_sealing(config, "sev_snp", document))) == bytes(first)
    assert [path.name for path in tmp_path.iterdir()] == ["identity.sealed"]
    assert SECRET_KEY not in caplog.text and TOKEN not in caplog.text
    automatic = decode_config({**models, "state": str(tmp_path), "sealing": table | {"kind": "auto"}}, {})
    reason = choose_sealing(automatic, "sev_snp", document).reason
    assert "because no derived key will do: there is no /dev/sev-guest" in reason


# moto, as the plain API.


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as url:
        yield url


def _ask(url: str, service: str, target: str, request: Any) -> Any:
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"{target}"}
    body = json.dumps(request).encode()
    signed = sign_request("POST", f"{url}/", headers, body, CREDENTIALS, AwsScope(REGION, service), now())
    return httpx2.post(f"{url}/", content=body, headers=signed, trust_env=False, verify=False).json()


def _new_key(url: str) -> str:
    return str(_ask(url, "kms", "TrentService.CreateKey", {})["KeyMetadata"]["Arn"])


def _plain(url: str, arn: str, credentials: AwsCredentials = CREDENTIALS) -> KmsKey:
    name = parse_key_name(arn, url)
    return KmsKey(name, lambda: credentials, None, now, whoever_holds_the_role_may_decrypt=True)


@pytest.mark.parametrize("keeps", CONTRACT)
def test_motos_plain_key_service_keeps_the_contract(keeps: Callable[[Sealer], None], moto: str) -> None:
    keeps(EnvelopeSealer(KmsSource(_plain(moto, _new_key(moto)), AUDIENCE)))


def test_moto_opens_in_the_same_context_under_the_same_key_alone(moto: str) -> None:
    first, second = (_plain(moto, _new_key(moto)) for _ in range(2))
    secret, ciphertext = first.generate_data_key({"purpose": "identity"})
    assert first.decrypt(ciphertext, {"purpose": "identity"}) == secret
    with pytest.raises(Undecryptable):
        first.decrypt(ciphertext, {"purpose": "log"})
    with pytest.raises(Unavailable, match="AccessDeniedException"):
        second.decrypt(ciphertext, {"purpose": "identity"})
    with pytest.raises(Undecryptable):
        first.decrypt(ciphertext[:-1] + bytes((ciphertext[-1] ^ 1,)), {"purpose": "identity"})


def test_a_key_that_does_not_exist_is_named(moto: str) -> None:
    with pytest.raises(Unavailable, match=r"NotFoundException.*no such key in this account and region"):
        _plain(moto, ARN).generate_data_key({})


def test_a_service_that_ignores_the_recipient_is_refused(moto: str) -> None:
    """moto answers everybody in the clear, as an impostor would."""
    name = parse_key_name(_new_key(moto), moto)
    with pytest.raises(Unavailable, match="answered in the clear, although only an attested recipient"):
        KmsKey(name, lambda: CREDENTIALS, document, now).generate_data_key({})


def test_credentials_without_rights_are_denied(moto: str) -> None:
    arn = _new_key(moto)
    httpx2.post(f"{moto}/moto-api/reset-auth", content=b"0", trust_env=False, verify=False)
    try:
        with pytest.raises(Unavailable, match="GenerateDataKey with status 403") as caught:
            _plain(moto, arn).generate_data_key({})
    finally:
        httpx2.post(f"{moto}/moto-api/reset-auth", content=b"1000000", trust_env=False, verify=False)
    assert not caught.value.retryable and ACCESS_KEY not in str(caught.value)
