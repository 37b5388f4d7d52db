"""A chip in memory: real report bytes under a root that can never be AMD's (SPEC §8)."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from tee.errors import Malformed, Unavailable
from tee.evidence import Endorsements, Evidence
from tee.private_files import write_private
from tee.snp.certs import OID_AMD, OID_HWID
from tee.snp.product import GENOA, MOCK_ARK_CN, MOCK_ASK_CN, encode_tcb
from tee.snp.report import AttestationReport, GuestPolicy, PlatformInfo, SigningKey, encode_report

MEASUREMENT_CONTEXT = b"saferouter mock v1\n"
_TCB = {"bootloader": 10, "tee": 0, "snp": 27, "microcode": 86}  # a Genoa of 2026 that is up to date
_PSS = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
_CRL_DAYS = 30
_ORIGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_LIFETIME = dt.timedelta(days=7 * 365)


def mock_measurement(source_digest: str) -> bytes:
    """The 48-byte MEASUREMENT of a mock guest: changed code shows even here."""
    return hashlib.sha384(MEASUREMENT_CONTEXT + source_digest.encode("ascii")).digest()


@dataclass(frozen=True, slots=True)
class ChipSecrets:
    """What one mock chip is: its keys, its id and the certificates over them."""

    ark_key: rsa.RSAPrivateKey
    vcek_key: ec.EllipticCurvePrivateKey
    chip_id: bytes  # 64
    ark: bytes
    ask: bytes
    vcek: bytes

    def __repr__(self) -> str:
        return f"ChipSecrets(chip_id={self.chip_id.hex()[:16]}…)"


class MockChip:
    """An Attester whose hardware is a few keys. Its reports are version 5, shaped like Genoa's."""

    tee_type = "mock"

    def __init__(self, secret: ChipSecrets, measurement: bytes) -> None:
        self._secret = secret
        self._report = _blank_report(secret.chip_id, measurement)
        self._crl: tuple[dt.datetime, bytes] | None = None
        self._lock = threading.Lock()

    def attest(self, report_data: bytes) -> Evidence:
        """A report over these 64 bytes, signed by the mock's VCEK."""
        if len(report_data) != 64:
            raise ValueError(f"report_data: {len(report_data)} bytes, wanted 64")
        raw = encode_report(replace(self._report, report_data=report_data))
        r, s = decode_dss_signature(self._secret.vcek_key.sign(raw[:0x2A0], ec.ECDSA(hashes.SHA384())))
        signed = encode_report(replace(self._report, report_data=report_data, signature_r=r, signature_s=s))
        secret = self._secret
        return Evidence(signed, Endorsements(secret.vcek, secret.ask, secret.ark, self._fresh_crl()))

    def _fresh_crl(self) -> bytes:
        """An empty list, renewed daily: its nextUpdate must lie ahead for a strict verifier."""
        now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        with self._lock:
            if self._crl is None or now - self._crl[0] > dt.timedelta(days=1):
                self._crl = now, _new_crl(self._secret, now)
            return self._crl[1]


def new_chip_secrets() -> ChipSecrets:
    """A fresh chip: two RSA-4096 authorities and a P-384 VCEK. Takes a few seconds."""
    ark_key, ask_key = (rsa.generate_private_key(65537, 4096) for _ in range(2))
    vcek_key = ec.generate_private_key(ec.SECP384R1())
    chip_id = secrets.token_bytes(64)
    ark, ask = _name(MOCK_ARK_CN), _name(MOCK_ASK_CN)
    return ChipSecrets(
        ark_key=ark_key,
        vcek_key=vcek_key,
        chip_id=chip_id,
        ark=_authority(ark, ark, 1, ark_key.public_key(), ark_key),
        ask=_authority(ask, ark, 2, ask_key.public_key(), ark_key),
        vcek=_vcek(vcek_key.public_key(), chip_id, ask, ask_key),
    )


def load_chip_secrets(folder: Path) -> ChipSecrets:
    """The chip kept in `folder`, made on first use (files of mode 0600). Raises Unavailable, Malformed."""
    path = folder / "mock-chip.bin"
    try:
        if not path.exists():
            write_private(path, _encode_secrets(new_chip_secrets()))
        return _decode_secrets(path.read_bytes())
    except OSError as error:
        raise Unavailable(str(path), error.strerror or "cannot be read", retryable=False) from None


