"""Media in URLs: `data:` URLs (RFC 2397) in base64, and where a type is only told by a name."""

from __future__ import annotations

import re

from gateway.inference import Media

_DATA = re.compile(r"data:([a-zA-Z0-9!#$&^_.+/-]*)((?:;[^;,]*)*);base64,", re.ASCII)


def media_of_url(kind: str, url: str, *, name: str = "", detail: str | None = None) -> Media | None:
    """The Media behind a URL, its bytes still in base64; None for an empty one, or for a data URL not in base64."""
    if not url.startswith("data:"):
        return Media(kind, url=url, name=name, detail=detail) if url else None
    head = _DATA.match(url)
    data = url[head.end() :] if head else ""
    return Media(kind, head[1], data, name=name, detail=detail) if head and data else None


def data_url(media: Media) -> str:
    """The data URL of a Media that holds its bytes; empty for one that does not."""
    return f"data:{media.media_type};base64,{media.data}" if media.data else ""
