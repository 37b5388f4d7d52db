"""Activity as it is read: entries in order, newest first, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, and_, case, func, literal, not_, select, tuple_

from gateway.routing.standing import Tried
from gateway.storage.calls import PLACES
from gateway.storage.schema import ACTIVITY, CALLS, KEY_SECRETS

_A = ACTIVITY.c
CLIENT_LEFT = 499
_PREFIX = (
    select(KEY_SECRETS.c.prefix)
    .where(KEY_SECRETS.c.key_id == _A.key_id)
    .order_by(KEY_SECRETS.c.number.desc())
    .limit(1)
    .correlate(ACTIVITY)
    .scalar_subquery()
)
"""How the newest secret of the key begins."""
MOST_NAMES = 50  # models or providers in one summary: the busiest


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries: those of one tenant that meet all that is not None. Times are seconds since 1970.

    `least_status` and `most_status` bound the status, both included.
    """

    tenant: str
    since: int | None = None
    until: int | None = None
    model: str | None = None
    provider: str | None = None
    policy: str | None = None
    key_id: str | None = None
    least_status: int | None = None
    most_status: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt. `place` is where it stands in the order."""

    place: tuple[int, int]
    receipt_id: str
    key_prefix: str | None
    attempt: int
    tenant: str
    key_id: str
    model: str | None
    original_model: str | None
    policy: str | None
    tier: str | None
    provider: str | None
    status: int | None
    provider_status: int | None
    failure: str | None
    started_at: int
    waited_ms: int
    milliseconds: int
    first_token_ms: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_micro_usd: int | None
    shown: bool
    partial: bool
    findings: str | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What entries of one name, or of one span of time, come to. Latencies are those of successes, in milliseconds."""

    name: str | int | None
    calls: int
    succeeded: int
    left: int  # their caller had gone, which is nobody's failure
    micro_usd: int | None
    p50: int | None
    p95: int | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What a selection comes to: by call, and by attempt for the providers. `series` is in order of time."""

    total: Figures
    models: list[Figures]
    providers: list[Figures]
    series: list[Figures]


@dataclass(frozen=True, slots=True)
class RecentCall:
    """A closed call, and its receipt: JSON, empty once it is pruned. `route_leaf` is its index in the log."""

    receipt_id: str
    tenant: str
    model: str | None
    policy: str | None
    tier: str | None
    provider: str | None
    status: int | None
    started_at: int
    route_leaf: int | None
    receipt: str


def find_place(engine: Engine, tenant: str, receipt_id: str, attempt: int) -> tuple[int, int] | None:
    """Where that entry of the tenant stands; None if there is none."""
    query = (
        select(_A.started_at, _A.id)
        .join(CALLS, _A.id == CALLS.c.id * PLACES + attempt)
        .where(CALLS.c.receipt_id == receipt_id, _A.tenant == tenant)
    )
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else (row.started_at, row.id)


def list_activity(engine: Engine, chosen: Selection, after: tuple[int, int] | None, limit: int) -> list[Entry]:
    """Entries, the newest first, that stand after that place."""
    with engine.connect() as connection:
        rows = connection.execute(listing(chosen, after, limit)).all()
    return [Entry((row[0], row[1]), *row[2:]) for row in rows]


def listing(chosen: Selection, after: tuple[int, int] | None, limit: int) -> Select[Any]:
    """The query of `list_activity`."""
    names = [each.name for each in fields(Entry)[3:]]
    found = (_A.started_at, _A.id, CALLS.c.receipt_id, _PREFIX.label("its_prefix"))
    query = select(*found, *(_A[name].label(f"its_{name}") for name in names))
    query = query.join(CALLS, CALLS.c.id == _A.call_id).where(*_conditions(chosen))
    if after is not None:
        query = query.where(tuple_(_A.started_at, _A.id) < tuple_(*after))
    return query.order_by(_A.started_at.desc(), _A.id.desc()).limit(limit)


def summarise(engine: Engine, chosen: Selection, span: int) -> Summary:
    """What the selection comes to, with figures for each `span` of so many seconds."""
    whole = case((_A.shown, _A.milliseconds - _A.waited_ms), else_=_A.milliseconds)
    with engine.connect() as connection:
        (total,) = _figures(connection, figures(chosen, literal("all"))) or [Figures("all", 0, 0, 0, None, None, None)]
        return Summary(
            total,
            _figures(connection, figures(chosen, _A.model)),
            _figures(connection, figures(chosen, _A.provider, whole)),
            sorted(_figures(connection, figures(chosen, _A.started_at - _A.started_at % span, most=None)), key=_name),
        )


def figures(
    chosen: Selection,
    name: ColumnElement[Any],
    latency: ColumnElement[int] | None = None,
    most: int | None = MOST_NAMES,
) -> Select[Any]:
    """The query of Figures by that name. With a `latency` it counts attempts, else calls, and those take what they
    took.
    """
    conditions = [*_conditions(chosen), _A.attempt > 0 if latency is not None else _A.shown]
    took = _A.milliseconds if latency is None else latency
    good = case((and_(_A.shown, _A.status < 400, not_(_A.partial)), 1), else_=0)
    group = [name, good]
    each = (
        select(
            name.label("name"),
            good.label("good"),
            case((_A.status == CLIENT_LEFT, 1), else_=0).label("gone"),
            _A.cost_micro_usd.label("cost"),
            took.label("took"),
            func.row_number().over(partition_by=group, order_by=took).label("place"),
            func.count().over(partition_by=group).label("among"),
        )
        .where(*conditions)
        .subquery()
        .c
    )
    query = select(
        each.name,
        func.count().label("calls"),
        func.sum(each.good),
        func.sum(each.gone),
        func.sum(each.cost),
        # Of the nearest rank: the first whose place is at least that share of all.
        func.min(case((and_(each.good == 1, each.place * 2 >= each.among), each.took))),
        func.min(case((and_(each.good == 1, each.place * 20 >= each.among * 19), each.took))),
    ).group_by(each.name)
    return query.order_by(func.count().desc(), each.name).limit(most)


def recent_calls(engine: Engine, tenant: str, limit: int) -> list[RecentCall]:
    """The tenant's newest calls."""
    names = ("tenant", "model", "policy", "tier", "provider", "status", "started_at")
    query = (
        select(CALLS.c.receipt_id, *(_A[name] for name in names), CALLS.c.route_leaf, CALLS.c.receipt)
        .join(CALLS, CALLS.c.id == _A.call_id)
        .where(_A.tenant == tenant, _A.shown)
        .order_by(_A.started_at.desc(), _A.id.desc())
        .limit(limit)
    )
    with engine.connect() as connection:
        return [RecentCall(*row[:10]) for row in connection.execute(query)]


