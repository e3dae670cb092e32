"""The last values of a series, and sums whose bits depend on the values alone.

`math.fsum` rounds once, so that neither order nor history decides about the last digit. Where a sum runs over
thousands of values, it runs over one contiguous array in order of time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Window:
    """The last `size` numbers, as one contiguous array in order of time."""

    __slots__ = ("_end", "_room", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._room = np.empty(2 * size + 64)
        self._end = 0

    def push(self, value: float) -> None:
        """Adds the newest one; the oldest leaves when there are `size`."""
        if self._end == len(self._room):
            self._room[: self.size - 1] = self._room[self._end - self.size + 1 :]
            self._end = self.size - 1
        self._room[self._end] = value
        self._end += 1

    def __len__(self) -> int:
        return min(self._end, self.size)

    @property
    def values(self) -> NDArray[np.float64]:
        """The numbers, oldest first; valid until the next `push`."""
        return self._room[max(0, self._end - self.size) : self._end]


def mean(values: Sequence[float]) -> float:
    """The mean of at least one value."""
    return math.fsum(values) / len(values)


def deviation(values: Sequence[float]) -> float:
    """The sample standard deviation (n - 1) of at least two values."""
    middle = mean(values)
    return math.sqrt(math.fsum([(value - middle) ** 2 for value in values]) / (len(values) - 1))


def median(values: Sequence[float]) -> float:
    """The median of at least one value."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
