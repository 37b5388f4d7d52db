"""Endorsements from loose files, a host's certificate table and other sources (SPEC §3.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tee.errors import Malformed, Unavailable
from tee.evidence import Endorsements, Evidence
from tee.snp.certs import decode_pem_or_der, parse_certificate
from tee.snp.certtable import certificates_of, parse_certificate_table
from tee.snp.report import AttestationReport, SigningKey, parse_report

KEY_INFO_AT = 0x48  # of a report; SIGNING_KEY is bits 4:2


@dataclass(frozen=True, slots=True)
class Collateral:
    """What one source has for a report, DER; None where it has nothing. `source` follows "looked in … and"."""

    source: str
    vek: bytes | None = None
    intermediate: bytes | None = None
    ark: bytes | None = None
    crl: bytes | None = None
    retryable: bool = False  # whether asking again later may bring more


# Asked with what the host's table has for a report; answers with what to use in place of it, None where it knows no
# better: a host's table may be empty, of an older TCB, or hold a list that has expired.
Endorser = Callable[[AttestationReport, Collateral], Collateral]


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
    """What the host's table holds (`certificates_of` it), completed and mended by `endorse`.

    A missing CRL is no error here: verifiers judge it. Raises Unavailable, which names `device`, for any other.
    """
    # A host may hold both kinds: the report says which one signed it.
    vlek = report.signing_key is SigningKey.VLEK
    vek_name, intermediate_name = ("VLEK", "ASVK") if vlek else ("VCEK", "ASK")
    held = Collateral("", found.get(vek_name.lower()), found.get("ask"), found.get("ark"), found.get("crl"))
    other = endorse(report, held)
    vek, intermediate, ark = other.vek or held.vek, other.intermediate or held.intermediate, other.ark or held.ark
    if vek is None or intermediate is None or ark is None:
        rows = ((vek_name, vek), (intermediate_name, intermediate), ("ARK", ark))
        missing = " and ".join(name for name, blob in rows if blob is None)
        names = ", ".join(name.upper() for name in found) or "nothing"
        raise Unavailable(
            device,
            f"its report is signed by a {vek_name}, and of the certificates for that there is no {missing}: looked in "
            f"the host's certificate table (it holds {names}) and {other.source}. Have the host's operator add the "
            f"missing to the host's table{'' if vlek and vek is None else ', or import it (saferouter collateral)'}",
            retryable=other.retryable,
        )
    return Endorsements(vek, intermediate, ark, other.crl or held.crl)


def gather_endorsements(
    report: bytes,
    vek: bytes | None,
    chain: list[bytes],
    crl: bytes | None,
    table: bytes,
    endorse: Endorser | None = None,
) -> Endorsements:
    """What was given, completed by `endorse` and the table (empty bytes for none). Raises Malformed.

    `chain` holds files of one or more certificates: the one issued by itself is the ARK. Where both kinds are there,
    the raw report's KEY_INFO says which is meant; where one is, verification judges whether it fits.
    """
    vlek = len(report) > KEY_INFO_AT and report[KEY_INFO_AT] >> 2 & 7 == SigningKey.VLEK
    fitting, other_kind = ("vlek", "vcek") if vlek else ("vcek", "vlek")
    found = certificates_of(parse_certificate_table(table))
    given = _sort_chain(chain, vlek)
    if vek is not None:
        given[fitting] = decode_pem_or_der(vek, "VEK")[0]
    if crl is not None:
        given["crl"] = crl
    found |= given
    held = Collateral("", found.get(fitting), found.get("ask"), found.get("ark"), found.get("crl"))
    other = _ask(endorse, report, held)
    # What somebody gives is judged, and never exchanged.
    parts = (
        ("VEK", given.get(fitting) or other.vek or held.vek or found.get(other_kind), "the VCEK or VLEK"),
        ("ASK", given.get("ask") or other.intermediate or held.intermediate, "the ASK or ASVK"),
        ("ARK", given.get("ark") or other.ark or held.ark, "the ARK"),
    )
    for name, blob, meaning in parts:
        if blob is None:
            places = " or in the table" if endorse is None else ", in the table or in the cache"
            raise Malformed(name, "nothing", f"{meaning}, given as a file{places}")
    blobs = [blob for _, blob, _ in parts if blob is not None]
    return Endorsements(blobs[0], blobs[1], blobs[2], crl or other.crl or held.crl)


def _sort_chain(files: list[bytes], vlek: bool) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    fits = False
    for blob in (blob for file in files for blob in decode_pem_or_der(file, "chain")):
        certificate = parse_certificate(blob, "chain")
        if certificate.issuer == certificate.subject:
            found["ark"] = blob
        elif not fits:
            found["ask"], fits = blob, certificate.subject_cn.startswith("SEV-VLEK-") == vlek
    return found


def _ask(endorse: Endorser | None, report: bytes, held: Collateral) -> Collateral:
    if endorse is None:
        return Collateral("")
    try:
        parsed = parse_report(report)
    except Malformed:  # it fails by name where it is judged
        return Collateral("")
    return endorse(parsed, held)
