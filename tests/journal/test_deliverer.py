"""Once and exactly, whatever cuts off a write or its acknowledgement, and until when a stop waits. Nothing sleeps."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from collector.journal.errors import DiskFull
from collector.journal.journal import Journal
from storage_backends.errors import StorageFailed, TransientBackendError
from storage_backends.interface import Market
from tests.journal.bench import Bench, always
from tests.journal.rows import BTC, ETH, numbered

if TYPE_CHECKING:
    from collector.clock import ManualClock


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


def test_run_stops_when_told(bench: Bench) -> None:
    stop = threading.Event()
    bench.journal.commit([(BTC, numbered(1))], {})
    bench.clock.advance(300)
    bench.backend.trouble = lambda market, ids: stop.set()
    bench.deliverer.run(stop)
    assert bench.backend.ids() == [1]
    assert bench.journal.open_plans() == []
