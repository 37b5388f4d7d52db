"""Providers that the operator registers while the gateway runs: what one may be, and how the configuration says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from gateway.tenancy.changes import read_id
from tee.canonical import kind_of
from tee.errors import Malformed

# What is asked for at an address that is named here, with a key that lies ready for it. Where a family's own keys sign
# or buy tokens, an address of somebody's choosing has no business with them.
KINDS = {
    "openai-compatible": "vllm",
    **{kind: kind for kind in ("vllm", "openai", "openai-responses", "anthropic", "gemini", "ollama")},
}
KEY_FOLDER = "provider-keys"  # in the state folder: no other key is ever sent to a registered provider
MAX_PROVIDERS = 64
MAX_MODELS = 256  # of one provider
MAX_TEXT = 256  # characters of a model's id or of a name
MAX_ENDPOINT = 2048
_MEMBERS = (
    *("id", "kind", "display_name", "endpoint", "serves_models", "region", "cost_per_million_tokens_usd"),
    *("typical_latency_ms", "api_key_id"),
)
Provider = dict[str, Any]


def read_provider(fields: Mapping[str, object]) -> Provider:
    """A provider as it is registered, every member of it. Raises Malformed."""
    if unknown := sorted(fields.keys() - set(_MEMBERS)):
        raise Malformed(unknown[0][:64], "an unknown member", f"one of {', '.join(_MEMBERS)}")
    found = dict.fromkeys(_MEMBERS) | dict(fields)
    name = read_id("id", found["id"])
    kind = found["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise Malformed("kind", repr(kind)[:64], f"one of {', '.join(KINDS)}")
    key = found["api_key_id"]
    return found | {
        "display_name": name if found["display_name"] is None else _text("display_name", found["display_name"]),
        "endpoint": _endpoint(found["endpoint"]),
        "serves_models": _models(found["serves_models"]),
        "region": None if found["region"] is None else _text("region", found["region"]),
        "cost_per_million_tokens_usd": _amount("cost_per_million_tokens_usd", found["cost_per_million_tokens_usd"]),
        "typical_latency_ms": _amount("typical_latency_ms", found["typical_latency_ms"]),
        "api_key_id": None if key is None else read_id("api_key_id", key),
    }


def with_registered(document: Mapping[str, Any], providers: Sequence[Provider], state: PurePath) -> dict[str, Any]:
    """A configuration's document, with these providers and their models after its own.

    One that has none of its own stays as it is: whoever decodes it says so.
    """
    if not providers or not all(isinstance(document.get(name), list) for name in ("providers", "models")):
        return dict(document)
    rows = [_row(each, state / KEY_FOLDER) for each in providers]
    models = [{"id": model, "provider": each["id"]} for each in providers for model in each["serves_models"]]
    return {**document, "providers": [*document["providers"], *rows], "models": [*document["models"], *models]}


def without_registered(document: Mapping[str, Any], providers: Sequence[Provider]) -> dict[str, Any]:
    """The document as it was before `with_registered`."""
    ids = {each["id"] for each in providers}
    kept = {
        "providers": [row for row in document["providers"] if row.get("id") not in ids],
        "models": [row for row in document["models"] if row.get("provider") not in ids],
    }
    return {**document, **kept}


def _row(provider: Provider, keys: PurePath) -> dict[str, Any]:
    """Its table in the configuration. The file is always named: else the family's usual variable would be sent."""
    return {
        "id": provider["id"],
        "family": KINDS[provider["kind"]],
        "base_url": provider["endpoint"],
        "credential_file": str(keys / (provider["api_key_id"] or provider["id"])),
    }


def _endpoint(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_ENDPOINT or not value.isascii() or not value.isprintable():
        raise Malformed("endpoint", kind_of(value), "https://HOST[:PORT][/PATH]")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:  # brackets that do not match, or a port that is none
        raise Malformed("endpoint", "no URL", "https://HOST[:PORT][/PATH]") from None
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or "@" in parts.netloc
        or parts.query
        or parts.fragment
    ):
        raise Malformed("endpoint", "another URL", "https://HOST[:PORT][/PATH], or http:// nearby, and nothing else")
    return value


def _models(value: object) -> list[str]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_MODELS:
        raise Malformed("serves_models", kind_of(value), f"an array of 1 to {MAX_MODELS} model ids")
    return list(dict.fromkeys(_text(f"serves_models[{at}]", each) for at, each in enumerate(value)))


def _text(field: str, value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT or not value.isprintable():
        raise Malformed(field, kind_of(value), f"printable text of 1 to {MAX_TEXT} characters")
    return value


def _amount(field: str, value: object) -> int | float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10**9:
        raise Malformed(field, kind_of(value), "null, or a number from 0 on")
    return value
