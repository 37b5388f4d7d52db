"""The log's copy in object storage: tiles first, the checkpoint last, always behind the log and never in its way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from gateway.epochs import Epochs, LogView
from gateway.sealing import machine_credentials
from gateway.storage.object_store import ForeignObject, ObjectStore
from gateway.storage.tiles import CHECKPOINT
from tee.aws.s3_place import S3Place
from tee.errors import Malformed, Unavailable
from tee.log.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint
from tee.log.merkle import verify_consistency
from tee.log.note import MAX_NOTE_SIZE, parse_note_key
from tee.log.tiles import Tile, partial_tiles, tiles_between

LOG = logging.getLogger("saferouter")
COPY_SECONDS = 5.0  # each round costs some requests and leaves partial tiles behind
MAX_PAUSE_SECONDS = 300.0
MAX_STALE = 10_000  # where removing is refused, the others simply stay
AT_ONCE = 4  # tiles on their way: at most 16 MiB each


async def copy_log(epochs: Epochs, place: S3Place) -> None:
    """Background work: keep the copy there, in the name of this machine. Runs until cancelled."""
    passed = [epochs.passed[number] for number in sorted(epochs.passed)]
    await LogCopy(epochs.live, passed, ObjectStore(place, machine_credentials, lambda: datetime.now(UTC))).run()


class LogCopy:
    """Keeps the copy of every epoch up to date. Whatever fails is said once, and tried again later."""

    def __init__(self, live: LogView, passed: Sequence[LogView], store: ObjectStore) -> None:
        self._store = store
        self._live = EpochCopy(live, store)
        self._passed = [EpochCopy(view, store) for view in passed]
        self._said: set[tuple[int, bool]] = set()

    async def run(self) -> None:
        """Background work. Runs until cancelled."""
        pause = COPY_SECONDS
        try:
            while True:
                await asyncio.sleep(pause)
                pause = COPY_SECONDS if await self.catch_up() else min(2 * pause, MAX_PAUSE_SECONDS)
        finally:
            await self._store.close()

    async def catch_up(self) -> bool:
        """Copy what is new in every epoch; False if something failed, which the operator is then told."""
        try:
            while self._passed:
                await self._copy_passed(self._passed[0])
                self._passed.pop(0)
            await self._live.catch_up()
        except Unavailable as error:
            self._say(logging.WARNING, error.retryable, f"The log is ahead of its copy, which will catch up. {error}")
            return self._live.current()  # what is merely left over may wait without slowing the rest
        except (ForeignObject, LookupError) as error:
            self._say(logging.ERROR, False, f"Nothing more is copied to object storage until it is mended: {error}.")
            return False
        if self._said:
            LOG.warning("The log's copy in object storage has caught up.")
            self._said.clear()
        return True

    async def _copy_passed(self, copy: EpochCopy) -> None:
        try:
            await copy.catch_up()
        except (LookupError, ForeignObject) as error:
            LOG.error("%s: the copy of that epoch in object storage stays as it is.", error.args[0])

    def _say(self, level: int, passing: bool, words: str) -> None:
        """Once of each kind, until all is well again: a store that is down fails in many words."""
        if (level, passing) not in self._said:
            self._said.add((level, passing))
            LOG.log(level, "%s", words)


class EpochCopy:
    """The copy of one epoch, below its number. What was announced there is where it goes on."""

    def __init__(self, view: LogView, store: ObjectStore) -> None:
        self._view = view
        self._store = store
        self._copied: int | None = None  # leaves that the checkpoint there announces; None before it was read
        self._announced = b""
        self._there: set[str] = set()  # tiles of rounds that announced nothing yet
        self._older: set[str] = set()  # partial tiles of the checkpoint before: a reader may still be at those
        self._partial: set[str] = set()
        self._stale: set[str] = set()

    def current(self) -> bool:
        """Whether the checkpoint that is shown now is announced there."""
        return self._view.shown.note.encode() == self._announced

    async def catch_up(self) -> None:
        """Copy up to the checkpoint that is shown now. Raises Unavailable, ForeignObject, LookupError."""
        if not self.current():
            await self._announce(self._view.shown)
        for path in sorted(self._stale):
            await self._store.remove(self._key(path))
            self._stale.discard(path)

    async def _announce(self, shown: SignedCheckpoint) -> None:
        note, checkpoint = shown.note.encode(), shown.checkpoint
        if self._copied is None:
            self._copied = await self._resume(checkpoint)
            self._partial = {tile.path() for tile in partial_tiles(self._copied)}
        tiles = list(tiles_between(self._copied, checkpoint.size))
        await self._create(tile for tile in tiles if tile.path() not in self._there)
        await self._store.replace(self._key(CHECKPOINT), note)
        self._copied, self._announced = checkpoint.size, note
        partial = {tile.path() for tile in partial_tiles(checkpoint.size)}
        unfinished = {path for path in self._there if ".p/" in path}
        if len(self._stale) < MAX_STALE:
            self._stale |= (self._older | unfinished) - self._partial - partial
        self._there = set()
        self._older, self._partial = self._partial, partial

    async def _create(self, tiles: Iterable[Tile]) -> None:
        """Create these objects, a few at a time."""
        waiting = list(tiles)
        for at in range(0, len(waiting), AT_ONCE):
            # All are waited for, so that none is still on its way when the next round begins.
            ends = await asyncio.gather(*map(self._put, waiting[at : at + AT_ONCE]), return_exceptions=True)
            for end in ends:
                if isinstance(end, BaseException):
                    raise end

    async def _put(self, tile: Tile) -> None:
        raw = await asyncio.to_thread(self._view.tile, tile)
        await self._store.create(self._key(tile.path()), raw)
        self._there.add(tile.path())

    async def _resume(self, ours: Checkpoint) -> int:
        """How far the copy is that lies there. Raises ForeignObject if it is none of this log's."""
        raw = await self._store.read(self._key(CHECKPOINT), MAX_NOTE_SIZE)
        if raw is None:
            return 0
        key = parse_note_key(self._view.vkey, "vkey")
        try:
            theirs = open_checkpoint(raw, key, "checkpoint").checkpoint
            proof = await asyncio.to_thread(self._view.consistency, theirs.size, ours.size)
            verify_consistency(theirs.size, theirs.root, ours.size, ours.root, proof, from_empty=True)
        except (Malformed, LookupError) as error:
            raise ForeignObject(f"{self._key(CHECKPOINT)} there is not of this log ({error})") from None
        return theirs.size

    def _key(self, path: str) -> str:
        return f"{self._view.epoch}/{path}"
