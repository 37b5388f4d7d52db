"""The configuration of routing: models with their fallbacks, the keys of a provider, retries and breakers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from gateway.config_cards import decode_card
from gateway.config_fields import bounded, refuse_unknown, texts, typed
from gateway.connectors.connector import Connector
from gateway.languages import SERVICES
from gateway.routing.health import BreakerPolicy
from gateway.routing.retry import RetryPolicy
from gateway.routing.route import CHAT, PublicModel
from tee.errors import Malformed
from tee.keys.identity import digest_text

MAX_KEYS = 8  # of one provider: a call tries each at most once
MAX_FALLBACKS = 7  # of one model: a caller waits for every one that fails
MAX_PROVIDERS = 8  # that serve one model
CAPABILITIES = (CHAT, "embeddings", "tools", "json_schema", "reasoning", "images", "audio", "documents")
"""What a model can be declared to do. A fallback must do what its model does."""
_DEMO_MODELS = ("reasoner", "text", "503", "429", "cut", "stall", "slow")


def demo_document() -> dict[str, Any]:
    """The configuration of a gateway that was given none: the mock provider."""
    return {
        "providers": [{"id": "mock", "family": "mock"}],
        "models": [
            {"id": "mock-1", "provider": "mock", "aliases": ["demo"]},
            *({"id": f"mock-{name}", "provider": "mock"} for name in _DEMO_MODELS),
        ],
        # What a demo costs is as much a mock as who answers it.
        "prices": {
            "models": [
                {"id": f"mock-{name}", "input": 1_000_000, "output": 2_000_000, "max_output": 4096}
                for name in ("1", *_DEMO_MODELS)
            ]
        },
    }


def decode_models(rows: Sequence[Any], connectors: Mapping[str, Connector]) -> tuple[PublicModel, ...]:
    """The models of a configuration. Raises Malformed, also for a fallback that cannot stand in."""
    models = tuple(_model(row, f"config.models[{at}]", connectors) for at, row in enumerate(rows))
    by_name = {name: model for model in models for name in (model.id, *model.aliases)}
    if len(by_name) != sum(1 + len(model.aliases) for model in models):
        raise Malformed("config.models", "a model id or alias twice", "each name once")
    return tuple(_chained(model, f"config.models[{at}]", by_name, connectors) for at, model in enumerate(models))


def decode_retry(table: Mapping[str, Any]) -> RetryPolicy:
    """`[retry]`. Raises Malformed."""
    path, default = "config.retry", RetryPolicy()
    refuse_unknown(table, set(RetryPolicy.__slots__), path)
    read = {name: typed(table, name, int, value, path) for name, value in asdict(default).items()}
    return RetryPolicy(
        bounded(read["attempts"], 1, 8, f"{path}.attempts"),
        bounded(read["base_milliseconds"], 1, 60_000, f"{path}.base_milliseconds"),
        bounded(read["cap_milliseconds"], 1, 60_000, f"{path}.cap_milliseconds"),
    )


def decode_breaker(table: Mapping[str, Any]) -> BreakerPolicy:
    """`[breaker]`. Raises Malformed."""
    path, default = "config.breaker", BreakerPolicy()
    refuse_unknown(table, set(BreakerPolicy.__slots__), path)
    read = {name: typed(table, name, int, value, path) for name, value in asdict(default).items()}
    return BreakerPolicy(
        bounded(read["failures"], 1, 64, f"{path}.failures"),
        bounded(read["window_seconds"], 1, 3600, f"{path}.window_seconds"),
        bounded(read["rest_seconds"], 1, 3600, f"{path}.rest_seconds"),
    )


def with_keys(connector: Connector, row: Mapping[str, Any], path: str) -> Connector:
    """The connector with the places of its keys: `credential_file`, else `credential_env`. Raises Malformed."""
    files, names = (texts(row, name, path, MAX_KEYS) for name in ("credential_file", "credential_env"))
    keys = [replace(connector, credential_env=(name,)) for name in names] or [connector]
    if files:
        keys = [replace(keys[0], credential_file=file) for file in files]
    return replace(keys[0], spares=tuple(keys[1:]))


def _model(row: Any, path: str, connectors: Mapping[str, Connector]) -> PublicModel:
    known = {"id", "provider", "providers", "upstream_model", "aliases", "fallback", "capabilities", "card"}
    refuse_unknown(row, known | {"supplier", "content_hash", "prefix"}, path)
    name = typed(row, "id", str, "", path)
    if not name:
        raise Malformed(f"{path}.id", "nothing", "the model id that clients will use")
    (provider, theirs), *others = _places(row, name, path, connectors)
    aliases = typed(row, "aliases", list, [], path)
    able = texts(row, "capabilities", path, len(CAPABILITIES)) or (CHAT,)
    if unknown := [each for each in able if each not in CAPABILITIES]:
        raise Malformed(f"{path}.capabilities", repr(unknown[0][:64]), f"of {', '.join(CAPABILITIES)}")
    content_hash = typed(row, "content_hash", str, None, path)
    model = PublicModel(
        id=name,
        provider=provider,
        upstream_model=theirs,
        aliases=tuple(map(str, aliases)),
        fallback=texts(row, "fallback", path, MAX_FALLBACKS),
        capabilities=able,
        card=decode_card(typed(row, "card", dict, {}, path), f"{path}.card"),
        others=tuple(others),
        supplier=typed(row, "supplier", str, None, path),
        content_hash=None if content_hash is None else digest_text(content_hash, f"{path}.content_hash"),
        prefix=_prefix(row, path),
    )
    for at, (other, _) in enumerate(others, 1):
        _require_match(model, replace(model, provider=other), f"{path}.providers[{at}]", connectors)
    return model


def _prefix(row: Mapping[str, Any], path: str) -> str | None:
    """What names begin with that mean a provider's own models. Raises Malformed beside what one model alone has."""
    prefix: str | None = typed(row, "prefix", str, None, path)
    if prefix is None:
        return None
    if not prefix or (own := sorted({"upstream_model", "aliases", "fallback", "content_hash"} & row.keys())):
        found = f"a prefix beside {own[0]}" if prefix else "nothing"
        raise Malformed(f"{path}.prefix", found, "a text, for a row without names, fallbacks or hash of one model")
    return prefix


