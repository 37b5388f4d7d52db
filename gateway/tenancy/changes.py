"""What shall change of a key or a tenant, read from JSON: each member known, of its kind, and bounded."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from gateway.errors import Forbidden
from gateway.tenancy.tenant import SCOPES, ApiKey
from tee.canonical import kind_of
from tee.errors import Malformed

MAX_NAME = 128  # characters: it is shown in lists
MAX_PER_MINUTE = 10**9  # more is no bound
MAX_CAP_USD = 10**9  # so that sums of micro-USD stay far below 2^63
MAX_POLICIES = 32
MAX_OVERLAP = 30 * 24 * 3600  # seconds for which a rotated secret may go on: longer, it was not rotated
LATEST = 253402300799  # the last second of the year 9999
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
Changes = dict[str, Any]


def read_key_changes(fields: Mapping[str, object], now: int) -> Changes:
    """Members of an ApiKey. Raises Malformed."""
    readers: dict[str, Callable[[str, object], Any]] = {
        "name": _read_name,
        "scopes": _read_scopes,
        "policy": lambda field, value: None if value is None else read_id(field, value),
        "requests_per_minute": _read_per_minute,
        "tokens_per_minute": _read_per_minute,
        "expires_at": lambda field, value: _read_end(field, value, now),
        "cut_streams": _read_flag,
    }
    return _read(fields, readers)


def read_tenant_changes(fields: Mapping[str, object]) -> Changes:
    """Members of a Tenant but for its id, and `cut_streams`. Raises Malformed."""
    readers: dict[str, Callable[[str, object], Any]] = {
        "display_name": _read_name,
        "usd_cap": _read_cap,
        "requests_per_minute": _read_per_minute,
        "tokens_per_minute": _read_per_minute,
        "allowed_policies": _read_policies,
        "cut_streams": _read_flag,
    }
    return _read(fields, readers)


def read_id(field: str, value: object) -> str:
    """The id of a tenant, a policy or a provider, which paths and headers carry. Raises Malformed."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        found = repr(value[:64]) if isinstance(value, str) else kind_of(value)
        raise Malformed(field, found, "a letter or digit, then at most 63 of letters, digits, `.`, `_` and `-`")
    return value


def read_overlap(fields: Mapping[str, object]) -> int:
    """For how many seconds a rotated secret goes on. Raises Malformed."""
    return int(_read(fields, {"overlap_seconds": _read_overlap}).get("overlap_seconds", 0))


def require_within(by: ApiKey | None, scopes: frozenset[str], ends: int | None) -> None:
    """Refuse what would give a caller more than the key that it has: another scope, or a later end.

    `by` is None for the operator, who may give everything. Raises Forbidden.
    """
    if by is None:
        return
    missing = [scope for scope in SCOPES if scope in scopes - by.scopes]
    if missing:
        raise Forbidden(f"This API key cannot give the scope `{missing[0]}`: it has not got it.", code="beyond_own_key")
    if by.expires_at is not None and (ends is None or ends > by.expires_at):
        words = f"This API key ends at {by.expires_at}, and can give none that ends later: set expires_at."
        raise Forbidden(words, code="beyond_own_key", param="expires_at")


def _read(fields: Mapping[str, object], readers: Mapping[str, Callable[[str, object], Any]]) -> Changes:
    if unknown := sorted(fields.keys() - readers.keys()):
        raise Malformed(unknown[0][:64], "an unknown member", f"one of {', '.join(readers)}")
    return {name: readers[name](name, value) for name, value in fields.items()}


def _read_name(field: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME or not value.isprintable():
        raise Malformed(field, kind_of(value), f"printable text of at most {MAX_NAME} characters")
    return value.strip()


def _read_flag(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise Malformed(field, kind_of(value), "true or false")
    return value


def _read_scopes(field: str, value: object) -> frozenset[str]:
    if not isinstance(value, list) or not value or not all(each in SCOPES for each in value):
        raise Malformed(field, kind_of(value), f"an array of some of {', '.join(SCOPES)}")
    return frozenset(value)


def _read_policies(field: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_POLICIES:
        raise Malformed(field, kind_of(value), f"an array of 1 to {MAX_POLICIES} policy ids")
    return tuple(dict.fromkeys(read_id(f"{field}[{at}]", each) for at, each in enumerate(value)))


def _read_integer(field: str, value: object, least: int, most: int, wanted: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Malformed(field, value if isinstance(value, int) else kind_of(value), f"{wanted}, {least} to {most}")
    return value


def _read_per_minute(field: str, value: object) -> int | None:
    return None if value is None else _read_integer(field, value, 1, MAX_PER_MINUTE, "null for no bound, or an integer")


def _read_end(field: str, value: object, now: int) -> int | None:
    wanted = "null for no end, or seconds since 1970 that are still to come"
    return None if value is None else _read_integer(field, value, now + 1, LATEST, wanted)


def _read_overlap(field: str, value: object) -> int:
    return _read_integer(field, value, 0, MAX_OVERLAP, "seconds")


def _read_cap(field: str, value: object) -> int | None:
    """Micro-USD. A JSON number is a float here, whose shortest decimal form is what was written."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_CAP_USD:
        raise Malformed(field, kind_of(value), f"null for no cap, or USD from 0 to {MAX_CAP_USD}")
    micro = Decimal(repr(value)) * 1_000_000
    if micro != int(micro):
        raise Malformed(field, "more than six decimal places", "USD with at most six")
    return int(micro)
