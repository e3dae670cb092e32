"""What is written when, in which order, and after which pause again. Nothing sleeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from collector.core.batch import Batch
from collector.journal.codec import encode
from collector.journal.journal import Journal
from storage_backends.errors import StorageFull, TransientBackendError
from storage_backends.interface import Market
from tests.journal.bench import Bench, always, only
from tests.journal.rows import BTC, ETH, START_NS, numbered

if TYPE_CHECKING:
    from collector.clock import ManualClock


def test_a_group_is_written_when_its_oldest_row_is_old_enough(bench: Bench) -> None:
    bench.journal.commit([(BTC, numbered(1))], {})
    bench.clock.advance(299)
    bench.journal.commit([(BTC, numbered(2)), (ETH, numbered(9))], {})
    assert bench.deliverer.step() == 0
    assert bench.deliverer.lag_s() == 299
    bench.clock.advance(1)
    assert bench.deliverer.step() == 1
    assert bench.backend.ids(BTC) == [1, 2]
    assert bench.backend.ids(ETH) == []
    assert bench.deliverer.lag_s() == 1
    assert bench.deliverer.counts.delivered_rows == 2


@pytest.mark.parametrize("limits", [{"max_rows": 10}, {"max_bytes": 2 * len(encode(numbered(0, 5)))}])
def test_a_group_is_written_when_it_is_big_enough(journal: Journal, clock: ManualClock, limits: dict[str, int]) -> None:
    bench = Bench(journal, clock, **limits)
    for first in (0, 5):
        assert bench.deliverer.step() == 0
        journal.commit([(BTC, numbered(first, 5))], {})
    assert bench.deliverer.step() == 1
    assert bench.backend.ids() == list(range(10))


def test_a_backlog_is_worked_off_in_order_of_time_over_all_markets(journal: Journal, clock: ManualClock) -> None:
    bench = Bench(journal, clock, max_span_s=10)
    for second in range(30):
        journal.commit([(BTC, numbered(second)), (ETH, numbered(second))], {})
        clock.advance(1)
    clock.advance(1000)
    while bench.deliverer.step():
        pass
    spans = [(market.symbol, ids[0], ids[-1]) for market, ids, *_ in bench.backend.calls]
    assert spans == [(s, t, t + 9) for t in (0, 10, 20) for s in ("BTCUSDT", "ETHUSDT")]


def test_a_transient_failure_is_repeated_with_growing_pauses(bench: Bench) -> None:
    bench.journal.commit([(BTC, numbered(1))], {})
    bench.clock.advance(300)
    times: list[int] = []

    def trouble(market: Market, ids: tuple[int, ...]) -> None:
        times.append((bench.clock.now_ns() - START_NS) // 10**9 - 300)
        if len(times) < 6:
            raise TransientBackendError("503")

    bench.backend.trouble = trouble
    bench.run_for(200)
    assert times == [0, 2, 6, 14, 30, 62]
    assert bench.backend.ids() == [1]
    assert len(set(bench.backend.calls)) == 1
    assert bench.events == [(None, "backend_away"), (None, "backend_back")]
    assert bench.deliverer.counts.failures == 5
    assert bench.deliverer.counts.last_error == "TransientBackendError: 503"
    assert bench.deliverer.counts.away_since_ns is None


def test_the_backend_says_how_long_to_wait(bench: Bench) -> None:
    bench.journal.commit([(BTC, numbered(1))], {})
    bench.clock.advance(300)
    bench.backend.trouble = always(TransientBackendError("slow down", retry_after_s=50))
    bench.run_for(50)
    assert len(bench.backend.calls) == 1
    bench.run_for(1)
    assert len(bench.backend.calls) == 2


def test_while_the_backend_is_away_few_writes_are_tried(journal: Journal, clock: ManualClock) -> None:
    bench = Bench(journal, clock, flush_interval_s=1)
    markets = [Market("binanceusdm", f"M{n}USDT") for n in range(50)]
    bench.backend.trouble = always(StorageFull("no room"))
    for second in range(600):
        if second % 10 == 0:
            journal.commit([(market, numbered(second)) for market in markets], {})
        bench.run_for(1)
    assert len(bench.backend.calls) < 25
    assert len(journal.open_plans()) == len(markets)
    bench.backend.trouble = lambda market, ids: None
    bench.run_for(120)
    for market in markets:
        assert bench.backend.ids(market) == list(range(0, 600, 10))


@pytest.mark.parametrize("error", [TransientBackendError("this one only"), RuntimeError("a bug in the backend")])
def test_one_market_in_trouble_holds_up_no_other(journal: Journal, clock: ManualClock, error: Exception) -> None:
    bench = Bench(journal, clock, flush_interval_s=1)
    bench.backend.trouble = only(BTC, error)
    for second in range(100):
        journal.commit([(BTC, numbered(second)), (ETH, numbered(second))], {})
        bench.run_for(1)
    assert len(bench.backend.ids(ETH)) >= 95
    assert bench.backend.ids(BTC) == []
    assert bench.backend.calls.count(bench.backend.calls[0]) <= 8
    bench.backend.trouble = lambda market, ids: None
    bench.run_for(65)
    assert bench.backend.ids(BTC) == bench.backend.ids(ETH) == list(range(100))


def test_gaps_go_before_the_rows_that_they_explain(bench: Bench) -> None:
    """However young the gap is: a reader must not see a hole that nothing explains."""
    order: list[str] = []
    gap = {
        "gap_id": ["1-depth"],
        "revision": [0],
        "stream": ["depth"],
        "reason": ["sequence"],
        "from_id": [4],
        "to_id": [9],
        "from_ns": [START_NS],
        "to_ns": [START_NS + 1],
        "detected_ns": [START_NS + 1],
        "healed": [False],
        "healed_by": [None],
    }
    bench.backend._write = lambda table, *_: order.append(table)  # type: ignore[method-assign]
    bench.journal.commit([(BTC, numbered(0, 3))], {})
    bench.clock.advance(299)
    bench.journal.commit([(BTC, Batch("gaps", gap)), (ETH, Batch("gaps", gap))], {})
    bench.clock.advance(2)
    bench.deliverer.step()
    assert order == ["gaps", "book_ticker"], "and the other market's gap waits for its own time"


def test_a_backend_that_joins_writes_gets_them_together(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    real = bench.backend.write_many

    def write_many(writes: Any) -> Any:
        calls.append([f"{write.market.symbol} {write.rows.num_rows}" for write in writes])
        return real(writes)

    monkeypatch.setattr(bench.backend, "write_many", write_many)
    bench.backend.rows_at_once = 10
    markets = [Market("binance", f"M{number}") for number in range(5)]
    bench.journal.commit([(market, numbered(1, 4)) for market in markets], {})
    bench.clock.advance(300)
    assert bench.deliverer.step() == 5
    assert calls == [["M0 4", "M1 4"], ["M2 4", "M3 4"], ["M4 4"]]


def test_what_nobody_foresaw_holds_up_only_the_write_that_it_is_of(bench: Bench) -> None:
    bench.backend.rows_at_once = 1000
    markets = [Market("binance", f"M{number}") for number in range(20)]
    bench.backend.trouble = only(markets[7], ModuleNotFoundError("No module named 'pandas'"))
    bench.journal.commit([(market, numbered(1)) for market in markets], {})
    bench.clock.advance(300)
    assert bench.deliverer.step() == 0, "one request, and nobody knows what of it was stored"
    bench.run_for(10)
    assert [plan.market for plan in bench.journal.open_plans()] == [markets[7]]
    assert bench.deliverer.counts.refused_rows == 0
    assert "pandas" in str(bench.deliverer.counts.last_error)


def test_a_request_that_fails_is_one_failure_however_many_writes_were_in_it(bench: Bench) -> None:
    bench.backend.rows_at_once = 1000
    away = TransientBackendError("away")
    bench.backend.trouble = always(away)
    bench.journal.commit([(Market("binance", f"M{number}"), numbered(1)) for number in range(50)], {})
    bench.clock.advance(300)
    bench.deliverer.step()
    assert bench.deliverer.counts.failures == 1
    assert bench.deliverer.counts.away_since_ns is None
    bench.run_for(20)
    assert bench.deliverer.counts.away_since_ns is not None
    bench.backend.trouble = lambda market, ids: None
    bench.run_for(60)
    assert bench.journal.open_plans() == []
