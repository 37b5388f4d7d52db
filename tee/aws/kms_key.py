"""Which key of AWS KMS, and where it is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tee.errors import Malformed

_KEY_ARN = re.compile(r"arn:(aws|aws-cn|aws-us-gov):kms:([a-z0-9-]{1,32}):[0-9]{12}:key/[A-Za-z0-9-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class KmsKeyName:
    """A key by its ARN, which names the region. Never an alias: that could be pointed at another key."""

    arn: str
    region: str
    endpoint: str


def parse_key_name(arn: str, endpoint: str | None = None) -> KmsKeyName:
    """A key, asked for at AWS's own endpoint unless another is given. Raises Malformed."""
    match = _KEY_ARN.fullmatch(arn)
    if match is None:
        raise Malformed("kms_key_arn", ascii(arn[:200]), "arn:aws:kms:REGION:ACCOUNT:key/ID: a key, no alias")
    domain = "amazonaws.com.cn" if match[1] == "aws-cn" else "amazonaws.com"
    return KmsKeyName(arn, match[2], endpoint or f"https://kms.{match[2]}.{domain}")
