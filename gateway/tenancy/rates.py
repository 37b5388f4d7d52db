"""How much was counted within the last minute, and what a limit leaves of it: exact sliding windows, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WINDOW = 60  # seconds: all limits are per minute
# What was counted in second s is let go at s + _LIFE. Rounded up, so that no minute, wherever it begins, sees too many.
_LIFE = WINDOW + 1
_FEW = 1024  # windows that are not worth a look for empty ones
Limits = Sequence[tuple[str, int]]
"""Names of windows, and how much of each there is in a minute."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One limit now: what is left of it, and the seconds until all of it is back."""

    limit: int
    remaining: int
    reset: float


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a wish for some of each of several limits.

    It was taken in `second`, and `more` beyond it, unless there is a `wait`, in seconds, until it can be; then it was
    not, and `blame` is the place of the limit that takes longest. `tightest` is the limit of which least is left.
    """

    second: int
    tightest: Standing
    more: int = 0
    wait: float = 0.0
    blame: int = 0
    alone: bool = False  # counted by this node, while the store that nodes share was away


class Window:
    """What was counted in each of the last seconds, oldest first: at most 61 numbers."""

    __slots__ = ("_cells", "_total")

    def __init__(self, cells: Iterable[tuple[int, int]] = ()) -> None:
        """`cells`: seconds and what was counted in them, in any order."""
        self._cells = dict(sorted(cells))
        self._total = sum(self._cells.values())

    def count(self, now: float) -> int:
        """What counts now."""
        cells, oldest = self._cells, int(now) - WINDOW
        while cells and (second := next(iter(cells))) < oldest:
            self._total -= cells.pop(second)
        return self._total

    def add(self, amount: int, now: float) -> None:
        """Count it now; `count` came just before."""
        if amount > 0:
            second = int(now)
            self._cells[second] = self._cells.get(second, 0) + amount
            self._total += amount

    def take_back(self, amount: int, second: int) -> None:
        """Count less in that second, if it still counts."""
        back = min(amount, self._cells.get(second, 0))
        if back:
            self._cells[second] -= back
            self._total -= back

    def reset(self, now: float) -> float:
        """Seconds until nothing counts any more."""
        return next(reversed(self._cells)) + _LIFE - now if self._cells else 0.0

    def wait(self, missing: int, now: float) -> float:
        """Seconds until so much is let go; as long as a window lasts, if that will not be enough."""
        if missing <= 0:
            return 0.0
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

    def take(self, limits: Limits, amount: int, more: int, now: float) -> Taken:
        """As `take_from`. `now`: seconds, of a clock that only rises."""
        windows = [self._windows.get(name) or self._new(name, now) for name, _ in limits]
        return take_from(windows, limits, amount, more, now)

    def correct(self, names: Iterable[str], second: int, by: int, now: float) -> None:
        """Count more now, or less in the second in which too much was taken."""
        for name in names:
            window = self._windows.get(name) or self._new(name, now)
            window.count(now)
            if by > 0:
                window.add(by, now)
            else:
                window.take_back(-by, second)

    def _new(self, name: str, now: float) -> Window:
        """One more; where they have become many, those in which nothing counts any more are dropped."""
        if len(self._windows) >= self._look_at:
            self._windows = {each: window for each, window in self._windows.items() if window.count(now)}
            self._look_at = max(_FEW, 2 * len(self._windows))
        window = self._windows[name] = Window()
        return window


def take_from(windows: Sequence[Window], limits: Limits, amount: int, more: int, now: float) -> Taken:
    """Take `amount` of each, or nothing where one has too little left; also as much of `more` as all have room for."""
    left = [limit - window.count(now) for (_, limit), window in zip(limits, windows, strict=True)]
    least = min(left)
    at, wait, blame = left.index(least), 0.0, 0
    if least < amount:
        more = 0
        waits = [window.wait(amount - each, now) for each, window in zip(left, windows, strict=True)]
        wait = max(waits)
        blame = waits.index(wait)
    else:
        more = min(more, least - amount)
        for window in windows:
            window.add(amount + more, now)
        least -= amount + more
    return Taken(int(now), Standing(limits[at][1], max(0, least), windows[at].reset(now)), more, wait, blame)
