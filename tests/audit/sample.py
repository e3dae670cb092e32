"""A store filled through the core, and hands to damage it with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from collector.core.inputs import AnchorArrived, AnchorRequested, Closed, Opened, SessionStarted, SessionStopped
from collector.core.market import Market as Core
from collector.store import StoreWriter
from storage_backends.interface import Backend, Market
from storage_backends.schema import known
from tests.audit.altered import rewrite
from tests.core.exchange import SECOND, START_NS, Exchange, text
from tests.core.script import Input, hand
from tests.stores import open_local

MARKET = Market("binanceusdm", "BTCUSDT")
CHANNELS = ("depth", "trades", "book_ticker")
TENTH = SECOND // 10


class Sample:
    """`received[i]` is (recv_ns, update) of the diffs that were received; files of five seconds each.

    `missed` are the tenths of a second in which there was no connection.
    """

    def __init__(self, folder: Path, seconds: int = 30, missed: tuple[int, int] = (120, 140)) -> None:
        self.folder = folder
        self.exchange = Exchange(futures=True, seed=3)
        self.received: list[tuple[int, int]] = []
        core = Core(START_NS, SessionStarted(exchange="binanceusdm", symbol="BTCUSDT", futures=True, channels=CHANNELS))
        store = open_local(folder)
        writer = StoreWriter(store, "test", ("--data-dir", "here"))
        self._core = core
        self._give(START_NS, Opened(1, list(CHANNELS)))
        for tick in range(seconds * 10):
            now = START_NS + (tick + 1) * TENTH
            diff, trade = self.exchange.diff(now), self.exchange.trade(now)
            if tick == missed[0]:
                self._give(now, Closed(1, list(CHANNELS), "disconnect"))
            elif tick == missed[1]:
                self._give(now, Opened(2, list(CHANNELS)))
            if not missed[0] <= tick < missed[1]:
                self._give(now, text(diff))
                self._give(now + 1, text(self.exchange.ticker()))
                self._give(now + 2, text(trade))
                self.received.append((now, diff["u"]))
            if tick in (10, 100, 160, 250):
                self._give(now + 3, AnchorRequested("test"))
                self._give(now + 4, AnchorArrived(now + 3, "test", 1000))
                self._give(now + 4, self.exchange.snapshot())
            if tick % 50 == 49:
                writer.add(*MARKET, core.drain())
                writer.flush()
        self._give(START_NS + seconds * SECOND + TENTH, SessionStopped("stopped"))
        writer.add(*MARKET, core.drain())
        writer.flush()
        store.close()

    @property
    def store(self) -> Backend:
        return open_local(self.folder)

    def schema(self, table: str) -> pa.Schema:
        """As rows of a table are written."""
        return known(table).schema

    def files(self, table: str) -> list[Path]:
        """The files of a table, oldest first."""
        return sorted((self.folder / table).rglob("*.parquet"))

    def change(self, file: Path, how: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        """Passes each row of a file through `how`; None drops it. Written anew, as whoever wants to deceive would."""
        rewrite(self.folder, file, how)

    def count_anew(self) -> None:
        """Makes the ids before the gap higher than those after it, as when the exchange began to count anew."""
        columns = {
            "diffs": ("first_id", "last_id", "prev_id"),
            "snapshots": ("last_update_id",),
            "book_ticker": ("update_id",),
            "trades": ("agg_trade_id",),
        }

        def higher(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
            earlier = row["recv_ns"] < START_NS + 14 * SECOND
            return {**row, **{name: row[name] + 5000 for name in names}} if earlier else row

        for table, names in columns.items():
            for file in self.files(table):
                self.change(file, partial(higher, names=names))
        for file in self.files("gaps"):
            self.change(file, lambda row: {**row, "from_id": row["from_id"] + 5000, "to_id": None})

    def _give(self, now_ns: int, what: Any) -> None:
        hand(self._core, Input(now_ns, what))
