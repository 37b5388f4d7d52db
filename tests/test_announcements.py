"""What a start changes is in the log before that start, said by the gateway itself."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey
from sqlalchemy import Engine

from gateway.announcements import Outset, configuration_change, identity_change, read_outset
from gateway.history import History, HistoryOpener
from gateway.storage.engine import open_database
from gateway.storage.quotes import add_quote
from gateway.storage.writer import GroupCommit
from tee.canonical import digest
from tee.errors import Unavailable
from tee.log.entry import LogEntry, parse_entry
from tests.test_transparency import get, leaves_of
from tests.worlds.gateway import RunningGateway, run_cli

SECRET, ALICE, BOB = SigningKey(b"\x05" * 32), "aa" * 32, "bb" * 32
BUILD = {"version": "1.0"}
CONFIG = 'providers = [{id = "mock", family = "mock"}]\nmodels = [{id = "mock-1", provider = "mock"}]\n'


def entries(gateway: RunningGateway) -> list[LogEntry]:
    size = int(get(gateway, "/checkpoint").text.split("\n")[1])
    return [parse_entry(leaf) for leaf in leaves_of(gateway, size)]


def rare(gateway: RunningGateway) -> list[str]:
    return [entry.type for entry in entries(gateway) if entry.type not in ("route", "receipt")]


def identity_of(gateway: RunningGateway) -> str:
    with gateway.client() as client:
        return str(client.get("/attestation/verifying-key").json()["identity_key"])


def test_a_gateway_says_what_its_start_changes(tmp_path: Path, chip_file: Path) -> None:
    with RunningGateway(tmp_path / "gateway", config=CONFIG, chip=chip_file) as gateway:
        identity = identity_of(gateway)
        assert rare(gateway) == ["identity.epoch", "startup"]
        first = entries(gateway)[0]
        assert first.body == {"epoch": 1, "identity_key": identity, "previous_identity_key": None}
        gateway.ask("something between")
        gateway.restart()
        assert rare(gateway) == ["identity.epoch", "startup", "startup"], "nothing changed"
        (tmp_path / "gateway.toml").write_text(CONFIG.replace("mock-1", "mock-2"))
        gateway.restart()
        *_, said, start = (entry for entry in entries(gateway) if entry.type not in ("route", "receipt"))
        assert (said.type, start.type) == ("configuration", "startup")
        assert said.body["changed"] == ["models"]
        before = next(entry.body for entry in entries(gateway) if entry.type == "startup")
        for state, body in (("previous", before), ("current", start.body)):
            assert said.body[state] == {name: body[name] for name in ("audience", "build", "configuration")}
        (gateway.state / "identity.sealed").unlink()
        gateway.restart()
        changed = [entry for entry in entries(gateway) if entry.type == "identity.epoch"][1:]
        new = identity_of(gateway)
        assert [entry.body for entry in changed] == [
            {"epoch": 2, "identity_key": new, "previous_identity_key": identity}
        ]
        told = run_cli("log", "monitor", gateway.url, "--state", tmp_path / "monitor").stdout
    assert f"identity epoch 1 began at entry 0: {identity}\n" in told
    assert f"a change of configuration was announced at entry {said.index}: models\n" in told
    assert f"identity epoch 2 began at entry {changed[0].index}: {new}, after {identity}\n" in told


def started(keyset: str = "1", identity: str = ALICE, **members: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A workload and the body of its startup leaf."""
    workload = {"identity_key": identity}
    body = {
        "keyset_digest": f"sha256:{keyset * 64}",
        "workload_digest": digest(workload),
        "audience": "https://gw.example.com",
        "build": BUILD,
        "configuration": {"models": "m", "prices": "p"},
    }
    return workload, body | members


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return open_database(f"sqlite:///{tmp_path / 'log.sqlite3'}")


def history(engine: Engine, folder: Path) -> History:
    return HistoryOpener(engine, folder, "https://gw.example.com", SECRET, lambda: 1_795_240_000.0, True).open()


