"""Stored gaps: the newest statement about each, and what they explain."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

import msgspec

from collector.core.gaps import Gap
from storage_backends.interface import Backend, Market

_FOR_EVER = 2**63


def read_gaps(backend: Backend, market: Market) -> list[Gap]:
    """The newest revision of every gap of a market, oldest gap first."""
    newest: dict[str, Gap] = {}
    for rows in backend.scan("gaps", market):
        for row in rows.to_pylist():
            gap = msgspec.convert(row, Gap)
            known = newest.get(gap.gap_id)
            if known is None or gap.revision > known.revision:
                newest[gap.gap_id] = gap
    return sorted(newest.values(), key=lambda gap: (gap.detected_ns, gap.gap_id))


class Cover:
    """Ranges of integers, both ends included, joined where they touch."""

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(ranges):
            if end < start:
                continue
            if self._ends and start <= self._ends[-1] + 1:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def holds(self, start: int, end: int) -> bool:
        """Whether all of start…end is covered."""
        at = bisect_right(self._starts, start) - 1
        return at >= 0 and end <= self._ends[at]

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of start…end that are not covered, both ends included."""
        found = []
        at = max(0, bisect_right(self._starts, start) - 1)
        for first, last in zip(self._starts[at:], self._ends[at:], strict=True):
            if first > end:
                break
            if first > start:
                found.append((start, first - 1))
            start = max(start, last + 1)
        return [*found, (start, end)] if start <= end else found

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The ranges, ascending."""
        return zip(self._starts, self._ends, strict=True)

    def touches(self, start: int, end: int) -> bool:
        """Whether any of start…end is covered."""
        at = bisect_right(self._starts, end) - 1
        return at >= 0 and start <= self._ends[at]


def id_cover(gaps: Iterable[Gap], stream: str) -> Cover:
    """The ids that stated and unhealed gaps of a stream say are missing."""
    return Cover(
        (gap.from_id, _FOR_EVER if gap.to_id is None else gap.to_id)
        for gap in gaps
        if gap.stream == stream and not gap.healed and gap.from_id is not None
    )


def time_cover(gaps: Iterable[Gap], stream: str | None = None) -> Cover:
    """The nanoseconds within gaps of a stream, or of any, healed or not."""
    return Cover(
        (gap.from_ns, _FOR_EVER if gap.to_ns is None else gap.to_ns)
        for gap in gaps
        if stream is None or gap.stream == stream
    )


def recounts(gaps: Iterable[Gap], stream: str) -> list[int]:
    """When a stream's ids began anew at lower ones: the ends, in ns, of gaps that are over and have no last id."""
    return [
        gap.to_ns
        for gap in gaps
        if gap.stream == stream and gap.from_id is not None and gap.to_id is None and gap.to_ns is not None
    ]
