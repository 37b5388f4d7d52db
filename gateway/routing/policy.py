"""RoutingPolicy: what a call demands of whoever answers it, as a value with a version and a digest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from gateway.config_fields import bounded, refuse_unknown, texts, typed
from gateway.leakscan.step import POSTURES, REDACT, REFUSE
from gateway.routing.tier import TIERS, Tier
from tee.canonical import digest, kind_of
from tee.errors import Malformed

MAX_POLICIES = 256
MAX_NAMES = 64  # in each list of a policy
MAX_VERSION = 2**31
MICRO = 1_000_000
MAX_USD = 1_000_000  # for one request
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """Empty lists and None demand nothing; the default one demands no more than that nobody interdicted is asked.

    - `require_tier`: this tier or a better one
    - `witness_scopes`: each must be vouched for by a configured witness, for this very content hash
    - `allowed_origins`: ISO 3166-1 countries, in one of which the model's supplier must be
    - `require_drift_clean`: the provider has a TLS identity, which is the pinned one or its baseline's
    - `max_latency_ms`: the 95th percentile of what the provider took lately to begin an answer
    - `max_cost`: micro-USD, of one request at the most that it can cost
    - `preferred_providers`: of those that qualify for a model, these come first, in this order
    - `models`: no others may answer
    """

    id: str
    version: int = 1
    display_name: str = ""
    require_tier: Tier | None = None
    witness_scopes: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    require_drift_clean: bool = False
    max_latency_ms: int | None = None
    max_cost: int | None = None
    preferred_providers: tuple[str, ...] = ()
    models: tuple[str, ...] | None = None
    leak_scan: str = REDACT
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        text = None if self.max_cost is None else usd_text(self.max_cost)
        object.__setattr__(self, "digest", digest(self._demands() | {"max_cost_per_request_usd": text}))

    @property
    def clean(self) -> bool:
        """Whether a call by it may go only over connections to a known identity."""
        return self.require_drift_clean or (self.require_tier or Tier.QUARANTINE) >= Tier.HARDENED

    @property
    def reference(self) -> dict[str, Any]:
        """What a receipt says of it."""
        return {"id": self.id, "version": self.version, "digest": self.digest}

    def to_json(self) -> dict[str, Any]:
        """As the API shows it."""
        return {"object": "policy", "digest": self.digest, **self._demands()}

    def _demands(self) -> dict[str, Any]:
        """What the digest covers, which has the amount of money as its decimal text."""
        return {
            "id": self.id,
            "version": self.version,
            "display_name": self.display_name,
            "require_tier": None if self.require_tier is None else self.require_tier.word,
            "witness_scopes": list(self.witness_scopes),
            "allowed_origins": list(self.allowed_origins),
            "require_drift_clean": self.require_drift_clean,
            "max_latency_ms": self.max_latency_ms,
            "max_cost_per_request_usd": None if self.max_cost is None else self.max_cost / MICRO,
            "preferred_providers": list(self.preferred_providers),
            "models": None if self.models is None else list(self.models),
            "leak_scan": self.leak_scan,
        }


DEFAULT = RoutingPolicy("default", display_name="Whatever is configured and not interdicted")
CLINICAL_STRICT = RoutingPolicy(
    "clinical-strict",
    display_name="Known identities, no drift, models witnessed for clinical use",
    require_tier=Tier.HARDENED,
    witness_scopes=("clinical",),
    require_drift_clean=True,
    leak_scan=REFUSE,
)
BUILT_IN = (DEFAULT, CLINICAL_STRICT)
"""There without being configured; a configured policy of the same id replaces one."""

_READ = {*RoutingPolicy.__slots__, "max_cost_per_request_usd"} - {"max_cost", "digest"}


def decode_policies(rows: Any, path: str) -> tuple[RoutingPolicy, ...]:
    """`[[policies]]` and those that are built in. Raises Malformed."""
    if not isinstance(rows, list) or len(rows) > MAX_POLICIES:
        raise Malformed(path, kind_of(rows), f"at most {MAX_POLICIES} tables, [[policies]] in TOML")
    read = [decode_policy(row, f"{path}[{at}]") for at, row in enumerate(rows)]
    by_id = {policy.id: policy for policy in (*BUILT_IN, *read)}
    if len({policy.id for policy in read}) != len(read):
        raise Malformed(path, "an id twice", "each policy once")
    return tuple(by_id.values())


def decode_policy(row: Any, path: str) -> RoutingPolicy:
    """A policy from a table, or from the API's object, of which null is as good as absent. Raises Malformed."""
    refuse_unknown(row, _READ, path)
    row = {name: value for name, value in row.items() if value is not None}
    name = typed(row, "id", str, "", path)
    if not _ID.fullmatch(name):
        raise Malformed(f"{path}.id", repr(name[:64]), "letters, digits, dots, dashes and underscores, at most 64")
    tier = _word(row, "require_tier", tuple(TIERS)[1:], path)
    latency = typed(row, "max_latency_ms", int, None, path)
    origins = texts(row, "allowed_origins", path, MAX_NAMES)
    if wrong := [each for each in origins if not _COUNTRY.fullmatch(each)]:
        raise Malformed(f"{path}.allowed_origins", repr(wrong[0][:16]), "ISO 3166-1 countries: two capital letters")
    title = typed(row, "display_name", str, "", path)
    if len(title) > 128 or not title.isprintable():
        raise Malformed(f"{path}.display_name", f"{len(title)} characters", "one printable line, at most 128")
    return RoutingPolicy(
        id=name,
        version=bounded(typed(row, "version", int, 1, path), 1, MAX_VERSION, f"{path}.version"),
        display_name=title,
        require_tier=None if tier is None else TIERS[tier],
        witness_scopes=texts(row, "witness_scopes", path, MAX_NAMES),
        allowed_origins=origins,
        require_drift_clean=typed(row, "require_drift_clean", bool, False, path),
        max_latency_ms=None if latency is None else bounded(latency, 1, 3_600_000, f"{path}.max_latency_ms"),
        max_cost=_micro_usd(row, "max_cost_per_request_usd", path),
        preferred_providers=texts(row, "preferred_providers", path, MAX_NAMES),
        models=texts(row, "models", path, MAX_NAMES) if "models" in row else None,
        leak_scan=_word(row, "leak_scan", POSTURES, path) or REDACT,
    )


def usd_text(micro: int) -> str:
    """Micro-USD as a decimal: digits, and at most six places without a zero at their end."""
    whole, rest = divmod(micro, MICRO)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".")


def _word(row: Mapping[str, Any], name: str, words: tuple[str, ...], path: str) -> str | None:
    value: str | None = typed(row, name, str, None, path)
    if value is not None and value not in words:
        raise Malformed(f"{path}.{name}", repr(value[:32]), f"one of {', '.join(words)}")
    return value


def _micro_usd(row: Mapping[str, Any], name: str, path: str) -> int | None:
    """The amount: a number of USD, or its decimal text, of at most six places."""
    value = row.get(name)
    if value is None:
        return None
    wanted = f"USD, 0 to {MAX_USD}, of at most six places"
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > 32:
        raise Malformed(f"{path}.{name}", kind_of(value), wanted)
    try:
        micro = Decimal(str(value)) * MICRO
    except InvalidOperation:
        raise Malformed(f"{path}.{name}", repr(value), wanted) from None
    if not micro.is_finite() or micro != micro.to_integral_value() or not 0 <= micro <= MAX_USD * MICRO:
        raise Malformed(f"{path}.{name}", str(value), wanted)
    return int(micro)
