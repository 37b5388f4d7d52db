"""A gateway with two scripted providers: models of the first, for which a model of the second may stand in."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.worlds.gateway import COMMAND, RunningGateway, free_port
from tests.worlds.upstream import ScriptedUpstream, scripted_upstream

KEYS = {"FIRST_KEY": "sk-first-1", "FIRST_SPARE": "sk-first-2", "SECOND_KEY": "sk-second"}


class Providers:
    """Both providers, and the gateway before them. Each name of `names` is a pair of models of its own, so that what
    one test does to a target or a key is not there for the next.
    """

    def __init__(self, first: ScriptedUpstream, second: ScriptedUpstream, gateway: RunningGateway) -> None:
        self.first, self.second, self.gateway = first, second, gateway

    def activity(self, receipt_id: str) -> dict[str, Any]:
        """The row of a call whose receipt is there, with all its attempts, by what their providers answered."""
        self.gateway.fetch_receipt(receipt_id)
        query = "SELECT activity.* FROM activity JOIN calls ON calls.id = call_id WHERE receipt_id = ? ORDER BY attempt"
        with closing(sqlite3.connect(f"file:{self.gateway.state / 'gateway.sqlite3'}?mode=ro", uri=True)) as record:
            record.row_factory = sqlite3.Row
            rows = [dict(row) for row in record.execute(query, (receipt_id,))]
        (shown,) = [row for row in rows if row["shown"]]
        return shown | {"attempts": [row | {"status": row["provider_status"]} for row in rows]}

    def wait_for_activity(self, receipt_id: str) -> dict[str, Any]:
        """The same, for a call that ends some time after its client has left."""
        deadline = time.monotonic() + 20
        while True:
            try:
                return self.activity(receipt_id)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise

    def newest_call(self, model: str) -> str:
        """The receipt of the newest call of whose target this is the provider's name."""
        query = "SELECT receipt_id FROM calls WHERE draft LIKE ? ORDER BY id DESC LIMIT 1"
        with closing(sqlite3.connect(f"file:{self.gateway.state / 'gateway.sqlite3'}?mode=ro", uri=True)) as record:
            (receipt_id,) = record.execute(query, (f"%{model}%",)).fetchone()
        return str(receipt_id)


@contextmanager
def running_providers(
    state: Path, chip: Path, names: list[str], settings: str = "", command: Sequence[str] = (str(COMMAND),)
) -> Iterator[Providers]:
    """Both providers and the gateway, configured by `settings` beside its models.

    For each name there are the models `<name>`, at a provider `<name>-at` with two keys, and `<name>-alone`, for which
    nobody stands in; `<name>-other` of the second provider stands in for the first, and speaks Anthropic's language.
    """
    with scripted_upstream() as first, scripted_upstream() as second:
        rows = [settings]
        for name in names:
            rows += _pair(name, first.base_url, second.base_url)
        rows += _provider("absent", "vllm", f"http://127.0.0.1:{free_port()}/v1", ["FIRST_KEY"])
        rows += _model("refused", "absent", ["other"])
        rows += _provider("at-second", "anthropic", second.base_url, ["SECOND_KEY"]) + _model("other", "at-second")
        with RunningGateway(state, config="\n".join(rows) + "\n", chip=chip, environ=KEYS, command=command) as gateway:
            yield Providers(first, second, gateway)


def _pair(name: str, first: str, second: str) -> list[str]:
    rows = _provider(f"{name}-at", "vllm", first, ["FIRST_KEY", "FIRST_SPARE"])
    rows += _provider(f"{name}-single", "vllm", first, ["FIRST_KEY"])
    rows += _provider(f"{name}-second", "anthropic", second, ["SECOND_KEY"])
    rows += _model(name, f"{name}-at", [f"{name}-other"]) + _model(f"{name}-alone", f"{name}-single")
    return rows + _model(f"{name}-keys", f"{name}-at") + _model(f"{name}-other", f"{name}-second")


def _provider(name: str, family: str, url: str, keys: list[str]) -> list[str]:
    return [
        "[[providers]]",
        f'id = "{name}"',
        f'family = "{family}"',
        f'base_url = "{url}"',
        f"credential_env = {keys}",
    ]


def _model(name: str, provider: str, fallback: list[str] | None = None) -> list[str]:
    row = ["[[models]]", f'id = "{name}"', f'provider = "{provider}"', f'upstream_model = "their-{name}"']
    return [*row, f"fallback = {fallback}"] if fallback else row
