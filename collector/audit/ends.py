"""The ends of sessions: whether the first and the last epoch are stored of what ran from its start to its stop.

Steps between rows say nothing of rows before the first and behind the last one. Events do: a session that begins at s
and stops at e has each multiple of its interval in (s, e].
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from collector.audit.batches import Ints
from collector.audit.story import Story
from collector.core.epochs import SECOND_NS

_DAY_S = 86_400


class Hole(NamedTuple):
    """Epochs that a session should have, both included, before or behind those that it has."""

    first: int
    last: int
    interval_s: int


class Sessions:
    """The first and the last epoch of each session that has any. A session is known by the number of starts before."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._starts: list[int] = story.starts.tolist()
        self._ends: dict[int, tuple[int, int]] = {}
        self._first: int | None = None

    def add(self, epochs: Ints) -> None:
        """Takes the next epochs, rising."""
        if not len(epochs):
            return
        self._first = int(epochs[0]) if self._first is None else self._first
        sessions = np.searchsorted(self._story.starts, epochs * SECOND_NS, "left")
        for session in np.unique(sessions).tolist():
            own = epochs[sessions == session]
            first, _ = self._ends.get(session, (int(own[0]), 0))
            self._ends[session] = first, int(own[-1])

    def holes(
        self, interval_s: Callable[[int], int], start_ns: int | None = None, end_ns: int | None = None
    ) -> Iterator[Hole]:
        """What sessions lack at their ends, of epochs within [start_ns, end_ns), rising.

        Left out are sessions of several collectors at once, or with a clock that was set back, and days before the
        first one that has rows: they may have been deleted. A session that was killed has no end but the last commit,
        from which the gap of the restart goes on.
        """
        if self._first is None or self._story.collectors > 1 or self._story.clock_behind:
            return
        oldest = max(self._first // _DAY_S * _DAY_S, (start_ns or 0) / SECOND_NS)
        for number, started_ns in enumerate(self._starts, 1):
            first, last = self._ends.get(number, (0, 0))
            if first == last:  # a single one does not tell the interval
                continue
            interval = interval_s(number)
            expected = (started_ns // SECOND_NS // interval + 1) * interval
            if oldest <= expected < first:
                yield Hole(expected, first - interval, interval)
            expected = self._stopped(number) // SECOND_NS // interval * interval
            if last < expected and (end_ns is None or expected * SECOND_NS < end_ns):
                yield Hole(last + interval, expected, interval)

    def _stopped(self, number: int) -> int:
        """When a session stopped, in ns; 0 if nothing says so."""
        stops = self._story.stops
        at = bisect_left(stops, self._starts[number - 1])
        return stops[at] if at < len(stops) and bisect_right(self._starts, stops[at]) == number else 0
