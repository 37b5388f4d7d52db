"""The verdict, top to bottom: a report, a quote, a receipt (SPEC §6). No clock, no network, no disk."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from tee.canonical import parse_json
from tee.errors import Malformed
from tee.evidence import Check, Evidence, Outcome, Scope, Verdict, failed, judged, passed, skipped
from tee.keys.binding import encode_statement, parse_nonce, report_data_of
from tee.keys.identity import MAX_KEYSET_SECONDS, Workload, identity_message, subject_of, verify_ed25519
from tee.log import announcement as announcements
from tee.log import answer_head, receipt_log, stream
from tee.log import judge as log
from tee.log import receipt as receipts
from tee.log.witnesses import WitnessPolicy
from tee.measure.releases import CHECK as RELEASE_CHECK
from tee.measure.releases import Releases, accepting, check_release
from tee.nitro import checks as nitro
from tee.policy import AppraisalPolicy
from tee.quote import Quote, Stale, decode_quote
from tee.snp import appraise, chain, grade
from tee.snp.bulletins import BUILT_IN, TcbData
from tee.snp.report import AttestationReport, parse_report

REPORT_CHECKS = ("hw.report", *chain.CHECKS)
BIND_CHECKS = (
    "bind.quote",
    "bind.report-data",
    "bind.nonce",
    "bind.workload",
    "bind.identity",
    "bind.keyset-expiry",
    "bind.audience",
)
# Checks that a policy may leave without a demand; everything else of full scope must be carried out.
OPTIONAL = frozenset({"guest.mitigations", "guest.pins"})
# Checks that can prove less than their titles say: the reason of a PASS is then a line of what is not proven.
CAVEATS = frozenset({"code.measurement", "code.boot-image", announcements.CHECK})
NO_RELEASE_KEYS = "no signed release manifest is built in yet; the measurement stands on your policy alone"
NOT_BUILT = {
    "channel.binding": "evidence alone cannot say who holds your connection, and this release does not bind it",
}
LIMITS = (
    "model weights and anything after an upstream that is not itself attested",
    "physical attacks on the host (TEE.fail, Battering RAM)",
)


def verify_report(
    evidence: Evidence,
    *,
    now: datetime,
    policy: AppraisalPolicy | None,
    accept_mock: bool = False,
    tcb: TcbData = BUILT_IN,
    releases: Releases | None = None,
    announcement: bytes | None = None,
) -> Verdict:
    """Judge a bare report. Without a policy: authenticity only, whose verdict is never `verified`."""
    policy = policy and accepting(policy, releases)
    checks, report, mock, unproven = _report_checks(evidence, now, policy, accept_mock, tcb)
    if policy and policy.releases:
        checks.append(_release_check(policy, releases, report, None, None))
    image = _demands_image(report, policy)
    checks += _announcement_checks(policy, announcement, report, None, image, now)
    if image:
        checks += [
            skipped(check_id, "a bare report carries no platform evidence; a quote does") for check_id in nitro.CHECKS
        ]
    return _verdict(checks, policy, mock, quote=False, image=image, unproven=unproven)


def verdict_without_certificates(error: Malformed, policy: AppraisalPolicy | None) -> Verdict:
    """The verdict on a report whose certificates cannot even be read."""
    rest = [*REPORT_CHECKS, *(appraise.CHECKS if policy else ())]
    checks = [skipped(check_id, "the certificates do not parse") for check_id in rest]
    checks[rest.index("hw.certificate")] = failed("hw.certificate", f"{error.field}: {error.found}", error.wanted)
    return _verdict(checks, policy, False, quote=False)


def verify_quote(
    document: Any,
    *,
    now: datetime,
    policy: AppraisalPolicy | None,
    nonce: bytes | None,
    audience: str | None,
    accept_mock: bool = False,
    tcb: TcbData = BUILT_IN,
    releases: Releases | None = None,
    witnesses: WitnessPolicy | None = None,
    earlier: log.Earlier | None = None,
    announcement: bytes | None = None,
) -> Verdict:
    """Judge a quote document in full scope.

    `nonce` is the 32 bytes that the verifier itself sent, None for stored evidence; `audience` is the origin
    that it used, None if unknown. A missing policy fails code.measurement: nothing is expected by default.
    `releases` are manifests judged under the keys of this very policy, None where none was given;
    `witnesses` is whose cosignatures the log must have, None for nobody's; `earlier` what
    was seen of this gateway's log before, None at first sight; `announcement` what the release's owner hands out of its
    place in a release log, None if it is not at hand.
    """
    policy = policy and accepting(policy, releases)
    try:
        quote = decode_quote(document)
    except Malformed as error:
        return _verdict(_unparsed(error, policy), policy, False, quote=True)
    checks, report, mock, unproven = _report_checks(quote.evidence, now, policy, accept_mock, tcb)
    if policy is None:
        checks += _unappraised(report)
    checks += _bind_checks(quote, report, now, nonce, audience)
    platform, platform_mock, image = _platform_checks(quote, now, policy, nonce, accept_mock)
    checks.append(_release_check(policy, releases, report, quote.workload.document["build"], image))
    demanded = _demands_image(report, policy) or _is_ec2(checks)
    checks += _announcement_checks(policy, announcement, report, image, demanded, now)
    verdict = _verdict(
        [*checks, *platform, *log.judge_log(quote, report, witnesses, earlier)],
        policy,
        mock,
        quote=True,
        fresh=nonce is not None,
        audience=audience is not None,
        image=demanded,
        logged=_required_of_log(quote, witnesses, earlier),
        platform_mock=platform_mock,
        unproven=unproven,
    )
    return verdict if quote.stale is None else _marked_stale(verdict, quote.stale)


def _unparsed(error: Malformed, policy: AppraisalPolicy | None) -> list[Check]:
    broken = failed("bind.quote", f"{error.field}: {error.found}", error.wanted)
    announced = [announcements.CHECK] if policy and policy.announcement else []
    rest = [*REPORT_CHECKS, *appraise.CHECKS, *BIND_CHECKS[1:], RELEASE_CHECK, *announced, *log.CHECKS]
    return [broken, *(skipped(check_id, "the quote does not parse") for check_id in rest)]


def _marked_stale(verdict: Verdict, stale: Stale) -> Verdict:
    mark = f"the gateway marks this evidence stale since {stale.since}: {stale.reason}"
    return replace(verdict, not_proven=(f"that the attestation device still works: {mark}", *verdict.not_proven))


def verify_answer(
    quote_verdict: Verdict,
    quote_document: Any,
    receipt: bytes,
    request: bytes | None,
    response: bytes | None,
    proof: bytes | None = None,
    *,
    earlier: tuple[Verdict, Any] | None = None,
    headers: bytes | None = None,
    around: receipt_log.Surroundings = receipt_log.NOTHING_ELSE,
) -> Verdict:
    """Extend the verdict on a quote by the receipt of one answer. Both bodies are required of a full verdict.

    `proof` is what the gateway serves of the receipt's place in the log, None if it is not at hand; `earlier` the quote
    of the keyset that the receipt's stream checkpoint names, with the verdict on it, None where that is this quote's;
    `headers` the answer's head as the client got it, None if not at hand; `around` what else is known of the log.
    """
    required = quote_verdict.required | set(receipts.CHECKS) | receipt_log.required_of(around)
    try:
        quote = decode_quote(quote_document)
    except Malformed:
        ids = (*receipts.CHECKS, stream.CHECK, answer_head.CHECK, *receipt_log.CHECKS)
        skips = [skipped(check_id, "the quote does not parse") for check_id in ids]
        return replace(quote_verdict, checks=(*quote_verdict.checks, *skips), required=required)
    placed = [*receipt_log.judge_receipt_log(quote, receipt, response, proof, around), _check_upstream(receipt)]
    beside = (
        stream.judge_stream(receipt, quote.workload, response, _workload_of(earlier)),
        answer_head.judge_head(receipt, quote.workload, response, headers),
    )
    found = [*receipts.verify_receipt(receipt, quote.keyset, request, response), *beside, *placed]
    not_proven = [line for line in quote_verdict.not_proven if not line.startswith("upstream.")]
    not_proven += [
        f"{check.id}: {check.reason}" for check in placed if check.outcome is not Outcome.FAIL and check.reason
    ]
    return replace(
        quote_verdict, checks=(*quote_verdict.checks, *found), required=required, not_proven=tuple(not_proven)
    )


def _workload_of(earlier: tuple[Verdict, Any] | None) -> Workload | None:
    """The workload of an earlier keyset's quote; None where that was not given, or not verified."""
    if earlier is None or earlier[0].outcome != "verified":
        return None
    return decode_quote(earlier[1]).workload


