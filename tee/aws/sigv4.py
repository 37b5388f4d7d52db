"""AWS Signature Version 4 for requests without a query string."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """Who asks. The session token belongs to temporary credentials, such as a machine's role."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return "AwsCredentials()"


@dataclass(frozen=True, slots=True)
class AwsScope:
    """Where a signature holds."""

    region: str
    service: str


def sign_request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    credentials: AwsCredentials,
    scope: AwsScope,
    now: datetime,
) -> dict[str, str]:
    """The headers to send, names in lowercase: those given, all of them signed, and the signature's own.

    The URL's path must be as it goes over the wire, percent-encoded, without `.` and `..`. Raises ValueError.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise ValueError("url: a query or fragment, wanted neither")
    time = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    signed = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    signed |= {"host": parts.netloc, "x-amz-date": time}
    if credentials.session_token is not None:
        signed["x-amz-security-token"] = credentials.session_token
    names = ";".join(sorted(signed))
    lines = [f"{name}:{signed[name]}\n" for name in sorted(signed)]
    path = quote(parts.path or "/", safe="/-_.~")  # encoded once more than on the wire
    canonical = "\n".join((method, path, "", "".join(lines), names, hashlib.sha256(body).hexdigest()))
    day_scope = f"{time[:8]}/{scope.region}/{scope.service}/aws4_request"
    to_sign = "\n".join((ALGORITHM, time, day_scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{credentials.secret_access_key}".encode()
    for step in day_scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    authorization = f"{ALGORITHM} Credential={credentials.access_key_id}/{day_scope}, SignedHeaders={names}"
    return signed | {"authorization": f"{authorization}, Signature={signature}"}
