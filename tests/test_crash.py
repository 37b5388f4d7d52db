"""Death in the middle of everything: what was promised to a client is kept by the next start."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tee.log.receipt import Receipt, parse_receipt
from tests.worlds.gateway import Answered, RunningGateway, chat_body
from tests.worlds.open_stream import OpenStream, covers

STREAMS, OPENING_STREAMS, STOPPED_STREAMS = 150, 50, 20
SLOW = chat_body("mock:slow=30 mock:chunks=400", stream=True)
START_SECONDS = 20.0


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A first start with nothing prepared."""
    with RunningGateway(tmp_path_factory.mktemp("crash", numbered=False) / "state") as running:
        yield running


def facts(gateway: RunningGateway) -> tuple[str, str, bytes, bytes, bytes]:
    """What must outlive a restart: identity, demo key, the sealed identity and its key, mock chip."""
    with gateway.client() as client:
        identity = client.get("/attestation/verifying-key").json()["identity_key"]
    return (
        identity,
        gateway.api_key,
        *[(gateway.state / name).read_bytes() for name in ("identity.sealed", "mock-sealing.key", "mock-chip.bin")],
    )


async def open_streams(gateway: RunningGateway, number: int) -> tuple[list[OpenStream], list[asyncio.Task[None]]]:
    """That many streams, each of which has already given its client some text."""
    key = gateway.api_key
    streams = [OpenStream(SLOW) for _ in range(number)]
    tasks = [asyncio.create_task(stream.run(gateway, key)) for stream in streams]
    async with asyncio.timeout(START_SECONDS):
        while not all(len(stream.body) > 1000 for stream in streams):
            await asyncio.sleep(0.1)
    return streams, tasks


def receipt_of(gateway: RunningGateway, stream: OpenStream) -> Receipt:
    """The receipt of a stream that was cut: everything but completeness verifies."""
    assert stream.receipt_id is not None
    raw = gateway.fetch_receipt(stream.receipt_id)
    verdict = gateway.judge(raw, stream.request)
    assert verdict.failures() == ("receipt.complete",), verdict.sentence()
    return parse_receipt(raw)


def test_a_kill_under_load_loses_no_receipt(gateway: RunningGateway) -> None:
    before = facts(gateway)
    finished = [gateway.ask(f"question {number}") for number in range(5)]
    finished.append(gateway.post(chat_body("streamed", stream=True)))

    async def be_killed() -> tuple[list[OpenStream], list[OpenStream]]:
        streams, tasks = await open_streams(gateway, STREAMS)
        finished.append(await asyncio.to_thread(gateway.ask, "finished while the others run"))
        opening = [OpenStream(SLOW) for _ in range(OPENING_STREAMS)]
        tasks += [asyncio.create_task(stream.run(gateway, key)) for stream in opening]
        async with asyncio.timeout(START_SECONDS):
            while not any(stream.receipt_id for stream in opening):
                await asyncio.sleep(0)
        gateway.kill()
        await asyncio.gather(*tasks)
        return streams, opening

    key = gateway.api_key
    streams, opening = asyncio.run(be_killed())
    gateway.start()
    for answered in finished:
        gateway.verified(answered)
    receipts = [(receipt_of(gateway, stream), stream) for stream in streams]
    receipts += [(receipt_of(gateway, stream), stream) for stream in opening if stream.receipt_id]
    assert len({receipt.receipt_id for receipt, _ in receipts}) > STREAMS
    # What was counted in the last moments may not have arrived; what arrived may not have been counted.
    covered = [receipt for receipt, stream in receipts if covers(receipt, stream.body)]
    assert len([receipt for receipt in covered if receipt.events["stream"]["bytes"] > 0]) > STREAMS * 0.9
    assert facts(gateway) == before
    assert {receipt.keyset_digest for receipt, _ in receipts} == {live_keyset(gateway)}


def live_keyset(gateway: RunningGateway) -> str:
    with gateway.client() as client:
        return str(client.get("/attestation/verifying-key").json()["workload_keyset_digest"])


