"""A company's own certificate authority: a root, an issuer below it, and servers' certificates."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier

SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
LOG_IDS = (b"\x11" * 32, b"\x22" * 32)
DAY = dt.timedelta(days=1)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def sct_list(log_ids: tuple[bytes, ...] = LOG_IDS) -> bytes:
    """The DER of an SCT list (RFC 6962 §3.3): one v1 SCT of each log, whose signatures nobody checks here."""
    signature = b"\x04\x03\x00\x08" + bytes(8)  # ECDSA with SHA-256, 8 bytes
    scts = [b"\x00" + log_id + (1767225600000).to_bytes(8) + b"\x00\x00" + signature for log_id in log_ids]
    rows = b"".join(len(sct).to_bytes(2) + sct for sct in scts)
    whole = len(rows).to_bytes(2) + rows
    size = bytes([len(whole)]) if len(whole) < 128 else b"\x81" + bytes([len(whole)])
    return b"\x04" + size + whole


@dataclass
class PrivateCa:
    """Writes what it issues below `folder`."""

    folder: Path
    name: str = "Example"
    _keys: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = self._certificate("root", "root", ca=True)
        self.issuer = self._certificate("issuer", "root", ca=True)
        self.ca_file = self.folder / f"{self.name}-ca.pem"
        self.ca_file.write_bytes(self.root.public_bytes(Encoding.PEM))

    def server(
        self, label: str, *, host: str = "localhost", ends: dt.timedelta = DAY, scts: bool = False
    ) -> x509.Certificate:
        """A certificate for that host, which ends so long from now."""
        return self._certificate(label, "issuer", host=host, ends=ends, scts=scts)

    def context(self, label: str, certificate: x509.Certificate) -> ssl.SSLContext:
        """A server's context: the certificate, its key and the issuer's certificate."""
        chain, key = self.folder / f"{label}.pem", self.folder / f"{label}.key"
        chain.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in (certificate, self.issuer)))
        key.write_bytes(self._keys[label].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        return context

    def _certificate(
        self, label: str, issuer: str, *, ca: bool = False, host: str = "", ends: dt.timedelta = DAY, scts: bool = False
    ) -> x509.Certificate:
        self._keys[label] = key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(f"{self.name} {label}"))
            .issuer_name(_name(f"{self.name} {issuer}"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 10 * DAY)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
        )
        if host:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        if scts:
            builder = builder.add_extension(x509.UnrecognizedExtension(SCT_LIST, sct_list()), critical=False)
        return builder.sign(self._keys[issuer], hashes.SHA256())
