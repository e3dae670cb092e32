"""Faults of the server, on a journal and a deliverer as in a live run: nothing lost, nothing twice, nobody waits."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from collector.clock import ManualClock, SystemClock
from collector.journal.deliverer import Deliverer
from collector.journal.journal import Journal
from collector.journal.limits import DeliveryLimits
from storage_backends.bigtable import client, writer
from storage_backends.bigtable.backend import BigtableBackend
from storage_backends.bigtable.client import Client
from storage_backends.bigtable.keys import DATA_TABLE, KeyRange
from storage_backends.bigtable.options import BigtableOptions
from storage_backends.contract import SECOND_WRITER, got, put
from storage_backends.contract_rows import row, rows, time_ns
from storage_backends.errors import PartialWriteError, PermanentBackendError, TransientBackendError
from storage_backends.interface import Market
from storage_backends.reading import read
from tests.bigtable_proxy import Fault, Proxy
from tests.journal.rows import BTC, ETH, numbered

ROOT = Path(__file__).parents[3]
START_NS = 1_700_000_000_000_000_000


def always(fault: Fault, *methods: str) -> Callable[[str], Fault | None]:
    return lambda method: fault if not methods or method in methods else None


def first(count: int, fault: Fault) -> Callable[[str], Fault | None]:
    """The fault for so many writes, and then no more."""
    left = iter(range(count))
    return lambda method: fault if method == "MutateRows" and next(left, None) is not None else None


@pytest.fixture
def through(proxy: Proxy, options: BigtableOptions) -> Iterator[BigtableBackend]:
    """A backend that reaches its instance by way of the proxy."""
    backend = BigtableBackend(BigtableOptions(options.project_id, options.instance_id, proxy.host))
    yield backend
    backend.close()


@pytest.fixture
def direct(options: BigtableOptions) -> Iterator[BigtableBackend]:
    """The same instance, whatever the proxy does."""
    backend = BigtableBackend(options)
    yield backend
    backend.close()


class Delivery:
    """A journal and a deliverer that delivers each second of a clock that is moved."""

    def __init__(self, path: Path, backend: BigtableBackend) -> None:
        self.clock = ManualClock(START_NS)
        self.journal = Journal.open(path, clock=self.clock)
        self.events: list[str] = []
        self.deliverer = Deliverer(
            self.journal,
            backend,
            clock=self.clock,
            limits=DeliveryLimits(flush_interval_s=1.0),
            on_event=lambda now_ns, market, kind, detail: self.events.append(f"{kind}: {detail}"),
        )
        self._next = 0

    def second(self, *markets: Market) -> None:
        """A second passes, in which each market has one row."""
        if markets:
            self.journal.commit([(market, numbered(self._next)) for market in markets], {})
            self._next += 1
        self.clock.advance(1)
        while self.deliverer.step():
            pass

    def stored(self, backend: BigtableBackend, market: Market = BTC) -> list[int]:
        found: list[int] = read(backend, "book_ticker", market)["update_id"].to_pylist()
        return found


@pytest.fixture
def delivery(tmp_path: Path, through: BigtableBackend) -> Iterator[Delivery]:
    made = Delivery(tmp_path / "journal.db", through)
    yield made
    made.journal.close()


def cells(options: BigtableOptions) -> dict[bytes, list[tuple[bytes, int, bytes]]]:
    """Every cell of the data table, each of its versions."""
    from google.cloud.bigtable_v2.types import ReadRowsRequest

    reading = Client(options)
    request = ReadRowsRequest(table_name=f"{options.instance}/tables/{DATA_TABLE}")
    found = {found.key: found.cells for found in reading._stream(DATA_TABLE, request)}
    reading.close()
    return found


# 17: away for hours


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


# 18: done, but nobody heard of it


@pytest.mark.parametrize("code", [grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE])
def test_a_timeout_after_the_write_leaves_one_copy(
    proxy: Proxy, delivery: Delivery, options: BigtableOptions, direct: BigtableBackend, code: grpc.StatusCode
) -> None:
    proxy.trouble = first(3, Fault(code, after=True))
    for _ in range(30):
        delivery.second(BTC)
    for _ in range(60):
        delivery.second()
    assert delivery.stored(direct) == list(range(30))
    assert delivery.deliverer.counts.failures == 3
    assert direct.stats("book_ticker", BTC).rows == 30
    assert {len(found) for key, found in cells(options).items() if b"!" not in key} == {1}


# 19: three of a hundred


def test_of_a_hundred_rows_only_the_three_that_failed_are_sent_again(
    proxy: Proxy, through: BigtableBackend, direct: BigtableBackend
) -> None:
    put(through, "trades", rows("trades", [0]))
    seen: dict[bytes, int] = {}

    def busy(key: bytes) -> tuple[int, str] | None:
        seen[key] = seen.get(key, 0) + 1
        return (14, "tablet is moving") if key[-1:] == b"7" and key[-2:-1] in b"123" and seen[key] == 1 else None

    proxy.trouble = always(Fault(rows=busy))
    proxy.row_counts.clear()
    put(through, "trades", rows("trades", range(100)))
    assert proxy.row_counts[0] == 101, "the rows, and the index of a slice that is new"
    assert 0 < sum(proxy.row_counts[1:]) <= 3
    assert got(direct, "trades") == rows("trades", range(100))


def test_rows_that_are_refused_for_good_are_named_and_the_others_stored(
    proxy: Proxy, through: BigtableBackend, direct: BigtableBackend
) -> None:
    bad = {row("trades", at)["agg_trade_id"] for at in (3, 50, 99)}

    def refuse(key: bytes) -> tuple[int, str] | None:
        return (3, "row too large") if any(key.endswith(f"#{one}".encode()) for one in bad) else None

    proxy.trouble = always(Fault(rows=refuse))
    with pytest.raises(PartialWriteError, match=r"agg_trade_id \d+ was refused: row too large, and 2 more") as caught:
        put(through, "trades", rows("trades", range(100)))
    assert set(caught.value.failed_keys) == {(one,) for one in bad}
    assert len(got(direct, "trades")) == 97


# 20: poison


def test_a_poisoned_row_goes_to_the_dead_letters_and_the_rest_goes_on(
    proxy: Proxy, delivery: Delivery, direct: BigtableBackend
) -> None:
    proxy.trouble = always(Fault(rows=lambda key: (3, "invalid") if key.endswith(b"#5") else None))
    for _ in range(10):
        delivery.second(BTC, ETH)
    for _ in range(5):
        delivery.second()
    for market in (BTC, ETH):
        assert delivery.stored(direct, market) == [one for one in range(10) if one != 5]
    assert delivery.deliverer.counts.refused_rows == 2
    (event, _) = delivery.events
    assert event.startswith("dead_letter: 1 rows of book_ticker")
    assert "update_id 5 was refused: invalid" in event


def test_rows_beyond_bigtables_limits_are_refused_here(
    through: BigtableBackend, direct: BigtableBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_id = row("gaps", 1, gap_id="x" * 5000)
    early = row("gaps", 2, detected_ns=-1)
    with pytest.raises(PartialWriteError, match="too long for a row key") as caught:
        put(through, "gaps", [row("gaps", 0), long_id, early])
    assert caught.value.failed_keys == (("x" * 5000, 1), (early["gap_id"], 1))
    assert got(direct, "gaps") == [row("gaps", 0)]
    monkeypatch.setattr(writer, "ROW_BYTES", 100_000)
    with pytest.raises(PartialWriteError, match=r"takes 100,\d+ bytes, 100,000 are possible"):
        put(through, "events", [row("events", 0, text=b"x" * 100_000)])
    assert got(direct, "events") == []


def test_a_row_of_several_megabytes_takes_several_cells(options: BigtableOptions, direct: BigtableBackend) -> None:
    levels = np.random.default_rng(1).random(100_000).tolist()
    made = row("snapshots", 1, bid_price=levels, bid_quantity=levels, ask_price=levels, ask_quantity=levels)
    put(direct, "snapshots", [made])
    (found,) = [found for key, found in cells(options).items() if b"!" not in key]
    assert len(found) == 4
    assert max(len(value) for *_, value in found) <= 1 << 20
    assert got(direct, "snapshots") == [made]
    assert direct.stats("snapshots", Market("binanceusdm", "BTCUSDT")).rows == 1


# 21: permission lost


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


# 23: slow


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


# 26: killed while it writes

_WRITER = """
import sys
from storage_backends.bigtable.backend import BigtableBackend
from storage_backends.bigtable.options import BigtableOptions
from storage_backends.contract_rows import arrow, rows
from storage_backends.interface import Market
backend = BigtableBackend(BigtableOptions(*sys.argv[1:4]))
for first in range(0, 1500, 100):
    made = arrow("diffs", rows("diffs", range(first, first + 100)))
    backend.write("diffs", Market("binanceusdm", "BTCUSDT"), made, writer="killed", content_hash=f"{first:08x}")
    print(first, flush=True)
