"""TLS identities of providers: what a handshake shows, the pins and baselines that it is compared with, and drift."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.connectors.connector import Connector
from gateway.routing.tier import Identity
from tee.keys.identity import hex_bytes, require_members

_UNPINNED = "is none of those that are pinned for this provider"
_DRIFTED = "has another key and another root than this provider's baseline"
_UNKNOWN = "has no baseline yet to compare it with"


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """SHA-256, hex: of the leaf's SPKI, and of the root that its verified chain ends at."""

    spki: str
    root: str

    def continues(self, baseline: TlsIdentity) -> bool:
        """Whether this is who it was: a renewed key under the same root, or the same key under another, is."""
        return self.spki == baseline.spki or self.root == baseline.root


@dataclass(frozen=True, slots=True)
class Shown:
    """What a handshake shows. `chain`: the SHA-256 of each certificate that was verified, leaf first."""

    spki: str
    chain: tuple[str, ...]

    @property
    def identity(self) -> TlsIdentity:
        """What of it a baseline keeps."""
        return TlsIdentity(self.spki, self.chain[-1])


@dataclass(frozen=True, slots=True)
class Baselines:
    """Who was seen first: providers by their TLS identity, models by the content hash that was declared."""

    providers: Mapping[str, TlsIdentity] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it is kept, and digested."""
        return {"providers": {name: asdict(each) for name, each in self.providers.items()}, "models": dict(self.models)}


def parse_identity(value: Any, path: str) -> TlsIdentity:
    """A TlsIdentity from its JSON. Raises Malformed."""
    require_members(value, {"spki", "root"}, path, exact=True)
    for name in ("spki", "root"):
        hex_bytes(value[name], 32, f"{path}.{name}")
    return TlsIdentity(value["spki"], value["root"])


class Identities:
    """What is known of each provider's TLS identity. A drift stays until the operator takes on another baseline."""

    def __init__(self) -> None:
        self._connectors: dict[str, Connector] = {}
        self._baselines: Mapping[str, TlsIdentity] = {}
        self._drifted: dict[str, Shown] = {}
        self._first: dict[str, Shown] = {}
        self.generation = 0  # grows whenever an answer of `identity` may change
        self.on_first: Callable[[str, Shown], object] = lambda _provider, _shown: None
        self.on_drift: Callable[[str, Shown], object] = lambda _provider, _shown: None

    def use(self, connectors: Iterable[Connector], baselines: Baselines) -> None:
        """Compare with these from now on."""
        before, self._baselines = self._baselines, baselines.providers
        self._connectors = {row.id: row for row in connectors}
        kept = {name for name in self._drifted if before.get(name) == self._baselines.get(name)}
        self._drifted = {name: shown for name, shown in self._drifted.items() if name in kept}
        self._first.clear()
        self.generation += 1

    def watches(self, provider: str) -> bool:
        """Whether this provider is one of those whose identity is compared."""
        return provider in self._connectors

    def standard(self, provider: str) -> object:
        """What this provider is compared with: connections that were judged by another are not used any more."""
        connector = self._connectors.get(provider)
        return (connector.pins if connector is not None else ()) or self._baselines.get(provider)

    def identity(self, connector: Connector) -> Identity:
        """What is known now."""
        if not connector.authenticated:
            return Identity.NONE
        if connector.id in self._drifted:
            return Identity.DRIFTED
        return Identity.KNOWN if connector.pins or connector.id in self._baselines else Identity.UNKNOWN

    def meet(self, provider: str, shown: Shown | None, *, clean: bool) -> str | None:
        """Judge a handshake before a byte is sent: why the connection must not be used, None if it may.

        `clean`: it shall carry what may go to a known identity only. What is pinned is demanded of every connection.
        `shown` is None where TLS cannot tell.
        """
        connector, baseline = self._connectors.get(provider), self._baselines.get(provider)
        if connector is None:  # a reload has taken it away while this call was on its way to it
            return _UNKNOWN
        if connector.pins:
            good = shown is not None and not {shown.spki, *shown.chain}.isdisjoint(connector.pins)
            if shown is not None:
                self._note(provider, None if good else shown)
            return None if good else _UNPINNED
        if baseline is None:
            if shown is not None and provider not in self._first:
                self._first[provider] = shown
                self.on_first(provider, shown)
            return _UNKNOWN if clean else None
        if shown is not None and shown.identity.continues(baseline):
            return None
        if shown is not None:
            self._note(provider, shown)
        return _DRIFTED if clean else None

    def note_drift(self, provider: str, shown: Shown) -> None:
        """Another process met this."""
        self._note(provider, shown)

    def _note(self, provider: str, shown: Shown | None) -> None:
        """The drift of a provider, None of one that shows its pin again."""
        if shown == self._drifted.get(provider):
            return
        self.generation += 1
        if shown is None:
            del self._drifted[provider]
        else:
            self._drifted[provider] = shown
            self.on_drift(provider, shown)
