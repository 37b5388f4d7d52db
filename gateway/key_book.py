"""Tenants and API keys: found for those who carry calls, and changed in the one writer's transactions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import GatewayError
from gateway.storage.api_keys import find_api_key, find_ended_keys, note_use
from gateway.storage.writer import GroupCommit, NotRecorded, Transaction
from gateway.tenancy.tenant import ApiKey
from tee.errors import Malformed

USE_SECONDS = 60  # how old `last_used_at` may be: a write per key and minute, and none per call
MAX_NOTED = 65536
T = TypeVar("T")


class KeyBook:
    """Every process of this machine asks here, the workers by way of the keeper."""

    def __init__(self, engine: Engine, writer: GroupCommit) -> None:
        self._engine = engine
        self._writer = writer
        self._noted: dict[str, int] = {}

    async def find(self, sha256: str) -> ApiKey | None:
        """The key that has a secret of that hash now."""
        now = int(time.time())
        key = await asyncio.to_thread(find_api_key, self._engine, sha256, now)
        if key is not None and now - self._noted.get(key.id, 0) >= USE_SECONDS:
            if len(self._noted) >= MAX_NOTED:
                self._noted.clear()
            self._noted[key.id] = now
            self._writer.note(partial(_note_use, key.id, now))
        return key

    async def find_ended(self, ids: Sequence[str]) -> list[str]:
        """Which of these keys are revoked, or have ended."""
        try:
            return await asyncio.to_thread(find_ended_keys, self._engine, ids, int(time.time()))
        except SQLAlchemyError as error:  # whoever watches streams asks again
            raise NotRecorded(f"Keys cannot be read now ({type(error).__name__}).") from None

    async def read(self, look: Callable[[Connection], T]) -> T:
        """What `look` finds with a connection."""
        return await asyncio.to_thread(self._read, look)

    async def change(self, change: Callable[[Connection, int], T], accounts: tuple[str, ...] = ()) -> T:
        """What `change` does, durably, with a connection and the time. Raises what it refuses with, and NotRecorded.

        It refuses before it writes: others' work shares its transaction. `accounts` of the ledger are what it changes.
        """
        done = await self._writer.durable(partial(_try, change), accounts)
        if isinstance(done, GatewayError | Malformed):
            raise done
        result: T = done
        return result

    def _read(self, look: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            return look(connection)


def _try(change: Callable[[Connection, int], T], transaction: Transaction) -> T | GatewayError | Malformed:
    """The result, or the refusal as a value: raised here it would undo what others do in this transaction."""
    try:
        return change(transaction.connection, int(time.time()))
    except (GatewayError, Malformed) as refusal:
        return refusal


def _note_use(key_id: str, now: int, transaction: Transaction) -> None:
    note_use(transaction.connection, key_id, now)
