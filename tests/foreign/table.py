"""docs/clients.md: which client does what, written from a run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.foreign.catalog import SURFACES, Client

COLUMNS = ("answer", "stream", "tools", "structured")
HEAD = """# Clients

These clients of other makers run unmodified against the gateway: they are installed in the versions named here and told
its address and a key, nothing else. `make foreign` installs and runs them anew, against the mock provider, and writes
this page; it is no part of `make test`. For every other address they are given a proxy where nobody listens. A dash is
a feature that the client does not have there.

- *answer*: a plain answer. *stream*: text as it comes, and its usage where the client shows it.
- *tools*: a tool is called with arguments that fit its schema, run, and its result answered.
- *structured*: an object of a given schema, as the client's own type where it has one.
- *parallel*: two tools are called at once. *errors*: status 503, status 429 and an answer that its provider cut are
  each told as what they are.

"""
NOTES = """
## What a client has to be told

The address is `https://HOST/v1` for OpenAI's language and `https://HOST` for Anthropic's; the key goes where the
vendor's own key would go.

"""


def write_table(path: Path, outcomes: Iterable[tuple[Client, str, str, bool | None]]) -> None:
    """Write the page; rows stand in the order in which they were run."""
    rows: dict[tuple[Client, str], dict[str, bool | None]] = {}
    for client, surface, feature, ok in outcomes:
        rows.setdefault((client, surface), {})[feature] = ok
    names = ("client", "packages", "path", *COLUMNS, "beside these")
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += [_row(client, surface, found) for (client, surface), found in rows.items()]
    notes = [f"- **{client.title}**: {client.note}" for client in dict.fromkeys(key[0] for key in rows) if client.note]
    path.parent.mkdir(exist_ok=True)
    path.write_text(HEAD + "\n".join(lines) + "\n" + NOTES + "\n".join(notes) + "\n")


def _row(client: Client, surface: str, found: dict[str, bool | None]) -> str:
    if "all" in found:
        cells = [_word(found["all"])] * len(COLUMNS)
    else:
        cells = [_word(found[name]) if name in found else "-" for name in COLUMNS]
    more = [name.replace("_", " ") for name in found if name not in (*COLUMNS, "all")]
    failed = [name for name in found if name not in COLUMNS and found[name] is False]
    beside = ", ".join(more) + (f" (FAILED: {', '.join(failed)})" if failed else "")
    cells = [client.title, versions(client), f"`{SURFACES[surface]}`", *cells, beside]
    return "| " + " | ".join(cells) + " |"


def _word(ok: bool | None) -> str:
    return {True: "yes", False: "FAILED", None: "not installed"}[ok]


def versions(client: Client) -> str:
    """`name version` of the packages that matter, as they are pinned."""
    shown = []
    for package in client.environment.packages:
        name, _, version = package.rpartition("@") if client.environment.npm else package.partition("==")
        if name.partition("[")[0] in client.packages:
            shown.append(f"{name.partition('[')[0]} {version}")
    return ", ".join(shown)
