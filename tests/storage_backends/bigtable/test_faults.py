"""A server that is away, slow or lets nobody in, as in a live run: nothing lost, nothing twice, nobody waits."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import grpc
import pytest

from collector.clock import SystemClock
from collector.journal.deliverer import Deliverer
from collector.journal.journal import Journal
from collector.journal.limits import DeliveryLimits
from storage_backends.bigtable.backend import BigtableBackend
from storage_backends.reading import read
from tests.bigtable_proxy import Fault, Proxy
from tests.journal.rows import BTC, ETH, numbered
from tests.storage_backends.bigtable.delivery import Delivery, always


def test_six_hours_of_errors_lose_nothing(proxy: Proxy, delivery: Delivery, direct: BigtableBackend) -> None:
    for market in (BTC, ETH):
        delivery.second(market)
    proxy.trouble = always(Fault(grpc.StatusCode.UNAVAILABLE))
    before = len(proxy.requests)
    for _ in range(240):
        delivery.clock.advance(89)
        delivery.second(BTC, ETH)
    assert len(proxy.requests) - before < 1000, "pauses between the tries"
    assert any(event.startswith("backend_away: Bigtable does not answer") for event in delivery.events)
    proxy.trouble = lambda method: None
    for _ in range(70):
        delivery.second(BTC, ETH)
    assert delivery.stored(direct, BTC) == [0, *range(2, 312)]
    assert delivery.stored(direct, ETH) == list(range(1, 312))
    assert delivery.journal.open_plans() == []
    assert any(event.startswith("backend_back") for event in delivery.events)


def test_a_server_that_is_gone_and_comes_back(proxy: Proxy, delivery: Delivery, direct: BigtableBackend) -> None:
    delivery.second(BTC)
    proxy.stop()
    for _ in range(30):
        delivery.second(BTC)
    proxy.start()
    # gRPC tries the address again within its own few seconds.
    until = time.monotonic() + 20
    while len(delivery.stored(direct)) < 31 and time.monotonic() < until:
        delivery.second()
        time.sleep(0.02)
    assert delivery.stored(direct) == list(range(31))


@pytest.mark.parametrize("code", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED])
def test_lost_permission_refuses_no_row_and_heals_by_itself(
    proxy: Proxy, delivery: Delivery, direct: BigtableBackend, code: grpc.StatusCode
) -> None:
    proxy.trouble = always(Fault(code, "not you"))
    for _ in range(40):
        delivery.second(BTC)
    assert delivery.deliverer.counts.refused_rows == 0
    assert delivery.deliverer.counts.away_since_ns is not None
    assert "not you" in str(delivery.deliverer.counts.last_error)
    proxy.trouble = lambda method: None
    for _ in range(70):
        delivery.second()
    assert delivery.stored(direct) == list(range(40))


def test_a_backend_a_hundred_times_slower_keeps_nobody_from_committing(
    proxy: Proxy, tmp_path: Path, through: BigtableBackend, direct: BigtableBackend
) -> None:
    proxy.trouble = always(Fault(delay_s=0.4), "MutateRows")
    clock = SystemClock()
    journal = Journal.open(tmp_path / "journal.db", clock=clock)
    limits = DeliveryLimits(flush_interval_s=0.1)
    deliverer = Deliverer(journal, through, clock=clock, limits=limits)
    stop = threading.Event()
    thread = threading.Thread(target=deliverer.run, args=[stop])
    thread.start()
    slowest_s = 0.0
    for number in range(60):
        began = time.monotonic()
        journal.commit([(BTC, numbered(number)), (ETH, numbered(number))], {})
        slowest_s = max(slowest_s, time.monotonic() - began)
        time.sleep(0.02)
    stop.set()
    thread.join()
    assert slowest_s < 0.35, "a commit never waits for a request"
    assert deliverer.drain(clock.now_ns() + 30 * 10**9)
    journal.close()
    for market in (BTC, ETH):
        assert read(direct, "book_ticker", market)["update_id"].to_pylist() == list(range(60))
