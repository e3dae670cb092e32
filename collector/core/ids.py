"""Sets of whole numbers, ids or times, as ranges: millions of ids in a handful of numbers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class IdRanges:
    """Ranges with both ends included, apart from each other and in order; those that touch are one.

    Iterates over (first, last).
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """Takes ranges in any order; those whose end lies before their start hold nothing."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        for first, last in sorted(ranges):
            self.add(first, last)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IdRanges):
            return NotImplemented
        return self._starts == other._starts and self._ends == other._ends

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"IdRanges({list(self)})"

    @property
    def total(self) -> int:
        """How many ids there are."""
        return sum(self._ends) - sum(self._starts) + len(self._starts)

    @property
    def first(self) -> int | None:
        """The smallest id."""
        return self._starts[0] if self._starts else None

    @property
    def last(self) -> int | None:
        """The largest id."""
        return self._ends[-1] if self._ends else None

    def add(self, first: int, last: int) -> None:
        """Adds first…last."""
        if last < first:
            return
        low = bisect_left(self._ends, first - 1)
        high = bisect_right(self._starts, last + 1)
        if low < high:
            first, last = min(first, self._starts[low]), max(last, self._ends[high - 1])
        self._starts[low:high] = [first]
        self._ends[low:high] = [last]

    def holds(self, first: int, last: int) -> bool:
        """Whether all of first…last is in it."""
        at = bisect_right(self._starts, first) - 1
        return at >= 0 and last <= self._ends[at]

    def touches(self, first: int, last: int) -> bool:
        """Whether any of first…last is in it."""
        at = bisect_right(self._starts, last) - 1
        return at >= 0 and first <= self._ends[at]

    def missing(self, first: int, last: int) -> list[tuple[int, int]]:
        """The ranges of first…last that are not in it, in order."""
        found = []
        at = max(0, bisect_right(self._starts, first) - 1)
        for start, end in zip(self._starts[at:], self._ends[at:], strict=True):
            if start > last:
                break
            if start > first:
                found.append((first, start - 1))
            first = max(first, end + 1)
        if first <= last:
            found.append((first, last))
        return found
