"""A log as its published files: checkpoint and tiles, fetched within bounds, unverified (C2SP tlog-tiles)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType

import httpx2

from tee.canonical import parse_json
from tee.errors import Malformed, Unavailable
from tee.keys.identity import require_members, text
from tee.log.entry import MAX_LEAF_SIZE
from tee.log.listing import MAX_PAGE_SIZE, parse_epochs
from tee.log.merkle import HASH_SIZE, ReadNode, hash_children
from tee.log.note import MAX_NOTE_SIZE, NoteKey, parse_note_key
from tee.log.submission import origin_digest
from tee.log.tiles import TILE_HEIGHT, TILE_WIDTH, Tile, parse_entries, parse_hashes, tile_width
from tee.origin import parse_origin

LOG_PATH = "/attestation/transparency"
FETCH_SECONDS = 30.0  # for a whole answer: one byte a second is no answer
MAX_KEPT_TILES = 64  # a proof touches one tile per level


class NotServed(Unavailable):
    """The server answered 404: it has no such file."""


def log_prefix(url: str) -> str:
    """Where a log's files lie: a gateway's origin stands for its log, another URL for itself. Raises Malformed."""
    origin = parse_origin(url)
    path = url.split("://", 1)[1].partition("/")[2].strip("/")
    if not path.isascii() or not path.isprintable() or any(mark in path for mark in "?# "):
        raise Malformed("URL", ascii(url[:200]), "https://HOST[:PORT][/PATH] and nothing after it")
    return f"{origin}/{path}" if path else origin + LOG_PATH


@dataclass(slots=True)
class LogReader:
    """Reads one log over HTTP. `prefix` as of `log_prefix`. Every answer is bounded in size and in time."""

    prefix: str
    seconds: float = FETCH_SECONDS
    _runner: asyncio.Runner = field(default_factory=asyncio.Runner, repr=False)
    _http: httpx2.AsyncClient | None = field(default=None, repr=False)

    def __enter__(self) -> LogReader:
        self._runner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            self._runner.run(self._http.aclose())
        self._runner.__exit__(kind, error, trace)

    def checkpoint(self) -> bytes:
        """The newest checkpoint that it publishes. Raises Unavailable."""
        return self.get(f"{self.prefix}/checkpoint", MAX_NOTE_SIZE)

    def named_key(self) -> NoteKey:
        """The key that the log's server names: its own word. Raises Unavailable, Malformed."""
        page = parse_json(self.get(self.prefix, MAX_PAGE_SIZE), "log")
        require_members(page, {"vkey"}, "log")
        return parse_note_key(text(page["vkey"], "log.vkey"), "log.vkey")

    def passed_epochs(self) -> list[tuple[int, NoteKey]]:
        """Number and key of every epoch before the live one, in order; none of plain files.

        Raises Unavailable, Malformed.
        """
        try:
            return parse_epochs(parse_json(self.get(self.prefix, MAX_PAGE_SIZE), "log"))
        except NotServed:
            return []

    def of_epoch(self, number: int) -> LogReader:
        """The same server's copy of an epoch that has passed."""
        return replace(self, prefix=f"{self.prefix}/epochs/{number}")

    def witness_checkpoint(self, witness_url: str, origin: str) -> bytes:
        """What a witness cosigned last of this log. Raises Unavailable, NotServed if nothing."""
        return self.get(f"{witness_url.rstrip('/')}/{origin_digest(origin)}/checkpoint", MAX_NOTE_SIZE)

    def leaves(self, number: int, size: int) -> list[bytes]:
        """The leaves of entry tile `number` in a tree of `size`. Raises Unavailable, Malformed."""
        tile = Tile(None, number, tile_width(Tile(None, number), size))
        raw, width = self._tile(tile, MAX_LEAF_SIZE + 2)
        with _named(tile):
            return parse_entries(raw, width)[: tile.width]

    def hashes(self, level: int, number: int, size: int) -> list[bytes]:
        """The hashes of a tile in a tree of `size`. Raises Unavailable, Malformed."""
        tile = Tile(level, number, tile_width(Tile(level, number), size))
        raw, width = self._tile(tile, HASH_SIZE)
        with _named(tile):
            return parse_hashes(raw, width)[: tile.width]

    def nodes(self, size: int) -> ReadNode:
        """The nodes of a tree of `size`, from its tiles."""
        kept: dict[tuple[int, int], list[bytes]] = {}

        def read(level: int, index: int) -> bytes:
            tile_level, height = divmod(level, TILE_HEIGHT)
            number, at = divmod(index << height, TILE_WIDTH)
            if (tile_level, number) not in kept:
                if len(kept) >= MAX_KEPT_TILES:
                    kept.clear()
                kept[tile_level, number] = self.hashes(tile_level, number, size)
            return subtree_root(kept[tile_level, number][at : at + (1 << height)])

        return read

    def _tile(self, tile: Tile, entry_size: int) -> tuple[bytes, int]:
        """A tile's bytes and its width: a partial one may have been completed since. Raises Unavailable."""
        try:
            return self.get(f"{self.prefix}/{tile.path()}", tile.width * entry_size), tile.width
        except NotServed:
            if tile.width == TILE_WIDTH:
                raise
            full = Tile(tile.level, tile.number)
            return self.get(f"{self.prefix}/{full.path()}", TILE_WIDTH * entry_size), TILE_WIDTH

    def get(self, url: str, limit: int) -> bytes:
        """One file of at most `limit` bytes. Raises Unavailable, NotServed for 404."""
        return self._runner.run(self._get(url, limit))

    async def _get(self, url: str, limit: int) -> bytes:
        if self._http is None:
            self._http = httpx2.AsyncClient(timeout=self.seconds, follow_redirects=False, trust_env=False)
        headers = {"accept": "text/plain, */*", "accept-encoding": "identity", "cache-control": "no-cache"}
        try:
            async with asyncio.timeout(self.seconds), self._http.stream("GET", url, headers=headers) as response:
                body = bytearray()
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > limit:  # the words of a refusal may be longer than the file
                        break
        except TimeoutError:
            raise Unavailable(url, f"no whole answer within {self.seconds:g} seconds", retryable=True) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            words = error if isinstance(error, httpx2.ConnectError) else type(error).__name__
            raise Unavailable(url, f"no answer, is it running? ({words})", retryable=True) from None
        if response.status_code == 404:
            raise NotServed(url, "not served (404)", retryable=False)
        if response.status_code != 200:
            retryable = response.status_code in (429, 503)
            raise Unavailable(url, f"answered with status {response.status_code}", retryable=retryable)
        if len(body) > limit:
            raise Unavailable(url, f"answered more than {limit} bytes", retryable=False)
        return bytes(body)


def subtree_root(hashes: list[bytes]) -> bytes:
    """The root of a complete subtree whose nodes of one level these are."""
    while len(hashes) > 1:
        hashes = [hash_children(*hashes[at : at + 2]) for at in range(0, len(hashes), 2)]
    return hashes[0]


@contextmanager
def _named(tile: Tile) -> Iterator[None]:
    """What is wrong with a tile is said under its own path."""
    try:
        yield
    except Malformed as error:
        raise Malformed(tile.path(), error.found, error.wanted) from None
