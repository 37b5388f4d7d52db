"""`saferouter policy`: list, check and explain routing policies, and let a provider's or a model's baseline go."""

from __future__ import annotations

import json
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tee.errors import Malformed

if TYPE_CHECKING:
    from gateway.config import Config

policy_app = typer.Typer(no_args_is_help=True, help="Routing policies: who may answer a call.")
ConfigOption = Annotated[Path | None, typer.Option("--config", help="The gateway's TOML file; without one, the demo.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
MAX_FILE = 1 << 20


@policy_app.callback()
def _policy() -> None:
    """Routing policies: who may answer a call."""


@policy_app.command("list")
def policy_list(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """The policies that are configured, stored or built in."""
    for policy in _load(config).rules.policies:
        line = f"{policy.id:24} version {policy.version:<4} {policy.digest}"
        typer.echo(json.dumps(policy.to_json()) if as_json else line)


@policy_app.command("check")
def policy_check(file: Annotated[Path, typer.Argument(help="A TOML file with [[policies]].")]) -> None:
    """Whether a file of policies can be taken on; prints their digests."""
    from gateway.routing.policy import decode_policies

    try:
        with file.open("rb") as opened:
            document = tomllib.loads(opened.read(MAX_FILE).decode())
    except OSError as error:
        raise Malformed(str(file), error.strerror or "an unreadable file", "a readable file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Malformed(str(file), str(error), "TOML") from None
    rows = document.get("policies")
    if not rows:
        raise Malformed(f"{file}.policies", "none", "at least one [[policies]]")
    named = {policy.id: policy for policy in decode_policies(rows, "policies")}
    for row in rows:
        typer.echo(f"{row['id']}: version {named[row['id']].version}, {named[row['id']].digest}")


@policy_app.command("explain")
def policy_explain(
    policy: Annotated[str, typer.Option("--policy", help="The policy's id.")],
    model: Annotated[str, typer.Option("--model", help="The model that a call would name.")],
    provider: Annotated[str | None, typer.Option("--provider", help="The provider that it would pin.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Why a call would or would not be routed, and which single change would alter it.

    By the configuration and the baselines alone: what a running gateway has met of latency, drift and prices, its
    POST /v1/policies/{id}/explain knows. Exit code 1 where nobody would be asked.
    """
    from gateway.errors import GatewayError

    try:
        told = _explain(_load(config), policy, model, provider)
    except GatewayError as error:
        raise Malformed("question", error.message, "what is configured") from None
    if as_json:
        typer.echo(json.dumps(told, indent=1))
    else:
        _print(told)
    if not told["routed"]:
        raise typer.Exit(1)


@policy_app.command("baseline")
def policy_baseline(
    name: Annotated[str, typer.Argument(help="A provider's id or a model's.")], config: ConfigOption = None
) -> None:
    """Let a baseline go: after SIGHUP the next identity, or the content hash that is declared then, is the new one."""
    from gateway.routing.identity import Baselines
    from gateway.stored_routing import store_baselines

    loaded = _load(config)
    known = loaded.rules.baselines
    if name not in known.providers and name not in known.models:
        names = ", ".join(sorted({*known.providers, *known.models})) or "none is kept"
        raise Malformed("NAME", repr(name[:64]), f"one that has a baseline: {names}")
    providers = {each: kept for each, kept in known.providers.items() if each != name}
    models = {each: kept for each, kept in known.models.items() if each != name}
    store_baselines(loaded.state, Baselines(providers, models))
    typer.echo(f"{name} has no baseline any more. Send the gateway SIGHUP, and check what it logs as the new one.")


def _explain(config: Config, policy: str, model: str, provider: str | None) -> dict[str, object]:
    from gateway.decisions import Decisions
    from gateway.routing.explain import explain
    from gateway.routing.identity import Identities

    decisions = Decisions(Identities(), lambda _route: None)
    decisions.use(config.models, config.rules)
    candidates = decisions.candidates(model, provider, None)
    return explain(decisions.policy(policy), candidates, time.time(), pinned=provider is not None)


def _print(told: dict[str, object]) -> None:
    chosen, rows = told["chosen"], told["candidates"]
    assert isinstance(rows, list)
    typer.echo(f"routed to {chosen['model']} at {chosen['provider']}" if isinstance(chosen, dict) else "refused")
    for row in rows:
        word = "qualifies" if row["qualifies"] else "refused"
        typer.echo(f"\n{row['model']} at {row['provider']}, {row['tier']}: {word}")
        for reason in row["reasons"]:
            typer.echo(f"  because {reason}")
        for change in row["would_change"]:
            typer.echo(f"  would change it: {change['change']} = {json.dumps(change['to'])}")


def _load(path: Path | None) -> Config:
    from gateway.config import load_config

    return load_config(path)
