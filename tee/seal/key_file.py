"""Wrapping secrets from a file beside the sealed state: the mock's stand-in, which protects nothing (SPEC §14.4)."""

from __future__ import annotations

import stat
from pathlib import Path

from nacl.utils import random

from tee.errors import Unavailable
from tee.private_files import write_private
from tee.seal.envelope import SECRET_SIZE, Facts

KIND = "mock-file"


class KeyFileSource:
    """A SecretSource: 32 random bytes in a file of mode 0600. Refused to any attester but the mock."""

    def __init__(self, path: Path, tee_type: str) -> None:
        """Reads the file, or makes it on first use. Raises Unavailable."""
        if tee_type != "mock":
            reason = f"keys in files are for the mock alone, and the attester is {tee_type}"
            raise Unavailable(str(path), reason, retryable=False)
        self._secret = _load(path)

    def __repr__(self) -> str:
        return "KeyFileSource()"

    def new_secret(self, _purpose: str) -> tuple[Facts, bytes]:
        """See SecretSource."""
        return {"kind": KIND}, self._secret

    def secret_of(self, facts: Facts, _purpose: str) -> bytes:
        """See SecretSource."""
        if not self.is_current(facts):
            reason = f"sealed under {facts['kind']}, and the mock cannot open it: delete the file to begin anew"
            raise Unavailable("sealed state", reason, retryable=False)
        return self._secret

    def is_current(self, facts: Facts) -> bool:
        """See SecretSource."""
        return facts == {"kind": KIND}


def _load(path: Path) -> bytes:
    try:
        if not path.exists():
            write_private(path, random(SECRET_SIZE))
        mode = stat.S_IMODE(path.stat().st_mode)
        secret = path.read_bytes()
    except OSError as error:
        raise Unavailable(str(path), error.strerror or "cannot be read", retryable=False) from None
    if mode & 0o077:
        raise Unavailable(str(path), f"mode {mode:04o} lets others read it: chmod 600 it", retryable=False)
    if len(secret) != SECRET_SIZE:
        reason = f"{len(secret)} bytes, wanted {SECRET_SIZE}: restore it, or delete it and what was sealed under it"
        raise Unavailable(str(path), reason, retryable=False)
    return secret