def _check_upstream(raw: bytes) -> Check:
    """What the receipt says of the upstream; until upstreams are attested this is never a pass."""
    try:
        event = receipts.parse_receipt(raw).events.get("upstream.verified", {})
    except Malformed:
        return skipped("upstream.provenance", "the receipt does not parse")
    if not event:
        return skipped("upstream.provenance", "no upstream answered")
    if event.get("result") == "verified":
        return skipped("upstream.provenance", "the receipt cites an attested upstream session, which was not given")
    return skipped("upstream.provenance", "the upstream is not attested: at most its TLS certificate is known")


def _report_checks(
    evidence: Evidence, now: datetime, policy: AppraisalPolicy | None, accept_mock: bool, tcb: TcbData
) -> tuple[list[Check], AttestationReport | None, bool, list[str]]:
    """The checks of the report, the report, whether it is a mock, and what its TCB leaves unproven."""
    rest = [*chain.CHECKS, *(appraise.CHECKS if policy else ())]
    try:
        report = parse_report(evidence.report)  # 1 to 5
    except Malformed as error:
        broken = failed("hw.report", f"{error.field}: {error.found}", error.wanted)
        return [broken, *(skipped(check_id, "the report does not parse") for check_id in rest)], None, False, []
    checks = [passed("hw.report", f"version {report.version}, {len(evidence.report)} bytes", "a well-formed report")]
    authenticated = chain.authenticate(evidence.report, report, evidence.endorsements, now=now, accept_mock=accept_mock)
    checks += authenticated.checks
    if policy is not None:
        csp_id = authenticated.chain.extensions.csp_id if authenticated.chain else None
        checks += appraise.appraise(report, authenticated.product, csp_id, policy, tcb, now)
    return checks, report, authenticated.mock, grade.unproven(report, authenticated.product, policy, tcb, now)


