"""A capture that goes on in a second file is replayed as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collector.clock import ManualClock
from collector.core.batch import Batch
from collector.core.inputs import SessionStarted, SessionStopped, Tick
from collector.core.venues.open import frame_decoder
from collector.recorder import Recorder
from collector.replay import Replay
from collector.sources.capture_writer import CaptureWriter
from collector.unified_recorder import UnifiedLiveMarket
from tests.venues.rows import SECOND, START, book_text, session, tables, trade_text


def test_the_second_file_of_a_capture_speaks_the_same_protocol(tmp_path: Path) -> None:
    clock = ManualClock(START)
    writer = CaptureWriter(tmp_path, "bybit", "BTCUSDT", clock, max_bytes=1)
    names = {"depth": "orderbook.50.BTCUSDT", "raw_trades": "publicTrade.BTCUSDT"}
    live = UnifiedLiveMarket(session("bybit"), "BTC/USDT", names, START, writer)
    recorder = Recorder({"BTCUSDT": live}, lambda *_: None, frame_decoder("bybit"))
    texts = [book_text("snapshot", 7, 1, {10: 5}, {11: 5})]
    texts += [book_text("delta", 8 + number, 2, {9: number}, {12: 1}) for number in range(6)]
    texts += [trade_text(5, "x-1"), "no JSON", '{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":"x"}']
    for number, text in enumerate(texts):
        at = START + (number + 1) * SECOND // 2
        clock.advance(0.5)
        recorder.frame(at, 1, text)
    live.apply(at, Tick())
    live.apply(at, SessionStopped("stopped"))
    live.close()
    assert len(writer.paths) > 3
    again: list[Batch] = []

    def emit(exchange: str, symbol: str, batches: list[Batch]) -> None:
        assert (exchange, symbol) == ("bybit", "BTCUSDT")
        again.extend(batches)

    template = SessionStarted(exchange="binanceusdm", symbol="", futures=True)
    Replay(template, (), emit).run(writer.paths)
    rows: dict[str, list[dict[str, Any]]] = tables(live.drain())
    assert rows == tables(again)
    assert len(rows["diffs"]) == 6
    assert [row["kind"] for row in rows["events"]].count("quarantine") == 2
