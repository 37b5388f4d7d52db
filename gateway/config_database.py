"""Which database the gateway keeps its records in."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from tee.errors import Malformed

VARIABLE = "SAFEROUTER_DATABASE_URL"
WANTED = "postgresql://USER@HOST[:PORT]/DATABASE"


def decode_database(configured: str | None, environ: Mapping[str, str]) -> str | None:
    """The URL of a PostgreSQL database, from the variable or the file; None for SQLite beside the keys.

    A password may stand in the variable; the file is digested and copied, so there it is refused. Raises Malformed,
    without a word of what was found.
    """
    text = environ.get(VARIABLE, "").strip()
    url, field = (text, VARIABLE) if text else (configured, "config.database_url")
    if not url:
        return None
    try:
        parts = urlsplit(url)
        secret = parts.password is not None or "password" in dict(parse_qsl(parts.query))
    except ValueError:
        raise Malformed(field, "no URL", WANTED) from None
    if parts.scheme not in ("postgresql", "postgres") or len(parts.path) < 2:
        raise Malformed(field, "another URL", f"{WANTED}; nothing for SQLite in the state folder")
    if secret and url is configured:
        raise Malformed(field, "a password", f"none: it belongs into {VARIABLE}, or into libpq's password file")
    return "postgresql" + url.removeprefix(parts.scheme)
