"""Random ids: of the size that was asked for, and never twice, in whatever thread or process."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from gateway.random_hex import MAX_SIZE, STORED, random_hex


def test_sizes() -> None:
    assert [len(bytes.fromhex(random_hex(size))) for size in (8, 12, MAX_SIZE)] == [8, 12, MAX_SIZE]


def test_none_is_given_twice() -> None:
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda _: random_hex(16), range(20 * STORED)))
    assert len(set(drawn)) == len(drawn)


def test_a_fork_gives_others() -> None:
    random_hex(16)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, random_hex(16).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 100).decode()
    for handle in (reading, writing):
        os.close(handle)
    assert theirs not in [random_hex(16) for _ in range(STORED)]
