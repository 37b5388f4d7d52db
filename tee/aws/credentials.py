"""The credentials of this machine's role, from the instance metadata service (IMDSv2)."""

from __future__ import annotations

import re
from typing import Any

from tee.aws.exchange import exchange
from tee.aws.sigv4 import AwsCredentials
from tee.canonical import parse_json
from tee.errors import Malformed, Unavailable

METADATA_URL = "http://169.254.169.254"
_TOKEN_SECONDS = "60"  # one fetch long
_ROLE = re.compile(rb"[A-Za-z0-9_+=,.@-]{1,64}")  # what IAM allows in a role's name
_TOKEN = re.compile(rb"[!-~]{1,1024}")
_CREDENTIAL = re.compile(r"[!-~]{1,8192}", re.ASCII)


def fetch_credentials(url: str = METADATA_URL) -> AwsCredentials:
    """The role's credentials, good for some hours. Raises Unavailable."""
    asked = {"x-aws-ec2-metadata-token-ttl-seconds": _TOKEN_SECONDS}
    token = _body("PUT", f"{url}/latest/api/token", asked, _TOKEN).decode()
    session = {"x-aws-ec2-metadata-token": token}
    folder = f"{url}/latest/meta-data/iam/security-credentials/"
    role = _body("GET", folder, session, _ROLE).decode()
    try:
        document = parse_json(_body("GET", folder + role, session), "credentials")
    except Malformed:  # which could quote them
        raise _unreadable(url) from None
    names = ("AccessKeyId", "SecretAccessKey", "Token")
    found = [_credential(document, name, url) for name in names]
    return AwsCredentials(*found)


def _body(method: str, url: str, headers: dict[str, str], pattern: re.Pattern[bytes] | None = None) -> bytes:
    status, body = exchange(method, url, headers)
    if status == 404:
        raise Unavailable(url, "answered 404: give the machine a role (an instance profile)", retryable=False)
    if status != 200:
        raise Unavailable(url, f"answered with status {status}", retryable=status >= 500)
    if pattern is not None and not pattern.fullmatch(body):
        raise _unreadable(url)
    return body


def _credential(document: Any, name: str, url: str) -> str:
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, str) or not _CREDENTIAL.fullmatch(value):
        raise _unreadable(url)
    return value


def _unreadable(url: str) -> Unavailable:
    return Unavailable(url, "answered with something else than a role's credentials", retryable=False)
