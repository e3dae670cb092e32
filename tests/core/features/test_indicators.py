"""talipp's indicators, fed with our bars, against TA-Lib; Supertrend and money flow against slow versions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import talib

from tests.core.features.bars import SlowBar, at_epochs, slow_bars
from tests.core.features.world import World, series

FLOWS = World(61, 20).flows(600)
BARS = slow_bars(FLOWS, 60)
ENDS = [bar.end for bar in BARS]
OPEN, HIGH, LOW, CLOSE, VOLUME = (np.array([bar[k] for bar in BARS]) for k in range(1, 6))


def check(name: str, values: object, **tolerance: float) -> None:
    wanted = [None if math.isnan(one) else float(one) for one in values]  # type: ignore[attr-defined]
    found = series(FLOWS, name, interval_s=20)[0]
    assert found == pytest.approx(at_epochs(FLOWS, ENDS, wanted), **tolerance)
    assert sum(value is not None for value in wanted) > 100


@pytest.mark.parametrize("length", [20, 50])
def test_ema(length: int) -> None:
    check(f"ema_{length}", talib.EMA(CLOSE, length))


def test_rsi() -> None:
    check("rsi_14", talib.RSI(CLOSE, 14))


def test_atr() -> None:
    """talipp takes the first bar's range into its first mean, TA-Lib does not; after 100 bars little is left of it."""
    found = series(FLOWS, "atr_14", interval_s=20)[0]
    wanted = at_epochs(FLOWS, ENDS, talib.ATR(HIGH, LOW, CLOSE, 14).tolist())
    assert found[-250:] == pytest.approx(wanted[-250:], rel=1e-3)


def test_adx() -> None:
    """Likewise."""
    found = series(FLOWS, "adx_14", interval_s=20)[0]
    wanted = at_epochs(FLOWS, ENDS, talib.ADX(HIGH, LOW, CLOSE, 14).tolist())
    assert found[-150:] == pytest.approx(wanted[-150:], rel=2e-2)


def test_macd() -> None:
    """TA-Lib lets the fast average of MACD start later, talipp at its own twelfth close; the difference fades."""
    for name, values in zip(("macd", "macd_signal", "macd_histogram"), talib.MACD(CLOSE, 12, 26, 9), strict=True):
        found = series(FLOWS, name, interval_s=20)[0]
        wanted = at_epochs(FLOWS, ENDS, values.tolist())
        assert found[-200:] == pytest.approx(wanted[-200:], abs=1e-3), name


def test_rate_of_change_is_in_percent() -> None:
    check("roc_9", talib.ROC(CLOSE, 9))


def test_money_flow() -> None:
    flows = [
        ((bar.close - bar.low) - (bar.high - bar.close)) / (bar.high - bar.low) * bar.volume
        if bar.high > bar.low
        else 0
        for bar in BARS
    ]
    wanted = [math.nan] * 19 + [
        sum(flows[at - 19 : at + 1]) / VOLUME[at - 19 : at + 1].sum() for at in range(19, len(BARS))
    ]
    check("cmf_20", wanted)


def supertrend(bars: list[SlowBar], length: int, wide: int) -> list[tuple[float, float] | None]:
    """Wilder's ATR with the first range in the first mean, as talipp has it; bands that only tighten until crossed."""
    atr, found, ranges = math.nan, [], []
    upper = lower = math.nan
    up = False
    for at, bar in enumerate(bars):
        before = bars[at - 1].close if at else math.nan
        span = bar.high - bar.low
        ranges.append(span if not at else max(span, abs(bar.high - before), abs(bar.low - before)))
        if at < length - 1:
            found.append(None)
            continue
        atr = sum(ranges) / length if at == length - 1 else (atr * (length - 1) + ranges[-1]) / length
        middle = (bar.high + bar.low) / 2
        new_upper, new_lower = middle + wide * atr, middle - wide * atr
        first = math.isnan(upper)
        if not first:
            new_upper = new_upper if new_upper < upper or before > upper else upper
            new_lower = new_lower if new_lower > lower or before < lower else lower
            up = bar.close >= new_lower if up else bar.close > new_upper
        upper, lower = new_upper, new_lower
        found.append((lower if up else upper, 1.0 if up else -1.0))
    return found


def test_supertrend() -> None:
    wanted = supertrend(BARS, 10, 3)
    values, directions = series(FLOWS, "supertrend", "supertrend_direction", interval_s=20)
    lines = at_epochs(FLOWS, ENDS, [None if one is None else one[0] for one in wanted])
    ways = at_epochs(FLOWS, ENDS, [None if one is None else one[1] for one in wanted])
    turned = next(at for at in range(300, 600) if ways[at] != ways[at - 1])
    # How it begins is a matter of taste; from the first turn on it is not.
    assert directions[turned:] == ways[turned:]
    assert values[turned:] == pytest.approx(lines[turned:])
    assert len(set(ways[turned:])) == 2
