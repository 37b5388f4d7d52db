"""What a verifier remembers from one run to the next: small private files of JSON, changed by one process at a time."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tee.canonical import parse_json
from tee.errors import Malformed, Unavailable
from tee.private_files import write_private

LOCK_SECONDS = 5.0  # a change takes milliseconds; whoever holds the lock for longer is stopped or gone
_PAUSE_SECONDS = 0.02

Rows = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RememberedFile:
    """One JSON object on disk. `holds` says what its members are, `loss` what goes unseen without it."""

    path: Path
    limit: int  # bytes
    holds: str
    loss: str

    def load(self) -> Rows:
        """Its members; none where there is no file yet. Raises Malformed, Unavailable."""
        try:
            with self.path.open("rb") as file:
                raw = file.read(self.limit + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise Unavailable(str(self.path), error.strerror or "unreadable", retryable=False) from None
        if len(raw) > self.limit:
            raise Malformed(str(self.path), f"more than {self.limit} bytes", "the file that this verifier wrote")
        document = parse_json(raw, str(self.path))
        if not isinstance(document, dict):
            raise Malformed(str(self.path), "another shape", f"{self.holds}; mend or remove it")
        return document

    def change(self, decide: Callable[[Rows], Rows | None]) -> bool:
        """Put what `decide` makes of its members in their place, or leave them where that is None; then False.

        Between reading and writing nobody else changes it, so that `decide` can compare. Raises Malformed, Unavailable.
        """
        try:
            with self._locked():
                rows = decide(self.load())
                if rows is not None:
                    write_private(self.path, json.dumps(rows, indent=1).encode() + b"\n")
                return rows is not None
        except OSError as error:
            reason = f"{error.strerror}; without it {self.loss} would go unseen: name another file with --memory"
            raise Unavailable(str(self.path), reason, retryable=False) from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The lock is a file of its own: each change puts another file in the place of the one that it read."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._take(handle)
            yield
        finally:
            os.close(handle)

    def _take(self, handle: int) -> None:
        until = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    reason = f"another process has held it for {LOCK_SECONDS:g} seconds"
                    raise Unavailable(str(self.path), reason, retryable=True) from None
                time.sleep(_PAUSE_SECONDS)
