"""What a simulator keeps does not grow with the time that it runs."""

from __future__ import annotations

import tracemalloc
from array import array
from pathlib import Path

import pytest

from collector.simulator import ledger, seeded
from collector.simulator.faults import Fate
from collector.simulator.instruments import simulated
from collector.simulator.ledger import Ledger
from collector.simulator.messages import Message
from collector.simulator.names import USDM
from collector.simulator.packed import PackedRows
from collector.simulator.seeded import STEP_MS, SeededMarket

KEEP = 2_000
NOW_MS = 1_700_000_000_000


def test_the_newest_rows_are_there_and_the_others_are_not():
    rows = PackedRows(50, 2, lambda number, square: (number, square))
    for number in range(1, 1001):
        rows.append(number, number * number)
        assert len(rows) == min(number, 50)
        assert rows[-1] == (number, number * number)
    kept = [(number, number * number) for number in range(951, 1001)]
    assert list(rows) == kept
    for cut in (slice(-3, None), slice(2, 5), slice(None), slice(60, 70), slice(None, None, -1)):
        assert rows[cut] == kept[cut]
    with pytest.raises(IndexError):
        rows[50]
    with pytest.raises(IndexError):
        rows[-51]
    with pytest.raises(ValueError, match="2 integers, not 3"):
        rows.append(1, 2, 3)


def test_a_market_holds_no_more_after_it_traded_ten_times_what_it_keeps(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(seeded, "_HISTORY_ROWS", KEEP)
    market = SeededMarket(simulated(USDM, 1)[0], 1, 300, 20.0, 400.0, NOW_MS)
    held = []
    tracemalloc.start()
    try:
        for step in range(1, 1001):
            market.advance(NOW_MS + step * STEP_MS, ())
            if step in (500, 1000):
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    ids = [row["a"] for row in market.history]
    assert ids == list(range(market.model.last_fill_id - KEEP + 1, market.model.last_fill_id + 1))
    assert len(market.single_trades) == KEEP
    assert market.single_trades[-1]["id"] == market.model.last_trade_id
    assert held[1] < held[0] + 100_000, held


def test_a_ledger_forgets_the_oldest_ids_and_its_folder_has_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledger, "_KEEP", KEEP)
    ids = list(range(0, 30_000, 3))
    for folder in (None, tmp_path / "sent", tmp_path / "sent"):
        book = Ledger(folder)
        for message_id in ids:
            book.record(Message(USDM, "BTCUSDT", "depth", 100, message_id, b""), Fate.SENT)
        answer = book.sent(USDM, "BTCUSDT", "depth", None)
        assert answer["sent"] == ids[-KEEP:]
        assert answer["truncated"]
        if folder is None:
            assert answer["file"] is None
            continue
        written = array("q")
        written.frombytes(Path(answer["file"]).read_bytes())
        assert list(written) == ids, "once, also where an earlier ledger wrote"
