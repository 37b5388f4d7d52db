"""Whether a registry is to be believed, and what follows from it for those who route."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.registry.document import PAYLOAD_TYPE, Artefact, Registry, parse_registry
from tee.errors import Malformed
from tee.measure.envelope import Signers, open_envelope

MODEL = "model"
SKEW_SECONDS = 300  # by which the clock of who signs may be ahead of ours


@dataclass(frozen=True, slots=True)
class Banned:
    """What is not to be asked: ids of models, and of suppliers with all that is theirs."""

    models: frozenset[str]
    suppliers: frozenset[str]


def open_registry(raw: bytes, signers: Signers, *, now: int, seen: tuple[int, str] | None, field: str) -> Registry:
    """The registry in a signed envelope, once it is one that may come into force.

    `seen` is the sequence and digest of the newest that ever was: another one must come after it. Raises Malformed.
    """
    registry = parse_registry(open_envelope(raw, signers, PAYLOAD_TYPE, field), f"{field}.payload")
    if registry.expires <= now:
        raise Malformed(f"{field}.expires", f"{registry.expires}, which is past", f"a time after {now}")
    if registry.issued > now + SKEW_SECONDS:
        raise Malformed(f"{field}.issued", f"{registry.issued}, which is to come", f"{now}, or before it")
    require_newer(registry, seen, field)
    return registry


def require_newer(registry: Registry, seen: tuple[int, str] | None, field: str) -> None:
    """Raises Malformed for one that was there before another: it may lack a revocation."""
    if seen is None or (registry.sequence, registry.digest) == seen:
        return
    if registry.sequence <= seen[0]:
        raise Malformed(f"{field}.sequence", str(registry.sequence), f"{seen[0] + 1} or more: {seen[0]} was in force")


def interdicted(registry: Registry) -> Banned:
    """What the registry takes trust from. It does so for as long as no newer one says otherwise, also when expired."""
    suppliers = frozenset(one.id for one in registry.suppliers.values() if one.revoked or one.sanctioned)
    models = {name for category, name in registry.revocations if category == MODEL}
    models |= {one.id for one in registry.artefacts.values() if one.category == MODEL and one.supplier in suppliers}
    found = (registry.artefacts.get((MODEL, name)) for name in tuple(models))
    models |= {one.content_hash for one in found if one is not None and one.content_hash is not None}  # by any name
    return Banned(frozenset(models), suppliers)


def model_of(registry: Registry, *names: str) -> Artefact | None:
    """The model of the first of these names that is in it."""
    return next((one for name in names if (one := registry.artefacts.get((MODEL, name)))), None)


def origin_of(registry: Registry, *names: str) -> str | None:
    """The country of the supplier of that model; None if it is not in it."""
    found = model_of(registry, *names)
    return None if found is None else registry.suppliers[found.supplier].country
