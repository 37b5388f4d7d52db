"""The log's copy in object storage: what is announced is there, whatever the store does; and no call ever waits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from gateway.config import decode_config
from gateway.log_copy import EpochCopy, LogCopy
from gateway.publisher import Leaf
from gateway.storage.object_store import ForeignObject, ObjectStore
from tee.aws.s3_place import parse_s3_place
from tee.aws.sigv4 import AwsCredentials
from tee.client.leaves import open_log
from tee.client.log import LogReader
from tee.errors import Malformed, Unavailable
from tee.log.checkpoint import SignedCheckpoint, parse_checkpoint
from tee.log.merkle import prove_consistency
from tee.log.note import parse_note_key
from tee.log.tiles import Tile, tiles_between
from tests.worlds.gateway import PLAIN, RunningGateway, free_port
from tests.worlds.kms import ACCESS_KEY, SECRET_KEY, TOKEN, moto_server
from tests.worlds.log_server import add, cloned, new_log, read_tile
from tests.worlds.object_store import BUCKET, REGION, ObjectWorld, object_world
from tests.worlds.small_log import SmallLog

PREFIX = "logs/gw"


@dataclass
class SmallView:
    """A SmallLog as one epoch of a gateway shows it."""

    log: SmallLog
    epoch: int = 1

    @property
    def origin(self) -> str:
        return self.log.origin

    @property
    def vkey(self) -> str:
        return self.log.key.encode()

    @property
    def shown(self) -> SignedCheckpoint:
        return parse_checkpoint(self.log.checkpoint().encode(), "checkpoint")

    def show(self, index: int) -> Leaf:
        raise LookupError("a copy asks for tiles alone")

    def tile(self, tile: Tile) -> bytes:
        return read_tile(self.log, tile)

    def consistency(self, old: int, new: int) -> list[bytes]:
        if new > len(self.log.leaves):
            raise LookupError(f"no checkpoint has {new} leaves")
        return prove_consistency(old, new, self.log.read)


def store_at(url: str, seconds: float = 5.0, token: str | None = TOKEN) -> ObjectStore:
    place = parse_s3_place(f"s3://{BUCKET}/{PREFIX}", REGION, url)
    who = AwsCredentials(ACCESS_KEY, SECRET_KEY, token)
    return ObjectStore(place, lambda: who, lambda: datetime.now(UTC), seconds)


def guarded(world: ObjectWorld) -> None:
    """From now on a checkpoint whose tiles are not all there fails the test that reads `world.partial`."""

    def answer(method: str, key: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        if method == "PUT" and key.endswith("/checkpoint"):
            size = parse_checkpoint(body, "checkpoint").checkpoint.size
            base = key.removesuffix("checkpoint")
            wanted = [base + tile.path() for tile in tiles_between(0, size)]
            assert not [each for each in wanted if each not in world.objects], "announced before it was there"
        return ObjectWorld.answer(world, method, key, body, headers)

    world.answer = answer  # type: ignore[method-assign]


@pytest.fixture
def world() -> Iterator[ObjectWorld]:
    with object_world() as made:
        guarded(made)
        yield made


def announced(world: ObjectWorld, epoch: int = 1) -> int | None:
    """The size that the copy's checkpoint announces."""
    raw = world.objects.get(f"{PREFIX}/{epoch}/checkpoint")
    return None if raw is None else parse_checkpoint(raw, "checkpoint").checkpoint.size


def read_by_anybody(url: str, log: SmallLog) -> int:
    """How many leaves a stranger finds in the copy, each proven from its tiles alone."""
    with LogReader(f"{url}/{BUCKET}/{PREFIX}/1") as reader:
        opened = open_log(reader, log.key)
        assert [each.leaf for each in opened.leaves(0, opened.size)] == log.leaves[: opened.size]
        return opened.size


