"""The configuration of who may be asked: policies, suppliers, the interdicted, witnesses, pins and baselines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.config_fields import refuse_unknown, texts, typed
from gateway.routing.identity import Baselines, parse_identity
from gateway.routing.interdicted import Interdicted
from gateway.routing.policy import decode_policies
from gateway.routing.rules import RoutingRules
from gateway.routing.scope import MAX_STATEMENT, ScopeStatement, ScopeWitness, parse_statement
from tee.canonical import kind_of
from tee.errors import Malformed
from tee.keys.identity import digest_text, hex_bytes

NAMES = frozenset({"policies", "interdicted", "suppliers", "scope_witnesses", "scope_statements", "baselines"})
"""The members of a configuration that are read here."""
MAX_SUPPLIERS, MAX_WITNESSES, MAX_STATEMENTS, MAX_INTERDICTED, MAX_BASELINES = 1024, 64, 4096, 4096, 4096
MAX_PINS = 8
_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)


def decode_rules(document: Mapping[str, Any]) -> RoutingRules:
    """The rules of a configuration; its other members are not looked at. Raises Malformed."""
    witnesses = _witnesses(document.get("scope_witnesses", []))
    return RoutingRules(
        policies=decode_policies(document.get("policies", []), "config.policies"),
        interdicted=_interdicted(document.get("interdicted", {})),
        suppliers=_suppliers(document.get("suppliers", {})),
        witnesses=witnesses,
        statements=_statements(document, witnesses),
        baselines=decode_baselines(document.get("baselines", {}), "config.baselines"),
    )


def decode_baselines(table: Any, path: str) -> Baselines:
    """`baselines`, as the gateway keeps them beside its configuration. Raises Malformed."""
    refuse_unknown(table, {"providers", "models"}, path)
    providers, models = (typed(table, name, dict, {}, path) for name in ("providers", "models"))
    if max(len(providers), len(models)) > MAX_BASELINES:
        raise Malformed(path, f"{max(len(providers), len(models))} of them", f"at most {MAX_BASELINES}")
    return Baselines(
        {name: parse_identity(value, f"{path}.providers.{name[:64]}") for name, value in providers.items()},
        {name: digest_text(value, f"{path}.models.{name[:64]}") for name, value in models.items()},
    )


def decode_pins(row: Mapping[str, Any], base_url: str, path: str) -> frozenset[str]:
    """A provider's `pins`. Raises Malformed, also where no TLS would ever show them."""
    pins = texts(row, "pins", path, MAX_PINS)
    if pins and not base_url.startswith("https://"):
        raise Malformed(f"{path}.pins", f"pins for {base_url[:200]}", "none: only https:// shows a certificate")
    for at, pin in enumerate(pins):
        hex_bytes(pin, 32, f"{path}.pins[{at}]")
    return frozenset(pins)


def _interdicted(table: Any) -> Interdicted:
    path = "config.interdicted"
    refuse_unknown(table, set(Interdicted.__slots__), path)
    return Interdicted(*(frozenset(texts(table, name, path, MAX_INTERDICTED)) for name in Interdicted.__slots__))


def _suppliers(table: Any) -> dict[str, str]:
    path = "config.suppliers"
    if not isinstance(table, Mapping) or len(table) > MAX_SUPPLIERS:
        raise Malformed(path, kind_of(table), f"a table of at most {MAX_SUPPLIERS}: the country of each supplier")
    for name, country in table.items():
        if not isinstance(country, str) or not _COUNTRY.fullmatch(country):
            raise Malformed(f"{path}.{name[:64]}", repr(country)[:32], "an ISO 3166-1 country: two capital letters")
    return dict(table)


def _witnesses(rows: Any) -> tuple[ScopeWitness, ...]:
    path = "config.scope_witnesses"
    if not isinstance(rows, list) or len(rows) > MAX_WITNESSES:
        raise Malformed(path, kind_of(rows), f"at most {MAX_WITNESSES} tables")
    found = []
    for at, row in enumerate(rows):
        place = f"{path}[{at}]"
        refuse_unknown(row, {"id", "key", "scopes"}, place)
        name, key = typed(row, "id", str, "", place), typed(row, "key", str, "", place)
        hex_bytes(key, 32, f"{place}.key")
        found.append(ScopeWitness(name, key, texts(row, "scopes", place, MAX_WITNESSES)))
    if len({each.key for each in found}) != len(found):
        raise Malformed(path, "a key twice", "each key once")
    return tuple(found)


def _statements(document: Mapping[str, Any], witnesses: tuple[ScopeWitness, ...]) -> tuple[ScopeStatement, ...]:
    """What the files of `scope_statements` say, each a witness's word."""
    files = texts(document, "scope_statements", "config", MAX_STATEMENTS)
    found = []
    for at, name in enumerate(files):
        path = f"config.scope_statements[{at}]"
        try:
            with Path(name).open("rb") as file:
                raw = file.read(MAX_STATEMENT + 1)
        except OSError as error:
            raise Malformed(path, error.strerror or "an unreadable file", "a readable file") from None
        found.append(parse_statement(raw, witnesses, path))
    return tuple(found)
