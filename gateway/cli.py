"""The gateway's commands: serve, keys, tenants. They join `saferouter` by entry point."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from gateway import keys_cli, tenants_cli
from gateway.cli_backup import backup, restore
from gateway.cli_database import ConfigOption, load
from gateway.cli_policy import policy_app
from gateway.money_cli import register as register_money
from gateway.registry_cli import print_bom, registry_app
from tee.private_files import write_private

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.instance import Instance

DEMO_FILE = "demo.json"
ADMIN_FILE = "admin.token"
DEMO_MODEL = "mock-1"
DEMO_QUESTION = '{"model":"mock-1","messages":[{"role":"user","content":"Hello"}]}'


def register(app: typer.Typer) -> None:
    """Add the gateway's commands to the console script."""
    app.command("serve")(serve)
    app.command("backup")(backup)
    app.command("restore")(restore)
    app.add_typer(keys_cli.app, name="keys")
    app.add_typer(tenants_cli.app, name="tenants")
    app.add_typer(policy_app, name="policy")
    register_money(app)
    app.add_typer(registry_app, name="registry")
    app.command("bom")(print_bom)


def serve(
    config: ConfigOption = None,
    insecure_mock: Annotated[
        bool, typer.Option("--insecure-mock", help="Attest with a MOCK, which proves nothing, where no hardware is.")
    ] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Mint a demo key and print what to try.")] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=64, help="Processes that carry calls; `workers` in the file.")
    ] = None,
) -> None:
    """Serve the gateway until Ctrl-C."""
    os.umask(0o077)  # whatever is made below is for this user only

    def read() -> Config:
        found = _with_admin(load(config)) if demo else load(config)
        return found if workers is None else replace(found, workers=workers)

    loaded = read()
    import uvloop

    from gateway.http.server import run

    _warn_of_missing_keys(loaded)

    async def on_ready(instance: Instance) -> None:
        _warn_of_no_operator(instance.config)
        if demo and instance.desk.tee_type == "mock":
            _write_demo(instance)
            return
        typer.echo(
            f"Listening on {loaded.host}:{loaded.port}, attested as {loaded.audience}; state in {loaded.state}.\n"
            f"{instance.attester_reason}\n{instance.sealing_reason}"
        )
        if demo:  # its words and its policy are those of the mock
            typer.echo(
                "No demo on real hardware: `saferouter keys create` mints a key, and the policy is yours to write."
            )

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        # Without a file there is nothing to read again, and a terminal that closes ends the gateway.
        reread = read if config is not None else None
        runner.run(run(loaded, allow_mock=insecure_mock, on_ready=on_ready, reread=reread))


def _warn_of_missing_keys(config: Config) -> None:
    """Who signs for AWS may be the machine's role, which is not asked before it is needed."""
    from gateway.config import read_credential

    for provider in config.models.connectors.values():
        if not provider.needs_credential or provider.aws_service is not None:
            continue
        keys = (provider, *provider.spares)
        missing = [key for key in keys if read_credential(key) is None]
        then = "Its calls get 503." if len(missing) == len(keys) else "Its other keys are used."
        for key in missing:
            place = key.credential_file or " or ".join(key.credential_env)
            typer.echo(f"Warning: provider {provider.id} has no key yet: {place}. {then}", err=True)


def _warn_of_no_operator(config: Config) -> None:
    """A token that cannot be one opens nothing, which nobody would guess from a 401."""
    from gateway.admin_token import MIN_TOKEN, read_token

    file = config.admin_token_file
    if file is not None and file != config.state / ADMIN_FILE and read_token(file) is None:
        wanted = f"at least {MIN_TOKEN} bytes that are no API key: until then nobody is the operator"
        typer.echo(f"Warning: {file} holds no admin token, which is {wanted}.", err=True)


def _with_admin(config: Config) -> Config:
    """The configuration with an admin token in the state folder, unless it names one."""
    from gateway.config import decode_config

    own = {"admin_token_file": str(config.state / ADMIN_FILE)}
    return config if config.admin_token_file else decode_config({**config.document, **own})


def _mint(database_url: str, tenant: str, name: str) -> str:
    from gateway.storage.engine import open_database
    from gateway.storage.minting import mint_key, plain_key
    from gateway.storage.tenants import ensure_tenant

    engine, now = open_database(database_url), int(time.time())
    with engine.begin() as connection:
        secret = mint_key(connection, plain_key(ensure_tenant(connection, tenant, now), name), now)
    engine.dispose()
    return secret


def _demo_key(instance: Instance) -> str:
    """The demo key of the last start if it still works, else a new one."""
    from gateway.storage.api_keys import find_api_key
    from gateway.tenancy.tenant import hash_api_key

    path = instance.config.state / DEMO_FILE
    if path.exists():
        kept = json.loads(path.read_text()).get("api_key", "")
        if find_api_key(instance.engine, hash_api_key(kept), int(time.time())):
            return str(kept)
    return _mint(instance.config.database_url, "demo", "demo")


def _admin_token(instance: Instance) -> str | None:
    """The admin token; the demo's own is made where it is not there."""
    from gateway.admin_token import read_token

    file = instance.config.admin_token_file
    assert file is not None  # `_with_admin`
    if file == instance.config.state / ADMIN_FILE and not file.exists():
        write_private(file, secrets.token_urlsafe(32).encode() + b"\n")
    token = read_token(file)
    return None if token is None else token.decode(errors="replace")


def _write_demo(instance: Instance) -> None:
    """Write demo.json and the demo policy, and print what to try."""
    from gateway.build import build_version

    state, url, key = instance.config.state, instance.config.audience, _demo_key(instance)
    measurement = instance.measurement.hex()
    policy = state / "demo-policy.toml"
    note = "# Accepts the mock of this very source tree. Written by `make run`; a new build needs a new policy."
    write_private(policy, f'{note}\nmeasurements = ["{measurement}"]\n'.encode())
    write_private(state / "demo-policy.json", json.dumps({"measurements": [measurement]}).encode() + b"\n")
    verify = f".venv/bin/saferouter verify {url} --policy {policy} --accept-mock"
    facts = {"url": url, "api_key": key, "model": DEMO_MODEL, "admin_token": _admin_token(instance), "verify": verify}
    write_private(state / DEMO_FILE, json.dumps(facts, indent=1).encode() + b"\n")
    page = f"{url}/verifier/#target={url}&measurement={measurement}&mock=1"
    typer.echo(
        f"""
SafeRouter {build_version()} is ready.

  MOCK: no confidential hardware here. A mock chip signs the evidence, and a mock provider answers.
  The protocol is the same as on hardware; it proves nothing about hardware.

  URL      {url}/v1
  API key  {key}

  Ask:
    curl {url}/v1/chat/completions -H 'Authorization: Bearer {key}' \\
      -H 'Content-Type: application/json' -d '{DEMO_QUESTION}'

  Verify:
    {verify}

  Verify in a browser:
    {page}

  Console, for chats, keys, activity and credits:
    {url}/

Ctrl-C stops it."""
    )
