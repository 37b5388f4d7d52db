"""Tenants and keys of a running gateway, made as its operator makes them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import httpx2

from tests.worlds.gateway import PLAIN, RunningGateway


def minted_key(
    gateway: RunningGateway, tenant: Mapping[str, object], key: Mapping[str, object], tenant_id: str | None = None
) -> str:
    """A key with these settings, of a tenant with those: a new one, unless one of that id is there."""
    name = tenant_id or f"t-{secrets.token_hex(6)}"
    head = {"authorization": f"Bearer {gateway.demo['admin_token']}"}
    with httpx2.Client(base_url=gateway.url, headers=head, timeout=60, **PLAIN) as operator:
        made = operator.post("/admin/tenants", json={"id": name, **tenant})
        assert made.status_code in (201, 409), made.text
        answer = operator.post(f"/admin/tenants/{name}/keys", json=dict(key))
        assert answer.status_code == 201, answer.text
        secret: str = answer.json()["key"]
    return secret
