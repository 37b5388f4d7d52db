"""How much was counted within the last minute, and what a limit leaves of it: exact sliding windows, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WINDOW = 60  # seconds: all limits are per minute
# What was counted in second s is let go at s + _LIFE. Rounded up, so that no minute, wherever it begins, sees too many.
_LIFE = WINDOW + 1
_FEW = 1024  # windows that are not worth a look for empty ones


@dataclass(frozen=True, slots=True)
class Want:
    """`amount` of what `name` may have `limit` of in any minute."""

    name: str
    limit: int
    amount: int


@dataclass(frozen=True, slots=True)
class Standing:
    """One limit now: what is left of it, the seconds until all of it is back, and until what was wanted is."""

    limit: int
    remaining: int
    reset: float
    wait: float


@dataclass(frozen=True, slots=True)
class Taken:
    """An answer to wants: a standing for each, in order. Unless one has to wait, all were taken in `second`, and `more`
    of each beyond what was wanted.
    """

    second: int
    standings: tuple[Standing, ...]
    more: int = 0
    alone: bool = False  # counted by this node, while the store that nodes share was away

    @property
    def wait(self) -> float:
        """Seconds until all can be had; 0 if they were taken."""
        return max((standing.wait for standing in self.standings), default=0.0)


class Window:
    """What was counted in each of the last seconds, oldest first: at most 61 numbers."""

    __slots__ = ("_cells", "_total")

    def __init__(self, cells: Iterable[tuple[int, int]] = ()) -> None:
        """`cells`: seconds and what was counted in them, in any order."""
        self._cells = dict(sorted(cells))
        self._total = sum(self._cells.values())

    def is_empty(self, now: float) -> bool:
        """Whether nothing counts any more."""
        self._let_go(now)
        return not self._cells

    def standing(self, want: Want, now: float) -> Standing:
        """How `want` stands, before it is taken."""
        self._let_go(now)
        left = want.limit - self._total
        reset = next(reversed(self._cells)) + _LIFE - now if self._cells else 0.0
        wait = self._wait(want.amount - left, now) if left < want.amount else 0.0
        return Standing(want.limit, max(0, left), reset, wait)

    def add(self, amount: int, now: float) -> None:
        """Count it now."""
        self._let_go(now)
        if amount > 0:
            self._cells[int(now)] = self._cells.get(int(now), 0) + amount
            self._total += amount

    def take_back(self, amount: int, second: int) -> None:
        """Count less in that second, if it still counts."""
        back = min(amount, self._cells.get(second, 0))
        if back:
            self._cells[second] -= back
            self._total -= back

    def _let_go(self, now: float) -> None:
        cells, oldest = self._cells, int(now) - WINDOW
        while cells and (second := next(iter(cells))) < oldest:
            self._total -= cells.pop(second)

    def _wait(self, missing: int, now: float) -> float:
        """Seconds until so much is let go; as long as a window lasts, if that will not be enough."""
        for second, amount in self._cells.items():
            missing -= amount
            if missing <= 0:
                return second + _LIFE - now
        return float(_LIFE)


class Windows:
    """The windows of one process, by name."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}
        self._look_at = _FEW

    def take(self, wants: Sequence[Want], more: int, now: float) -> Taken:
        """Take all that is wanted, or nothing if one of them has to wait; of each also as much of `more` as all have
        room for. `now`: seconds, of a clock that only rises.
        """
        windows = [self._windows.get(want.name) or self._new(want.name, now) for want in wants]
        before = [window.standing(want, now) for window, want in zip(windows, wants, strict=True)]
        taken = judge(before, wants, more, now)
        if not taken.wait:
            for window, want in zip(windows, wants, strict=True):
                window.add(want.amount + taken.more, now)
        return taken

    def correct(self, names: Iterable[str], second: int, by: int, now: float) -> None:
        """Count more now, or less in the second in which too much was taken."""
        for name in names:
            window = self._windows.get(name) or self._new(name, now)
            if by > 0:
                window.add(by, now)
            else:
                window.take_back(-by, second)

    def _new(self, name: str, now: float) -> Window:
        """One more; where they have become many, those in which nothing counts any more are dropped."""
        if len(self._windows) >= self._look_at:
            self._windows = {each: window for each, window in self._windows.items() if not window.is_empty(now)}
            self._look_at = max(_FEW, 2 * len(self._windows))
        window = self._windows[name] = Window()
        return window


def judge(before: Sequence[Standing], wants: Sequence[Want], more: int, now: float) -> Taken:
    """What comes of wants that stand so."""
    if any(standing.wait for standing in before):
        return Taken(int(now), tuple(before))
    room = min([was.remaining - want.amount for was, want in zip(before, wants, strict=True)], default=0)
    more, whole = min(more, room), int(now) + _LIFE - now
    rows = []
    for was, want in zip(before, wants, strict=True):
        amount = want.amount + more
        rows.append(Standing(was.limit, was.remaining - amount, whole if amount else was.reset, 0.0))
    return Taken(int(now), tuple(rows), more)
