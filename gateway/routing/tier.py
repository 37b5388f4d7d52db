"""Tier: how far the model of a provider is to be trusted, by what is known of it now."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Tier(IntEnum):
    """From worst to best, so that a policy can ask for one or better."""

    INTERDICTED = 0  # blocked: never routed
    QUARANTINE = 1  # unknown, or drifted from what it was
    HARDENED = 2  # TLS names a provider that is known by its identity, and the model is a catalogued one
    SEALED = 3  # this gateway verified the evidence of the TEE that runs the model

    @property
    def word(self) -> str:
        """As policies, receipts and answers spell it."""
        return self.name.lower()


TIERS = {tier.word: tier for tier in Tier}


class Identity(StrEnum):
    """What TLS says of a provider, compared with what is pinned for it, else with its baseline."""

    NONE = "none"  # it is reached without TLS: nothing names it
    UNKNOWN = "unknown"  # no pin, and no baseline yet
    KNOWN = "known"
    DRIFTED = "drifted"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the model of a provider.

    - `catalogued`: it stands in the attested table by its own name, not by a prefix
    - `hash_drifted`: its weights are declared with another hash than the logged baseline's
    - `interdicted`: what of it is blocked, in words; None if nothing is
    - `evidence`: the digest of the TEE evidence that this gateway verified for it, or of the measured model in this
      very guest. Nothing sets it yet, so nothing is sealed yet; whoever verifies such evidence sets it, and nobody else
    """

    identity: Identity
    catalogued: bool = True
    hash_drifted: bool = False
    interdicted: str | None = None
    evidence: str | None = None

    @property
    def drift(self) -> str | None:
        """What has drifted, in words; None if nothing has."""
        if self.identity is Identity.DRIFTED:
            return "its TLS identity is another than its baseline's"
        return "its content hash is another than its baseline's" if self.hash_drifted else None


def tier_of(known: Known) -> Tier:
    """The tier. The only place that says one: policies, receipts and answers all have it from here."""
    if known.interdicted is not None:
        return Tier.INTERDICTED
    if known.drift is not None or not known.catalogued:
        return Tier.QUARANTINE
    if known.evidence is not None:
        return Tier.SEALED
    return Tier.HARDENED if known.identity is Identity.KNOWN else Tier.QUARANTINE
