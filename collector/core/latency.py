"""Lags as a histogram of fixed bounds, and percentiles of the last minute from it.

Fixed bounds, a tenth of a decade each, make adding cheap and merging exact: a percentile is right to 26 %, and the same
counts serve a metrics exporter. Lags below the first bound, negative ones among them (two clocks), count as the first.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

_DECADES: Final = (-1, 5)  # 0.1 ms … 100 s
_PER_DECADE: Final = 10

BOUNDS_MS: Final[NDArray[np.float64]] = 10.0 ** (
    np.arange(_DECADES[0] * _PER_DECADE, _DECADES[1] * _PER_DECADE + 1) / _PER_DECADE
)
"""Upper bounds of the histogram's bins; one more bin holds what is above the last."""


class LagWindow:
    """Lags of the last `window_s` seconds, and counts since the start.

    Attributes:
        totals: int64[bins], counts since the start.
        sum_ms: sum of all lags since the start.
    """

    def __init__(self, window_s: int = 60) -> None:
        self._window_s = window_s
        self._ring = np.zeros((window_s, len(BOUNDS_MS) + 1), np.int64)
        self._at_s: int | None = None
        self.totals: NDArray[np.int64] = np.zeros(len(BOUNDS_MS) + 1, np.int64)
        self.sum_ms = 0.0

    def add(self, now_s: int, lags_ms: ArrayLike) -> None:
        """Counts lags that were seen in second `now_s`; a second never goes back."""
        lags = np.atleast_1d(np.asarray(lags_ms, np.float64))
        self._turn(now_s)
        counts = np.bincount(np.searchsorted(BOUNDS_MS, lags), minlength=len(BOUNDS_MS) + 1)
        self._ring[now_s % self._window_s] += counts
        self.totals += counts
        self.sum_ms += float(lags.sum())

    def percentiles(self, now_s: int, *wanted: float) -> tuple[float | None, ...]:
        """The bounds in ms that these percentages of the window's lags do not exceed; None without lags.

        A lag beyond the last bound counts as infinite.
        """
        self._turn(now_s)
        cumulative = self._ring.sum(axis=0).cumsum()
        count = int(cumulative[-1])
        if not count:
            return (None,) * len(wanted)
        bounds = np.append(BOUNDS_MS, np.inf)
        return tuple(float(bounds[np.searchsorted(cumulative, count * share / 100)]) for share in wanted)

    def _turn(self, now_s: int) -> None:
        """Empties the seconds that have left the window."""
        if self._at_s is None:
            self._at_s = now_s
        passed = min(now_s - self._at_s, self._window_s)
        for second in range(now_s - passed + 1, now_s + 1):
            self._ring[second % self._window_s] = 0
        self._at_s = max(self._at_s, now_s)
