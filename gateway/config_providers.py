"""The configuration of a provider: where it is, how it is spoken to, and whose word is taken for who it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.x509 import load_pem_x509_certificates

from gateway.config_fields import refuse_unknown, typed
from gateway.config_policies import decode_pins
from gateway.config_routes import with_keys
from gateway.connectors.azure import at_resource
from gateway.connectors.catalog import (
    ANY_PROJECT,
    EMBEDDED_MOCK,
    FAMILIES,
    check_date,
    check_region,
    normalise_base_url,
)
from gateway.connectors.connector import AUTH_HEADERS, Connector
from tee.errors import Malformed

MAX_CA_FILE = 64 << 10  # a company's CAs; a bundle of the whole public web would be no narrower than the default


def decode_connector(row: Any, path: str) -> Connector:
    """One of `[[providers]]`. Raises Malformed."""
    names = {"id", "family", "base_url", "credential_env", "credential_file", "auth_header", "api_version", "ca_file"}
    refuse_unknown(row, names | {"region", "pins"}, path)
    family = typed(row, "family", str, "", path)
    if family not in FAMILIES:
        raise Malformed(f"{path}.family", repr(family), f"one of {', '.join(FAMILIES)}")
    known = FAMILIES[family]
    region = check_region(known, typed(row, "region", str, None, path), f"{path}.region")
    base_url = typed(row, "base_url", str, known.base_url.format(region=region), path)
    if base_url != EMBEDDED_MOCK and not (base_url.startswith(("http://", "https://")) and urlsplit(base_url).hostname):
        raise Malformed(f"{path}.base_url", repr(base_url[:200]), "https://HOST[:PORT][/PATH], or http:// nearby")
    if "@" in urlsplit(base_url).netloc:
        raise Malformed(f"{path}.base_url", "a name or a password in it", "neither: keys have a file or a variable")
    if "?" in base_url or "#" in base_url:
        raise Malformed(f"{path}.base_url", "a query or a fragment", "neither: paths follow it")
    if known.service_account and f"/{ANY_PROJECT}/" in base_url:
        raise Malformed(f"{path}.base_url", "nothing", f"{known.base_url}, with your project, and perhaps a location")
    version = typed(row, "api_version", str, None, path)
    if known.azure:
        known = at_resource(known, base_url, version, path)
    else:
        dated = check_date(version, f"{path}.api_version")
        known = replace(known, base_url=normalise_base_url(base_url, known.dialect), api_version=dated)
    connector = replace(
        known,
        id=typed(row, "id", str, family, path),
        auth_header=_one_of(row, "auth_header", AUTH_HEADERS, known.auth_header, path),
        region=region,
        roots=_roots(typed(row, "ca_file", str, None, path), base_url, f"{path}.ca_file"),
        pins=decode_pins(row, base_url, path),
    )
    return with_keys(connector, row, path)


def _roots(ca_file: str | None, base_url: str, path: str) -> str | None:
    """The PEM of a provider's own CAs. Raises Malformed, also where no TLS would ever use them."""
    if ca_file is None:
        return None
    if not base_url.startswith("https://"):
        raise Malformed(path, f"a CA for {base_url[:200]}", "none: only https:// is verified by it")
    try:
        raw = Path(ca_file).read_bytes()
    except OSError as error:
        raise Malformed(path, error.strerror or "an unreadable file", "a readable file") from None
    try:
        certificates = load_pem_x509_certificates(raw) if len(raw) <= MAX_CA_FILE else []
    except ValueError:
        certificates = []
    if not certificates or not raw.isascii():
        raise Malformed(path, "no certificate", f"the provider's CA certificates, PEM, at most {MAX_CA_FILE} bytes")
    return raw.decode()


def _one_of(row: Any, name: str, words: tuple[str, ...], default: str, path: str) -> str:
    value: str = typed(row, name, str, default, path)
    if value not in words:
        raise Malformed(f"{path}.{name}", repr(value[:64]), f"one of {', '.join(words)}")
    return value
