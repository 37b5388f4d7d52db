"""What a vector is: its inputs, its shared collateral and the verdict that it must get."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from tests.vectors.certificates import ARK, ASK, CRL, NOW, Certificate, RevocationList, vek, vek_values, vlek_values
from tests.vectors.reports import MEASUREMENT

Json = Any

# The checks of SPEC §6, in the order of a transcript, written down here a second time on purpose.
HW = (
    "hw.report",
    "hw.certificate",
    "hw.product",
    "hw.chain",
    "hw.root",
    "hw.validity",
    "hw.revocation",
    "hw.signature",
    "hw.tcb-certificate",
    "hw.chip-id",
)
APPRAISED = (
    "guest.tcb-lattice",
    "guest.tcb-floor",
    "guest.tcb-status",
    "guest.vmpl",
    "guest.debug",
    "guest.migration",
    "guest.abi",
    "guest.policy",
    "guest.platform",
    "code.measurement",
)
BIND = (
    "bind.quote",
    "bind.report-data",
    "bind.nonce",
    "bind.workload",
    "bind.identity",
    "bind.keyset-expiry",
    "bind.audience",
)
RECEIPT = (
    "receipt.format",
    "receipt.keyset",
    "receipt.signature",
    "receipt.request",
    "receipt.response",
    "receipt.complete",
)


@dataclass(frozen=True)
class Blob:
    """Bytes that several vectors share, by name."""

    name: str
    raw: bytes


@dataclass(frozen=True)
class Chain:
    """The endorsements of one piece of evidence."""

    vek: Blob
    intermediate: Blob
    ark: Blob
    crl: Blob | None

    def blobs(self) -> tuple[Blob, ...]:
        return (self.vek, self.intermediate, self.ark, *([self.crl] if self.crl else []))


@dataclass(frozen=True)
class Vector:
    """One vector: `body` is its JSON but for the number of its file; `blobs` is the collateral that it names."""

    stage: str
    slug: str
    body: dict[str, Json]
    blobs: tuple[Blob, ...] = ()


def blob(name: str, content: Certificate | RevocationList | bytes) -> Blob:
    return Blob(name, content if isinstance(content, bytes) else content.der())


GENOA = Chain(blob("vcek-genoa", vek()), blob("ask", ASK), blob("ark", ARK), blob("crl", CRL))
MILAN = replace(GENOA, vek=blob("vcek-milan", vek(vek_values("Milan-B0"))))
TURIN = replace(GENOA, vek=blob("vcek-turin", vek(vek_values("Turin"))))
VLEK = replace(GENOA, vek=blob("vlek-genoa", vek(vlek_values(), "SEV-VLEK")))

POLICY: dict[str, Json] = {"measurements": [MEASUREMENT.hex()]}


def policy(**changes: Json) -> dict[str, Json]:
    return POLICY | changes


@dataclass(frozen=True)
class Expect:
    """A verdict, the checks that fail in transcript order, and the required checks that never ran."""

    verdict: str
    fails: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Json]:
        return {"verdict": self.verdict, "fails": list(self.fails), "missing": sorted(self.missing)}


VERIFIED, AUTHENTIC = Expect("verified"), Expect("authentic")


def rejected(*fails: str, missing: Iterable[str] = ()) -> Expect:
    return Expect("rejected", fails, tuple(missing))


REPORT_BROKEN = rejected("hw.report", missing=HW[1:] + APPRAISED)
CERTIFICATE_BROKEN = rejected("hw.certificate", missing=HW[2:] + APPRAISED)
# Without a product nothing that depends on it can be judged.
PRODUCT_UNKNOWN = rejected("hw.product", missing=("hw.tcb-certificate", "hw.chip-id", *APPRAISED))
QUOTE_BROKEN = rejected("bind.quote", missing=HW + APPRAISED + BIND[1:])


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def iso(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def report_vector(
    slug: str,
    about: str,
    report: bytes,
    expect: Expect = VERIFIED,
    *,
    chain: Chain = GENOA,
    policy: dict[str, Json] | None = POLICY,
    now: dt.datetime = NOW,
    accept_mock: bool = True,
) -> Vector:
    """A bare report with its endorsements."""
    body = {
        "about": about,
        "stage": "report",
        "now": iso(now),
        "report": b64(report),
        "vek": chain.vek.name,
        "intermediate": chain.intermediate.name,
        "ark": chain.ark.name,
        "crl": chain.crl.name if chain.crl else None,
        "accept_mock": accept_mock,
        "policy": policy,
        "expect": expect.to_json(),
    }
    return Vector("report", slug, body, chain.blobs())


def plain_vector(stage: str, slug: str, about: str, data: bytes, expect: dict[str, Json]) -> Vector:
    """A vector of the stages policy, json and table: bytes in, a value or the name of the broken field out."""
    return Vector(stage, slug, {"about": about, "stage": stage, "input": b64(data), "expect": expect})
