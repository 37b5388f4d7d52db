"""Connector: one provider, as a row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Connector:
    """A provider to send to. The credential itself never stands here: only where it is found."""

    id: str  # the operator's name, shown in receipts as provider_id
    family: str  # a row of the catalog
    dialect: str
    base_url: str  # ends before /chat/completions
    credential_env: tuple[str, ...] = ()
    credential_file: str | None = None
    needs_credential: bool = True
    roots: str | None = None  # PEM of the CAs that may vouch for it, and no other; None: the public ones

    @property
    def chat_url(self) -> str:
        """Where chat completions are posted."""
        return f"{self.base_url}/chat/completions"

    @property
    def authenticated(self) -> bool:
        """Whether TLS says who answers; anything else is only asserted."""
        return self.base_url.startswith("https://")
