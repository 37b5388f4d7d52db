"""API keys in the database: found by a secret's hash, with their tenant, as long as they may be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, update
from sqlalchemy.exc import IntegrityError

from gateway.storage.api_keys import find_api_key, insert_secret, note_use
from gateway.storage.engine import open_database
from gateway.storage.minting import mint_key, mint_secret, plain_key
from gateway.storage.schema import API_KEYS, KEY_SECRETS
from gateway.storage.tenants import StoredTenant, ensure_tenant, insert_tenant, list_tenants
from gateway.tenancy.tenant import DEFAULT_SCOPES, ApiKey, Tenant, hash_api_key

NOW = 1_800_000_000
ACME = Tenant("acme", "ACME Corp", 500_000_000, 120, None, ("default", "clinical-strict"))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(f"sqlite:///{tmp_path / 'keys.sqlite3'}")
    yield made
    made.dispose()


def minted(engine: Engine, key: ApiKey, *, tenant_cuts: bool = False) -> str:
    with engine.begin() as connection:
        insert_tenant(connection, StoredTenant(key.tenant, tenant_cuts, NOW))
        return mint_key(connection, key, NOW)


def found(engine: Engine, secret: str, now: int = NOW) -> ApiKey | None:
    return find_api_key(engine, hash_api_key(secret), now)


def test_a_key_is_found_with_its_tenant_and_everything_it_may(engine: Engine) -> None:
    key = ApiKey("key-1", ACME, "ci", "", frozenset({"inference", "billing"}), "clinical-strict", 7, 9, NOW + 60)
    secret = minted(engine, key, tenant_cuts=True)
    again = found(engine, secret)
    assert again is not None
    assert again.prefix == secret[:14] + "…"
    assert secret.startswith("sk-router-")
    assert (again.tenant, again.name, again.scopes, again.policy) == (ACME, "ci", key.scopes, "clinical-strict")
    assert (again.requests_per_minute, again.tokens_per_minute, again.expires_at) == (7, 9, NOW + 60)
    assert again.cut_streams, "its tenant's word holds too"
    assert found(engine, secret + "x") is None


def test_it_ends_at_its_second_and_a_revoked_one_is_found_by_no_clock(engine: Engine) -> None:
    secret = minted(engine, ApiKey("key-1", ACME, expires_at=NOW + 60))
    assert found(engine, secret, NOW + 59) is not None
    assert found(engine, secret, NOW + 60) is None
    with engine.begin() as connection:
        connection.execute(update(API_KEYS).values(revoked_at=NOW + 30))
    assert found(engine, secret, 0) is None


def test_a_secret_that_retires_leaves_the_key_to_the_next_one(engine: Engine) -> None:
    old = minted(engine, plain_key(ACME, ""))
    with engine.begin() as connection:
        key = found(engine, old)
        assert key is not None
        new = mint_secret(connection, key.id, NOW)
        connection.execute(update(KEY_SECRETS).where(KEY_SECRETS.c.number == 0).values(retires_at=NOW + 5))
    both = found(engine, old, NOW + 4), found(engine, new, NOW + 4)
    assert [each and (each.id, each.expires_at) for each in both] == [(key.id, NOW + 5), (key.id, None)]
    assert found(engine, old, NOW + 5) is None
    assert found(engine, new, NOW + 5) is not None


def test_neither_secret_is_stored(engine: Engine, tmp_path: Path) -> None:
    secret = minted(engine, plain_key(ACME, "ci"))
    engine.dispose()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert hash_api_key(secret).encode() in stored
    assert secret[14:].encode() not in stored


def test_the_later_use_stays(engine: Engine) -> None:
    minted(engine, ApiKey("key-1", ACME))
    with engine.begin() as connection:
        for now in (NOW + 60, NOW):
            note_use(connection, "key-1", now)
        assert connection.execute(API_KEYS.select()).one().last_used_at == NOW + 60


def test_a_tenant_that_is_not_there_is_made_without_bounds_and_one_that_is_stays(engine: Engine) -> None:
    with engine.begin() as connection:
        insert_tenant(connection, StoredTenant(ACME, False, NOW))
        assert ensure_tenant(connection, "acme", NOW + 1) == ACME
        assert ensure_tenant(connection, "other", NOW) == Tenant("other", "other")
        assert [each.tenant.id for each in list_tenants(connection, "", 9)] == ["acme", "other"]
        assert [each.tenant.id for each in list_tenants(connection, "acme", 9)] == ["other"]


def test_a_new_key_may_do_all_but_top_up() -> None:
    assert plain_key(ACME, "").scopes == DEFAULT_SCOPES == {"inference", "read", "keys"}


def test_two_secrets_never_share_a_hash(engine: Engine) -> None:
    secret = minted(engine, ApiKey("key-1", ACME))
    with pytest.raises(IntegrityError), engine.begin() as connection:
        insert_secret(connection, "key-1", hash_api_key(secret), "", NOW)
