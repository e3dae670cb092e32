"""Direction against TA-Lib's averages and NumPy's line."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import talib

from tests.core.features.bars import at_epochs, slow_bars
from tests.core.features.world import BASE, flow, series, trades


def walk(interval_s: int, count: int, seed: int = 3, drift: float = 0.0):
    chance, price, flows = random.Random(seed), 50_000.0, []
    for at in range(1, count + 1):
        price *= math.exp(chance.gauss(drift, 3e-4))
        epoch = BASE + at * interval_s
        flows.append(flow(epoch, trades=trades(epoch, [(round(price, 1), 1.0, False)])))
    return flows


def scores(closes: list[float]) -> list[float | None]:
    fast, slow = (talib.EMA(np.array(closes), length) for length in (12, 26))
    found: list[float | None] = []
    for at in range(len(closes)):
        if at < 25:
            found.append(None)
            continue
        slope = 1e4 * np.polyfit(np.arange(20), np.log(closes[at - 19 : at + 1]), 1)[0]
        averages = 1e4 * (fast[at] - slow[at]) / slow[at]
        x = 0.6 * min(1, max(-1, slope / 3)) + min(0.4, max(-0.4, averages / 15))
        found.append(min(0.95, max(0.05, 0.5 + 0.45 * x)))
    return found


@pytest.mark.parametrize(("name", "length_s"), [("bias_1m", 60), ("bias_5m", 300)])
def test_one_frame(name: str, length_s: int) -> None:
    flows = walk(20, 900 if length_s == 300 else 300)
    bars = slow_bars(flows, length_s)
    wanted = at_epochs(flows, [bar.end for bar in bars], scores([bar.close for bar in bars]))
    assert series(flows, name, interval_s=20)[0] == pytest.approx(wanted)
    assert len({one for one in wanted if one is not None}) > 5


def test_together() -> None:
    flows = walk(60, 1700, drift=1e-5)
    one, five, fifteen, hour, whole, strength = series(
        flows, "bias_1m", "bias_5m", "bias_15m", "bias_1h", "bias", "bias_strength", interval_s=60
    )
    assert whole[1558] is None  # 26 hours are 1560 minutes
    for at in (1559, 1699):
        wanted = 0.1 * one[at] + 0.2 * five[at] + 0.3 * fifteen[at] + 0.4 * hour[at]
        assert whole[at] == pytest.approx(wanted)
        assert strength[at] == pytest.approx(2 * abs(wanted - 0.5))


@pytest.mark.parametrize(("drift", "wanted"), [(1e-3, 0.95), (-1e-3, 0.05)])
def test_a_steady_rise_is_up_and_a_fall_is_down(drift: float, wanted: float) -> None:
    assert series(walk(60, 40, drift=drift), "bias_1m", interval_s=60)[0][-1] == wanted
