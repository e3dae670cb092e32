"""The tape against slow versions, and the errors that others made."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from collector.core.features.windows import deviation, mean, median
from tests.core.features.bars import at_epochs, slow_bars
from tests.core.features.world import BASE, NS, World, book, flow, series, trades

FLOWS = World(11).flows(900)


def still(epoch: int, price: float, quantity: float = 1.0, maker: bool = False):
    around = book([(round(price - 0.1, 1), 1.0)], [(round(price + 0.1, 1), 1.0)])
    return flow(epoch, book=around, trades=trades(epoch, [(price, quantity, maker)]))


def test_cvd_by_hand() -> None:
    flows = [
        flow(BASE + 1, trades=trades(BASE + 1, [(10.0, 2.0, False), (11.0, 0.5, True)])),
        flow(BASE + 2),
        flow(BASE + 3, trades=trades(BASE + 3, [(20.0, 4.0, True)])),
    ]
    cvd, quote, anchor = series(flows, "cvd", "cvd_quote", "cvd_anchor")
    assert cvd == [1.5, 1.5, -2.5]  # a buyer who is the maker was sold to
    assert quote == [20 - 5.5, 14.5, 14.5 - 80]
    assert anchor == [BASE] * 3


def test_cvd_says_from_where_it_counts_after_a_gap() -> None:
    flows = [still(BASE + at, 100.0) for at in range(1, 6)]
    flows[2] = replace(flows[2], in_gap=frozenset({"trades"}))
    cvd, anchor = series(flows, "cvd", "cvd_anchor")
    assert cvd == [1, 2, None, 1, 2]
    assert anchor == [BASE, BASE, None, BASE + 3, BASE + 3]


def test_cvd_slopes() -> None:
    cvd, thirty, sixty = series(FLOWS[:200], "cvd", "cvd_slope_30s", "cvd_slope_60s")
    assert thirty[30:] == pytest.approx([now - then for now, then in zip(cvd[30:], cvd, strict=False)])
    assert sixty[60:] == pytest.approx([now - then for now, then in zip(cvd[60:], cvd, strict=False)])


@pytest.mark.parametrize(("name", "length_s", "most"), [("rvol_5s", 5, 60), ("rvol_15s", 15, 40), ("rvol_1m", 60, 60)])
def test_relative_volume_leaves_the_current_bar_out(name: str, length_s: int, most: int) -> None:
    bars = slow_bars(FLOWS, length_s)
    wanted = [
        bar.volume / float(np.mean([one.volume for one in bars[max(0, at - most) : at]])) if at >= 10 else None
        for at, bar in enumerate(bars)
    ]
    assert series(FLOWS, name)[0] == pytest.approx(at_epochs(FLOWS, [bar.end for bar in bars], wanted))


def test_impulse_and_spikes() -> None:
    bars = slow_bars(FLOWS, 5)
    moves = [math.log(after.close / before.close) for before, after in pairwise(bars)]
    impulse, z, hampel = [], [], []
    for at, (moved, bar) in enumerate(zip(moves, bars[1:], strict=True)):
        floor = 0.05 / bar.close
        past, recent = moves[max(0, at - 120) : at], moves[max(0, at - 60) : at]
        impulse.append(abs(moved) / max(float(np.median(np.abs(past))), floor) if at >= 30 else None)
        if at < 12:
            z.append(None)
            hampel.append(None)
            continue
        z.append((moved - float(np.mean(recent))) / max(float(np.std(recent, ddof=1)), floor))
        middle = float(np.median(recent))
        spread = 1.4826 * float(np.median(np.abs(np.array(recent) - middle)))
        hampel.append((moved - middle) / max(spread, floor))
    ends = [bar.end for bar in bars[1:]]
    found = series(FLOWS, "impulse", "spike_z", "spike_hampel")
    assert found[0] == pytest.approx(at_epochs(FLOWS, ends, impulse))
    assert found[1] == pytest.approx(at_epochs(FLOWS, ends, z))
    assert found[2] == pytest.approx(at_epochs(FLOWS, ends, hampel))


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_impulse_after_standing_still_has_the_unit_of_a_price_step(scale: float) -> None:
    """Median 0. An epsilon in place of the scale would give a number that depends on the currency."""
    flows = []
    for at in range(1, 206):
        price = 100.0 * scale if at <= 200 else 100.1 * scale
        step = 0.1 * scale
        around = book([(price - step, 1.0)], [(price + step, 1.0), (price + 2 * step, 1.0)])
        flows.append(flow(BASE + at, book=around, trades=trades(BASE + at, [(price, 1.0, False)])))
    # One step is two half steps, and ln(1.001) is less than 0.001.
    assert series(flows, "impulse")[0][-1] == pytest.approx(2.0, rel=2e-3)


def test_rate_of_change() -> None:
    closes = [one.trades.price[-1] for one in FLOWS]
    for name, span in (("roc_30s", 30), ("roc_60s", 60)):
        found = series(FLOWS[:300], name)[0]
        assert found[:span] == [None] * span
        assert found[span:] == pytest.approx([1e4 * (closes[at] / closes[at - span] - 1) for at in range(span, 300)])


def test_time_since_the_last_trade() -> None:
    flows = [flow(BASE), *(still(BASE + 1, 100.0), flow(BASE + 2), flow(BASE + 8))]
    recv_ns = (BASE + 1) * NS - NS + 1
    assert series(flows, "trade_age_s")[0] == [None, *(((BASE + at) * NS - recv_ns) / NS for at in (1, 2, 8))]


def test_volumes() -> None:
    flows = [flow(BASE, trades=trades(BASE, [(1.0, 2.0, False), (1.0, 3.0, True), (1.0, 4.0, True)])), flow(BASE + 1)]
    assert series(flows, "volume_buy", "volume_sell") == [[2, 0], [7, 0]]


def test_absorption() -> None:
    """15 minutes of quiet trade, a fall of 40 bps on ten times the volume, then a price that stands still."""
    flows = [still(BASE + at, 1000.0 + at % 2 / 10) for at in range(1, 1001)]
    flows += [still(BASE + at, 996.0, 10.0, maker=True) for at in range(1001, 1006)]
    flows += [still(BASE + at, 996.0) for at in range(1006, 1100)]
    score = series(flows, "absorption")[0]
    assert score[999] == 0
    assert score[1004::5][:6] == [30, 50, 70, 90, 100, 100]
    assert score[1004 + 5 * 12] == 0  # a minute later it is over


def test_absorption_ends_where_the_move_goes_on() -> None:
    flows = [still(BASE + at, 1000.0 + at % 2 / 10) for at in range(1, 1001)]
    flows += [still(BASE + at, 996.0, 10.0, maker=True) for at in range(1001, 1006)]
    flows += [still(BASE + at, 990.0, 0.1, maker=True) for at in range(1006, 1011)]
    assert series(flows, "absorption")[0][1004::5] == [30, 0]


def test_statistics() -> None:
    values = [3.0, 1.0, 4.0, 1.0, 5.5]
    assert mean(values) == pytest.approx(statistics.fmean(values))
    assert deviation(values) == pytest.approx(statistics.stdev(values))
    assert median(values) == statistics.median(values)
    assert median(values[:4]) == statistics.median(values[:4])
