"""Deliverer: what reaches the backend, when, under which name, and what happens when it does not. Nothing sleeps."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from collector.core.batch import Batch
from collector.journal.codec import encode
from collector.journal.deliverer import Deliverer
from collector.journal.errors import DiskFull
from collector.journal.journal import Journal
from collector.journal.limits import DeliveryLimits
from collector.journal.plans import Damage
from storage_backends.errors import (
    PartialWriteError,
    PermanentBackendError,
    StorageFailed,
    StorageFull,
    TransientBackendError,
)
from storage_backends.interface import Backend, Market
from tests.journal.rows import BTC, ETH, START_NS, numbered, numbers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pyarrow as pa

    from collector.clock import ManualClock

Write = tuple[Market, tuple[int, ...], str, str]


class FakeBackend(Backend):
    """Keeps what was written; `trouble(market, ids)` raises what a write is to raise."""

    def __init__(self) -> None:
        self.calls: list[Write] = []
        self.stored: list[Write] = []
        self.trouble: Callable[[Market, tuple[int, ...]], None] = lambda market, ids: None
        self.sick: Exception | None = None

    def _write(self, table: str, market: Market, rows: pa.Table, writer: str, content_hash: str) -> None:
        call = (market, tuple(rows["update_id"].to_pylist()), writer, content_hash)
        self.calls.append(call)
        self.trouble(market, call[1])
        if call not in self.stored:
            self.stored.append(call)

    def check(self) -> None:
        if self.sick is not None:
            raise self.sick

    def ids(self, market: Market = BTC) -> list[int]:
        return [id_ for where, ids, *_ in self.stored if where == market for id_ in ids]

    def _scan(self, *_: Any) -> Any:
        raise NotImplementedError

    _stats = _markets = _tables = close = _scan  # type: ignore[assignment]


class Bench:
    """A deliverer on a clock that only `sleep` and the test move; pauses are 2, 4, 8, ... at most 60 s."""

    def __init__(self, journal: Journal, clock: ManualClock, **limits: float) -> None:
        self.journal, self.clock = journal, clock
        self.backend = FakeBackend()
        self.events: list[tuple[Market | None, str]] = []
        self.details: list[str] = []
        self.refused: list[tuple[Market, Batch]] = []
        self.damages: list[Damage] = []
        self.limits = DeliveryLimits(**limits)  # type: ignore[arg-type]
        self.deliverer = self.restart()

    def restart(self) -> Deliverer:
        self.deliverer = Deliverer(
            self.journal,
            self.backend,
            clock=self.clock,
            limits=self.limits,
            on_event=self._event,
            on_refused=lambda market, batches: self.refused.extend((market, batch) for batch in batches),
            on_damaged=lambda market, damage: self.damages.append(damage),
            wait=lambda state: min(60.0, 2.0**state.attempt_number),
            sleep=self.clock.advance,
        )
        return self.deliverer

    def _event(self, now_ns: int, market: Market | None, kind: str, detail: str) -> None:
        self.events.append((market, kind))
        self.details.append(detail)

    def run_for(self, seconds: int) -> None:
        for _ in range(seconds):
            self.deliverer.step()
            self.clock.advance(1)


@pytest.fixture
def bench(journal: Journal, clock: ManualClock) -> Bench:
    return Bench(journal, clock)


def always(error: Exception) -> Callable[[Market, tuple[int, ...]], None]:
    def trouble(market: Market, ids: tuple[int, ...]) -> None:
        raise error

    return trouble


def only(market: Market, error: Exception) -> Callable[[Market, tuple[int, ...]], None]:
    def trouble(where: Market, ids: tuple[int, ...]) -> None:
        if where == market:
            raise error

    return trouble


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


@pytest.mark.parametrize(
    "error", [PermanentBackendError("bad rows"), PartialWriteError("3 of 100", failed_keys=[(1,)])]
)
def test_poison_goes_to_the_dead_letters_and_the_rest_goes_on(bench: Bench, error: Exception) -> None:
    bench.backend.trouble = only(BTC, error)
    bench.journal.commit([(BTC, numbered(1, 3)), (ETH, numbered(4))], {})
    bench.clock.advance(300)
    assert bench.deliverer.step() == 2
    assert bench.backend.ids(ETH) == [4]
    assert bench.events == [(BTC, "dead_letter")]
    assert bench.details[0].startswith("3 rows of book_ticker went to the dead letters: ")
    assert bench.deliverer.counts.refused_rows == 3
    assert bench.journal.open_plans() == bench.journal.groups() == []


def test_rows_that_fit_no_table_are_poison_too(bench: Bench) -> None:
    bench.journal.commit([(BTC, Batch("book_ticker", {"update_id": [1]})), (ETH, numbered(4))], {})
    bench.clock.advance(300)
    bench.deliverer.step()
    assert bench.backend.ids(ETH) == [4]
    assert bench.events == [(BTC, "dead_letter")]


def test_lost_permissions_are_not_the_rows_fault(bench: Bench) -> None:
    bench.backend.trouble = always(PermanentBackendError("no permission"))
    bench.backend.sick = PermanentBackendError("no permission")
    bench.journal.commit([(BTC, numbered(1)), (ETH, numbered(2))], {})
    bench.clock.advance(300)
    bench.run_for(100)
    assert bench.deliverer.counts.refused_rows == 0
    bench.backend.trouble, bench.backend.sick = lambda market, ids: None, None
    bench.run_for(100)
    assert bench.backend.ids(BTC) + bench.backend.ids(ETH) == [1, 2]


def test_permissions_that_come_back_while_rows_are_judged(bench: Bench) -> None:
    def check() -> None:
        bench.backend.trouble = lambda market, ids: None

    bench.backend.trouble = always(PermanentBackendError("no permission"))
    bench.backend.check = check  # type: ignore[method-assign]
    bench.journal.commit([(BTC, numbered(1)), (ETH, numbered(2))], {})
    bench.clock.advance(300)
    assert bench.deliverer.step() == 2
    assert bench.backend.ids(BTC) + bench.backend.ids(ETH) == [1, 2]
    assert bench.deliverer.counts.refused_rows == 0
    assert bench.events == []


@pytest.mark.parametrize("lost_at", [1, 2])
def test_permissions_that_are_lost_while_rows_are_judged(bench: Bench, lost_at: int) -> None:
    looks = 0

    def check() -> None:
        nonlocal looks
        looks += 1
        if looks == lost_at:
            raise PermanentBackendError("no permission")

    bench.backend.trouble = always(PermanentBackendError("no permission"))
    bench.backend.check = check  # type: ignore[method-assign]
    bench.journal.commit([(BTC, numbered(1))], {})
    bench.clock.advance(300)
    assert bench.deliverer.step() == 0
    assert bench.deliverer.counts.refused_rows == 0
    bench.backend.trouble = lambda market, ids: None
    bench.run_for(10)
    assert bench.backend.ids(BTC) == [1]


def test_a_failed_device_stops_everything(bench: Bench) -> None:
    bench.journal.commit([(BTC, numbered(1))], {})
    bench.clock.advance(300)
    bench.backend.trouble = always(StorageFailed("fsync: EIO"))
    with pytest.raises(StorageFailed):
        bench.deliverer.run(threading.Event())
    assert len(bench.backend.calls) == 1
    assert len(bench.journal.open_plans()) == 1


def test_a_write_cut_off_by_a_crash_is_repeated_exactly(bench: Bench, clock: ManualClock) -> None:
    bench.journal.commit([(BTC, numbered(1)), (ETH, numbered(2))], {})
    bench.clock.advance(300)

    class Crash(BaseException):
        pass

    def trouble(market: Market, ids: tuple[int, ...]) -> None:
        if market == ETH:
            raise Crash

    bench.backend.trouble = trouble
    with pytest.raises(Crash):
        bench.deliverer.step()
    bench.backend.trouble = lambda market, ids: None
    bench.journal.commit([(BTC, numbered(3))], {})
    bench.journal.close()
    bench.journal = Journal.open(bench.journal.path, clock=clock)
    bench.restart()
    bench.deliverer.step()
    assert Counter(bench.backend.calls) == Counter(bench.backend.stored * 2)
    assert bench.backend.ids(BTC) == [1]
    assert bench.deliverer.drain(bench.clock.now_ns() + 10**9)
    assert bench.backend.ids(BTC) == [1, 3]
    bench.journal.close()


def test_drain_delivers_what_is_young(bench: Bench) -> None:
    bench.journal.commit([(BTC, numbered(1)), (ETH, numbered(2))], {})
    assert bench.deliverer.drain(bench.clock.now_ns() + 10**9)
    assert bench.backend.ids(BTC) + bench.backend.ids(ETH) == [1, 2]
    assert bench.deliverer.drain(bench.clock.now_ns())


def test_drain_gives_up_in_time_and_keeps_everything(bench: Bench) -> None:
    bench.journal.commit([(BTC, numbered(1))], {})
    bench.backend.trouble = always(TransientBackendError("away"))
    start_ns = bench.clock.now_ns()
    assert not bench.deliverer.drain(start_ns + 30 * 10**9)
    assert bench.clock.now_ns() - start_ns <= 30 * 10**9
    assert len(bench.backend.calls) == 4
    assert bench.deliverer.lag_s() > 0
    assert len(bench.journal.open_plans()) == 1


def test_drain_does_not_wait_for_pauses_of_before(bench: Bench) -> None:
    bench.journal.commit([(BTC, numbered(1))], {})
    bench.clock.advance(300)
    bench.backend.trouble = always(TransientBackendError("away", retry_after_s=3600))
    for _ in range(3):
        bench.deliverer.step()
    bench.backend.trouble = lambda market, ids: None
    assert bench.deliverer.drain(bench.clock.now_ns() + 10**9)
    assert bench.backend.ids() == [1]


def test_a_full_disk_delays_but_loses_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.journal.commit([(BTC, numbered(1))], {})
    bench.clock.advance(300)
    real_plan, real_acknowledge = bench.journal.plan, bench.journal.acknowledge
    full = DiskFull("full")

    def refuse(*_: Any, **__: Any) -> Any:
        raise full

    monkeypatch.setattr(bench.journal, "plan", refuse)
    bench.run_for(20)
    assert bench.backend.calls == []
    monkeypatch.setattr(bench.journal, "plan", real_plan)
    monkeypatch.setattr(bench.journal, "acknowledge", refuse)
    bench.run_for(20)
    assert len(bench.backend.stored) == 1
    monkeypatch.setattr(bench.journal, "acknowledge", real_acknowledge)
    bench.run_for(70)
    assert bench.backend.ids() == [1]
    assert bench.journal.open_plans() == bench.journal.groups() == []


def test_a_disk_that_fills_up_while_delivered_rows_are_forgotten(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are forgotten in pieces. What is left of them is neither damaged nor written a second time."""
    for number in (1, 2, 3):
        bench.journal.commit([(BTC, numbered(number))], {})
    bench.clock.advance(300)
    monkeypatch.setattr("collector.journal.journal._PIECE", 1)
    real, calls = bench.journal._db.transaction, Counter[str]()

    def transaction(doing: str, *arguments: Any) -> Any:
        calls[doing] += 1
        if calls[doing] == 2 and doing.startswith("forgetting"):
            raise DiskFull("full")
        return real(doing, *arguments)

    monkeypatch.setattr(bench.journal._db, "transaction", transaction)
    bench.run_for(20)
    assert len(bench.backend.calls) == 1
    assert bench.events == []
    assert bench.journal.open_plans() == bench.journal.groups() == list(bench.journal.dead_letters()) == []
    assert bench.journal.held_bytes == 0
    assert bench.deliverer.counts.delivered_rows == 3


