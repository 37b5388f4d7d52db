"""`saferouter keys` and `saferouter tenants`: on a database that no gateway has opened yet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.storage.api_keys import find_api_key
from gateway.storage.engine import open_database
from gateway.tenancy.tenant import ApiKey, hash_api_key
from tests.worlds.gateway import RunningGateway, run_cli

NOW = 1_800_000_000


class Shell:
    """A person with the gateway's state folder."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def run(self, *words: str, code: int = 0) -> str:
        done = run_cli(*words, environ={"SAFEROUTER_STATE": str(self.state)})
        assert done.returncode == code, done.stderr
        return done.stdout.strip() if code == 0 else done.stderr

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json"))

    def find(self, secret: str, now: int = NOW) -> ApiKey | None:
        engine = open_database(f"sqlite:///{self.state / 'gateway.sqlite3'}")
        found = find_api_key(engine, hash_api_key(secret), now)
        engine.dispose()
        return found


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    made = Shell(tmp_path_factory.mktemp("cli") / "state")
    made.run("keys", "create", "acme")
    yield made


def test_a_key_from_its_making_to_its_end(shell: Shell) -> None:
    secret = shell.run("keys", "create", "acme", "--name", "ci")
    found = shell.find(secret)
    assert found is not None
    assert (found.tenant.id, found.name, sorted(found.scopes)) == ("acme", "ci", ["inference", "keys", "read"])
    assert shell.json("keys", "rename", found.id, "nightly")["name"] == "nightly"
    new = shell.json("keys", "rotate", found.id, "--overlap", "600")
    assert shell.find(new["key"]) is not None
    assert shell.find(secret, new["created_at"]) is not None
    assert shell.find(secret, new["created_at"] + 1200) is None
    table = shell.run("keys", "list", "acme").splitlines()
    assert table[0].split()[:3] == ["ID", "PREFIX", "TENANT"]
    row = next(line for line in table if found.id in line)
    assert new["prefix"] in row
    assert "revoked_at: -" not in shell.run("keys", "revoke", found.id)
    assert shell.find(new["key"]) is None
    assert "is revoked" in shell.run("keys", "rotate", found.id, code=1)


def test_a_key_of_few_rights_that_ends(shell: Shell) -> None:
    made = shell.json("keys", "create", "acme", "--scope", "read", "--scope", "billing", "--days", "30")
    assert made["scopes"] == ["read", "billing"]
    assert made["expires_at"] == made["created_at"] + 30 * 24 * 3600
    assert "some of inference, read, keys, billing" in shell.run("keys", "create", "acme", "--scope", "root", code=2)


def test_a_tenant_from_its_making_to_other_bounds(shell: Shell) -> None:
    bounds = "--usd-cap", "500.5", "--requests-per-minute", "120", "--policy", "default", "--policy", "clinical-strict"
    secret = shell.run("tenants", "create", "globex", "--display-name", "Globex", *bounds, "--cut-streams")
    found = shell.find(secret)
    assert found is not None
    assert (found.tenant.usd_cap, found.tenant.requests_per_minute, found.cut_streams) == (500_500_000, 120, True)
    changed = shell.json("tenants", "set", "globex", "--usd-cap", "none", "--keep-streams")
    assert (changed["usd_cap"], changed["requests_per_minute"], changed["cut_streams"]) == (None, 120, False)
    assert shell.json("tenants", "show", "globex") == changed
    assert changed in shell.json("tenants", "list")
    assert "clinical-strict" in shell.run("tenants", "list")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("keys", "create", "a/b"), 2, "TENANT"),
        (("keys", "revoke", "key-none"), 1, "There is no key `key-none`"),
        (("keys", "list", "nobody"), 1, "There is no tenant `nobody`"),
        (("tenants", "show", "nobody"), 1, "There is no tenant `nobody`"),
        (("tenants", "create", "acme"), 1, "There is a tenant `acme` already"),
        (("tenants", "set", "acme", "--usd-cap", "much"), 2, "usd_cap"),
        (("tenants", "set", "acme", "--tokens-per-minute", "0"), 2, "tokens_per_minute"),
    ],
)
def test_what_cannot_be_is_said_in_words(shell: Shell, words: tuple[str, ...], code: int, said: str) -> None:
    assert said in shell.run(*words, code=code)


def test_an_admin_token_that_cannot_be_one_is_told_of(tmp_path: Path, chip_file: Path) -> None:
    (tmp_path / "admin.token").write_text("too short")
    mock = '[[providers]]\nfamily = "mock"\n[[models]]\nid = "mock-1"\nprovider = "mock"\n'
    config = f'admin_token_file = "{tmp_path / "admin.token"}"\n{mock}'
    with RunningGateway(tmp_path / "state", config=config, chip=chip_file) as gateway:
        assert "admin.token holds no admin token" in gateway.log.read_text()
        assert gateway.demo["admin_token"] is None
