"""Rows that come at even steps: one an epoch, a grid point, a bar. Whether one is missing that no gap tells of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from collector.audit.batches import Columns, Ints
from collector.audit.findings import Findings
from collector.core.epochs import SECOND_NS
from collector.core.ids import IdRanges
from collector.times import show_ns

_MS: Final = 1_000_000
_CLOSED_NS: Final = 120 * SECOND_NS
"""A live bar is closed at most so long after its end: half a minute of patience, and what clocks may differ by."""


class Series:
    """The steps of one table, of each of its intervals or ticks for itself.

    Sessions have no rows between them, so a step over the start of one says nothing: the gaps of the streams tell of
    that time. Nor do the ends of a session, since tables reach the store at different moments.
    """

    def __init__(
        self, table: str, starts: Ints, interval_s: Callable[[int], int], cover: IdRanges, findings: Findings
    ) -> None:
        """
        Args:
            starts: when sessions started, ns, in order.
            interval_s: seconds of an epoch, in the session after so many starts.
            cover: the nanoseconds in which rows of the table were refused or left out, as is stated.
        """
        self._table = table
        self._starts = starts
        self._interval_s = interval_s
        self._cover = cover
        self._findings = findings
        self._last: dict[float, tuple[int, int, int]] = {}  # by interval or tick: time, step, and when it was written

    def add(self, columns: Columns) -> None:
        """Takes the next rows, in the order of their keys."""
        match self._table:
            case "books":
                times = columns["timestamp"] * _MS
                self._walk(0, times, columns["grid_ms"].astype(np.int64) * _MS, times)
            case "bars":
                lengths = columns["interval_ms"]
                for length in np.unique(lengths).tolist():
                    own = lengths == length
                    times = columns["open_time"][own] * _MS
                    # One that was made afterwards stands where the live one would.
                    written = np.minimum(columns["recv_ns"][own], times + length * _MS + _CLOSED_NS)
                    self._walk(length, times, np.full(len(times), length * _MS), written)
            case "multitick":
                ticks = columns["tick"]
                for tick in np.unique(ticks).tolist():
                    self._epochs(tick, columns["epoch"][ticks == tick])
            case _:
                self._epochs(0, columns["epoch"])

    def _epochs(self, group: float, epochs: Ints) -> None:
        times = epochs * SECOND_NS
        sessions = np.searchsorted(self._starts, times, "left")
        steps = np.empty(len(times), np.int64)
        for session in np.unique(sessions).tolist():
            steps[sessions == session] = self._interval_s(session) * SECOND_NS
        self._walk(group, times, steps, times)

    def _walk(self, group: float, times: Ints, steps: Ints, written: Ints) -> None:
        """`written` are times by our clock, which sessions and gaps go by."""
        before = self._last.get(group)
        if before is not None:
            head = [np.array([one]) for one in before]
            times, steps, written = (np.concatenate(pair) for pair in zip(head, (times, steps, written), strict=True))
        self._last[group] = int(times[-1]), int(steps[-1]), int(written[-1])
        # Of two collectors with different grids the coarser one may have been alone.
        most = np.maximum(steps[:-1], steps[1:])
        for at in np.flatnonzero(np.diff(times) > most).tolist():
            self._hole(int(times[at]), int(times[at + 1]), int(most[at]), int(written[at]), int(written[at + 1]))

    def _hole(self, before: int, after: int, step: int, one_ns: int, other_ns: int) -> None:
        from_ns, to_ns = min(one_ns, other_ns, before), max(one_ns, other_ns)
        started = np.searchsorted(self._starts, (from_ns, to_ns), "left")
        if started[0] != started[1]:
            return
        if self._table == "bars":  # what is stated of bars goes by when they were closed
            told = self._cover.touches(from_ns, to_ns)
        else:
            told = self._cover.holds(before + step, after - step)
        if told:
            self._findings.of(self._table).explained_holes += 1
        else:
            missing = (after - before) // step - 1
            rows = "the row is" if missing == 1 else f"{missing:,} rows are"
            what = f"{rows} missing, up to {show_ns(after)}, and no gap tells of it"
            self._findings.hole(self._table, before + step, what)
