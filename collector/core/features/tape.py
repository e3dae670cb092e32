"""The tape: cumulative volume delta, relative volume, impulse, change, spikes, absorption.

All by receipt, and with the current bar left out of what it is compared with.
"""

from __future__ import annotations

import math
from collections import deque

from collector.core.features.avwap import Avwap
from collector.core.features.bars import Bar, Bars, EpochTrades
from collector.core.features.registry import Value, feature
from collector.core.features.top import Tick, Top
from collector.core.features.windows import deviation, mean, median
from collector.core.features.workspace import Signal, Workspace
from collector.core.flow import EpochFlow

_NS = 1_000_000_000
_RVOL_BARS = {5: 60, 15: 40, 60: 60}
_RVOL_LEAST = 10
_IMPULSE_BARS, _IMPULSE_LEAST = 120, 30
_SPIKE_BARS, _SPIKE_LEAST = 60, 12
_MAD_TO_DEVIATION = 1.4826


class Cvd(Signal):
    """Sums of taker buys less taker sells since `anchor`, the beginning of the first epoch without a gap before."""

    def __init__(self, workspace: Workspace) -> None:
        self._trades = workspace.signal(EpochTrades)
        self._interval_s = workspace.interval_s

    def start(self) -> None:
        self.anchor: int | None = None
        self.base = self.quote = 0.0

    def update(self, flow: EpochFlow) -> None:
        if self.anchor is None:
            self.anchor = flow.epoch - self._interval_s
        self.base += self._trades.buy - self._trades.sell
        self.quote += self._trades.buy_quote - self._trades.sell_quote


class CvdSlope(Signal):
    """Change of the CVD over the last `seconds`."""

    def __init__(self, workspace: Workspace, seconds: int) -> None:
        self._trades = workspace.signal(EpochTrades)
        self._epochs = workspace.epochs(seconds)

    def start(self) -> None:
        self._past: deque[float] = deque(maxlen=self._epochs)

    def update(self, flow: EpochFlow) -> None:
        self._past.append(self._trades.buy - self._trades.sell)

    @property
    def value(self) -> Value:
        """None before it spans `seconds`."""
        return math.fsum(self._past) if len(self._past) == self._epochs else None


class RelativeVolume(Signal):
    """Volume of the last bar over the mean of those before."""

    def __init__(self, workspace: Workspace, length_s: int) -> None:
        self._bars = workspace.signal(Bars, length_s)
        self._most = _RVOL_BARS[length_s]

    def start(self) -> None:
        self.value: Value = None
        self._past: deque[float] = deque(maxlen=self._most)

    def update(self, flow: EpochFlow) -> None:
        if self._bars.afresh:
            self.start()
        for bar in self._bars.closed:
            self.value = None
            if len(self._past) >= _RVOL_LEAST:
                usual = mean(self._past)
                self.value = bar.volume / usual if usual else None
            self._past.append(bar.volume)


