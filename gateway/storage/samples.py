"""Audit samples: the documents that `audit` leaves commit to, kept for the key that made the call."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, and_, bindparam, func, insert, literal_column, select

from gateway.storage.log import LogEpoch
from gateway.storage.prepared import Prepared
from gateway.storage.schema import CALLS, SAMPLES


@dataclass(frozen=True, slots=True)
class StoredSample:
    """A sample, JSON, and where the log has its leaf."""

    receipt_id: str
    document: str
    log: int
    epoch: int
    leaf: int


@dataclass(frozen=True, slots=True)
class SampleHead:
    """The last `audit` leaf of a tree, and how many the tree has."""

    leaf: int
    entries: int


_OF_EPOCH = and_(SAMPLES.c.log == bindparam("_log"), SAMPLES.c.epoch == bindparam("_epoch"))
_LAST = select(SAMPLES.c.number).where(
    _OF_EPOCH, SAMPLES.c.leaf == select(func.max(SAMPLES.c.leaf)).where(_OF_EPOCH).scalar_subquery()
)
_INSERT = Prepared(
    insert(SAMPLES).values(
        {name: bindparam(f"_{name}") for name in StoredSample.__slots__}
        | {
            "key_id": select(CALLS.c.key_id).where(CALLS.c.receipt_id == bindparam("_receipt_id")).scalar_subquery(),
            "number": func.coalesce(_LAST.scalar_subquery() + literal_column("1"), literal_column("0")),
        }
    )
)


def insert_sample(connection: Connection, sample: StoredSample) -> None:
    """Store the sample of a call; a second one of the same call fails the transaction."""
    _INSERT.run(connection, {f"_{name}": getattr(sample, name) for name in StoredSample.__slots__})


def last_sample(engine: Engine, epoch: LogEpoch, size: int) -> SampleHead | None:
    """The last `audit` leaf among the first `size` of an epoch; None where it has none."""
    of = SAMPLES.c.log == epoch.log, SAMPLES.c.epoch == epoch.number
    query = select(SAMPLES.c.leaf, SAMPLES.c.number).where(*of, SAMPLES.c.leaf < size)
    with engine.connect() as connection:
        row = connection.execute(query.order_by(SAMPLES.c.leaf.desc()).limit(1)).one_or_none()
    return None if row is None else SampleHead(row.leaf, row.number + 1)


def list_samples(engine: Engine, key_id: str, after: str | None, limit: int) -> list[StoredSample] | None:
    """A key's own samples, newest first, from the one after `after` on; None where `after` is none of its samples."""
    columns = [SAMPLES.c[name] for name in StoredSample.__slots__]
    query = select(*columns).where(SAMPLES.c.key_id == key_id, SAMPLES.c.document.is_not(None))
    with engine.connect() as connection:
        if after is not None:
            mark = select(SAMPLES.c.id).where(SAMPLES.c.receipt_id == after, SAMPLES.c.key_id == key_id)
            start = connection.execute(mark).scalar_one_or_none()
            if start is None:
                return None
            query = query.where(SAMPLES.c.id < start)
        rows = connection.execute(query.order_by(SAMPLES.c.id.desc()).limit(limit)).all()
    return [StoredSample(*row) for row in rows]
