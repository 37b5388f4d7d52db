"""What a database says when it does not do its work: whose fault that is, and what to tell a person."""

from __future__ import annotations

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from tee.errors import Unavailable

FAULTS = (DBAPIError,)  # what a failing database raises, for callers that import no SQL
LOCK_TIMEOUT = "55P03"
_PASSING = {"40001", "40P01", LOCK_TIMEOUT}  # serialization failure, deadlock: the same again will pass


def unusable(engine: Engine, error: DBAPIError) -> Unavailable:
    """What to tell a person of a database that does not do its work."""
    words = "; ".join(str(error.orig).split("\n")).strip("; ")
    return refused(engine, f"not usable as the gateway's database ({words}): restore it, or move it away")


def refused(engine: Engine, reason: str) -> Unavailable:
    """This database is not used. Its password is not among the words."""
    return Unavailable(engine.url.render_as_string(hide_password=True), reason, retryable=False)


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's five characters for what went wrong."""
    state: str | None = getattr(_of_driver(error), "sqlstate", None)
    return state


def is_passing(error: BaseException) -> bool:
    """Whether a transaction failed for what another one did at the same time."""
    return sqlstate(error) in _PASSING


def is_of_values(error: BaseException) -> bool:
    """Whether the database refused what was to be written, and nothing else is wrong with it."""
    kinds = {kind.__name__ for kind in type(_of_driver(error)).__mro__}
    return not kinds.isdisjoint({"DataError", "IntegrityError", "OverflowError"})


def _of_driver(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