class Moves(Signal):
    """Log returns of 5-second bars against those before.

    `impulse`: the size of the last one over the median size. `spike_z`: standard deviations from the mean.
    `spike_hampel`: robust deviations (1.4826 MAD) from the median. A scale is never taken smaller than half a price
    step, so that a market that stood still gives no huge numbers. None before there are enough bars.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._bars = workspace.signal(Bars, 5)
        self._tick = workspace.signal(Tick)

    def start(self) -> None:
        self.impulse: Value = None
        self.spike_z: Value = None
        self.spike_hampel: Value = None
        self.quiet = False  # whether the last bar moved less than usual
        self.direction = 0
        self._close: float | None = None
        self._returns: deque[float] = deque(maxlen=_IMPULSE_BARS)

    def update(self, flow: EpochFlow) -> None:
        for bar in self._bars.closed:
            self._take(bar)

    def _take(self, bar: Bar) -> None:
        before, self._close = self._close, bar.close
        if before is None:
            return
        moved = math.log(bar.close / before)
        self.direction = (moved > 0) - (moved < 0)
        tick = self._tick.find_quote()
        floor = 0.5 * tick / bar.close if tick else 0.0
        past = list(self._returns)
        self._returns.append(moved)
        self.impulse = self.spike_z = self.spike_hampel = None
        if len(past) >= _IMPULSE_LEAST:
            usual = max(median([abs(one) for one in past]), floor)
            self.impulse = abs(moved) / usual if usual else None
            self.quiet = abs(moved) <= usual
        recent = past[-_SPIKE_BARS:]
        if len(recent) >= _SPIKE_LEAST:
            spread = max(deviation(recent), floor)
            self.spike_z = (moved - mean(recent)) / spread if spread else None
            middle = median(recent)
            spread = max(_MAD_TO_DEVIATION * median([abs(one - middle) for one in recent]), floor)
            self.spike_hampel = (moved - middle) / spread if spread else None


class Change(Signal):
    """Change of the last trade's price over `seconds`, in bps."""

    def __init__(self, workspace: Workspace, seconds: int) -> None:
        self._trades = workspace.signal(EpochTrades)
        self._epochs = workspace.epochs(seconds)

    def start(self) -> None:
        self._past: deque[float] = deque(maxlen=self._epochs + 1)

    def update(self, flow: EpochFlow) -> None:
        if self._trades.last is not None:
            self._past.append(self._trades.last)

    @property
    def value(self) -> Value:
        """None before it spans `seconds`."""
        return 1e4 * (self._past[-1] / self._past[0] - 1) if len(self._past) > self._epochs else None


