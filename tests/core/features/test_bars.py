"""Bars by receipt, and history before them."""

from __future__ import annotations

import pytest

from collector.core.features.bars import Bar, Bars
from collector.core.features.engine import FeatureEngine
from collector.core.features.registry import Feature, FeatureSet
from collector.core.inputs import History, Kline
from tests.core.features.bars import slow_bars
from tests.core.features.world import BASE, STREAMS, World, engine, flow, trades


def bars_of(flows, length_s: int, interval_s: int = 1) -> list[Bar]:
    made, found = watcher(length_s, interval_s)
    for one in flows:
        made.values(one)
    return found


def watcher(length_s: int, interval_s: int = 1) -> tuple[FeatureEngine, list[Bar]]:
    found: list[Bar] = []

    def opened(workspace):
        bars = workspace.signal(Bars, length_s)

        def read() -> None:
            if bars.afresh:
                found.clear()
            found.extend(bars.closed)

        return read

    one = Feature(name="bars", unit="-", doc="-", source="-", warmup_s=1, memory_s=1, open=opened)
    return FeatureEngine(FeatureSet("bars", (one,)), interval_s, STREAMS), found


@pytest.mark.parametrize(
    ("length_s", "interval_s"), [(5, 1), (15, 1), (60, 1), (300, 1), (60, 20), (900, 60), (300, 300)]
)
def test_against_trades_filed_by_second(length_s: int, interval_s: int) -> None:
    flows = World(1, interval_s).flows(2000 // interval_s + 30)
    found, wanted = bars_of(flows, length_s, interval_s), slow_bars(flows, length_s)
    assert [bar[:5] for bar in found] == [bar[:5] for bar in wanted]
    assert [bar.volume for bar in found] == pytest.approx([bar.volume for bar in wanted])
    assert all(bar.buy + bar.sell == pytest.approx(bar.volume) for bar in found)
    assert len(found) >= 3


def test_epochs_that_do_not_add_up_to_a_bar_give_none() -> None:
    assert bars_of(World(1, 7).flows(100), 5, 7) == []


def test_an_empty_bar_carries_the_price() -> None:
    flows = [flow(BASE + at) for at in range(1, 21)]
    flows[7] = flow(BASE + 8, trades=trades(BASE + 8, [(10.0, 1.0, False), (11.0, 2.0, True)]))
    found = bars_of(flows, 5)
    assert [(bar.end - BASE, *bar[1:6]) for bar in found] == [
        (10, 10.0, 11.0, 10.0, 11.0, 3.0),
        (15, 11.0, 11.0, 11.0, 11.0, 0.0),
        (20, 11.0, 11.0, 11.0, 11.0, 0.0),
    ]


def klines(interval: str, length_s: int, first: int, count: int) -> History:
    return History(
        interval,
        [
            Kline((first + at * length_s) * 1000, 10.0 + at, 12.0 + at, 9.0 + at, 11.0 + at, 5.0, 50.0, 2.0, 20.0, 3)
            for at in range(count)
        ],
    )


@pytest.mark.parametrize("at", [0, 70, 119, 130, 200])
def test_history_stands_before_the_bars_that_follow_on_it(at: int) -> None:
    """The session starts in the minute that begins at BASE; its klines are those until the end of that minute."""
    flows = World(2).flows(400)
    made, found = watcher(60)
    for one in flows[:at]:
        made.values(one)
    made.hear(klines("1m", 60, BASE - 540, 10))
    for one in flows[at:]:
        made.values(one)
    assert [bar.end for bar in found] == list(range(BASE - 480, flows[-1].epoch + 1, 60))
    assert found[0][1:] == (10.0, 12.0, 9.0, 11.0, 5.0, 2.0, 3.0, 20.0, 30.0)
    assert found[10:] == bars_of(flows, 60)


def test_history_with_a_hole_is_not_joined() -> None:
    flows = World(2).flows(400)
    for history in (klines("1m", 60, BASE - 600, 10), klines("5m", 300, BASE - 3000, 10)):
        made, found = watcher(60)
        made.hear(history)
        for one in flows:
            made.values(one)
        assert found == bars_of(flows, 60)
    holed = klines("1m", 60, BASE - 540, 10)
    del holed.klines[6]
    made, found = watcher(60)
    made.hear(holed)
    for one in flows:
        made.values(one)
    assert [bar.end for bar in found][:3] == [BASE - 60, BASE, BASE + 60]


def test_long_bars_take_the_minutes_of_history_that_they_lack() -> None:
    """The hour that runs is put together from minutes before the start and after it; hours before are klines."""
    start = BASE + 1800
    flows = [one for one in World(2, 60).flows(200) if one.epoch > start + 60]
    made, found = watcher(3600, 60)
    made.hear(klines("1h", 3600, BASE - 36_000, 10))
    made.hear(klines("1m", 60, BASE, 31))
    for one in flows:
        made.values(one)
    assert [bar.end for bar in found][:11] == list(range(BASE - 32_400, BASE + 3601, 3600))
    assert found[10].open == 10.0
    assert found[10].close == flows[-1].trades.price[-1] or found[10].end == BASE + 3600


def test_history_makes_indicators_warm_at_once() -> None:
    flows = World(2).flows(130)
    made = engine(["ema_20", "rsi_14", "bias_1m"])
    made.hear(klines("1m", 60, BASE - 60 * 299, 300))
    rows = [made.values(one) for one in flows]
    assert rows[117] == [None] * 3
    assert None not in rows[118]  # the first minute that was seen whole ends at BASE + 120
