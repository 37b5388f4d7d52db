"""A place in S3-compatible object storage: a bucket, a prefix, and where it is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tee.errors import Malformed
from tee.origin import is_private_channel, parse_origin

# No dots in a bucket's name, which would not match S3's certificate; in keys nothing that an URL would escape.
_NAME = re.compile(r"s3://([a-z0-9][a-z0-9-]{1,61}[a-z0-9])((?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}){0,8})", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class S3Place:
    """Where objects go. `url` is that of the prefix, without a slash at its end."""

    name: str
    region: str
    url: str


def parse_s3_place(name: str, region: str, endpoint: str | None = None) -> S3Place:
    """A place, asked for at AWS's own endpoint unless another is given. Raises Malformed."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise Malformed("log_store", ascii(name[:200]), "s3://BUCKET[/PREFIX], in a-z A-Z 0-9 _ - and no dot in BUCKET")
    if not _REGION.fullmatch(region):
        raise Malformed("log_store_region", ascii(region[:64]), "the bucket's region, for example eu-central-1")
    bucket, prefix = match[1], match[2]
    if endpoint is None:
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        return S3Place(name, region, f"https://{bucket}.s3.{region}.{domain}{prefix}")
    if endpoint != parse_origin(endpoint) or not is_private_channel(endpoint):
        raise Malformed("log_store_endpoint", ascii(endpoint[:200]), "https://HOST[:PORT] and nothing after it")
    return S3Place(name, region, f"{endpoint}/{bucket}{prefix}")