def test_ctrl_c_ends_open_streams_at_once_and_leaves_their_receipts(
    gateway: RunningGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    before, keyset = facts(gateway), live_keyset(gateway)

    async def be_stopped() -> tuple[list[OpenStream], int, float]:
        streams, tasks = await open_streams(gateway, STOPPED_STREAMS)
        code, seconds = await asyncio.to_thread(gateway.stop)
        await asyncio.gather(*tasks)
        return streams, code, seconds

    streams, code, seconds = asyncio.run(be_stopped())
    with capsys.disabled():
        print(f"\nCtrl-C with {STOPPED_STREAMS} open streams: gone after {seconds:.2f} s")
    assert code == 0
    assert seconds < 6.0  # and not the 25 of a gentle stop
    gateway.start()
    for stream in streams:
        receipt = receipt_of(gateway, stream)
        assert covers(receipt, stream.body)
        assert receipt.events["stream"]["bytes"] == len(stream.body)
        assert receipt.keyset_digest == keyset  # signed by the process that stopped, not by the next
    assert facts(gateway) == before
    assert "Traceback" not in gateway.log.read_text()


def test_a_call_made_before_both_deaths_is_still_proven(gateway: RunningGateway) -> None:
    answered: Answered = gateway.ask("before")
    gateway.kill()
    gateway.start()
    gateway.restart()
    receipt = gateway.verified(answered)
    assert receipt.keyset_digest != live_keyset(gateway)


def test_a_first_start_keeps_what_it_makes_to_its_owner(gateway: RunningGateway) -> None:
    for name in ("identity.sealed", "mock-sealing.key", "mock-chip.bin", "demo.json", "demo-policy.toml"):
        assert stat.S_IMODE((gateway.state / name).stat().st_mode) == 0o600, name


def test_a_death_in_the_middle_of_a_write_leaves_nothing_behind(gateway: RunningGateway) -> None:
    gateway.kill()
    half = gateway.state / ".log.head.abcd1234"
    half.write_bytes(b"{")
    gateway.start()
    assert not half.exists()
    gateway.stop()
    assert not list(gateway.state.glob(".*"))
    gateway.start()


# A closed call keeps no draft. Under this one does, and is open again once its receipt is gone.
KEEP_DRAFTS = """
CREATE TRIGGER keep AFTER UPDATE OF draft ON calls WHEN NEW.draft = ''
BEGIN UPDATE calls SET draft = OLD.draft WHERE id = OLD.id; END
"""


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("ALTER TABLE calls DROP COLUMN status", "not usable as the gateway's database (no such column: calls.status)"),
        ("DROP TABLE alembic_version", "made by an earlier build, which noted no revision of its tables"),
        (
            "UPDATE calls SET receipt = NULL; "
            "CREATE TRIGGER full BEFORE UPDATE ON calls BEGIN SELECT RAISE(ABORT, 'the disk is full'); END",
            "the gateway's database: does not take the receipts of 1 calls that the last end has cut",
        ),
    ],
    ids=["schema", "revision", "write"],
)
def test_a_record_that_takes_no_receipt_ends_the_start_with_a_sentence(
    tmp_path: Path, chip_file: Path, damage: str, words: str
) -> None:
    with RunningGateway(tmp_path / "state", chip=chip_file) as gateway:
        write_record(gateway, KEEP_DRAFTS)
        gateway.ask("one call")
        gateway.kill()
        write_record(gateway, damage)
        with pytest.raises(RuntimeError) as caught:
            gateway.start()
    assert words in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("forgery", "words"),
    [
        ("UPDATE calls SET receipt = NULL, draft = replace(draft, 'mock-1', 'mock-2')", "calls.draft: found another"),
        ("UPDATE calls SET receipt = NULL, draft = '{}'", "calls.draft: found another text"),
        ("UPDATE calls SET receipt = NULL, sent_code = 'x', status = 200", "calls.sent_bytes: found another prefix"),
        ("UPDATE calls SET receipt = NULL, receipt_id = 'rcpt-' || receipt_id", "calls.draft: found that of rcpt-"),
    ],
    ids=["edited", "replaced", "prefix", "renamed"],
)
def test_what_somebody_wrote_to_the_disk_is_never_signed(
    tmp_path: Path, chip_file: Path, forgery: str, words: str
) -> None:
    with RunningGateway(tmp_path / "state", chip=chip_file) as gateway:
        write_record(gateway, KEEP_DRAFTS)
        gateway.ask("one call")
        gateway.kill()
        write_record(gateway, forgery)
        gateway.start()
        assert "No receipt is signed for call rcpt-" in gateway.log.read_text()
        assert words in gateway.log.read_text()
        with closing(sqlite3.connect(gateway.state / "gateway.sqlite3")) as record:
            assert record.execute("SELECT receipt FROM calls").fetchall() == [(None,)]


def test_a_closed_call_whose_receipt_was_removed_gets_no_other(tmp_path: Path, chip_file: Path) -> None:
    with RunningGateway(tmp_path / "state", chip=chip_file) as gateway:
        gateway.ask("one call")
        gateway.kill()
        write_record(gateway, "UPDATE calls SET receipt = NULL")
        gateway.start()
        assert "calls.draft: found another text" in gateway.log.read_text()


def write_record(gateway: RunningGateway, script: str) -> None:
    with closing(sqlite3.connect(gateway.state / "gateway.sqlite3")) as record:
        record.executescript(script)