def _unappraised(report: AttestationReport | None) -> list[Check]:
    found = report.measurement.hex() if report else "no measurement"
    wanted = "a measurement that you accept: no release is built in yet, so give a policy"
    why = "no policy was given"
    return [*(skipped(check_id, why) for check_id in appraise.CHECKS[:-1]), failed("code.measurement", found, wanted)]


def _release_check(
    policy: AppraisalPolicy | None,
    releases: Releases | None,
    report: AttestationReport | None,
    build: Any,
    image: tuple[str, ...] | None,
) -> Check:
    """What the signed manifests say of this measurement and, in a quote, of this build and boot image."""
    if policy is None or policy.releases is None:
        return skipped(RELEASE_CHECK, NO_RELEASE_KEYS)
    if releases is None:
        return skipped(RELEASE_CHECK, "your policy names release keys, and no signed manifest was given")
    if report is None:
        return skipped(RELEASE_CHECK, "the report does not parse")
    return check_release(releases, report.measurement.hex(), build, image)


def _announcement_checks(
    policy: AppraisalPolicy | None,
    announcement: bytes | None,
    report: AttestationReport | None,
    image: tuple[str, ...] | None,
    firmware: bool,
    now: datetime,
) -> list[Check]:
    """Whether the release was announced early enough, where the policy asks for that."""
    if policy is None or policy.announcement is None:
        return []
    measurement = None if report is None else report.measurement.hex()
    demand = policy.announcement
    return [announcements.judge_announcement(demand, announcement, measurement, image, firmware=firmware, now=now)]


