"""What to do after an attempt: whose failure it was, whether another attempt may help, where, and how long to wait."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum

MAX_RETRY_AFTER = 3600.0  # seconds for which a provider may ask to be left alone: a key rests no longer than that
REFUSED_KEY_SECONDS = 30.0  # for which a key that a provider refused is not its first choice
RATE_LIMITED_SECONDS = 5.0  # the same of one that was asked too often, where the provider names no time
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)

# A provider's word on our own key is our problem, and none that a caller could mend. 402 is an account without money.
KEY_STATUSES = frozenset({401, 402, 403})
# 408, 409 and 425 ask to come again; 424 is how Bedrock says that a model failed, 529 how Anthropic is overloaded.
AGAIN_STATUSES = frozenset({408, 409, 424, 425})
# No waiting mends a certificate, an answer beyond our bounds, or a key that nobody has set.
_LASTING = frozenset({"upstream_unreachable", "upstream_too_large", "upstream_frame_too_long"})
_KEY_CODES = frozenset({"upstream_refused_key", "no_credential"})
FAILURES = frozenset({"upstream_timeout", "upstream_cut", "upstream_malformed", "no_token", *_LASTING, *_KEY_CODES})
"""Codes of our own for an attempt that brought no answer; any other counts as upstream_failed."""
# OpenAI's 429 of an account without money: no waiting helps, another key may.
SPENT_CODES = frozenset({"insufficient_quota"})


class Move(StrEnum):
    """What may follow an attempt, before anything of an answer has left."""

    RETURN = "return"  # it is the client's: an answer, or a refusal of the request itself
    AGAIN = "again"  # the same target after a pause, then the next one
    ROTATE = "rotate"  # another key of the same provider at once, then the next target
    LEAVE = "leave"  # the next target, since waiting again for this one would cost as much time as it did


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one attempt. `rest`: the seconds for which its key is to be left alone. `may_wait`: whether the same key is
    worth another attempt once it has rested, where no other key and no other target is left.
    """

    move: Move
    rest: float = 0.0
    may_wait: bool = True


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often one target is tried in one call, and the pauses between. Times in milliseconds, as configured."""

    attempts: int = 2
    base_milliseconds: int = 250
    cap_milliseconds: int = 5000

    def pause(self, failed: int, rest: float, draw: float) -> float | None:
        """The seconds before the next attempt on a target that failed so often, at least `rest`; None: too long.

        `draw` is from 0 to 1, and keeps callers that failed together from coming back together.
        """
        cap = self.cap_milliseconds / 1000
        backoff = min(cap, self.base_milliseconds / 1000 * 2 ** (failed - 1))
        pause = max(rest, backoff * (1 + draw) / 2)
        return None if pause > cap else pause


def judge_status(status: int, code: str | None, retry_after: float | None) -> Verdict:
    """The verdict on an answer of this status; `code` is the provider's own word for its refusal, if it gave one."""
    if status == 429 and code in SPENT_CODES:
        return Verdict(Move.ROTATE, retry_after or REFUSED_KEY_SECONDS, may_wait=False)
    if status == 429:
        return Verdict(Move.ROTATE, RATE_LIMITED_SECONDS if retry_after is None else retry_after)
    if status in KEY_STATUSES:
        return Verdict(Move.ROTATE, REFUSED_KEY_SECONDS, may_wait=False)
    if status in AGAIN_STATUSES or status >= 500:
        return Verdict(Move.AGAIN, retry_after or 0.0)
    return Verdict(Move.RETURN)


def judge_failure(code: str) -> Verdict:
    """The verdict on an attempt that brought no answer at all, by the code of its error."""
    if code in _KEY_CODES:
        return Verdict(Move.ROTATE, REFUSED_KEY_SECONDS, may_wait=False)
    if code in _LASTING:
        return Verdict(Move.LEAVE, may_wait=False)
    return Verdict(Move.LEAVE if code == "upstream_timeout" else Move.AGAIN)


def counts_as(verdict: Verdict) -> bool | None:
    """What an attempt says of its target's health: a key that was refused or asked too often says nothing."""
    return {Move.RETURN: True, Move.ROTATE: None}.get(verdict.move, False)


def read_retry_after(value: str | None, now: float) -> float | None:
    """The seconds that `Retry-After` asks for, at `now` seconds since 1970: a number, or a date of HTTP's.

    Bounded by MAX_RETRY_AFTER; None for what is neither.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    # A date without a zone is not one of HTTP's, whose dates all end in GMT.
    return None if moment.tzinfo is None else min(max(0.0, moment.astimezone(UTC).timestamp() - now), MAX_RETRY_AFTER)
