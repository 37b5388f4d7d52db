"""The configuration of the registry: whose signatures count, and what the one in force says of models and suppliers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.config_fields import refuse_unknown, texts, typed
from gateway.registry.document import PAYLOAD_TYPE, Registry, parse_registry
from gateway.registry.judge import interdicted, model_of
from gateway.routing.interdicted import Interdicted
from gateway.routing.route import ModelTable, PublicModel
from gateway.routing.rules import RoutingRules
from tee.errors import Malformed
from tee.keys.identity import hex_bytes
from tee.measure.envelope import MAX_SIGNERS, Signers, open_envelope

STORED = "registry_document"
NAMES = frozenset({"registry", STORED})
"""The members of a configuration that are read here; the second is what the gateway stores, as text."""


def decode_signers(document: Mapping[str, Any]) -> Signers | None:
    """`[registry]`; None where nobody's registry counts. Raises Malformed."""
    table, path = typed(document, "registry", dict, {}, "config"), "config.registry"
    refuse_unknown(table, {"keys", "threshold"}, path)
    keys = texts(table, "keys", path, MAX_SIGNERS)
    if not table:
        return None
    threshold = typed(table, "threshold", int, 1, path)
    return Signers(tuple(hex_bytes(key, 32, f"{path}.keys[{at}]") for at, key in enumerate(keys)), threshold)


def decode_registry(document: Mapping[str, Any], signers: Signers | None) -> Registry | None:
    """The registry that is stored, by good signatures. Raises Malformed.

    It counts whatever the time is: what it forbids stays forbidden until a newer one says otherwise.
    """
    stored: str | None = typed(document, STORED, str, None, "config")
    if stored is None:
        return None
    if signers is None:
        raise Malformed("config.registry.keys", "none, while a registry is stored", "the keys that signed it")
    return parse_registry(open_envelope(stored.encode(), signers, PAYLOAD_TYPE, STORED), STORED)


def with_claims(models: ModelTable, rules: RoutingRules, registry: Registry | None) -> tuple[ModelTable, RoutingRules]:
    """Models and rules with what the registry says of them; what is configured counts before its claims."""
    if registry is None:
        return models, rules
    banned = interdicted(registry)
    countries = {one.id: one.country for one in registry.suppliers.values()}
    claimed = tuple(_claimed(model, registry) for model in models.models)
    blocked = rules.interdicted | Interdicted(models=banned.models, suppliers=banned.suppliers)
    rules = replace(rules, interdicted=blocked, suppliers={**countries, **rules.suppliers})
    return replace(models, models=claimed), rules


def _claimed(model: PublicModel, registry: Registry) -> PublicModel:
    found = model_of(registry, model.id, model.upstream_model)
    if found is None:
        return model
    return replace(
        model,
        supplier=model.supplier or found.supplier,
        content_hash=model.content_hash or found.content_hash,
        registered_hash=found.content_hash,
        mirror=found.mirrors[0] if len(found.mirrors) == 1 else None,
    )
