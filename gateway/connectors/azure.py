"""Azure OpenAI: a resource whose deployments are asked by a dated version of its API, or by a path without dates. Pure.

The dated paths name the deployment, `/openai/deployments/NAME/chat/completions?api-version=DATE`; the others,
`/openai/v1/chat/completions`, leave that to the body.
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import quote, urlsplit

from gateway.connectors.connector import Connector
from tee.errors import Malformed

RESOURCE_URL = "https://RESOURCE.openai.azure.com"
"""What an operator must replace: each has a host of its own."""
V1 = "v1"
"""The version that has no date."""

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?|v1", re.ASCII)
_V1_PATH = "/openai/v1"
_RESPONSES = "openai_responses"


def at_resource(connector: Connector, base_url: str, version: str | None, path: str) -> Connector:
    """The connector of one resource, whose URL may be given with `/openai` or `/openai/v1`. Raises Malformed."""
    if urlsplit(base_url).hostname == urlsplit(RESOURCE_URL).hostname:
        raise Malformed(f"{path}.base_url", "nothing", f"your resource, such as {RESOURCE_URL}")
    trimmed = base_url.rstrip("/")
    version = version or (V1 if trimmed.endswith(_V1_PATH) else connector.api_version)
    if version is None or not _VERSION.fullmatch(version):
        raise Malformed(f"{path}.api_version", ascii(version)[:64], "v1, or a date, such as 2024-08-01-preview")
    base_url = trimmed.removesuffix(_V1_PATH).removesuffix("/openai")
    also = connector.also | {_RESPONSES} if version == V1 else connector.also
    return replace(connector, base_url=base_url, api_version=version, also=also)


def resource_path(version: str | None, path: str, deployment: str) -> str:
    """What follows the resource's URL, query included, where OpenAI's own path is `path`."""
    if version == V1:
        return _V1_PATH + path
    place = "" if path == "/responses" else f"/deployments/{quote(deployment, safe='')}"
    return f"/openai{place}{path}?api-version={version}"