def test_what_is_known_of_damaged_batches_is_told(bench: Bench, path: Path) -> None:
    """Of each run of them: what stands beside it, and when it was committed."""
    for number in range(7):
        bench.journal.commit([(BTC, numbered(number))], {})
        bench.clock.advance(1)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE body SET body = zeroblob(40) WHERE id IN (1, 3, 4, 7)")
    bench.clock.advance(300)
    bench.run_for(5)
    assert bench.backend.ids() == [1, 4, 5]
    beside = [[one and numbers([one]) for one in (damage.before, damage.after)] for damage in bench.damages]
    assert beside == [[None, [1]], [[1], [4]], [[5], None]]
    seconds = [((one.from_ns - START_NS) / 1e9, (one.to_ns - START_NS) / 1e9) for one in bench.damages]
    assert seconds == [(-2, 0), (1, 3), (5, 6)]


def test_run_stops_when_told(bench: Bench) -> None:
    stop = threading.Event()
    bench.journal.commit([(BTC, numbered(1))], {})
    bench.clock.advance(300)
    bench.backend.trouble = lambda market, ids: stop.set()
    bench.deliverer.run(stop)
    assert bench.backend.ids() == [1]
    assert bench.journal.open_plans() == []


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


def test_of_a_write_only_what_holds_the_refused_rows_goes_to_the_dead_letters(bench: Bench) -> None:
    def trouble(market: Market, ids: tuple[int, ...]) -> None:
        if 5 in ids:
            raise PartialWriteError("a poisoned row", failed_keys=[(5,)])

    bench.backend.trouble = trouble
    bench.journal.commit([(BTC, numbered(1, 3))], {})
    bench.journal.commit([(BTC, numbered(4, 3))], {})
    bench.clock.advance(300)
    bench.run_for(2)
    assert [(market, list(batch.columns["update_id"])) for market, batch in bench.refused] == [(BTC, [5])]
    assert bench.deliverer.counts.refused_rows == 3, "a dead letter is a whole batch"
    assert bench.backend.ids(BTC) == [1, 2, 3]
    assert bench.journal.open_plans() == bench.journal.groups() == []


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


def test_damage_in_one_of_many_writes_that_are_loaded_together(bench: Bench, path: Path) -> None:
    bench.backend.rows_at_once = 1000
    markets = [Market("binance", f"M{number}") for number in range(5)]
    bench.journal.commit([(market, numbered(number, 3)) for number, market in enumerate(markets)], {})
    with sqlite3.connect(path) as db:
        db.execute("UPDATE body SET body = x'00' WHERE id = 3")
    bench.clock.advance(300)
    assert bench.deliverer.step() == 5
    assert [bench.backend.ids(market) for market in markets] == [[0, 1, 2], [1, 2, 3], [], [3, 4, 5], [4, 5, 6]]
    assert [letter[2] for letter in bench.journal.dead_letters()] == [markets[2]]


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
