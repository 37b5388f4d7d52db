"""What retention removes: texts of closed calls and of their samples, rows of activity. Places in the log stay."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select, update

from gateway.storage.schema import ACTIVITY, CALLS, SAMPLES


def prune_calls(connection: Connection, closed_before: int, now: int, days: int, limit: int) -> int:
    """Empty up to `limit` calls that were closed before that second, the oldest first; returns how many.

    An open call has no `closed_at`, so it is never among them.
    """
    due = select(CALLS.c.id, CALLS.c.receipt_id).where(CALLS.c.pruned_at.is_(None), CALLS.c.closed_at < closed_before)
    rows = connection.execute(due.order_by(CALLS.c.closed_at).limit(limit)).all()
    # `receipt` becomes empty and not null: null means that a receipt is owed.
    emptied = {"receipt": "", "draft": "", "receipt_salt": "", "content_type": None, "sent_sha256": None}
    pruned = emptied | {"sent_code": None, "pruned_at": now, "pruned_days": days}
    connection.execute(update(CALLS).where(CALLS.c.id.in_([row.id for row in rows])).values(pruned))
    theirs = SAMPLES.c.receipt_id.in_([row.receipt_id for row in rows])
    connection.execute(update(SAMPLES).where(theirs).values(document=None))
    return len(rows)


def prune_activity(connection: Connection, started_before: int, limit: int) -> int:
    """Delete up to `limit` rows of calls that began before that second; returns how many.

    Only the oldest by number are looked at, so that nothing is searched for: numbers grow as calls begin.
    """
    oldest = connection.execute(select(ACTIVITY.c.id, ACTIVITY.c.started_at).order_by(ACTIVITY.c.id).limit(limit))
    due = [row.id for row in oldest if row.started_at < started_before]
    connection.execute(delete(ACTIVITY).where(ACTIVITY.c.id.in_(due)))
    return len(due)