def test_a_copy_grows_with_its_log_and_verifies_for_anybody(world: ObjectWorld) -> None:
    log = new_log(3)

    async def grow() -> None:
        copy = LogCopy(SmallView(log), [], store_at(world.url))
        for size in (3, 5, 255, 256, 300, 700):
            while len(log.leaves) < size:
                add(log)
            assert await copy.catch_up()
            assert announced(world) == size
            world.unsigned_reads = True
            assert await asyncio.to_thread(read_by_anybody, world.url, log) == size
        world.asked.clear()
        assert await copy.catch_up()
        assert world.asked == []  # nothing new, nothing asked

    asyncio.run(grow())
    # Of partial tiles only the last two rounds' are left.
    partial = sorted(key for key in world.objects if ".p/" in key and "/entries/" in key)
    assert partial == [f"{PREFIX}/1/tile/entries/{path}" for path in ("001.p/44", "002.p/188")]


def test_what_an_unfinished_round_left_is_cleared_away(world: ObjectWorld) -> None:
    log = new_log(3)

    async def tried() -> None:
        copy = LogCopy(SmallView(log), [], store_at(world.url))
        world.fault = lambda method, key: (503, b"") if key.endswith("/checkpoint") and method == "PUT" else None
        assert not await copy.catch_up()
        add(log)
        world.fault = lambda method, key: None
        assert await copy.catch_up()

    asyncio.run(tried())
    names = [f"{PREFIX}/1/{name}" for name in ("checkpoint", "tile/0/000.p/4", "tile/entries/000.p/4")]
    assert sorted(world.objects) == names


def test_moto_takes_it_too(tmp_path: Path) -> None:
    log = new_log(300)

    async def copied(url: str) -> None:
        copy = LogCopy(SmallView(log), [], store_at(url, token=None))
        assert await copy.catch_up()
        add(log)
        assert await copy.catch_up()
        again = EpochCopy(SmallView(log), store_at(url, token=None))
        add(log)
        await again.catch_up()

    with moto_server() as url:
        httpx2.put(f"{url}/{BUCKET}", headers={"x-amz-acl": "public-read-write"}, **PLAIN).raise_for_status()
        asyncio.run(copied(url))
        assert read_by_anybody(url, log) == 302


