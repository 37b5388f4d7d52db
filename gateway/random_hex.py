"""Random ids and salts of calls, drawn from the system many at a time: each draw by itself is a system call, during
which another thread takes the interpreter.
"""

from __future__ import annotations

import os
import secrets
from collections import deque

MAX_SIZE = 32
STORED = 128

_store: deque[str] = deque()
os.register_at_fork(after_in_child=_store.clear)  # else two processes would give the same


def random_hex(size: int) -> str:
    """`size` random bytes, at most 32, as hex. Each is given once, whatever thread asks."""
    try:
        drawn = _store.popleft()
    except IndexError:
        fresh = secrets.token_hex(MAX_SIZE * STORED)
        _store.extend(fresh[at : at + 2 * MAX_SIZE] for at in range(2 * MAX_SIZE, len(fresh), 2 * MAX_SIZE))
        drawn = fresh[: 2 * MAX_SIZE]
    return drawn[: 2 * size]
