"""The risk of an artefact, from 0 to 100, and how a registry's artefacts add up. docs/registry.md states the rule."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from gateway.registry.document import Artefact, Registry, Supplier

WORST = 100
BANDS = ((75, "critical"), (50, "high"), (25, "medium"), (0, "low"))
NO_BOM, NO_HASH, NO_LICENCE, ONE_PLACE = 20, 20, 10, 5
TIER_STEP = 5  # for each tier beyond the closest


@dataclass(frozen=True, slots=True)
class Risk:
    """A score with its band, and what it is made of, in words."""

    score: int
    band: str
    reasons: tuple[str, ...]


def risk_of(registry: Registry, one: Artefact) -> Risk:
    """The risk of an artefact: the worst there is where something forbids it, else the sum of what is missing."""
    supplier = registry.suppliers[one.supplier]
    barred = [
        *(["it is revoked"] if (one.category, one.id) in registry.revocations else []),
        *(["its supplier is revoked"] if supplier.revoked else []),
        *(["its supplier is sanctioned"] if supplier.sanctioned else []),
    ]
    if barred:
        return Risk(WORST, band_of(WORST), tuple(barred))
    parts = [
        (supplier.risk, f"its supplier's risk is {supplier.risk}"),
        ((supplier.tier - 1) * TIER_STEP, f"its supplier is of tier {supplier.tier}"),
        (NO_BOM * (one.bom is None), "it has no bill of materials"),
        (NO_HASH * (one.content_hash is None), "it has no content hash"),
        (NO_LICENCE * (one.licence is None), "its licence is not stated"),
        (ONE_PLACE * (len(one.mirrors) < 2), "fewer than two mirrors hold it"),
    ]
    score = min(WORST, sum(points for points, _ in parts))
    return Risk(score, band_of(score), tuple(f"{words} (+{points})" for points, words in parts if points))


def band_of(score: int) -> str:
    """The band of a score."""
    return next(name for least, name in BANDS if score >= least)


def supplier_risk(one: Supplier) -> int:
    """By which suppliers are ranked: whoever is barred comes first."""
    return WORST if one.revoked or one.sanctioned else one.risk


def summarise_risk(registry: Registry) -> dict[str, Any]:
    """The artefacts by their suppliers' tiers and by bands, and what is revoked or sanctioned."""
    risks = {place: risk_of(registry, one) for place, one in registry.artefacts.items()}
    tiers = Counter(registry.suppliers[one.supplier].tier for one in registry.artefacts.values())
    bands = Counter(risk.band for risk in risks.values())
    sanctioned = {one.id for one in registry.suppliers.values() if one.sanctioned}
    theirs = [one for one in registry.artefacts.values() if one.supplier in sanctioned]
    return {
        "artefacts": len(registry.artefacts),
        "suppliers": len(registry.suppliers),
        "by_tier": [{"tier": tier, "artefacts": tiers[tier]} for tier in sorted(tiers)],
        "by_band": [{"band": name, "artefacts": bands[name]} for _, name in BANDS],
        "revoked": {
            "suppliers": sorted(one.id for one in registry.suppliers.values() if one.revoked),
            "artefacts": [{"category": category, "id": name} for category, name in sorted(registry.revocations)],
        },
        "sanctioned": {
            "suppliers": sorted(sanctioned),
            "artefacts": sorted(({"category": one.category, "id": one.id} for one in theirs), key=str),
        },
        "worst": max((risk.score for risk in risks.values()), default=None),
    }
