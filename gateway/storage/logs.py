"""Whose logs the database holds: every replica has one, found by its public key."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from gateway.storage.faults import unusable
from gateway.storage.locks import claim_writing, wait_for_others
from gateway.storage.log import LogEpoch
from gateway.storage.prepared import Prepared
from gateway.storage.schema import CHECKPOINTS, LEAVES, LOGS


@dataclass(frozen=True, slots=True)
class OwnLog:
    """A log as its replica finds it: its number here, whether it was the first at its address, and its newest epoch.

    `newest_here` is the newest epoch of all logs of the address. `restored_at`: since the log went on, the database was
    put back from a backup.
    """

    id: int
    first: bool
    newest: int
    newest_here: int
    restored_at: int | None


def claim_log(engine: Engine, key: str, address: str, now: int) -> OwnLog:
    """The log of this public key (hex), entered if it is new. Raises Unavailable while another process writes it."""
    try:
        with engine.begin() as connection:
            wait_for_others(connection)  # of two that are new at one address, one is the first
            row = connection.execute(select(LOGS.c.id, LOGS.c.restored_at).where(LOGS.c.key == key)).one_or_none()
            values = {"key": key, "address": address, "seen_at": now}
            if row is None:
                number, restored = (
                    connection.execute(insert(LOGS).values(values).returning(LOGS.c.id)).scalar_one(),
                    None,
                )
            else:
                number, restored = row.id, row.restored_at
                connection.execute(update(LOGS).where(LOGS.c.id == number).values(values))
            here = LOGS.c.address == address
            first = connection.execute(select(func.min(LOGS.c.id)).where(here)).scalar_one() == number
            newest = select(func.max(LEAVES.c.epoch)).where(LEAVES.c.log == LOGS.c.id).scalar_subquery()
            all_newest = select(func.max(newest)).select_from(LOGS)
            own, every = (connection.execute(all_newest.where(which)).scalar() for which in (LOGS.c.id == number, here))
        claim_writing(engine, number).close()
    except DBAPIError as error:
        raise unusable(engine, error) from None
    return OwnLog(number, first, own or 0, every or 0, restored)


def find_log(engine: Engine, key: str) -> int | None:
    """The number of the log of that public key, hex."""
    with engine.connect() as connection:
        number: int | None = connection.execute(select(LOGS.c.id).where(LOGS.c.key == key)).scalar_one_or_none()
    return number


def note_continued(connection: Connection, log: int) -> None:
    """The log says in a new epoch what was to say of the past: a restored database is no news any more."""
    connection.execute(update(LOGS).where(LOGS.c.id == log).values(restored_at=None))


def note_restored(connection: Connection, now: int) -> int:
    """Every log of this database must begin a new epoch; how many there are."""
    return int(connection.execute(update(LOGS).values(restored_at=now)).rowcount)


_MOVE = Prepared(
    update(CHECKPOINTS)
    .where(CHECKPOINTS.c.log == bindparam("_log"), CHECKPOINTS.c.epoch == bindparam("_epoch"))
    .values(note=bindparam("_note"))
)
_ADD = Prepared(insert(CHECKPOINTS))


def record_checkpoint(connection: Connection, epoch: LogEpoch, note: str) -> None:
    """Replace the newest checkpoint of an epoch."""
    values = {"log": epoch.log, "epoch": epoch.number, "note": note}
    if _MOVE.run_each(connection, [{f"_{name}": value for name, value in values.items()}]) == 0:
        _ADD.run(connection, values)


def find_checkpoint(engine: Engine, epoch: LogEpoch) -> tuple[str, str] | None:
    """The public key (hex) and the newest checkpoint that are stored of any replica's epoch: to be verified."""
    query = select(LOGS.c.key, CHECKPOINTS.c.note).join_from(LOGS, CHECKPOINTS, CHECKPOINTS.c.log == LOGS.c.id)
    with engine.connect() as connection:
        row = connection.execute(
            query.where(CHECKPOINTS.c.log == epoch.log, CHECKPOINTS.c.epoch == epoch.number)
        ).one_or_none()
    return None if row is None else (row.key, row.note)
