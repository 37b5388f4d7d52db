"""`saferouter keys`: API keys of callers, on the gateway's own database, whether it runs or not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli_database import ConfigOption, JsonOption, in_database, show_one, show_rows

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.storage.key_changes import Actor

DAY = 24 * 3600
COLUMNS = ("id", "prefix", "tenant", "name", "scopes", "expires_at", "revoked_at")

app = typer.Typer(no_args_is_help=True, help="API keys of callers.")
KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="The key's id, as `keys list` shows it.")]


@app.callback()
def _keys() -> None:
    """API keys of callers."""


@app.command("create")
def create(
    tenant: Annotated[str, typer.Argument(help="Whose key it is; a tenant that is not there is made, without bounds.")],
    name: Annotated[str, typer.Option("--name", help="What lists call it.")] = "",
    scope: Annotated[list[str] | None, typer.Option("--scope", help="What it may do; more than once for more.")] = None,
    days: Annotated[int | None, typer.Option("--days", min=1, max=36525, help="After how many days it ends.")] = None,
    cut_streams: Annotated[bool, typer.Option("--cut-streams", help="Revoking it ends its open streams too.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Mint an API key and print it, this once: only its hash is kept."""

    def work(connection: Connection, now: int) -> dict[str, Any]:
        from gateway.http.keys import shown_key
        from gateway.storage.key_changes import Actor, create_key
        from gateway.storage.tenants import ensure_tenant
        from gateway.tenancy.changes import read_id, read_key_changes

        fields = {"name": name, "cut_streams": cut_streams, "expires_at": None if days is None else now + days * DAY}
        changes = read_key_changes(fields | ({"scopes": scope} if scope else {}), now)
        ensure_tenant(connection, read_id("TENANT", tenant), now)
        stored, secret = create_key(connection, now, changes=changes, by=Actor(tenant))
        return shown_key(stored, 0, 0) | {"key": secret}

    made = in_database(config, work)
    typer.echo(json.dumps(made, indent=1) if as_json else made["key"])
    typer.echo(f"Stored as its hash: {made['id']} of tenant {made['tenant']}.", err=True)


@app.command("list")
def listing(
    tenant: Annotated[str | None, typer.Argument(help="Whose keys; all without it.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List keys, each tenant's newest first, the revoked among them."""

    def work(connection: Connection, _now: int) -> list[dict[str, Any]]:
        from gateway.http.keys import shown_key
        from gateway.storage.credits import keys_spent
        from gateway.storage.key_changes import MAX_LISTED, Actor, list_keys
        from gateway.storage.tenants import list_tenants

        owners = [row.tenant.id for row in list_tenants(connection, "", MAX_LISTED)] if tenant is None else [tenant]
        found = [list_keys(connection, by=Actor(owner), after=None, limit=MAX_LISTED) for owner in owners]
        spent = keys_spent(connection, key_ids=[stored.key.id for rows in found for stored, _ in rows])
        return [shown_key(stored, calls, spent[stored.key.id]) for rows in found for stored, calls in rows]

    show_rows(in_database(config, work), COLUMNS, as_json=as_json)


@app.command("rename")
def rename(
    key: KeyArgument,
    name: Annotated[str, typer.Argument(help="What lists shall call it.")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Give a key another name."""

    def work(connection: Connection, now: int) -> dict[str, Any]:
        from gateway.storage.key_changes import change_key
        from gateway.tenancy.changes import read_key_changes

        by, changes = _owner(connection, key), read_key_changes({"name": name}, now)
        change_key(connection, now, key_id=key, changes=changes, by=by)
        return _shown(connection, key, by)

    show_one(in_database(config, work), as_json=as_json)


@app.command("rotate")
def rotate(
    key: KeyArgument,
    overlap: Annotated[int, typer.Option("--overlap", min=0, help="For how many seconds the old one goes on.")] = 0,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Give a key a new secret and print it, this once; the old one ends now, or after an overlap."""

    def work(connection: Connection, now: int) -> dict[str, Any]:
        from gateway.storage.key_changes import rotate_key
        from gateway.tenancy.changes import read_overlap

        seconds, by = read_overlap({"overlap_seconds": overlap}), _owner(connection, key)
        _, secret = rotate_key(connection, now, key_id=key, overlap=seconds, by=by)
        return _shown(connection, key, by) | {"key": secret}

    made = in_database(config, work)
    typer.echo(json.dumps(made, indent=1) if as_json else made["key"])


@app.command("revoke")
def revoke(key: KeyArgument, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """End a key for ever: it is refused everywhere within a second."""

    def work(connection: Connection, now: int) -> dict[str, Any]:
        from gateway.storage.key_changes import revoke_key

        by = _owner(connection, key)
        revoke_key(connection, now, key_id=key, by=by)
        return _shown(connection, key, by)

    show_one(in_database(config, work), as_json=as_json)


def _owner(connection: Connection, key_id: str) -> Actor:
    """The operator, for the tenant of this key. Raises UnknownKey."""
    from gateway.storage.key_changes import operator_of

    return operator_of(connection, key_id)


def _shown(connection: Connection, key_id: str, by: Actor) -> dict[str, Any]:
    from gateway.http.keys import shown_key
    from gateway.storage.credits import keys_spent
    from gateway.storage.key_changes import look_up_key

    return shown_key(*look_up_key(connection, key_id, by), keys_spent(connection, key_ids=[key_id])[key_id])
