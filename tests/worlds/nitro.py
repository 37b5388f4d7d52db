"""A NitroTPM of its own: a PKI of AWS's shape under a mock root, and the tool that asks it, as a real program."""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import sys
import time
from pathlib import Path

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parents[2]
ROOT_CN = "SAFEROUTER-MOCK-NITRO"
MODULE_ID = "i-00000000000000000-tpm0000000000000000"
AUTHORITIES = ((ROOT_CN, None), ("regional.mock-nitro", 2), ("zonal.mock-nitro", 1), ("instance.mock-nitro", 0))
_NO_USE = dict.fromkeys(
    ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"],
    False,
)


def pcrs_of(image: str) -> dict[int, bytes]:
    """The 24 registers after booting an image of that name."""
    measured = {index: hashlib.sha384(f"{image} {index}".encode()).digest() for index in (4, 7, 12)}
    return {index: bytes(48) for index in range(24)} | measured


def boot_image(image: str) -> dict[str, str]:
    """The image as a policy names it."""
    return {f"pcr{index}": pcrs_of(image)[index].hex() for index in (4, 7, 12)}


def install_nitrotpm(folder: Path, image: str) -> Path:
    """A machine that booted `image`: its PKI and its `nitro-tpm-attest`, in a folder for PATH."""
    folder.mkdir()
    issuer: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None = None
    for at, (common_name, length) in enumerate(AUTHORITIES):
        key = ec.generate_private_key(ec.SECP384R1())
        name = _name(common_name)
        parent = issuer or (name, key)
        day = dt.timedelta(days=1)
        builder = _builder(name, parent[0], key, dt.datetime.now(dt.UTC) - day, 2 * day)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=length), critical=True)
        usage = x509.KeyUsage(digital_signature=at < 3, key_cert_sign=True, crl_sign=at < 3, **_NO_USE)
        builder = builder.add_extension(usage, critical=True)
        certificate = builder.sign(parent[1], hashes.SHA384())
        (folder / f"{at}.der").write_bytes(certificate.public_bytes(serialization.Encoding.DER))
        issuer = name, key
    assert issuer
    form = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "instance.key").write_bytes(issuer[1].private_bytes(*form))
    boot(folder, image)
    tool = folder / "nitro-tpm-attest"
    source = (
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom tests.worlds.nitro import main\nmain({str(folder)!r})\n"
    )
    tool.write_text(f"#!{sys.executable}\n{source}")
    tool.chmod(0o755)
    return tool


def boot(folder: Path, image: str, *, fault: str = "") -> None:
    """Boot another image, or let the tool fail from now on: `busy`, `hangs`, `prints too much`, `prints nothing`."""
    (folder / "machine.json").write_text(json.dumps({"image": image, "fault": fault}))


def sign_document(
    folder: Path, image: str, user_data: bytes | None, nonce: bytes | None, public_key: bytes | None = None
) -> bytes:
    """A document of this moment, as the Nitro hypervisor would make it: a fresh signer that lives three hours."""
    bundle = [(folder / f"{at}.der").read_bytes() for at in range(len(AUTHORITIES))]
    issuer = x509.load_der_x509_certificate(bundle[-1])
    issuer_key = serialization.load_der_private_key((folder / "instance.key").read_bytes(), None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP384R1())
    start = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=3)
    builder = _builder(_name(MODULE_ID), issuer.subject, key, start, dt.timedelta(hours=3))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=False, crl_sign=False, **(_NO_USE | {"content_commitment": True})
    )
    leaf = builder.add_extension(usage, critical=False).sign(issuer_key, hashes.SHA384())
    body = {
        "module_id": MODULE_ID,
        "digest": "SHA384",
        "timestamp": int(time.time() * 1000),
        "nitrotpm_pcrs": pcrs_of(image),
        "certificate": leaf.public_bytes(serialization.Encoding.DER),
        "cabundle": bundle,
        "public_key": public_key,
        "user_data": user_data,
        "nonce": nonce,
    }
    rows = b"".join(cbor2.dumps(name) + cbor2.dumps(value) for name, value in body.items())
    payload, protected = b"\xbf" + rows + b"\xff", cbor2.dumps({1: -35})  # indefinite, as AWS writes it
    r, s = decode_dss_signature(
        key.sign(cbor2.dumps(["Signature1", protected, b"", payload]), ec.ECDSA(hashes.SHA384()))
    )
    return cbor2.dumps([protected, {}, payload, r.to_bytes(48) + s.to_bytes(48)])


def main(place: str) -> None:
    """The tool, with the options of AWS's own."""
    parser = argparse.ArgumentParser(prog="nitro-tpm-attest")
    for short, long in (("-u", "--user-data"), ("-n", "--nonce"), ("-p", "--public-key")):
        parser.add_argument(short, long, type=Path)
    given = parser.parse_args()
    folder = Path(place)
    machine = json.loads((folder / "machine.json").read_text())
    if machine["fault"] == "busy":
        sys.exit("Error: NSM error response: InternalError\nand more")
    if machine["fault"] == "hangs":
        time.sleep(60)
    paths = given.user_data, given.nonce, given.public_key
    document = sign_document(folder, machine["image"], *(path.read_bytes() if path else None for path in paths))
    document = {"prints too much": document + bytes(16384), "prints nothing": b""}.get(machine["fault"], document)
    sys.stdout.buffer.write(document)


def _name(common_name: str) -> x509.Name:
    rows = [(NameOID.COUNTRY_NAME, "US"), (NameOID.ORGANIZATION_NAME, "Amazon"), (NameOID.COMMON_NAME, common_name)]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in rows])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, start: dt.datetime, lifetime: dt.timedelta
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(start).not_valid_after(start + lifetime)