def _encode_secrets(secret: ChipSecrets) -> bytes:
    plain = serialization.NoEncryption()
    pkcs8 = serialization.PrivateFormat.PKCS8
    keys = [key.private_bytes(serialization.Encoding.DER, pkcs8, plain) for key in (secret.ark_key, secret.vcek_key)]
    fields = [*keys, secret.chip_id, secret.ark, secret.ask, secret.vcek]
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def _decode_secrets(raw: bytes) -> ChipSecrets:
    fields, rest = [], raw
    while rest:
        size = int.from_bytes(rest[:4], "big")
        fields.append(rest[4 : 4 + size])
        rest = rest[4 + size :]
    if len(fields) != 6:
        raise Malformed("mock-chip.bin", f"{len(fields)} fields", "6 fields: delete the file to make a new chip")
    ark_key = serialization.load_der_private_key(fields[0], None)
    vcek_key = serialization.load_der_private_key(fields[1], None)
    if not isinstance(ark_key, rsa.RSAPrivateKey) or not isinstance(vcek_key, ec.EllipticCurvePrivateKey):
        raise Malformed("mock-chip.bin", "other keys", "an RSA and a P-384 key")
    return ChipSecrets(ark_key, vcek_key, *fields[2:])


def _blank_report(chip_id: bytes, measurement: bytes) -> AttestationReport:
    tcb = encode_tcb(_TCB, GENOA)
    return AttestationReport(
        version=5,
        guest_svn=0,
        policy=int(GuestPolicy.SMT | GuestPolicy.RESERVED_ONE),
        family_id=bytes(16),
        image_id=bytes(16),
        vmpl=0,
        current_tcb=tcb,
        platform_info=int(
            PlatformInfo.SMT_EN
            | PlatformInfo.TSME_EN
            | PlatformInfo.ECC_EN
            | PlatformInfo.ALIAS_CHECK_COMPLETE
            | PlatformInfo.IOMMU_WRITE_SAFE
        ),
        author_key_en=False,
        signing_key=SigningKey.VCEK,
        report_data=bytes(64),
        measurement=measurement,
        host_data=bytes(32),
        id_key_digest=bytes(48),
        author_key_digest=bytes(48),
        report_id=secrets.token_bytes(32),  # per launch
        report_id_ma=b"\xff" * 32,
        reported_tcb=tcb,
        cpuid=(0x19, 0x11, 1),
        chip_id=chip_id,
        committed_tcb=tcb,
        current_firmware=(1, 55, 49),
        committed_firmware=(1, 55, 49),
        launch_tcb=tcb,
        launch_mitigations=0xB,
        current_mitigations=0xB,
        signature_r=1,
        signature_s=1,
    )


def _name(common_name: str) -> x509.Name:
    """AMD's six attributes in AMD's order, so that the same strict parser reads it."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Engineering"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.LOCALITY_NAME, "Santa Clara"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "CA"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Advanced Micro Devices"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _authority(
    subject: x509.Name, issuer: x509.Name, serial: int, public: rsa.RSAPublicKey, signer: rsa.RSAPrivateKey
) -> bytes:
    builder = _builder(subject, issuer, serial).public_key(public)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return _sign(builder, signer)


def _vcek(public: ec.EllipticCurvePublicKey, chip_id: bytes, issuer: x509.Name, signer: rsa.RSAPrivateKey) -> bytes:
    """A VCEK with AMD's eleven extensions. Its serial is 1: no builder makes AMD's 0, and nothing reads it."""
    spls = [_TCB["bootloader"], _TCB["tee"], _TCB["snp"], 0, 0, 0, 0, _TCB["microcode"]]
    values = {"1": b"\x02\x01\x00", "2": b"\x16\x05Genoa"}
    values |= {f"3.{arc}": bytes((2, 1, spl)) for arc, spl in enumerate(spls, 1)}
    builder = _builder(_name("SEV-VCEK"), issuer, 1).public_key(public)
    for arc, value in values.items():
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(OID_AMD + arc), value)
        builder = builder.add_extension(extension, critical=False)
    hwid = x509.UnrecognizedExtension(x509.ObjectIdentifier(OID_HWID), chip_id)
    return _sign(builder.add_extension(hwid, critical=False), signer)


def _builder(subject: x509.Name, issuer: x509.Name, serial: int) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).serial_number(serial)
    return builder.not_valid_before(_ORIGIN).not_valid_after(_ORIGIN + _LIFETIME)


def _sign(builder: x509.CertificateBuilder, signer: rsa.RSAPrivateKey) -> bytes:
    certificate = builder.sign(signer, hashes.SHA384(), rsa_padding=_PSS)
    return certificate.public_bytes(serialization.Encoding.DER)


def _new_crl(secret: ChipSecrets, now: dt.datetime) -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(_name(MOCK_ARK_CN))
    builder = builder.last_update(now - dt.timedelta(hours=1)).next_update(now + dt.timedelta(days=_CRL_DAYS))
    builder = builder.add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
    crl = builder.sign(secret.ark_key, hashes.SHA384(), rsa_padding=_PSS)
    return crl.public_bytes(serialization.Encoding.DER)