def _places(
    row: Mapping[str, Any], model: str, path: str, connectors: Mapping[str, Connector]
) -> list[tuple[str, str]]:
    """Who serves a model, and by which name of their own: `upstream_model` is one for all, or one for each provider."""
    names = texts(row, "providers", path, MAX_PROVIDERS)
    if ("provider" in row) == ("providers" in row):
        found = "both" if "provider" in row else "neither"
        raise Malformed(f"{path}.provider", found, f"provider, or a list of providers: {', '.join(connectors)}")
    if "provider" in row:
        names = (typed(row, "provider", str, "", path),)
    place = "provider" if "provider" in row else "providers"
    if not names or (unknown := [name for name in names if name not in connectors]):
        found = repr(unknown[0]) if names else "none"
        raise Malformed(f"{path}.{place}", found, f"one of {', '.join(connectors) or 'config.providers'}")
    theirs = row.get("upstream_model", model)
    if isinstance(theirs, Mapping):
        refuse_unknown(theirs, set(names), f"{path}.upstream_model")
        return [(name, typed(theirs, name, str, model, f"{path}.upstream_model")) for name in names]
    return [(name, typed(row, "upstream_model", str, model, path)) for name in names]


def _chained(
    model: PublicModel, path: str, by_name: Mapping[str, PublicModel], connectors: Mapping[str, Connector]
) -> PublicModel:
    """The model, its fallbacks by their ids. The list is the whole chain, so that none can run in a circle."""
    chain: list[str] = []
    for at, name in enumerate(model.fallback):
        place, other = f"{path}.fallback[{at}]", by_name.get(name)
        if other is None or other.prefix is not None:
            raise Malformed(place, repr(name[:128]), "the id of a model in config.models, and no prefix")
        if other.id in (model.id, *chain):
            raise Malformed(place, f"{other.id}, a second time", "each model once, and not the model itself")
        _require_match(model, other, place, connectors)
        chain.append(other.id)
    return replace(model, fallback=tuple(chain))


def _require_match(model: PublicModel, other: PublicModel, place: str, connectors: Mapping[str, Connector]) -> None:
    """Refuse a fallback, or a provider, that cannot do what the model does. Raises Malformed."""
    if missing := [each for each in model.capabilities if each not in other.capabilities]:
        wanted = f"a model that has them, as {model.id} does: declare its capabilities, or leave it out"
        raise Malformed(place, f"{other.id} without {', '.join(missing)}", wanted)
    if connectors[model.provider].authenticated and not connectors[other.provider].authenticated:
        found = f"{other.id}, whose provider {other.provider} is reached without TLS"
        raise Malformed(place, found, f"one reached by https, as the provider of {model.id} is")
    for surface, service in SERVICES.items():
        needed = service.capability in model.capabilities and service.offers(connectors[model.provider])
        if needed and not service.offers(connectors[other.provider]):
            found = f"{other.id}, whose provider {other.provider} does not offer {surface}"
            raise Malformed(place, found, f"a model that can be asked what {model.id} can")
