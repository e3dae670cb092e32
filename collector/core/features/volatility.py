"""Volatility, everywhere per square root of a second: times sqrt(900) it is that of a quarter of an hour.

EWMA: mean of r²/Δt over returns of the mid price, the newest weighted 1, those before λ, λ², … with λ = 0.5^(Δt /
half-life), over ten half-lives at most, so that a value depends on a bounded past. Range estimators: Parkinson (1980),
Garman and Klass (1980), Rogers and Satchell (1991), means over one-minute bars. Prices seen at trades only bias these
low: with 200 steps a bar by 9 % (Parkinson) and 14 % (the other two) of the variance.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from collector.core.features.bars import Bar, Bars
from collector.core.features.registry import Value, feature
from collector.core.features.tape import RelativeVolume
from collector.core.features.top import Top
from collector.core.features.windows import Window, mean
from collector.core.features.workspace import Signal, Workspace
from collector.core.flow import EpochFlow

FAST_S, SLOW_S = 60, 600
_HALF_LIVES = 10
_BAR_S = 60
_RANGE_BARS, _RANGE_LEAST = 60, 20
_LN2 = math.log(2)


class Returns(Signal):
    """The log return of the mid price in this epoch; None where one of both ends is not known."""

    def __init__(self, workspace: Workspace) -> None:
        self._top = workspace.signal(Top)

    def start(self) -> None:
        self._last: float | None = None
        self.value: Value = None

    def update(self, flow: EpochFlow) -> None:
        before, self._last = self._last, self._top.mid
        known = before is not None and self._last is not None
        self.value = math.log(self._last / before) if known else None  # type: ignore[operator]


class Ewma(Signal):
    """EWMA volatility; None before two half-lives were seen."""

    def __init__(self, workspace: Workspace, half_life_s: int) -> None:
        self._returns = workspace.signal(Returns)
        self._interval_s = workspace.interval_s
        self._least = workspace.epochs(2 * half_life_s)
        size = workspace.epochs(_HALF_LIVES * half_life_s)
        weights = 0.5 ** (np.arange(size)[::-1] * workspace.interval_s / half_life_s)
        self._weights = weights
        self._totals = np.cumsum(weights[::-1])

    def start(self) -> None:
        self._squares = Window(len(self._weights))

    def update(self, flow: EpochFlow) -> None:
        moved = self._returns.value
        if moved is not None:
            self._squares.push(moved * moved)

    @property
    def value(self) -> Value:
        squares = self._squares.values
        count = len(squares)
        if count < self._least:
            return None
        weighted = float((squares * self._weights[-count:]).sum())
        return math.sqrt(weighted / (self._totals.item(count - 1) * self._interval_s))


class Ranges(Signal):
    """The range estimators over the last sixty bars of a minute; None before twenty."""

    def __init__(self, workspace: Workspace) -> None:
        self._bars = workspace.signal(Bars, _BAR_S)

    def start(self) -> None:
        self.parkinson: Value = None
        self.garman_klass: Value = None
        self.rogers_satchell: Value = None
        self._terms: deque[tuple[float, float, float]] = deque(maxlen=_RANGE_BARS)

    def update(self, flow: EpochFlow) -> None:
        bars = self._bars
        if bars.afresh:
            self.start()
        for bar in bars.closed:
            self._terms.append(range_terms(bar))
        if bars.closed and len(self._terms) >= _RANGE_LEAST:
            parts = [math.sqrt(max(0.0, mean(column)) / _BAR_S) for column in zip(*self._terms, strict=True)]
            self.parkinson, self.garman_klass, self.rogers_satchell = parts


def range_terms(bar: Bar) -> tuple[float, float, float]:
    """A bar's variance by Parkinson, by Garman and Klass, and by Rogers and Satchell."""
    spread, body = math.log(bar.high / bar.low), math.log(bar.close / bar.open)
    up, down = math.log(bar.high / bar.close), math.log(bar.low / bar.close)
    return (
        spread * spread / (4 * _LN2),
        0.5 * spread * spread - (2 * _LN2 - 1) * body * body,
        up * math.log(bar.high / bar.open) + down * math.log(bar.low / bar.open),
    )


def _register() -> None:
    unit = "per sqrt(s)"

    for name, half_life_s in (("fast", FAST_S), ("slow", SLOW_S)):

        @feature(f"vol_ewma_{name}", unit, f"EWMA volatility of the mid price, half-life {half_life_s} s",
                 (Ewma, half_life_s), source="v = l v + (1 - l) r^2 / dt, l = 0.5^(dt / half-life)",
                 warmup_s=2 * half_life_s + 1, memory_s=_HALF_LIVES * half_life_s + 1)  # fmt: skip
        def ewma(state: Ewma) -> Value:
            return state.value

    @feature("vol_blend", unit, "vol_ewma_fast and vol_ewma_slow, the faster the more volume there is",
             (Ewma, FAST_S), (Ewma, SLOW_S), (RelativeVolume, 60),
             source="w fast + (1 - w) slow, w = 0.5 + (rvol_1m - 1) / 2 within 0.2 to 0.9", warmup_s=2 * SLOW_S + 1,
             memory_s=None)  # fmt: skip
    def blend(fast: Ewma, slow: Ewma, volume: RelativeVolume) -> Value:
        one, other, relative = fast.value, slow.value, volume.value
        if one is None or other is None or relative is None:
            return None
        weight = min(0.9, max(0.2, 0.5 + (relative - 1) / 2))
        return weight * one + (1 - weight) * other

    ranges = {"warmup_s": (_RANGE_LEAST + 1) * _BAR_S - 1, "memory_s": None}

    @feature("vol_parkinson", unit, "volatility from high and low of one-minute bars of trades", Ranges,
             source="Parkinson (1980): mean ln(h/l)^2 / (4 ln 2)", **ranges)  # fmt: skip
    def parkinson(state: Ranges) -> Value:
        return state.parkinson

    @feature("vol_garman_klass", unit, "the same from high, low, open and close", Ranges,
             source="Garman, Klass (1980): mean 0.5 ln(h/l)^2 - (2 ln 2 - 1) ln(c/o)^2", **ranges)  # fmt: skip
    def garman_klass(state: Ranges) -> Value:
        return state.garman_klass

    @feature("vol_rogers_satchell", unit, "the same, unbiased by a drift", Ranges,
             source="Rogers, Satchell (1991): mean ln(h/c) ln(h/o) + ln(l/c) ln(l/o)", **ranges)  # fmt: skip
    def rogers_satchell(state: Ranges) -> Value:
        return state.rogers_satchell


_register()
