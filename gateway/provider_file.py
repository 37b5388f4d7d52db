"""The file of registered providers: in the state folder, read with every configuration: a restart keeps them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from gateway.connectors.registered import MAX_PROVIDERS, Provider, read_provider
from tee.canonical import kind_of
from tee.errors import Malformed
from tee.private_files import write_private

FILE = "providers.json"


def read_providers(state: Path) -> list[Provider]:
    """The registered providers, none where there is no file. Raises Malformed for one that no gateway wrote."""
    path = state / FILE
    try:
        rows = json.loads(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise Malformed(
            str(path), type(error).__name__, "the JSON that registration wrote: mend or remove it"
        ) from None
    if not isinstance(rows, list) or len(rows) > MAX_PROVIDERS or not all(isinstance(row, dict) for row in rows):
        raise Malformed(str(path), kind_of(rows), f"an array of at most {MAX_PROVIDERS} providers")
    return [read_provider(row) for row in rows]


def write_providers(state: Path, providers: Sequence[Provider]) -> None:
    """Store them, durably."""
    write_private(state / FILE, json.dumps(providers, indent=1).encode() + b"\n")