def _bind_checks(
    quote: Quote, report: AttestationReport | None, now: datetime, nonce: bytes | None, audience: str | None
) -> list[Check]:
    checks = [passed("bind.quote", "saferouter/quote/v1", "a well-formed quote")]
    checks += _check_statement(quote, report, nonce)  # 16
    committed = subject_of(quote.workload.digest)
    checks.append(judged("bind.workload", quote.keyset.subject == committed, quote.keyset.subject, committed))
    checks.append(_check_identity(quote))
    checks.append(_check_expiry(quote, now))
    if audience is None:
        checks.append(skipped("bind.audience", "the origin is unknown"))
    else:
        found, wanted = f"attested for {quote.workload.audience}", f"{audience}, the address that was used"
        checks.append(judged("bind.audience", quote.workload.audience == audience, found, wanted))
    return checks


def _check_statement(quote: Quote, report: AttestationReport | None, nonce: bytes | None) -> list[Check]:
    """Rebuild the statement and REPORT_DATA; the served statement must be those very bytes."""
    try:
        claimed = _nonce_of(quote.statement)
    except Malformed as error:
        broken = failed("bind.report-data", f"{error.field}: {error.found}", error.wanted)
        return [broken, skipped("bind.nonce", "the statement does not parse")]
    rebuilt = encode_statement(quote.keyset.digest, claimed if nonce is None else nonce)
    wanted = report_data_of(rebuilt)
    if quote.statement.encode() != rebuilt:
        check = failed("bind.report-data", f"statement {quote.statement}", f"statement {rebuilt.decode()}")
    elif report is None:
        check = skipped("bind.report-data", "the report does not parse")
    else:
        held = hmac.compare_digest(report.report_data, wanted)
        check = judged("bind.report-data", held, report.report_data.hex(), f"{wanted.hex()}, from keyset and nonce")
    if nonce is None:
        return [check, skipped("bind.nonce", "stored evidence: no nonce of yours is in it")]
    found = claimed.hex() if claimed else "no nonce"
    return [check, judged("bind.nonce", claimed == nonce, found, f"{nonce.hex()}, sent by this verifier")]  # 23


def _nonce_of(statement: str) -> bytes | None:
    document = parse_json(statement.encode(), "statement")
    value = document.get("nonce", "") if isinstance(document, dict) else ""
    return None if value is None else parse_nonce(value)


def _demands_image(report: AttestationReport | None, policy: AppraisalPolicy | None) -> bool:
    """Whether the measurement is one that covers firmware only: then platform evidence must say what was booted."""
    return report is not None and policy is not None and report.measurement.hex() in policy.firmware_measurements


def _is_ec2(checks: list[Check]) -> bool:
    """Whether Amazon's certificate signed for an accepted measurement: it covers firmware, whatever the policy says."""
    return any(check.id == "code.measurement" and check.reason == appraise.EC2_FIRMWARE_ONLY for check in checks)


def _platform_checks(
    quote: Quote, now: datetime, policy: AppraisalPolicy | None, nonce: bytes | None, accept_mock: bool
) -> tuple[list[Check], bool, tuple[str, ...] | None]:
    """Platform evidence (24): a document that is there is judged, and the workload says which must be there.

    The checks, whether a mock was accepted, and the boot image if the evidence of it holds.
    """
    carried, named = tuple(quote.platform_evidence), quote.workload.platform_kinds
    if carried != named:
        found = f"the quote carries {_listed(carried)}"
        genuine, bound, image = nitro.CHECKS
        disagree = failed(bound, found, f"{_listed(named)}, as the workload document says")
        why = "quote and workload disagree"
        return [skipped(genuine, why), disagree, skipped(image, why)], False, None
    document = quote.platform_evidence.get("nitrotpm")
    if document is None:
        return [skipped(check_id, "the quote carries no platform evidence") for check_id in nitro.CHECKS], False, None
    expected = nonce
    if nonce is None:
        try:
            expected = _nonce_of(quote.statement)
        except Malformed:
            expected = None  # bind.report-data names that fault
    given = nitro.Circumstances(quote.evidence.report, expected, nonce is not None, now, policy)
    checks, mock = nitro.judge_document(document, given, accept_mock=accept_mock)
    return checks, mock, nitro.vouched_image(document, checks)


