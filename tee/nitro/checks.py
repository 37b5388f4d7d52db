"""The three checks of a NitroTPM document: genuine, about this very report, and of an accepted image (SPEC §11)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from tee.errors import Malformed
from tee.evidence import Check, Outcome, failed, judged, passed, skipped
from tee.nitro.chain import (
    AWS_ROOT_CN,
    AWS_ROOT_SHA256,
    MAX_SKEW,
    MOCK_ROOT_CN,
    NitroCertificate,
    chain_problem,
    parse_chain,
    validity,
)
from tee.nitro.document import NitroDocument, parse_document
from tee.policy import BOOT_IMAGE_PCRS, AppraisalPolicy
from tee.snp.chain import iso_seconds
from tee.snp.report import SIGNED_SIZE

CHECKS = ("code.platform-evidence", "bind.platform-evidence", "code.boot-image")
MOCK_REASON = "MOCK: a document made on this machine, accepted because you asked; AWS vouches for nothing in it"
REFUSED_MOCK_REASON = "this is a MOCK: AWS does not vouch for it; --accept-mock accepts it, for trying things out"
BY_AWS = "vouched for by AWS NitroTPM, not by AMD: the firmware that AMD measured does not authenticate that TPM"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a document is judged against. `nonce` is the one that it must carry, None if none."""

    report: bytes
    nonce: bytes | None
    live: bool  # whether the nonce is one that this verifier sent just now
    now: datetime
    policy: AppraisalPolicy | None


def judge_document(raw: bytes, given: Circumstances, *, accept_mock: bool) -> tuple[list[Check], bool]:
    """The checks of a document, and whether its root is the accepted mock."""
    try:
        document = parse_document(raw)
        chain = parse_chain(document)
    except Malformed as error:
        broken = failed(CHECKS[0], f"{error.field}: {error.found}", error.wanted)
        return [broken, *(skipped(check_id, "the document does not parse") for check_id in CHECKS[1:])], False
    mock = accept_mock and chain[0].subject_cn == MOCK_ROOT_CN
    genuine = _check_genuine(document, chain, given.now, mock)
    return [genuine, _check_binding(document, given), _check_image(document, given.policy)], mock


def vouched_image(raw: bytes, checks: list[Check]) -> tuple[str, ...] | None:
    """The image (PCR 4, 7 and 12) of a document that these checks found genuine and about our report, else None."""
    genuine, bound, _ = checks
    vouched = genuine.outcome is not Outcome.FAIL and bound.outcome is Outcome.PASS
    return _image_of(parse_document(raw)) if vouched else None


def _check_genuine(document: NitroDocument, chain: list[NitroCertificate], now: datetime, mock: bool) -> Check:
    """Signatures, then validity, then the root: an accepted mock lacks nothing but the last."""
    check_id, root = CHECKS[0], chain[0]
    wanted = f"a document signed under AWS's {AWS_ROOT_CN} {AWS_ROOT_SHA256}"
    if problem := chain_problem(document, chain):
        return failed(check_id, problem, wanted)
    start, end = validity(chain)
    if not start - MAX_SKEW <= now <= end:
        why = "AWS's certificates live for hours: judge stored evidence at a time in between (--at)"
        return failed(check_id, iso_seconds(now), f"between {iso_seconds(start)} and {iso_seconds(end)}", why)
    if mock:
        return skipped(check_id, MOCK_REASON)
    digest = hashlib.sha256(root.raw).hexdigest()
    reason = REFUSED_MOCK_REASON if root.subject_cn == MOCK_ROOT_CN else ""
    found = f"{document.module_id} under {root.subject_cn} {digest}"
    if digest != AWS_ROOT_SHA256:
        return failed(check_id, found, wanted, reason)
    return passed(check_id, found, wanted)


def _check_binding(document: NitroDocument, given: Circumstances) -> Check:
    """The image vouches for the report of its own machine: no digest runs the other way (24)."""
    check_id = CHECKS[1]
    report = hashlib.sha256(given.report[:SIGNED_SIZE]).digest()
    if document.user_data != report:
        return failed(check_id, f"user_data {_hex(document.user_data)}", f"{report.hex()}, from this very report")
    if document.nonce != given.nonce:
        return failed(check_id, f"nonce {_hex(document.nonce)}", f"nonce {_hex(given.nonce)}")
    made = iso_seconds(document.timestamp)
    early = given.live and document.timestamp < given.now - MAX_SKEW
    if early or document.timestamp > given.now + MAX_SKEW:
        return failed(check_id, f"made at {made}", f"within 5 minutes of {iso_seconds(given.now)}")
    return passed(check_id, f"about this report, made at {made}", "user_data, nonce and time of this report")


def _check_image(document: NitroDocument, policy: AppraisalPolicy | None) -> Check:
    """PCR 4 is the boot loader or unified kernel image, 7 the Secure Boot policy, 12 the command line."""
    check_id = CHECKS[2]
    if policy is None:
        return skipped(check_id, "no policy was given")
    if not policy.boot_images:
        return skipped(check_id, "the policy names no boot image")
    image = _image_of(document)
    held = image in policy.boot_images
    wanted = "one of " + "; ".join(map(_image_text, policy.boot_images))
    return judged(check_id, held, _image_text(image), wanted, BY_AWS if held else "")


def _image_of(document: NitroDocument) -> tuple[str, ...]:
    return tuple(_hex(document.pcrs.get(index)) for index in BOOT_IMAGE_PCRS)


def _image_text(image: tuple[str, ...]) -> str:
    return ", ".join(f"PCR{index} {value}" for index, value in zip(BOOT_IMAGE_PCRS, image, strict=True))


def _hex(value: bytes | None) -> str:
    return "none" if value is None else value.hex() or "empty"
