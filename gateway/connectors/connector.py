"""Connector: one provider, as a row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tee.aws.sigv4 import AwsCredentials, AwsScope, sign_request

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
    api_version: str | None = None  # Azure's, or what `anthropic-version` says; None: what the dialect was written for
    also: frozenset[str] = frozenset()  # further dialects that it speaks, below the same base_url
    lacks: frozenset[str] = frozenset()  # names of surfaces whose question this provider cannot be asked
    aws_service: str | None = None  # the name that AWS's signatures hold for; None: it does not ask for one
    region: str | None = None  # of that service
    service_account: bool = False  # the credential is a key file of Google's, which buys tokens
    spares: tuple[Connector, ...] = ()  # the same provider by its further keys, each where another is found
    azure: bool = False  # the base_url is a resource of Azure's, and api_version says how its paths go on
    roots: str | None = None  # PEM of the CAs that may vouch for it, and no other; None: the public ones
    pins: frozenset[str] = (
        frozenset()
    )  # SHA-256, hex: of its key (SPKI), or of a certificate in its chain; any one does

    def credential_header(self, credential: str) -> dict[str, str]:
        """The header that carries the credential."""
        return {self.auth_header: f"Bearer {credential}" if self.auth_header == "authorization" else credential}

    def signed_headers(
        self, credentials: AwsCredentials, url: str, content_type: str, body: bytes, now: datetime
    ) -> dict[str, str]:
        """The headers that sign a POST of exactly these bytes."""
        scope = AwsScope(self.region or "", self.aws_service or "")
        return sign_request("POST", url, {"content-type": content_type}, body, credentials, scope, now)

    @property
    def authenticated(self) -> bool:
        """Whether TLS says who answers; anything else is only asserted."""
        return self.base_url.startswith("https://")
