"""The one seam that gives the time. Nothing else reads a clock, but for deadlines of threads and of servers."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Gives the time in nanoseconds since the Unix epoch (UTC); never goes back while the process lives."""

    def now_ns(self) -> int:
        """The present, for stamps, deadlines and elapsed times alike."""
        ...

    def wall_step_ns(self) -> int:
        """How far the wall clock stands from this one: zero until somebody steps the wall clock."""
        ...


# CLOCK_BOOTTIME goes on while a laptop or a virtual machine sleeps; CLOCK_MONOTONIC does not. Linux only.
_ELAPSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """UTC wall clock at construction plus monotonic time since, so a stepped wall clock never moves a stamp."""

    def __init__(self) -> None:
        self._base_ns = time.time_ns() - time.clock_gettime_ns(_ELAPSED)

    def now_ns(self) -> int:
        return self._base_ns + time.clock_gettime_ns(_ELAPSED)

    def wall_step_ns(self) -> int:
        return time.time_ns() - self.now_ns()


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now_ns: int) -> None:
        self._now_ns = now_ns
        self.step_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def wall_step_ns(self) -> int:
        return self.step_ns

    def advance(self, seconds: float) -> None:
        """Moves the clock forward.

        Raises:
            ValueError: `seconds` is negative; the seam never goes back.
        """
        if seconds < 0:
            raise ValueError(f"a clock only goes forward, not by {seconds} s")
        self._now_ns += round(seconds * 1e9)
