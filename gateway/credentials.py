"""Step 4, unseal: what proves to a provider who asks. It goes into one request's headers and nowhere else."""

from __future__ import annotations

import asyncio
import configparser
import time
from collections.abc import Callable
from pathlib import Path

from gateway.config import read_aws_credentials, read_credential
from gateway.connectors.catalog import FAMILIES
from gateway.connectors.connector import Connector
from gateway.errors import NoRoute
from tee.aws.credentials import fetch_credentials
from tee.aws.sigv4 import AwsCredentials
from tee.errors import Unavailable

# AWS gives a role new credentials at the latest five minutes before the old ones end.
ROLE_SECONDS = 240.0
# A machine without a role says so after ten seconds only: not each call shall wait for that.
NO_ROLE_SECONDS = 30.0


class Credentials:
    """The providers' credentials: of a file or a variable read for each call, of a role kept for minutes."""

    def __init__(self, fetch_role: Callable[[], AwsCredentials] = fetch_credentials) -> None:
        self._fetch_role = fetch_role
        self._asking = asyncio.Lock()
        self._role: AwsCredentials | None = None
        self._until = 0.0

    async def find(self, connector: Connector) -> str | AwsCredentials | None:
        """The connector's credential; None where it needs none. Raises NoRoute."""
        found: str | AwsCredentials | None = read_credential(connector)
        if found is None and connector.aws_service is not None:
            found = await self._find_aws(connector)
            found = found if found is not None and fits_headers(found) else None
        if found is None and connector.needs_credential:
            raise NoRoute(f"The operator has not set a key for provider {connector.id}.", code="no_credential")
        return found

    async def _find_aws(self, connector: Connector) -> AwsCredentials | None:
        """AWS's usual order. A place that the operator named is the only one asked: others are other people's."""
        if connector.credential_file is not None:
            return read_aws_file(Path(connector.credential_file))
        if connector.credential_env != FAMILIES[connector.family].credential_env:
            return None
        return read_aws_credentials() or await self._of_role()

    async def _of_role(self) -> AwsCredentials | None:
        async with self._asking:
            if time.monotonic() >= self._until:
                try:
                    self._role = await asyncio.to_thread(self._fetch_role)
                except Unavailable:
                    self._role = None
                self._until = time.monotonic() + (ROLE_SECONDS if self._role else NO_ROLE_SECONDS)
            return self._role


def fits_headers(found: AwsCredentials) -> bool:
    """Whether requests can carry it: what is not one line of ASCII counts as missing, as it does for other keys."""
    text = found.access_key_id + found.secret_access_key + (found.session_token or "")
    return text.isascii() and text.isprintable()


def read_aws_file(path: Path, name: str = "default") -> AwsCredentials | None:
    """One profile of a file such as ~/.aws/credentials; None for a file that does not hold it."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text())
    except (OSError, UnicodeDecodeError, configparser.Error):
        return None
    if not parser.has_section(name):
        return None
    profile = parser[name]
    key, secret = profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")
    return AwsCredentials(key, secret, profile.get("aws_session_token") or None) if key and secret else None
