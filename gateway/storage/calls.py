"""Calls: opened before their id is given away, advanced while they stream, closed by a signed receipt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, bindparam, insert, literal_column, select, update
from sqlalchemy.exc import DatabaseError

from gateway.money.bill import Reservation
from gateway.storage.faults import unusable
from gateway.storage.log import LogEpoch
from gateway.storage.prepared import Prepared
from gateway.storage.schema import ACTIVITY, CALLS

PLACES = 32  # numbers of activity that each call has: more than it may make attempts
TOKENS = (
    *("prompt_tokens", "completion_tokens", "cached_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
    *("reasoning_tokens", "audio_prompt_tokens", "audio_completion_tokens"),
)
_UNSHOWN = {"shown": False, "partial": False, "skipped": 0, "cost_estimated": False}


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call as the database has it while no receipt is signed."""

    id: int
    receipt_id: str
    key_id: str
    tenant: str | None
    held_micro_usd: int | None
    draft: str
    status: int | None
    content_type: str | None
    sent_bytes: int
    sent_sha256: str | None
    sent_events: int | None
    checkpoint: str | None
    sent_code: str | None


@dataclass(frozen=True, slots=True)
class Activity:
    """What a call used: for metering, without a word of its content.

    The classes of tokens are those of `gateway.inference.Usage`: parts of the prompt's or of the completion's. None:
    the provider did not say. `partial`: the answer was cut, so more may have been used than was said. `status` is what
    the caller got, `attempt` the number of the attempt that it was shown, 0 where nobody was asked.
    """

    tenant: str
    key_id: str
    model: str | None
    provider: str | None
    status: int
    prompt_tokens: int | None
    completion_tokens: int | None
    started_at: int
    milliseconds: int
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_prompt_tokens: int | None = None
    audio_completion_tokens: int | None = None
    partial: bool = False
    skipped: int = 0  # pieces of a stream that could not be read
    attempt: int = 0
    original_model: str | None = None  # what the caller named
    policy: str | None = None
    tier: str | None = None
    provider_status: int | None = None
    failure: str | None = None  # why there is no answer: a code of ours
    waited_ms: int = 0  # from the call's first attempt to the one that is shown
    first_token_ms: int | None = None  # of a stream, from the call's beginning
    cost_micro_usd: int | None = None  # None: its price is not known
    cost_estimated: bool = False
    findings: str | None = None  # of the leak scan: JSON of kinds and counts
    others: str | None = None  # the attempts that are not shown: JSON, a list of OtherAttempt; None if there is none


