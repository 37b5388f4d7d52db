"""A backup of a gateway that runs, put back: what it had is there, and its log says that it is not what it was."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tee.log.checkpoint import Checkpoint
from tee.log.entry import LogEntry, parse_entry
from tee.quote import decode_base64
from tests.test_replicas import head_of, page
from tests.test_transparency import get, proof_of
from tests.worlds.gateway import Answered, RunningGateway, run_cli
from tests.worlds.postgres import PostgresServer


class Saved:
    """A gateway with a backup, and what it answered before that and after."""

    def __init__(self, gateway: RunningGateway, server: PostgresServer | None, folder: Path) -> None:
        self.gateway, self.server, self.file = gateway, server, folder / "all.backup"
        self.kept = gateway.ask("before the backup")
        proof_of(gateway, self.kept.receipt_id)
        self.saved_at = head_of(gateway)[1].checkpoint
        self.said = self.cli("backup", self.file)
        self.lost = gateway.ask("after the backup")
        proof_of(gateway, self.lost.receipt_id)
        self.signed_last = head_of(gateway)[1].checkpoint

    def cli(self, *arguments: str | Path) -> str:
        """What a command on its state says; the first word is the exit code."""
        done = run_cli(*arguments, environ=self.gateway.environ)
        return f"{done.returncode} {done.stdout}{done.stderr}"

    def lose_the_database(self) -> None:
        """As a disk does."""
        if self.server is not None:
            self.server.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public", self.url)
        for path in self.gateway.state.glob("gateway.sqlite3*"):
            path.unlink()

    @property
    def url(self) -> str:
        """Of its database, if that is PostgreSQL."""
        return self.gateway.environ["SAFEROUTER_DATABASE_URL"]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[Saved]:
    folder = tmp_path_factory.mktemp("backup")
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    environ = {} if server is None else {"SAFEROUTER_DATABASE_URL": server.create()}
    with RunningGateway(folder / "state", chip=chip_file, environ=environ) as gateway:
        yield Saved(gateway, server, folder)
    if server is not None:
        server.take_back(environ["SAFEROUTER_DATABASE_URL"])


def first_leaf(gateway: RunningGateway) -> LogEntry:
    return parse_entry(decode_base64(get(gateway, "/0").json()["leaf_b64"], "leaf"))


def follows(gateway: RunningGateway, last: Checkpoint) -> tuple[int, str]:
    """That the log of a gateway says that it follows this one: with how many leaves, and why."""
    about, body = page(gateway), first_leaf(gateway).body
    assert (about["epoch"], first_leaf(gateway).type) == (2, "log.continues")
    assert body["origin"] == last.origin
    return int(body["size"]), str(body["reason"])


def receipt_status(gateway: RunningGateway, answered: Answered, api_key: str) -> int:
    with gateway.client(api_key) as client:
        return client.get(f"/v1/aci/receipts/{answered.receipt_id}").status_code


def test_what_may_not_be_overwritten_is_not(saved: Saved) -> None:
    assert saved.said.startswith(f"0 Saved as {saved.file}.")
    assert "is there already: name a file that is not" in saved.cli("backup", saved.file)
    assert saved.file.stat().st_mode & 0o777 == 0o600
    assert "another gateway uses this folder" in saved.cli("restore", saved.file)
    saved.gateway.stop()
    refused = saved.cli("restore", saved.file)
    assert refused.startswith("3 "), refused
    assert ("is there already: move" if saved.server is None else "holds tables already: name an empty") in refused
    saved.gateway.start()


@pytest.mark.parametrize("raw", [b"", b"no archive", b"\x1f\x8b\x08\x00"], ids=["empty", "foreign", "cut"])
def test_what_is_no_backup_is_refused_in_words(saved: Saved, tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "file").write_bytes(raw)
    environ = {"SAFEROUTER_STATE": str(tmp_path / "state")}
    done = run_cli("restore", tmp_path / "file", environ=environ)
    assert (done.returncode, "is not a whole backup" in done.stderr) == (3, True), done.stderr
    assert not list((tmp_path / "state").glob("gateway*"))


def test_a_restored_gateway_has_what_was_saved_and_its_log_says_what_it_lost(saved: Saved) -> None:
    """The log had gone on after the backup: its head is known here, and is what the new epoch follows."""
    gateway = saved.gateway
    api_key = gateway.api_key
    gateway.stop()
    saved.lose_the_database()
    said = saved.cli("restore", saved.file)
    assert said.startswith("0 Restored what was saved at "), said
    assert "Left as they were: identity.sealed, " in said
    gateway.start()
    size, reason = follows(gateway, saved.signed_last)
    assert size >= saved.signed_last.size
    assert reason == f"it holds {saved.saved_at.size} leaves, and a head over {size} was signed here"
    assert gateway.api_key == api_key
    assert receipt_status(gateway, saved.kept, api_key) == 200
    assert receipt_status(gateway, saved.lost, api_key) == 404
    gateway.verified(saved.kept)
    gateway.restart()
    assert page(gateway)["epoch"] == 2  # it was restored once


def test_on_another_machine_the_sealed_keys_do_not_open_and_a_log_of_new_keys_follows(
    saved: Saved, tmp_path: Path, chip_file: Path
) -> None:
    environ = {}
    if saved.server is not None:
        environ["SAFEROUTER_DATABASE_URL"] = saved.server.create()
    elsewhere = RunningGateway(tmp_path / "state", chip=chip_file, environ=environ)
    done = run_cli("restore", saved.file, environ=elsewhere.environ)
    assert done.returncode == 0, done.stderr
    assert "identity.sealed, log-key.sealed open only where they were sealed" in done.stdout
    with pytest.raises(RuntimeError, match="does not open: sealed elsewhere"):
        elsewhere.start()
    for path in elsewhere.state.glob("*.sealed"):
        path.unlink()
    with elsewhere:
        assert follows(elsewhere, saved.saved_at) == (saved.saved_at.size, "the log's key or address is new")
        assert receipt_status(elsewhere, saved.kept, saved.gateway.api_key) == 200
    if saved.server is not None:
        saved.server.take_back(environ["SAFEROUTER_DATABASE_URL"])


def test_a_log_that_knows_no_later_head_than_the_backup_does_not_go_on_as_if_nothing_were(saved: Saved) -> None:
    """The whole state is as it was when it was saved, and on the same chip: only the restore itself can tell."""
    gateway, api_key = saved.gateway, saved.gateway.api_key
    gateway.stop()
    saved.lose_the_database()
    for path in gateway.state.iterdir():
        if path.name not in ("mock-sealing.key", "mock-chip.bin"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    said = saved.cli("restore", saved.file)
    assert "Left as they were" not in said
    gateway.start()
    size, reason = follows(gateway, saved.saved_at)
    assert size == saved.saved_at.size
    assert reason.startswith("the database was restored from a backup at ")
    assert receipt_status(gateway, saved.kept, api_key) == 200
    proof_of(gateway, saved.kept.receipt_id, api_key)
    gateway.restart()
    assert page(gateway)["epoch"] == 2
