"""`saferouter tenants`: who pays and sets the bounds, on the gateway's own database, whether it runs or not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli_database import ConfigOption, JsonOption, in_database, show_one, show_rows
from tee.errors import Malformed

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.storage.tenants import StoredTenant

NONE = "none"
COLUMNS = ("id", "display_name", "usd_cap", "requests_per_minute", "tokens_per_minute", "allowed_policies")

app = typer.Typer(no_args_is_help=True, help="Tenants, who pay and set the bounds of their keys.")
TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id.")]
NameOption = Annotated[str | None, typer.Option("--display-name", help="What people call it.")]
CapOption = Annotated[str | None, typer.Option("--usd-cap", help="What it may spend in all, USD; `none`: no cap.")]
RequestsOption = Annotated[str | None, typer.Option("--requests-per-minute", help="A number, or `none`.")]
TokensOption = Annotated[str | None, typer.Option("--tokens-per-minute", help="A number, or `none`.")]
PolicyOption = Annotated[
    list[str] | None, typer.Option("--policy", help="A policy that its calls may name; more than once for more.")
]
CutOption = Annotated[
    bool | None, typer.Option("--cut-streams/--keep-streams", help="Whether revoking a key ends its open streams.")
]


@app.callback()
def _tenants() -> None:
    """Tenants, who pay and set the bounds of their keys."""


@app.command("create")
def create(
    tenant: TenantArgument,
    display_name: NameOption = None,
    usd_cap: CapOption = None,
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    policy: PolicyOption = None,
    cut_streams: CutOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Make a tenant, and print the secret of its first key, this once."""
    fields = _fields(display_name, usd_cap, requests_per_minute, tokens_per_minute, policy, cut_streams)

    def work(connection: Connection, now: int) -> dict[str, Any]:
        from gateway.http.admin import shown_tenant
        from gateway.storage.tenant_changes import create_tenant
        from gateway.tenancy.changes import read_id, read_tenant_changes

        changes = read_tenant_changes(fields)
        stored, secret = create_tenant(connection, now, tenant_id=read_id("TENANT", tenant), changes=changes)
        return shown_tenant(stored, 0) | {"api_key": secret}

    made = in_database(config, work)
    typer.echo(json.dumps(made, indent=1) if as_json else made["api_key"])


@app.command("list")
def listing(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """List tenants."""

    def work(connection: Connection, _now: int) -> list[dict[str, Any]]:
        from gateway.http.admin import shown_tenant
        from gateway.storage.credits import tenants_spent
        from gateway.storage.key_changes import MAX_LISTED
        from gateway.storage.tenants import list_tenants

        rows = list_tenants(connection, "", MAX_LISTED)
        spent = tenants_spent(connection, tenants=[row.tenant.id for row in rows])
        return [shown_tenant(row, spent[row.tenant.id]) for row in rows]

    show_rows(in_database(config, work), COLUMNS, as_json=as_json)


@app.command("show")
def show(tenant: TenantArgument, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show one tenant."""

    def work(connection: Connection, _now: int) -> dict[str, Any]:
        from gateway.storage.key_changes import require_tenant

        return _shown(connection, require_tenant(connection, tenant))

    show_one(in_database(config, work), as_json=as_json)


@app.command("set")
def change(
    tenant: TenantArgument,
    display_name: NameOption = None,
    usd_cap: CapOption = None,
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    policy: PolicyOption = None,
    cut_streams: CutOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Change what is named of a tenant; its next calls meet it within a second."""
    fields = _fields(display_name, usd_cap, requests_per_minute, tokens_per_minute, policy, cut_streams)

    def work(connection: Connection, now: int) -> dict[str, Any]:
        from gateway.storage.tenant_changes import change_tenant
        from gateway.tenancy.changes import read_tenant_changes

        changes = read_tenant_changes(fields)
        return _shown(connection, change_tenant(connection, now, tenant_id=tenant, changes=changes))

    show_one(in_database(config, work), as_json=as_json)


def _shown(connection: Connection, stored: StoredTenant) -> dict[str, Any]:
    from gateway.http.admin import shown_tenant
    from gateway.storage.credits import tenants_spent

    return shown_tenant(stored, tenants_spent(connection, tenants=[stored.tenant.id])[stored.tenant.id])


def _fields(
    display_name: str | None,
    usd_cap: str | None,
    requests: str | None,
    tokens: str | None,
    policies: list[str] | None,
    cut_streams: bool | None,
) -> dict[str, object]:
    """The members that were named, as JSON has them. Raises Malformed."""
    numbers = {"usd_cap": usd_cap, "requests_per_minute": requests, "tokens_per_minute": tokens}
    named = {"display_name": display_name, "allowed_policies": policies, "cut_streams": cut_streams}
    return {
        **{name: _number(name, text) for name, text in numbers.items() if text is not None},
        **{name: value for name, value in named.items() if value not in (None, [])},
    }


def _number(name: str, text: str) -> object:
    if text == NONE:
        return None
    try:
        number = json.loads(text)
    except ValueError:
        number = None
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise Malformed(name, repr(text[:32]), f"a number, or `{NONE}`")
    return number