@dataclass(frozen=True, slots=True)
class OtherAttempt:
    """An attempt whose outcome the caller was not shown."""

    attempt: int
    model: str
    provider: str
    tier: str
    provider_status: int | None
    failure: str | None
    waited_ms: int
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of an answer has left, its hash, and the newest checkpoint of it: JSON, or empty."""

    receipt_id: str
    status: int
    content_type: str
    sent_bytes: int
    sent_sha256: str
    sent_events: int
    checkpoint: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class LoggedText:
    """A receipt that is being stored: its JSON, where the log will have it, and the salt of its commitment (64 hex).

    `closed_at` is when it was signed, seconds since 1970.
    """

    text: str
    epoch: int
    leaf: int
    salt: str
    closed_at: int


@dataclass(frozen=True, slots=True)
class LoggedReceipt:
    """A signed receipt, and where which log has it. One that was pruned is empty, and so is its salt."""

    receipt: str
    log: int
    route_epoch: int | None
    route_leaf: int | None
    receipt_epoch: int
    receipt_leaf: int
    receipt_salt: str
    pruned_at: int | None
    pruned_days: int | None


@dataclass(frozen=True, slots=True)
class Held:
    """What is held for a call, of which tenant; and of its stream, how many events had durably left."""

    id: int
    key_id: str
    tenant: str | None
    held_micro_usd: int | None
    held_input_micro_usd: int | None
    held_output_tokens: int | None
    sent_events: int | None


_HELD = ("tenant", "held_micro_usd", "held_input_micro_usd", "held_output_tokens")
_NOTHING = dict.fromkeys(_HELD)
_OPEN = Prepared(
    insert(CALLS), "receipt_id", "key_id", "log", "draft", "sent_bytes", "route_epoch", "route_leaf", *_HELD
)
_USED_NAMES = tuple(name for name in Activity.__slots__ if name != "others")
_USED = Prepared(insert(ACTIVITY), "id", "call_id", "shown", *_USED_NAMES)
_ADVANCE = Prepared(
    update(CALLS).where(CALLS.c.receipt_id == bindparam("_receipt_id")).values(draft=bindparam("_draft"))
)
_CLOSE = Prepared(
    update(CALLS)
    .where(CALLS.c.receipt_id == bindparam("_receipt_id"), CALLS.c.receipt.is_(None))
    .values(
        draft=literal_column("''"),  # its receipt says all of it
        receipt=bindparam("_text"),
        receipt_epoch=bindparam("_epoch"),
        receipt_leaf=bindparam("_leaf"),
        receipt_salt=bindparam("_salt"),
        closed_at=bindparam("_closed_at"),
    )
    .returning(*(CALLS.c[name] for name in Held.__slots__))
)
_PROGRESS = Prepared(
    update(CALLS)
    .where(CALLS.c.receipt_id == bindparam("_receipt_id"), CALLS.c.receipt.is_(None))
    .values(
        status=bindparam("_status"),
        content_type=bindparam("_content_type"),
        sent_bytes=bindparam("_sent_bytes"),
        sent_sha256=bindparam("_sent_sha256"),
        sent_events=bindparam("_sent_events"),
        checkpoint=bindparam("_checkpoint"),
        sent_code=bindparam("_code"),
    )
)


def insert_call(
    connection: Connection,
    receipt_id: str,
    key_id: str,
    draft: str,
    epoch: LogEpoch,
    route_leaf: int | None,
    reserved: Reservation | None = None,
) -> None:
    """Open a call of the replica whose log that is, with that held for it."""
    values = {"receipt_id": receipt_id, "key_id": key_id, "log": epoch.log, "draft": draft, "sent_bytes": 0}
    values |= {"route_epoch": epoch.number, "route_leaf": route_leaf}
    held = _NOTHING
    if reserved is not None:
        sums = reserved.micro_usd, reserved.input_micro_usd, reserved.output_tokens
        held = dict(zip(_HELD, (reserved.tenant, *sums), strict=True))
    _OPEN.run(connection, values | held)


def advance_call(connection: Connection, receipt_id: str, draft: str) -> None:
    """Replace the draft of an open call: it has learnt its route and what is forwarded."""
    _ADVANCE.run(connection, {"_receipt_id": receipt_id, "_draft": draft})


def record_progress(connection: Connection, rows: Sequence[Progress]) -> None:
    """Note how much has left, for all streams at once; a closed call is left alone."""
    _PROGRESS.run_each(connection, [{f"_{name}": getattr(row, name) for name in Progress.__slots__} for row in rows])


def close_call(connection: Connection, receipt_id: str, receipt: LoggedText, activity: Activity | None) -> Held | None:
    """Store the signed receipt, once, and what the call used: what was held for it. None where it was closed before."""
    values = {f"_{name}": getattr(receipt, name) for name in LoggedText.__slots__}
    closed = _CLOSE.run(connection, values | {"_receipt_id": receipt_id})
    if not closed:
        return None
    held = Held(*closed[0])
    if activity is not None:
        _insert_activity(connection, held.id, activity)
    return held


def _insert_activity(connection: Connection, call_id: int, activity: Activity) -> None:
    """The rows of a call: nearly always one."""
    used = {name: getattr(activity, name) for name in _USED_NAMES}
    shown = used | {"id": call_id * PLACES + activity.attempt, "call_id": call_id, "shown": True}
    _USED.run(connection, shown)
    if activity.others is None:
        return
    common = shown | dict.fromkeys((*TOKENS, "first_token_ms", "cost_micro_usd", "findings")) | _UNSHOWN
    rows = [common | row | {"status": row["provider_status"]} for row in json.loads(activity.others)]
    _USED.run_each(connection, [row | {"id": call_id * PLACES + row["attempt"]} for row in rows])


def find_receipt(engine: Engine, receipt_id: str, key_id: str) -> LoggedReceipt | None:
    """The signed receipt, JSON, if that key made the call; None also while the call is open."""
    columns = [CALLS.c[name] for name in LoggedReceipt.__slots__]
    query = select(*columns).where(
        CALLS.c.receipt_id == receipt_id, CALLS.c.key_id == key_id, CALLS.c.receipt.is_not(None)
    )
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else LoggedReceipt(*row)


def find_open_calls(engine: Engine, log: int) -> list[OpenCall]:
    """Calls of one replica that have no receipt: after a crash, those that it cut. Raises Unavailable."""
    columns = [CALLS.c[name] for name in OpenCall.__slots__]
    query = select(*columns).where(CALLS.c.log == log, CALLS.c.receipt.is_(None)).order_by(CALLS.c.id)
    try:
        with engine.connect() as connection:
            rows = connection.execute(query).all()
    except DatabaseError as error:
        raise unusable(engine, error) from None
    return [OpenCall(*row) for row in rows]
