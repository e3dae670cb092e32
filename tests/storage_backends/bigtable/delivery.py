"""A journal and a deliverer as in a live run, and what a test asks of the proxy before Bigtable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from collector.clock import ManualClock
from collector.journal.deliverer import Deliverer
from collector.journal.journal import Journal
from collector.journal.limits import DeliveryLimits
from storage_backends.bigtable.backend import BigtableBackend
from storage_backends.bigtable.client import Client
from storage_backends.bigtable.keys import DATA_TABLE
from storage_backends.bigtable.options import BigtableOptions
from storage_backends.interface import Market
from storage_backends.reading import read
from tests.bigtable_proxy import Fault
from tests.journal.rows import BTC, numbered

START_NS = 1_700_000_000_000_000_000


def always(fault: Fault, *methods: str) -> Callable[[str], Fault | None]:
    return lambda method: fault if not methods or method in methods else None


def first(count: int, fault: Fault) -> Callable[[str], Fault | None]:
    """The fault for so many writes, and then no more."""
    left = iter(range(count))
    return lambda method: fault if method == "MutateRows" and next(left, None) is not None else None


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


def cells(options: BigtableOptions) -> dict[bytes, list[tuple[bytes, int, bytes]]]:
    """Every cell of the data table, each of its versions."""
    from google.cloud.bigtable_v2.types import ReadRowsRequest

    reading = Client(options)
    request = ReadRowsRequest(table_name=f"{options.instance}/tables/{DATA_TABLE}")
    found = {found.key: found.cells for found in reading._stream(DATA_TABLE, request)}
    reading.close()
    return found
