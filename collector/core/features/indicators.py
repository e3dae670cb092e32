"""Technical indicators over one-minute bars of trades, computed by talipp as each bar ends.

talipp is imported when one of them is asked for; it comes with `pip install depth-collector[indicators]`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from collector.core.features.bars import Bars
from collector.core.features.registry import Value, feature
from collector.core.features.workspace import Signal, Workspace
from collector.core.flow import EpochFlow

_BAR_S = 60
_KEPT = 200


class Kind(NamedTuple):
    """How an indicator is made, and whether it takes whole bars or closes only."""

    make: Callable[[Any], Any]
    whole_bars: bool = False


KINDS = {
    "ema_20": Kind(lambda talipp: talipp.EMA(20)),
    "ema_50": Kind(lambda talipp: talipp.EMA(50)),
    "rsi_14": Kind(lambda talipp: talipp.RSI(14)),
    "macd": Kind(lambda talipp: talipp.MACD(12, 26, 9)),
    "adx_14": Kind(lambda talipp: talipp.ADX(14, 14), whole_bars=True),
    "atr_14": Kind(lambda talipp: talipp.ATR(14), whole_bars=True),
    "supertrend": Kind(lambda talipp: talipp.SuperTrend(10, 3), whole_bars=True),
    "roc_9": Kind(lambda talipp: talipp.ROC(9)),
}


class Indicator(Signal):
    """The newest output of one indicator of talipp; None before its first."""

    def __init__(self, workspace: Workspace, kind: str) -> None:
        from talipp import indicators
        from talipp.ohlcv import OHLCV

        self._kind = KINDS[kind]
        self._talipp: Any = indicators
        self._bar: Any = OHLCV
        self._bars = workspace.signal(Bars, _BAR_S)

    def start(self) -> None:
        self.value: Any = None
        self._indicator = self._kind.make(self._talipp)

    def update(self, flow: EpochFlow) -> None:
        if self._bars.afresh:
            self.start()
        for bar in self._bars.closed:
            whole = self._kind.whole_bars
            self._indicator.add(self._bar(bar.open, bar.high, bar.low, bar.close, bar.volume) if whole else bar.close)
            self.value = self._indicator[-1]
            if len(self._indicator) > 2 * _KEPT:
                self._indicator.purge_oldest(_KEPT)


class MoneyFlow(Signal):
    """Chaikin money flow: Σ v ((c - l) - (h - c)) / (h - l) / Σ v over the last twenty bars; talipp has none."""

    def __init__(self, workspace: Workspace) -> None:
        self._bars = workspace.signal(Bars, _BAR_S)

    def start(self) -> None:
        from collections import deque

        self.value: Value = None
        self._terms: Any = deque(maxlen=20)

    def update(self, flow: EpochFlow) -> None:
        import math

        if self._bars.afresh:
            self.start()
        for bar in self._bars.closed:
            spread = bar.high - bar.low
            placed = ((bar.close - bar.low) - (bar.high - bar.close)) / spread if spread else 0.0
            self._terms.append((placed * bar.volume, bar.volume))
        if self._bars.closed and len(self._terms) == 20:
            volume = math.fsum([one for _, one in self._terms])
            self.value = math.fsum([one for one, _ in self._terms]) / volume if volume else None


def _warm(bars: int) -> dict[str, Any]:
    return {"warmup_s": _BAR_S * (bars + 1) - 1, "memory_s": None}


def _part(name: str) -> Callable[[Indicator], Value]:
    def read(indicator: Indicator) -> Value:
        value = indicator.value
        part = getattr(value, name) if name and value is not None else value
        return None if part is None else float(part)

    return read


def _register() -> None:
    price = "quote currency"
    listed = [
        ("ema_20", price, "exponential average of 20 closes", "ema_20", "", 20),
        ("ema_50", price, "exponential average of 50 closes", "ema_50", "", 50),
        ("rsi_14", "0 to 100", "relative strength of 14 closes, Wilder's", "rsi_14", "", 15),
        ("macd", price, "EMA 12 less EMA 26 of closes", "macd", "macd", 26),
        ("macd_signal", price, "EMA 9 of macd", "macd", "signal", 34),
        ("macd_histogram", price, "macd less macd_signal", "macd", "histogram", 34),
        ("adx_14", "0 to 100", "strength of the trend over 14 bars, Wilder's", "adx_14", "adx", 28),
        ("atr_14", price, "mean true range of 14 bars, Wilder's", "atr_14", "", 14),
        ("supertrend", price, "the line that trails price at three ATR 10", "supertrend", "value", 10),
        ("roc_9", "percent", "change of closes over 9 bars", "roc_9", "", 10),
    ]
    for name, unit, doc, kind, part, bars in listed:
        feature(name, unit, f"{doc}, one-minute bars", (Indicator, kind), source="talipp", **_warm(bars))(_part(part))

    @feature("supertrend_direction", "-1 or 1", "1: price is above supertrend, -1: below, one-minute bars",
             (Indicator, "supertrend"), source="talipp", **_warm(10))  # fmt: skip
    def direction(indicator: Indicator) -> Value:
        return None if indicator.value is None else (1.0 if indicator.value.trend.name == "UP" else -1.0)

    @feature("cmf_20", "-1 to 1", "Chaikin money flow over 20 one-minute bars", MoneyFlow,
             source="sum of v ((c - l) - (h - c)) / (h - l) over sum of v", **_warm(20))  # fmt: skip
    def money_flow(state: MoneyFlow) -> Value:
        return state.value


_register()
