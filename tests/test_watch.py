"""Lags that a grade is made of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from collector.clock import ManualClock
from collector.core.batch import Batch
from collector.watch import Watch
from storage_backends.interface import Market

SECOND_NS = 1_000_000_000
NOW_NS = 1_721_347_200 * SECOND_NS


def test_a_trade_fetched_for_a_gap_is_no_lag_of_the_network() -> None:
    venue: Any = SimpleNamespace(exchange="binance", markets={}, recorder=SimpleNamespace(clock_offset_ns=0))
    watch = Watch([venue], ManualClock(NOW_NS), None, lambda _: None)
    columns = {
        "timestamp": [NOW_NS // 1_000_000 - 10, NOW_NS // 1_000_000 - 60_000],
        "recv_ns": [NOW_NS, NOW_NS],
        "source": ["ws", "rest"],
    }
    watch.received(venue, "BTCUSDT", [Batch("trades", columns)])
    (lag_ms,) = watch.of(Market("binance", "BTCUSDT")).socket.percentiles(NOW_NS // SECOND_NS, 100)
    assert lag_ms is not None
    assert 10 <= lag_ms < 13
