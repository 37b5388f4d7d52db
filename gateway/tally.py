"""Counts and histograms: what they are called, what they stand at, and what has come since the last telling."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tee.canonical import kind_of
from tee.errors import Malformed

MAX_SERIES = 10_000  # of one gateway. Labels are words of the configuration: a second lock, for the day one is not
Labels = tuple[str, ...]
Row = list[object]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. With `bounds`, ascending, it is a histogram; its values are a count for each bound, one for what is
    beyond the last, and the sum of what was observed. Else it is a counter, of one value.
    """

    name: str
    words: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """How many numbers a series has."""
        return len(self.bounds) + 2 if self.bounds else 1


class Tally:
    """The series of some families. Each series is written by one thread only, and may be read by any."""

    def __init__(self, families: Iterable[Family]) -> None:
        self.families: Mapping[str, Family] = {family.name: family for family in families}
        self._series: dict[tuple[str, Labels], list[float]] = {}
        self._told: dict[tuple[str, Labels], list[float]] = {}

    def add(self, family: Family, labels: Labels = (), amount: float = 1) -> None:
        """Count."""
        values = self._values(family, labels)
        if values is not None:
            values[0] += amount

    def observe(self, family: Family, labels: Labels, value: float) -> None:
        """Note one value of a histogram."""
        values = self._values(family, labels)
        if values is not None:
            values[bisect_left(family.bounds, value)] += 1
            values[-1] += value

    def rows(self, family: Family) -> Iterator[tuple[Labels, list[float]]]:
        """Where its series stand, in the order of their labels."""
        for (name, labels), values in sorted(self._series.copy().items()):
            if name == family.name:
                yield labels, list(values)

    def news(self) -> list[Row]:
        """What has come since the last time, for `merge` in another process."""
        rows: list[Row] = []
        for key, values in self._series.copy().items():
            told, now = self._told.get(key, [0.0] * len(values)), list(values)
            if now != told:
                rows.append([*key, [after - before for after, before in zip(now, told, strict=True)]])
                self._told[key] = now
        return rows

    def merge(self, rows: object) -> None:
        """Add what another process has told. Raises Malformed for what no process of this build says."""
        if not isinstance(rows, list):
            raise Malformed("frame.rows", kind_of(rows), "a list")
        for row in rows:
            family, labels, amounts = self._checked(row)
            values = self._values(family, labels)
            if values is not None:
                values[:] = [value + amount for value, amount in zip(values, amounts, strict=True)]

    def _values(self, family: Family, labels: Labels) -> list[float] | None:
        """The numbers of a series; None for a new one beyond the bound."""
        key = family.name, labels
        values = self._series.get(key)
        if values is None and len(self._series) < MAX_SERIES:
            values = self._series[key] = [0.0] * family.width
        return values

    def _checked(self, row: object) -> tuple[Family, Labels, list[float]]:
        match row:
            case [str(name), [*labels], [*amounts]] if name in self.families:
                family = self.families[name]
                words = [each for each in labels if isinstance(each, str)]
                numbers = [float(each) for each in amounts if isinstance(each, int | float)]
                grows = all(math.isfinite(each) and each >= 0 for each in numbers)
                if len(words) == len(labels) == len(family.labels) and len(numbers) == family.width and grows:
                    return family, tuple(words), numbers
        raise Malformed("frame.rows", kind_of(row), "a metric of this build, its labels and what to add")
