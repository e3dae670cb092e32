"""Lags of each stage, and those that a grade is made of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from collector.clock import ManualClock
from collector.core.batch import Batch
from collector.core.decode import decode
from collector.core.gaps import Gap, GapLedger
from collector.core.inputs import AnchorArrived, Opened, SessionStarted, Tick
from collector.core.records import rows_batch
from collector.live_market import LiveMarket
from collector.watch import Watch
from storage_backends.interface import Market
from tests.core.exchange import START_NS, Exchange, text

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


def test_the_lag_of_the_book_is_that_of_the_oldest_message_that_reaches_it() -> None:
    """In the market that replaces one that failed, too; without messages there is none."""
    clock = ManualClock(START_NS)
    exchange = Exchange(futures=True, seed=1)
    session = SessionStarted(exchange="binanceusdm", symbol="BTCUSDT", futures=True, channels=("depth",))
    live = LiveMarket(session, "BTC/USDT", {}, START_NS, None)
    venue: Any = SimpleNamespace(
        exchange="binanceusdm",
        markets={"BTCUSDT": live},
        recorder=SimpleNamespace(clock_offset_ns=0, clock_measured_ns=START_NS),
    )
    watch = Watch([venue], clock, None, lambda _: None)
    watch.attach(Market("binanceusdm", "BTCUSDT"), live)

    def second(number: int, *sent_ms: int) -> None:
        """Messages at those times after the second's start; it is closed 20 ms after its end."""
        for at_ms in sent_ms:
            now_ns = START_NS + number * SECOND_NS + at_ms * 1_000_000
            frame = text(exchange.diff(now_ns))
            live.message(now_ns, decode(frame), frame)
        if number == 0:
            live.apply(now_ns, AnchorArrived(now_ns, "test", 1000))
            live.anchor(now_ns, exchange.snapshot())
        clock.advance(1.02 if number == 0 else 1)
        live.apply(clock.now_ns(), Tick())
        watch.second(clock.now_ns())

    live.apply(START_NS, Opened(1, ["depth"]))
    second(0, 100, 300)
    second(1, 100, 300)
    second(2)
    live._begin_anew(clock.now_ns(), RuntimeError("of a test"))
    assert live.market._depth.on_applied is not None
    watch.finish()
    assert [lag_ms for batch in live.process_rows for lag_ms in batch.columns["book_lag_ms"]] == [None, 920.0, None]
    assert watch.of(Market("binanceusdm", "BTCUSDT")).book.totals.sum() == 1