def _required_of_log(quote: Quote, witnesses: WitnessPolicy | None, earlier: log.Earlier | None) -> frozenset[str]:
    """A workload that names a log must show its start there; own witnesses and what was seen bind every quote."""
    demands = {log.WITNESS: log.demands_witnesses(witnesses), log.CONSISTENCY: earlier is not None}
    demands |= dict.fromkeys(log.REQUIRED, quote.workload.log is not None)
    return frozenset(check_id for check_id, demanded in demands.items() if demanded)


def _listed(kinds: tuple[str, ...]) -> str:
    return ", ".join(kinds) or "no platform evidence"


def _check_identity(quote: Quote) -> Check:
    """The persistent identity signed this keyset: continuity across boots, not trust by itself."""
    key = quote.workload.identity_key
    held = verify_ed25519(key, quote.identity_signature, identity_message(quote.keyset.digest))
    found = "a signature that verifies" if held else "a signature that does not verify"
    return judged("bind.identity", held, found, f"Ed25519 by identity {key.hex()} over the keyset digest")


def _check_expiry(quote: Quote, now: datetime) -> Check:
    left = (quote.keyset.not_after - now).total_seconds()
    found = quote.keyset.not_after.isoformat(timespec="seconds").replace("+00:00", "Z")
    return judged("bind.keyset-expiry", 0 < left <= MAX_KEYSET_SECONDS, found, "in the future, at most 7 days ahead")


def _verdict(
    checks: list[Check],
    policy: AppraisalPolicy | None,
    mock: bool,
    *,
    quote: bool,
    fresh: bool = True,
    audience: bool = True,
    image: bool = False,
    logged: frozenset[str] = frozenset(),
    platform_mock: bool = False,
    unproven: Iterable[str] = (),
) -> Verdict:
    """What must have passed, and what stays unproven. `image`: platform evidence is demanded; `logged`: these."""
    scope = Scope.FULL if quote or policy else Scope.AUTHENTICITY
    required = set(REPORT_CHECKS)
    if scope is Scope.FULL:
        required |= set(appraise.CHECKS) - OPTIONAL
    if scope is Scope.AUTHENTICITY or (policy and not policy.revocation_required):
        required.discard("hw.revocation")
    if quote:
        required |= set(BIND_CHECKS)
        required -= set() if fresh else {"bind.nonce"}
        required -= set() if audience else {"bind.audience"}
        checks = checks + [skipped(check_id, reason) for check_id, reason in NOT_BUILT.items()]
    if policy and policy.releases and policy.release_required:
        required.add(RELEASE_CHECK)
    if policy and policy.announcement:
        required.add(announcements.CHECK)
    required |= set(nitro.CHECKS) if image else set()
    required |= logged
    required -= ({"hw.root"} if mock else set()) | ({nitro.CHECKS[0]} if platform_mock else set())
    not_proven = [f"{check.id}: {check.reason}" for check in checks if check.outcome is Outcome.SKIP]
    limited = [check for check in checks if check.id in CAVEATS and check.outcome is Outcome.PASS and check.reason]
    not_proven += [f"{check.id}: {check.reason}" for check in limited]
    not_proven += unproven
    if not quote and scope is Scope.FULL:
        not_proven.append("bind.*: a bare report: nobody judged what its REPORT_DATA commits to, nor its freshness")
    if scope is Scope.AUTHENTICITY:
        not_proven.append("guest.*, code.*: no policy was given, so no value of the report was judged")
    return Verdict(scope, tuple(checks), frozenset(required), mock or platform_mock, (*not_proven, *LIMITS))