def recent_attempts(engine: Engine, since: int, most: int) -> list[Tried]:
    """Attempts of everybody's calls that began since then, newest first, of the `most` that are newest by number."""
    begun = func.coalesce(_A.first_token_ms, _A.milliseconds)
    took = case((_A.shown, begun - _A.waited_ms), else_=_A.milliseconds)
    told = _A.provider, _A.provider_status, _A.failure, took.label("took"), _A.partial, _A.status
    newest = select(*told, _A.started_at, _A.id, _A.attempt).order_by(_A.id.desc()).limit(most).subquery().c
    query = select(newest.provider, newest.provider_status, newest.failure, newest.took, newest.partial, newest.status)
    query = query.where(newest.attempt > 0, newest.started_at >= since).order_by(newest.id.desc())
    with engine.connect() as connection:
        return [Tried(*row[:5], left=row[5] == CLIENT_LEFT) for row in connection.execute(query)]


def _conditions(chosen: Selection) -> list[ColumnElement[bool]]:
    wanted = {
        "model": _A.model,
        "provider": _A.provider,
        "policy": _A.policy,
        "key_id": _A.key_id,
    }
    conditions = [_A.tenant == chosen.tenant]
    conditions += [column == value for name, column in wanted.items() if (value := getattr(chosen, name)) is not None]
    if chosen.since is not None:
        conditions.append(_A.started_at >= chosen.since)
    if chosen.until is not None:
        conditions.append(_A.started_at < chosen.until)
    if chosen.least_status is not None:
        conditions.append(_A.status >= chosen.least_status)
    if chosen.most_status is not None:
        conditions.append(_A.status <= chosen.most_status)
    return conditions


def _figures(connection: Connection, query: Select[Any]) -> list[Figures]:
    return [
        Figures(row[0], row[1], int(row[2]), int(row[3]), _whole(row[4]), *row[5:]) for row in connection.execute(query)
    ]


def _whole(total: Any) -> int | None:
    """A sum as a number: PostgreSQL gives a decimal."""
    return None if total is None else int(total)


def _name(one: Figures) -> int:
    return int(one.name or 0)
