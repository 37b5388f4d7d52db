"""The commands of money: prices, credits, and the audit of the ledger."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli_database import ConfigOption, JsonOption, in_database, load
from tee.terminal import EXIT_REJECTED

if TYPE_CHECKING:
    from gateway.money.pricing import Tariff

prices_app = typer.Typer(no_args_is_help=True, help="What calls are charged.")
credits_app = typer.Typer(no_args_is_help=True, help="What keys have, and paying in.")
ledger_app = typer.Typer(no_args_is_help=True, help="The ledger of all money.")
KeyArgument = Annotated[str, typer.Argument(help="The id of a key, as `GET /v1/keys` shows it.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the console script."""
    for name, group in (("prices", prices_app), ("credits", credits_app), ("ledger", ledger_app)):
        app.add_typer(group, name=name)


@prices_app.command("show")
def prices_show(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print the price of every model, in US dollars per million tokens, with the margin."""
    loaded = load(config)
    from gateway.money.price_book import routes_of
    from gateway.money.price_list import encode_price

    book = loaded.prices
    known = [(route, book.tariff(route)) for route in routes_of(loaded.models)]
    if as_json:
        rows = [
            {"model": route.model.id, "provider": route.connector.id, "price": tariff and encode_price(tariff.price)}
            for route, tariff in known
        ]
        _print(book.document() | {"digest": book.digest, "prices": rows})
        return
    typer.echo(f"List {book.listed.version} of {book.listed.date}, margin {book.margin / 100:g} %. {book.digest}")
    for route, tariff in known:
        rates = "unknown" if tariff is None else _rates(tariff)
        typer.echo(f"{route.model.id} at {route.connector.id}  {rates}")


@prices_app.command("check")
def prices_check(config: ConfigOption = None) -> None:
    """Read the prices as the gateway would; exit 1 if a model has none."""
    loaded = load(config)
    from gateway.money.price_book import routes_of

    missing = [route for route in routes_of(loaded.models) if loaded.prices.tariff(route) is None]
    for route in missing:
        place = f"{route.model.id} at {route.connector.id}"
        typer.echo(f"UNKNOWN {place}: who has a balance or a cap cannot call it. Give it a [[prices.models]].")
    if missing:
        raise typer.Exit(EXIT_REJECTED)
    typer.echo(f"All {len(loaded.models.models)} models have a price; the list is {loaded.prices.listed.version}.")


@credits_app.command("show")
def credits_show(key: KeyArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print what a key has, holds and has spent."""
    load(config)  # its words on a missing server come before ours
    from gateway.money.usd import usd, usd_text
    from gateway.storage.credits import find_balance, keys_spent

    (balance, reserved), spent = in_database(
        config, lambda connection, _now: (find_balance(connection, key), keys_spent(connection, [key])[key])
    )
    if as_json:
        left = None if balance is None else usd(balance)
        _print({"key_id": key, "balance_usd": left, "reserved_usd": usd(reserved), "spent_usd": usd(spent)})
        return
    has = "is not prepaid" if balance is None else f"has {usd_text(balance)}"
    typer.echo(f"{key} {has}, {usd_text(reserved)} held for calls that run; it has spent {usd_text(spent)}.")


@credits_app.command("topup")
def credits_topup(
    key: KeyArgument,
    usd: Annotated[str, typer.Argument(help="US dollars, for example 5.00.")],
    note: Annotated[str | None, typer.Option("--note", help="What the ledger says of it.")] = None,
    once: Annotated[str | None, typer.Option("--once", help="A name of this payment: a repetition is none.")] = None,
    config: ConfigOption = None,
) -> None:
    """Pay in for a key, which is prepaid from then on; the gateway may run meanwhile."""
    load(config)  # its words on a missing server come before ours
    from gateway.money.usd import parse_usd, usd_text
    from gateway.storage.topup import TopUp, pay_in, request_key

    request = None if once is None else request_key("operator", once)
    wanted = TopUp(key, None, parse_usd(usd, "USD"), note, request)
    paid = in_database(config, partial(pay_in, wanted=wanted))
    typer.echo(f"{key} has {usd_text(paid.balance or 0)}.")


@ledger_app.command("check")
def ledger_check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Prove that every account holds what its entries and its open calls say; exit 1 and its name if one does not."""
    url = load(config).database_url
    from gateway.money.usd import usd_text
    from gateway.storage.engine import open_database
    from gateway.storage.ledger_check import check_ledger

    engine = open_database(url)
    faults = check_ledger(engine)
    engine.dispose()
    if as_json:
        rows = [{name: getattr(fault, name) for name in fault.__slots__} for fault in faults]
        _print({"balances": not faults, "faults": rows})
    elif not faults:
        typer.echo("PASS every account balances.")
    for fault in () if as_json else faults:
        found, wanted = usd_text(fault.found), usd_text(fault.wanted)
        typer.echo(f"FAIL {fault.account}: its {fault.what} is {found}, and its entries say {wanted}.")
    if faults:
        raise typer.Exit(EXIT_REJECTED)


def _rates(tariff: Tariff) -> str:
    """Both main prices with the margin, and what is known beside them."""
    from gateway.money.pricing import WHOLE
    from gateway.money.usd import usd_text

    rates = tariff.price.rates
    with_margin = [usd_text(-(-rate * (WHOLE + tariff.margin) // WHOLE)) for rate in (rates.input, rates.output)]
    more = [name for name in rates.__slots__[2:] if getattr(rates, name) is not None]
    more += ["request"] if tariff.price.request else []
    more += [f"prompts above {tokens}" for tokens, _ in tariff.price.above]
    also = f"; also priced: {', '.join(more)}" if more else ""
    return f"{with_margin[0]} in, {with_margin[1]} out{also}"


def _print(document: dict[str, Any]) -> None:
    typer.echo(json.dumps(document, indent=1))
