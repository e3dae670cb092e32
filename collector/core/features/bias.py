"""Direction over four time frames: slope and moving averages of closes, as scores between 0.05 and 0.95.

A named heuristic with fixed weights, not a forecast that was fitted: above 0.55 it leans up, below 0.45 down.
"""

from __future__ import annotations

import math
from collections import deque

from collector.core.features.bars import Bars
from collector.core.features.registry import Value, feature
from collector.core.features.windows import mean
from collector.core.features.workspace import Signal, Workspace
from collector.core.flow import EpochFlow

FRAMES = {"1m": (60, 0.1), "5m": (300, 0.2), "15m": (900, 0.3), "1h": (3600, 0.4)}
"""Length of a bar in seconds, and weight in the whole."""

_SLOPE_BARS = 20
_FAST, _SLOW = 12, 26


class ExponentialAverage:
    """EMA with α = 2 / (n + 1) that starts from the mean of the first n values, as TA-Lib's does."""

    def __init__(self, length: int) -> None:
        self.value: Value = None
        self._length = length
        self._first: list[float] = []

    def add(self, price: float) -> None:
        """Takes the next value."""
        if self.value is not None:
            self.value += (price - self.value) * 2 / (self._length + 1)
            return
        self._first.append(price)
        if len(self._first) == self._length:
            self.value = mean(self._first)


class Frame(Signal):
    """The score of one time frame, renewed with each of its bars."""

    def __init__(self, workspace: Workspace, length_s: int) -> None:
        self._bars = workspace.signal(Bars, length_s)

    def start(self) -> None:
        self.value: Value = None
        self._logs: deque[float] = deque(maxlen=_SLOPE_BARS)
        self._fast, self._slow = ExponentialAverage(_FAST), ExponentialAverage(_SLOW)

    def update(self, flow: EpochFlow) -> None:
        if self._bars.afresh:
            self.start()
        for bar in self._bars.closed:
            self._logs.append(math.log(bar.close))
            self._fast.add(bar.close)
            self._slow.add(bar.close)
        fast, slow = self._fast.value, self._slow.value
        if self._bars.closed and fast is not None and slow is not None:
            averages_bps = 1e4 * (fast - slow) / slow
            leaning = 0.6 * _clip(slope_bps(self._logs) / 3, 1) + _clip(averages_bps / 15, 0.4)
            self.value = min(0.95, max(0.05, 0.5 + 0.45 * leaning))


def slope_bps(logs: deque[float]) -> float:
    """The slope of a least-squares line through log prices, in bps a bar."""
    middle = (len(logs) - 1) / 2
    centre = mean(logs)
    above = math.fsum([(place - middle) * (value - centre) for place, value in enumerate(logs)])
    return 1e4 * above / math.fsum([(place - middle) ** 2 for place in range(len(logs))])


def _clip(value: float, most: float) -> float:
    return min(most, max(-most, value))


def _register() -> None:
    source = "0.5 + 0.45 (0.6 clip(slope20 / 3) + clip((EMA12 - EMA26) / 15, 0.4)), in bps"
    keys = [(Frame, length_s) for length_s, _ in FRAMES.values()]
    weights = [weight for _, weight in FRAMES.values()]

    for name, (length_s, _) in FRAMES.items():

        @feature(f"bias_{name}", "0 to 1", f"direction over bars of {name}; 0.5: none, above: up", (Frame, length_s),
                 source=source, warmup_s=(_SLOW + 1) * length_s - 1, memory_s=None)  # fmt: skip
        def bias(frame: Frame) -> Value:
            return frame.value

    warmup_s = (_SLOW + 1) * 3600 - 1

    def whole(*frames: Frame) -> Value:
        values = [frame.value for frame in frames]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return None
        return math.fsum([weight * value for weight, value in zip(weights, known, strict=True)])

    @feature("bias", "0 to 1", "bias_1m, _5m, _15m and _1h together, weighted 0.1, 0.2, 0.3 and 0.4", *keys,
             source="weighted mean", warmup_s=warmup_s, memory_s=None)  # fmt: skip
    def bias_whole(*frames: Frame) -> Value:
        return whole(*frames)

    @feature("bias_strength", "0 to 1", "how far bias is from 0.5", *keys, source="2 |bias - 0.5|",
             warmup_s=warmup_s, memory_s=None)  # fmt: skip
    def strength(*frames: Frame) -> Value:
        value = whole(*frames)
        return None if value is None else 2 * abs(value - 0.5)


_register()