def append(engine: Engine, folder: Path, *leaves: tuple[str, dict[str, Any]]) -> None:
    opened = history(engine, folder)
    writer = GroupCommit(engine, opened.sequencer)
    for kind, body in leaves:
        writer.submit(lambda it, kind=kind, body=body: it.sequence.append(kind, body)).result()  # type: ignore[misc]
    writer.stop()
    opened.signer.extend(opened.sequencer.take_unsigned())


def outset(engine: Engine, folder: Path, identity: str = ALICE, build: Any = BUILD) -> Outset:
    return read_outset(engine, history(engine, folder).sequencer.begin(), identity, build)


ROUTES = [("route", {"commitment": f"sha256:{at:064x}"}) for at in range(300)]


def test_it_reads_back_to_the_last_start_and_the_last_identity(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.announcements.BATCH", 64)
    new = {"epoch": 1, "identity_key": ALICE, "previous_identity_key": None}
    assert outset(engine, tmp_path) == Outset(None, new)
    workload, start = started()
    append(engine, tmp_path, ("startup", start), *ROUTES)
    assert outset(engine, tmp_path) == Outset(start, new), "an earlier release named none"
    append(engine, tmp_path, ("identity.epoch", new), ("startup", start | {"keyset_digest": "k"}), *ROUTES)
    last = started(keyset="2")[1]
    append(engine, tmp_path, ("startup", last), *ROUTES)
    assert outset(engine, tmp_path) == Outset(last, None)
    other = {"epoch": 2, "identity_key": BOB, "previous_identity_key": ALICE}
    assert outset(engine, tmp_path, BOB) == Outset(last, other)
    add_quote(engine, last["keyset_digest"], json.dumps({"workload": workload}), 0)
    assert outset(engine, tmp_path) == Outset(last, None)
    assert outset(engine, tmp_path, BOB) == Outset(last, other)
    assert outset(engine, tmp_path, ALICE, {"version": "2.0"}) == Outset(last, None)


@pytest.mark.parametrize("quote", ["{", "[]", json.dumps({"workload": {"identity_key": BOB}}), '{"workload": 1.5}'])
def test_a_stored_quote_that_is_not_that_start_s_own_names_nobody(engine: Engine, tmp_path: Path, quote: str) -> None:
    start = started()[1]
    named = {"epoch": 7, "identity_key": ALICE, "previous_identity_key": None}
    append(engine, tmp_path, ("identity.epoch", named), ("startup", start))
    add_quote(engine, start["keyset_digest"], quote, 0)
    assert outset(engine, tmp_path, BOB).identity == {
        "epoch": 8,
        "identity_key": BOB,
        "previous_identity_key": ALICE,
    }


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE leaves SET leaf = CAST(replace(leaf, 'models', 'ladies') AS BLOB) WHERE number = 0",
        "UPDATE leaves SET leaf = CAST('no leaf' AS BLOB) WHERE number = 200",
        "DELETE FROM leaves WHERE number = 0",
        "DELETE FROM leaves WHERE number < 20",
        "DELETE FROM leaves WHERE number = 100",
    ],
)
def test_a_leaf_that_was_changed_in_the_database_is_not_believed(
    engine: Engine, tmp_path: Path, statement: str
) -> None:
    append(engine, tmp_path, ("startup", started()[1]), *ROUTES)
    engine.dispose()
    with closing(sqlite3.connect(tmp_path / "log.sqlite3")) as database, database:
        database.execute(statement)
    with pytest.raises(Unavailable, match=r"lacks entry [0-9]+ of the log as it was logged"):
        outset(engine, tmp_path)


def test_what_changed_is_named() -> None:
    _, before = started()
    assert configuration_change(None, before) is None
    assert configuration_change(before, before | {"keyset_digest": "other"}) is None
    after = before | {"audience": "https://b", "build": {"version": "2"}, "configuration": {"prices": "q", "new": "n"}}
    change = configuration_change(before, after)
    assert change is not None
    assert change["changed"] == ["audience", "build", "models", "new", "prices"]
    assert identity_change({"epoch": 3, "identity_key": ALICE}, ALICE) is None