FAULTS = {
    "503": (503, b"<Error><Code>SlowDown</Code></Error>"),
    "500": (500, b""),
    "409": (409, b"<Error><Code>ConditionalRequestConflict</Code></Error>"),
    "403": (403, b"<Error><Code>AccessDenied</Code></Error>"),
    "301": (301, b"<Error><Code>PermanentRedirect</Code></Error>"),
    "another's answer": (418, b"a teapot"),
    "a long answer": (500, bytes(1 << 20)),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("at", ["checkpoint", "tile/0/000.p/5", "tile/entries/000.p/5"])
def test_nothing_is_announced_before_all_of_it_is_there(
    world: ObjectWorld, fault: tuple[int, bytes], at: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = new_log(5)

    async def tried() -> None:
        copy = LogCopy(SmallView(log), [], store_at(world.url))
        world.fault = lambda method, key: fault if method == "PUT" and key.endswith(at) else None
        for _ in range(3):
            assert not await copy.catch_up()
            assert announced(world) is None
        world.fault = lambda method, key: None
        assert await copy.catch_up()
        assert announced(world) == 5

    with caplog.at_level(logging.WARNING, "saferouter"):
        asyncio.run(tried())
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "The log is ahead of its copy, which will catch up." in caplog.messages[0]
    assert f"with status {fault[0]}" in caplog.messages[0]
    assert caplog.messages[1] == "The log's copy in object storage has caught up."
    assert SECRET_KEY not in caplog.text and TOKEN not in caplog.text


def test_a_store_that_is_slow_is_given_up_in_time_and_asked_again(world: ObjectWorld) -> None:
    log = new_log(5)

    async def tried() -> None:
        copy = LogCopy(SmallView(log), [], store_at(world.url, seconds=0.3))
        world.delay = 1.0
        began = time.monotonic()
        assert not await copy.catch_up()
        assert time.monotonic() - began < 0.9
        world.delay = 0.0
        assert await copy.catch_up()

    asyncio.run(tried())
    assert announced(world) == 5


def test_what_is_there_already_is_fine_if_it_is_the_same(world: ObjectWorld) -> None:
    log = new_log(300)

    async def copied() -> None:
        await EpochCopy(SmallView(log), store_at(world.url)).catch_up()
        del world.objects[f"{PREFIX}/1/checkpoint"]  # as if it had died between tiles and checkpoint
        await EpochCopy(SmallView(log), store_at(world.url)).catch_up()

    asyncio.run(copied())
    assert announced(world) == 300


@pytest.mark.parametrize("found", [b"other bytes", bytes(1 << 17), b""], ids=["other", "longer", "empty"])
def test_other_bytes_at_a_tile_s_place_are_refused_loudly(
    world: ObjectWorld, found: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    key = f"{PREFIX}/1/tile/0/000.p/5"
    world.objects[key] = found

    async def tried() -> None:
        copy = LogCopy(SmallView(new_log(5)), [], store_at(world.url))
        assert not await copy.catch_up()
        assert not await copy.catch_up()

    asyncio.run(tried())
    assert (announced(world), world.objects[key]) == (None, found)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert f"s3://{BUCKET}/{key}" in caplog.text


def test_an_object_that_vanishes_is_no_foreign_one(world: ObjectWorld) -> None:
    world.fault = lambda method, key: (412, b"") if method == "PUT" else None

    async def tried() -> None:
        with pytest.raises(Unavailable, match="and then that it does not"):
            await store_at(world.url).create("x", b"x")

    asyncio.run(tried())


@pytest.mark.parametrize("whose", ["another key's", "another history's", "a longer log's", "nobody's"])
def test_a_copy_that_is_not_of_this_log_is_left_alone(world: ObjectWorld, whose: str) -> None:
    log = new_log(5)
    theirs = {"another key's": new_log(3, origin="other.example/log"), "another history's": new_log(3)}.get(whose)
    if whose == "a longer log's":
        theirs = cloned(log)
    if theirs is not None:
        add(theirs, "receipt")
    note = b"hello" if theirs is None else theirs.checkpoint().encode()
    world.objects[f"{PREFIX}/1/checkpoint"] = note

    async def tried() -> None:
        with pytest.raises(ForeignObject, match="is not of this log"):
            await EpochCopy(SmallView(log), store_at(world.url)).catch_up()

    asyncio.run(tried())
    assert world.objects == {f"{PREFIX}/1/checkpoint": note}


def test_passed_epochs_are_copied_first_and_one_that_is_damaged_stops_nothing(
    world: ObjectWorld, caplog: pytest.LogCaptureFixture
) -> None:
    class Damaged(SmallView):
        def tile(self, tile: Tile) -> bytes:
            raise LookupError(f"Epoch {self.epoch} of the log is damaged")

    passed = [SmallView(new_log(7), 1), Damaged(new_log(5), 2)]

    async def copied() -> bool:
        return await LogCopy(SmallView(new_log(4), 3), passed, store_at(world.url)).catch_up()

    assert asyncio.run(copied())
    assert [announced(world, number) for number in (1, 2, 3)] == [7, None, 4]
    assert "Epoch 2 of the log is damaged: the copy of that epoch in object storage stays as it is." in caplog.text


def test_a_store_that_lets_nothing_be_removed_costs_a_warning_and_no_time(
    world: ObjectWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world.fault = lambda method, key: (403, b"") if method == "DELETE" else None
    log = new_log(3)

    async def copied() -> None:
        copy = LogCopy(SmallView(log), [], store_at(world.url))
        for size in range(4, 9):
            add(log)
            assert await copy.catch_up()
            assert announced(world) == size
            assert await copy.catch_up()

    asyncio.run(copied())
    (words,) = caplog.messages
    assert "answers DELETE" in words and "s3:DeleteObject" in words


def test_a_live_log_that_is_damaged_is_not_copied(world: ObjectWorld, caplog: pytest.LogCaptureFixture) -> None:
    class Damaged(SmallView):
        def tile(self, tile: Tile) -> bytes:
            raise LookupError(f"{tile.path()} is damaged")

    async def tried() -> None:
        copy = LogCopy(Damaged(new_log(5)), [], store_at(world.url))
        assert not await copy.catch_up()
        assert not await copy.catch_up()

    asyncio.run(tried())
    assert world.objects == {}
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def configured(url: str) -> str:
    return (
        f'log_store = "s3://{BUCKET}/{PREFIX}"\nlog_store_region = "{REGION}"\nlog_store_endpoint = "{url}"\n'
        'providers = [{id = "mock", family = "mock"}]\nmodels = [{id = "mock-1", provider = "mock"}]\n'
    )


def test_a_gateway_without_its_store_answers_all_the_same_and_its_copy_catches_up(
    tmp_path: Path, chip_file: Path
) -> None:
    port = free_port()
    environ = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_SESSION_TOKEN": TOKEN}
    config = configured(f"http://127.0.0.1:{port}")
    with RunningGateway(tmp_path / "state", config=config, chip=chip_file, environ=environ) as gateway:
        deadline = time.monotonic() + 30
        while "The log is ahead of its copy" not in gateway.log.read_text():
            began = time.monotonic()
            assert gateway.ask("nobody waits for a copy").status == 200
            assert time.monotonic() - began < 4
            assert time.monotonic() < deadline
            time.sleep(0.2)
        with object_world(port) as world:
            guarded(world)
            while announced(world) is None:
                assert time.monotonic() < deadline + 30
                time.sleep(0.2)
            world.unsigned_reads = True
            vkey = httpx2.get(f"{gateway.url}/attestation/transparency", **PLAIN).json()["vkey"]
            with LogReader(f"{world.url}/{BUCKET}/{PREFIX}/1") as reader:
                opened = open_log(reader, parse_note_key(vkey, "vkey"))
                assert len(opened.leaves(0, opened.size)) == opened.size > 2
            while "has caught up" not in gateway.log.read_text():
                assert time.monotonic() < deadline + 30
                time.sleep(0.2)
        assert gateway.log.read_text().count("The log is ahead of its copy") == 1
        assert SECRET_KEY not in gateway.log.read_text()
        code, seconds = gateway.stop()
        assert code == 0 and seconds < 5


DEMO = {"providers": [{"id": "mock", "family": "mock"}], "models": [{"id": "mock-1", "provider": "mock"}]}
GOOD = {"log_store": "s3://bucket/a/b", "log_store_region": "eu-central-1"}


def test_the_place_is_configured_and_attested() -> None:
    assert decode_config(DEMO, {}).log_store is None
    chosen = decode_config(DEMO | GOOD, {})
    assert chosen.log_store is not None
    assert chosen.log_store.url == "https://bucket.s3.eu-central-1.amazonaws.com/a/b"
    assert chosen.digests()["settings"] != decode_config(DEMO, {}).digests()["settings"]
    near = decode_config(DEMO | GOOD | {"log_store_endpoint": "https://minio.example:9000"}, {}).log_store
    assert near is not None
    assert near.url == "https://minio.example:9000/bucket/a/b"
    assert parse_s3_place("s3://bucket", "cn-north-1").url == "https://bucket.s3.cn-north-1.amazonaws.com.cn"


@pytest.mark.parametrize(
    "wrong",
    [
        {"log_store": "s3://"},
        {"log_store": "s3://a.dotted.bucket"},
        {"log_store": "s3://bucket/"},
        {"log_store": "s3://bucket/../x"},
        {"log_store": "s3://bucket/a b"},
        {"log_store": "/var/log"},
        {"log_store_region": ""},
        {"log_store_region": "eu central"},
        {"log_store_endpoint": "https://minio.example/path"},
        {"log_store_endpoint": "http://minio.example"},
        {"log_store": None},
    ],
)
def test_a_place_that_is_none_is_refused(wrong: dict[str, str | None]) -> None:
    chosen = {name: value for name, value in (GOOD | wrong).items() if value is not None}
    with pytest.raises(Malformed, match="log_store"):
        decode_config(DEMO | chosen, {})
