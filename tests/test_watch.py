"""Lags that a grade is made of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from collector.clock import ManualClock
from collector.core.batch import Batch
from collector.core.gaps import Gap, GapLedger
from collector.core.records import rows_batch
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


def test_each_gap_counts_once_by_stream_and_reason() -> None:
    venue: Any = SimpleNamespace(exchange="binance", markets={}, recorder=SimpleNamespace(clock_offset_ns=0))
    watch = Watch([venue], ManualClock(NOW_NS), None, lambda _: None)
    ledger = GapLedger()
    for number in range(2):
        ledger.open("depth", "disconnect", 10 * number, NOW_NS + number, NOW_NS + number)
        ledger.close("depth", 10 * number + 5, NOW_NS + number)
    ledger.open("trades", "silent", None, NOW_NS, NOW_NS)
    values = [tuple(getattr(row, name) for name in Gap.__struct_fields__) for row in ledger.rows]
    watch.received(venue, "BTCUSDT", [rows_batch("gaps", Gap.__struct_fields__, values)])
    found = watch.of(Market("binance", "BTCUSDT")).stated
    assert found == {"depth": {"disconnect": 2}, "trades": {"silent": 1}}