"""


def test_killed_at_any_moment_and_repeated_everything_is_there_once(
    options: BigtableOptions, direct: BigtableBackend
) -> None:
    assert options.emulator_host is not None
    command = [sys.executable, "-c", _WRITER, options.project_id, options.instance_id, options.emulator_host]
    for after in (0, 600):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= after:
                break
        process.kill()
        process.wait()
        process.stdout.close()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    assert got(direct, "diffs") == rows("diffs", range(1500))
    assert {len(found) for found in cells(options).values()} == {1}


# 30: two collectors


def test_two_collectors_at_once_store_each_key_once_and_it_does_not_matter_who_is_first(
    options: BigtableOptions, direct: BigtableBackend
) -> None:
    mine = rows("trades", range(400))
    theirs = [row("trades", at, recv_ns=time_ns(at) - 5_000_000 * (-1) ** at) for at in range(400)]

    def collect(made: list[dict[str, Any]], writer: str) -> None:
        backend = BigtableBackend(options)
        for start in range(0, 400, 20):
            put(backend, "trades", made[start : start + 20], writer=writer)
        backend.close()

    threads = [threading.Thread(target=collect, args=pair) for pair in ((mine, "one"), (theirs, SECOND_WRITER))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    earliest = [min(pair, key=lambda made: made["recv_ns"]) for pair in zip(mine, theirs, strict=True)]
    assert got(direct, "trades") == earliest
    assert {len(found) for key, found in cells(options).items() if b"!" not in key} == {2}


# Reads


def test_a_read_goes_on_where_the_connection_broke(proxy: Proxy, through: BigtableBackend) -> None:
    put(through, "trades", rows("trades", range(200)))
    breaks = iter([0, 70, 1, 0, 90])

    def broken(method: str) -> Fault | None:
        messages = next(breaks, None) if method == "ReadRows" else None
        return None if messages is None else Fault(grpc.StatusCode.UNAVAILABLE, messages=messages)

    proxy.trouble = broken
    span = KeyRange(b"binanceusdm#BTCUSDT#trades#", b"binanceusdm#BTCUSDT#trades$")
    keys = [found.key for found in through._client.read(DATA_TABLE, span)]
    assert next(breaks, None) is None
    assert len(keys) == len(set(keys)) == 200
    assert keys == sorted(keys)
    breaks = iter([50, 50])
    assert [found.key for found in through._client.read(DATA_TABLE, span, limit=120)] == keys[:120]
    breaks = iter([3, 3])
    assert [found.key for found in through._client.read(DATA_TABLE, keys[10:20])] == keys[10:20]


def test_a_row_that_may_yet_be_taken_is_tried_again_before_another_is_judged(
    proxy: Proxy, through: BigtableBackend, direct: BigtableBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "OPERATION_TIMEOUT_S", 0.3)
    answers = {b"#4984028367547": (14, "tablet is moving"), b"#4984028367546": (7, "not you")}
    proxy.trouble = always(Fault(rows=lambda key: answers.get(key[-14:])))
    with pytest.raises(TransientBackendError, match="tablet is moving"):
        put(through, "trades", rows("trades", range(4)))
    del answers[b"#4984028367547"]
    with pytest.raises(PermanentBackendError, match="not you"):
        put(through, "trades", rows("trades", range(4)))
    answers.clear()
    put(through, "trades", rows("trades", range(4)))
    assert got(direct, "trades") == rows("trades", range(4))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, TransientBackendError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, TransientBackendError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, TransientBackendError),
        (grpc.StatusCode.ABORTED, TransientBackendError),
        (grpc.StatusCode.INTERNAL, TransientBackendError),
        (grpc.StatusCode.UNKNOWN, TransientBackendError),
        (grpc.StatusCode.CANCELLED, TransientBackendError),
        (grpc.StatusCode.PERMISSION_DENIED, PermanentBackendError),
        (grpc.StatusCode.UNAUTHENTICATED, PermanentBackendError),
        (grpc.StatusCode.NOT_FOUND, PermanentBackendError),
        (grpc.StatusCode.INVALID_ARGUMENT, PermanentBackendError),
    ],
)
def test_every_answer_is_repeat_or_not_on_one_line(
    proxy: Proxy, through: BigtableBackend, code: grpc.StatusCode, kind: type[Exception]
) -> None:
    proxy.trouble = always(Fault(code))
    for call in (
        lambda: put(through, "trades", rows("trades", [1])),
        lambda: got(through, "trades"),
        through.check,
        through.markets,
        lambda: through.stats("trades", BTC),
    ):
        with pytest.raises(kind) as caught:
            call()
        assert "\n" not in str(caught.value)
        assert "BIGTABLE_" in str(caught.value) or "fewer requests" in str(caught.value)
