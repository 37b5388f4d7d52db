"""Endorsements from loose files, a host's certificate table and other sources (SPEC §3.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tee.errors import Malformed, Unavailable
from tee.evidence import Endorsements, Evidence
from tee.snp.certs import decode_pem_or_der, parse_certificate
from tee.snp.certtable import certificates_of, parse_certificate_table
from tee.snp.report import AttestationReport, SigningKey, parse_report


@dataclass(frozen=True, slots=True)
class Collateral:
    """What one source has for a report, DER; None where it has nothing. `source` follows "looked in … and"."""

    source: str
    vek: bytes | None = None
    intermediate: bytes | None = None
    ark: bytes | None = None
    crl: bytes | None = None


Endorser = Callable[[AttestationReport], Collateral]


def device_evidence(raw: bytes, table: bytes, endorse: Endorser, device: str) -> Evidence:
    """What a device's report and the host's table amount to. Raises Unavailable, which names `device`.

    Never Malformed, which would blame the caller whose nonce this is.
    """
    try:
        report = parse_report(raw)
    except Malformed as error:
        reason = f"the firmware's report cannot be read ({error}). Update SafeRouter"
        raise Unavailable(device, reason, retryable=False) from None
    try:
        found = certificates_of(parse_certificate_table(table))
    except Malformed as error:
        reason = f"the host's certificate table is broken ({error}). Have the host's operator load it again"
        raise Unavailable(device, reason, retryable=False) from None
    return Evidence(raw, complete_endorsements(report, found, endorse, device))


def complete_endorsements(
    report: AttestationReport, found: dict[str, bytes], endorse: Endorser, device: str
) -> Endorsements:
    """What the host's table holds (`certificates_of` it), completed by `endorse`, which is asked only for the rest.

    A missing CRL is no error here: verifiers judge it. Raises Unavailable, which names `device`, for any other.
    """
    # A host may hold both kinds: the report says which one signed it.
    vlek = report.signing_key is SigningKey.VLEK
    vek_name, intermediate_name = ("VLEK", "ASVK") if vlek else ("VCEK", "ASK")
    vek, intermediate, ark, crl = (found.get(name) for name in (vek_name.lower(), "ask", "ark", "crl"))
    source = ""
    if vek is None or intermediate is None or ark is None or crl is None:
        other = endorse(report)
        source = other.source
        vek, intermediate = vek or other.vek, intermediate or other.intermediate
        ark, crl = ark or other.ark, crl or other.crl
    if vek is None or intermediate is None or ark is None:
        rows = ((vek_name, vek), (intermediate_name, intermediate), ("ARK", ark))
        missing = " and ".join(name for name, blob in rows if blob is None)
        held = ", ".join(name.upper() for name in found) or "nothing"
        raise Unavailable(
            device,
            f"its report is signed by a {vek_name}, and of the certificates for that there is no {missing}: looked in "
            f"the host's certificate table (it holds {held}) and {source}. Have the host's operator add the missing "
            "to the host's table",
            retryable=False,
        )
    return Endorsements(vek, intermediate, ark, crl)


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
