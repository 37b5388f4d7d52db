"""The origin of a gateway, in the one spelling that its workload's `audience` has."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from tee.errors import Malformed

_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_origin(url: str) -> str:
    """`scheme://host[:port]` of a URL: lower case, no default port. Raises Malformed."""
    wanted = "https://HOST[:PORT] (or http:// on this machine)"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Malformed("URL", ascii(url[:200]), wanted) from None
    host = parts.hostname or ""
    if parts.scheme not in _DEFAULT_PORTS or not host or parts.username is not None or not host.isprintable():
        raise Malformed("URL", ascii(url[:200]), wanted)
    shown = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{shown}"


def is_private_channel(origin: str) -> bool:
    """Whether a secret may travel to it: TLS, or the loopback of this machine."""
    host = urlsplit(origin).hostname or ""
    if origin.startswith("https://") or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
