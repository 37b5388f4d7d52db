"""The admin token: what the operator shows to manage tenants and providers. It lies in a file, and is no API key."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import GatewayError, Unauthenticated
from gateway.tenancy.tenant import KEY_PREFIXES

MIN_TOKEN, MAX_TOKEN = 32, 4096  # bytes; whoever can guess fewer characters can guess them over the network


class NoAdminApi(GatewayError):
    """No admin token is configured, so nobody can be the operator here."""

    status, error_type, code = 404, "invalid_request_error", "no_admin_api"


@dataclass(frozen=True, slots=True)
class AdminToken:
    """Knows the operator by the token in `file`, which is read each time, so that it can be changed."""

    file: Path | None

    def require(self, headers: Mapping[str, str]) -> None:
        """Refuse whoever has not sent it. Raises NoAdminApi, Unauthenticated."""
        if self.file is None:
            raise NoAdminApi("There is no admin API here: the operator has configured no admin_token_file.")
        if not self.sent(headers):
            raise Unauthenticated(
                "This is for the operator: send the admin token as `Authorization: Bearer`. An API key is none.",
                code="invalid_admin_token",
            )

    def sent(self, headers: Mapping[str, str]) -> bool:
        """Whether these headers (names in lower case) carry it."""
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        wanted = None if self.file is None else read_token(self.file)
        right = hmac.compare_digest(sent.strip().encode(), wanted or b"")
        return wanted is not None and scheme.lower() == "bearer" and right


def read_token(file: Path) -> bytes | None:
    """The token of this file, or None if there is none that could be one."""
    try:
        with file.open("rb") as opened:
            token = opened.read(MAX_TOKEN + 1).strip()
    except OSError:
        return None
    usable = MIN_TOKEN <= len(token) <= MAX_TOKEN and not token.startswith(tuple(map(str.encode, KEY_PREFIXES)))
    return token if usable else None
