"""Endorsements from loose files and a host's certificate table, each DER or PEM (SPEC §3.5)."""

from __future__ import annotations

from tee.errors import Malformed
from tee.evidence import Endorsements
from tee.snp.certs import decode_pem_or_der, parse_certificate
from tee.snp.certtable import certificates_of, parse_certificate_table


def gather_endorsements(vek: bytes | None, chain: list[bytes], crl: bytes | None, table: bytes) -> Endorsements:
    """What was given, completed by the table (empty bytes for none). Raises Malformed, also for what is missing.

    `chain` holds files of one or more certificates: the one issued by itself is the ARK.
    """
    found = certificates_of(parse_certificate_table(table))
    if vek is not None:
        found["vek"] = decode_pem_or_der(vek, "VEK")[0]
    elif "vcek" in found or "vlek" in found:
        found["vek"] = found.get("vcek") or found["vlek"]
    for blob in (blob for file in chain for blob in decode_pem_or_der(file, "chain")):
        certificate = parse_certificate(blob, "chain")
        found["ark" if certificate.issuer == certificate.subject else "ask"] = blob
    for name, meaning in (("vek", "the VCEK or VLEK"), ("ask", "the ASK or ASVK"), ("ark", "the ARK")):
        if name not in found:
            raise Malformed(name.upper(), "nothing", f"{meaning}, given as a file or in the table")
    return Endorsements(found["vek"], found["ask"], found["ark"], found.get("crl") if crl is None else crl)
