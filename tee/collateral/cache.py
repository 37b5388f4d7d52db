"""Collateral on disk: a folder of small files, each proven before it is written and again when it is read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from tee.collateral.item import Item
from tee.errors import Malformed, Unavailable
from tee.private_files import write_public

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CollateralCache:
    """The folder. Two processes may share it: every file is replaced whole."""

    folder: Path

    def holds(self, name: str) -> bool:
        """Whether there is a file of that name, good or not."""
        try:
            return (self.folder / name).is_file()
        except OSError:
            return True  # whoever reads it will say what is wrong

    def written_at(self, name: str) -> datetime | None:
        """When the file was fetched or imported; None if nobody can tell."""
        try:
            return datetime.fromtimestamp((self.folder / name).stat().st_mtime, UTC)
        except OSError:
            return None

    def load(self, item: Item[T], now: datetime | None) -> T | None:
        """What is kept of `item`; None if there is nothing. Raises Malformed for what is no good, Unavailable."""
        if not self.holds(item.name):
            return None
        path = self.folder / item.name
        try:
            with path.open("rb") as file:
                raw = file.read(item.limit + 1)
        except OSError as error:
            raise _unreadable(path, error) from None
        if len(raw) > item.limit:
            raise Malformed(str(path), "a larger file", f"at most {item.limit} bytes")
        try:
            return item.read(raw, now)
        except Malformed as error:
            raise Malformed(str(path), f"{error.field}: {error.found}", error.wanted) from None

    def require_successor(self, item: Item[T], value: T) -> None:
        """Whether what is kept already allows `value` in its place. Raises Malformed if not, Unavailable."""
        try:
            old = self.load(item, None)
        except Malformed:
            return  # a broken file forbids nothing
        if old is not None:
            item.succeed(old, value)

    def keep(self, item: Item[T], value: T) -> None:
        """Keep what was proven. Raises Malformed if what is kept already forbids it, Unavailable."""
        self.require_successor(item, value)
        path = self.folder / item.name
        try:
            write_public(path, item.encode(value))
        except OSError as error:
            raise Unavailable(str(path), f"cannot be written: {error.strerror}", retryable=False) from None

    def names(self) -> list[str]:
        """The files, in order. Raises Unavailable."""
        try:
            return sorted(entry.name for entry in self.folder.iterdir() if entry.is_file() and entry.name[0] != ".")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(self.folder, error) from None


def _unreadable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(str(path), f"cannot be read: {error.strerror}", retryable=False)
