"""Connector: one provider, as a row."""

from __future__ import annotations

from dataclasses import dataclass

AUTH_HEADERS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
"""Headers that carry a credential; only the first says Bearer before it."""


@dataclass(frozen=True, slots=True)
class Connector:
    """A provider to send to. The credential itself never stands here: only where it is found."""

    id: str  # the operator's name, shown in receipts as provider_id
    family: str  # a row of the catalog
    dialect: str
    base_url: str  # ends before the dialect's own path
    credential_env: tuple[str, ...] = ()
    credential_file: str | None = None
    needs_credential: bool = True
    auth_header: str = "authorization"  # one of AUTH_HEADERS
    api_version: str | None = None  # what `anthropic-version` says; None: what the dialect was written for
    also: frozenset[str] = frozenset()  # further dialects that it speaks, below the same base_url
    lacks: frozenset[str] = frozenset()  # names of surfaces whose question this provider cannot be asked
    roots: str | None = None  # PEM of the CAs that may vouch for it, and no other; None: the public ones

    def credential_header(self, credential: str) -> dict[str, str]:
        """The header that carries the credential."""
        return {self.auth_header: f"Bearer {credential}" if self.auth_header == "authorization" else credential}

    @property
    def authenticated(self) -> bool:
        """Whether TLS says who answers; anything else is only asserted."""
        return self.base_url.startswith("https://")