class Absorption(Signal):
    """A heuristic score of 0 to 100: much volume hits a price away from the anchored VWAP, and then it stands still.

    A 5-second bar with relative volume of 2.5 or more, an impulse of 2 or more, and 10 bps or more between microprice
    and AVWAP sets it to 30. Each of the next bars that moves no more than usual adds 20. A bar with an impulse of 2 or
    more in the same direction sets it back to 0, and so do twelve bars after the first.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._bars = workspace.signal(Bars, 5)
        self._volume = workspace.signal(RelativeVolume, 5)
        self._moves = workspace.signal(Moves)
        self._avwap = workspace.signal(Avwap)
        self._top = workspace.signal(Top)

    def start(self) -> None:
        self.value: Value = None
        self._bars_left = 0
        self._direction = 0

    def update(self, flow: EpochFlow) -> None:
        if not self._bars.closed:
            return
        impulse, volume, deviates = self._moves.impulse, self._volume.value, self._avwap.deviation_bps(self._top)
        if impulse is None or volume is None or deviates is None:
            self.value = None
            return
        score = self.value or 0.0
        moves = self._moves
        if self._bars_left and impulse >= 2 and moves.direction == self._direction:
            score = 0.0
        if volume >= 2.5 and impulse >= 2 and abs(deviates) >= 10:
            score, self._bars_left, self._direction = 30.0, 12, moves.direction
        elif self._bars_left:
            self._bars_left -= 1
            score = 0.0 if not self._bars_left else min(100.0, score + 20) if score and moves.quiet else score
        self.value = score


def _register() -> None:  # noqa: C901  a list of features
    @feature("cvd", "base currency", "taker buys less taker sells since cvd_anchor", Cvd,
             source="sum of s q", warmup_s=1, memory_s=None, cheap=True)  # fmt: skip
    def cvd(state: Cvd) -> Value:
        return state.base

    @feature("cvd_quote", "quote currency", "taker buys less taker sells since cvd_anchor", Cvd,
             source="sum of s q p", warmup_s=1, memory_s=None, cheap=True)  # fmt: skip
    def cvd_quote(state: Cvd) -> Value:
        return state.quote

    @feature("cvd_anchor", "s", "Unix time from which cvd counts: the end of the last gap, or the start",
             Cvd, source="stored, since a sum without its beginning means nothing", warmup_s=1, memory_s=None,
             cheap=True)  # fmt: skip
    def cvd_anchor(state: Cvd) -> Value:
        return None if state.anchor is None else float(state.anchor)

    for seconds in (30, 60):

        @feature(f"cvd_slope_{seconds}s", "base currency", f"cvd now, less that of {seconds} s ago",
                 (CvdSlope, seconds), source="CVD(t) - CVD(t - N)", warmup_s=seconds, memory_s=seconds)  # fmt: skip
        def slope(state: CvdSlope) -> Value:
            return state.value

    for length, name in ((5, "5s"), (15, "15s"), (60, "1m")):

        @feature(f"rvol_{name}", "ratio", f"volume of the last {name} bar over the mean of up to {_RVOL_BARS[length]} "
                 "bars before", (RelativeVolume, length), source="V / mean of V, current bar excluded",
                 warmup_s=length * (_RVOL_LEAST + 2) - 1, memory_s=None)  # fmt: skip
        def rvol(state: RelativeVolume) -> Value:
            return state.value

    def move_warmup(bars: int) -> int:
        return 5 * (bars + 3) - 1

    @feature("impulse", "ratio", "size of the last 5 s return over the median size of up to 120 before", Moves,
             source="|ln(c / c')| / max(median |ln|, half a price step / c)", warmup_s=move_warmup(_IMPULSE_LEAST),
             memory_s=None)  # fmt: skip
    def impulse(state: Moves) -> Value:
        return state.impulse

    @feature("spike_z", "standard deviations", "the last 5 s return against up to 60 before", Moves,
             source="(x - mean) / sample deviation, current bar excluded", warmup_s=move_warmup(_SPIKE_LEAST),
             memory_s=None)  # fmt: skip
    def spike_z(state: Moves) -> Value:
        return state.spike_z

    @feature("spike_hampel", "robust deviations", "the last 5 s return against up to 60 before; beyond 3 is a spike",
             Moves, source="Hampel (1974): (x - median) / (1.4826 MAD), current bar excluded",
             warmup_s=move_warmup(_SPIKE_LEAST), memory_s=None)  # fmt: skip
    def spike_hampel(state: Moves) -> Value:
        return state.spike_hampel

    for seconds in (30, 60):

        @feature(f"roc_{seconds}s", "bps", f"change of the last trade's price over {seconds} s", (Change, seconds),
                 source="1e4 (p / p' - 1)", warmup_s=seconds + 1, memory_s=None)  # fmt: skip
        def roc(state: Change) -> Value:
            return state.value

    @feature("volume_buy", "base currency", "what takers bought in this epoch", EpochTrades, source="sum of q",
             warmup_s=1, memory_s=1, cheap=True)  # fmt: skip
    def volume_buy(trades: EpochTrades) -> Value:
        return trades.buy

    @feature("volume_sell", "base currency", "what takers sold in this epoch", EpochTrades, source="sum of q",
             warmup_s=1, memory_s=1, cheap=True)  # fmt: skip
    def volume_sell(trades: EpochTrades) -> Value:
        return trades.sell

    @feature("trade_age_s", "s", "time since the last trade was received; above 5 the tape is silent", TradeAge,
             source="T - recv_ns", warmup_s=1, memory_s=None, cheap=True)  # fmt: skip
    def trade_age(age: TradeAge) -> Value:
        return age.value

    @feature("absorption", "0 to 100", "heuristic: much volume away from the AVWAP, and then no movement", Absorption,
             source=f"{__name__}.Absorption", warmup_s=904, memory_s=None)  # fmt: skip
    def absorption(state: Absorption) -> Value:
        return state.value


class TradeAge(Signal):
    """Seconds since the last trade was received."""

    def __init__(self, workspace: Workspace) -> None:
        self._trades = workspace.signal(EpochTrades)

    def start(self) -> None:
        self.value: Value = None

    def update(self, flow: EpochFlow) -> None:
        last_ns = self._trades.last_recv_ns
        self.value = None if last_ns is None else (flow.epoch * _NS - last_ns) / _NS


_register()
