"""A market of any exchange through ccxt's unified book and trades: epochs, buckets and trades, but no exact diffs.

The book arrives whole, as it stood when a second ended in which it had changed. That is all an epoch needs, and the
same inputs in a capture give the same rows. Ids of updates mean something else on every exchange, so nothing can be
said about updates that were missed: `diffs` and `snapshots` stay empty, gaps have times and no ids, and an epoch is
valid only while the book is fresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from collector.core.book import WHOLE_CEILING, WHOLE_FLOOR, Book
from collector.core.decimals import BadNumber, Decimals, units_of
from collector.core.depth import Depth
from collector.core.gaps import GapLedger
from collector.core.inputs import (
    CollectorInput,
    Resume,
    SessionStarted,
    UnifiedBook,
    UnifiedTrade,
    UnifiedTrades,
    Verbatim,
)
from collector.core.market import Market
from collector.core.records import Records
from collector.core.side import EMPTY, Side
from collector.core.venues.trades import STREAM, UncountedSequencer, VenueTape, VenueTrade
from collector.core.venues.window import windowed

NOTICE = "book and trades as ccxt unifies them: no exact diffs, no snapshots; gaps have times and no ids"


class UnifiedDepth(Depth):
    """The book as it was last told."""

    def __init__(self, sequencer: UncountedSequencer, ledger: GapLedger, records: Records) -> None:
        super().__init__(sequencer, ledger, records, futures=False)
        self._stream = sequencer
        self._told_ms: int | None = None
        self._nonce: int | None = None

    @property
    def event_ms(self) -> int | None:
        return self._told_ms

    @property
    def last_id(self) -> int | None:
        return None if self.book is None else self._nonce

    def take(self, told: UnifiedBook, connection: int) -> None:
        """The book after its last change, which was received at `told.changed_ns`."""
        try:
            # Each book has decimals of its own: an absurd one must not spoil those that follow.
            price, quantity = Decimals(), Decimals()
            bids, asks = _side(told.bids, price, quantity), _side(told.asks, price, quantity)
        except BadNumber as error:
            text = msgspec.json.encode(told)
            self._records.quarantine(told.changed_ns, "depth", connection, str(error), text)
            self._lose_step(told.changed_ns, "quarantine")
            return
        self._stream.seen(told.changed_ns)
        self.last_recv_ns = told.changed_ns
        self._told_ms, self._nonce = told.timestamp_ms, told.nonce
        in_step = self.book is not None
        # Parsing the asks may have made the units of the bids too coarse.
        places = price.places or 0, quantity.places or 0
        book = Book(bids.at(*places), asks.at(*places), WHOLE_FLOOR, WHOLE_CEILING, 0, *places)
        self.book = windowed(book, None)
        self._sound_ns = told.changed_ns
        if not in_step:
            self._records.event(told.changed_ns, "in_step", stream="depth", detail="the unified book arrived")
        if self.on_applied is not None:
            self.on_applied(told.changed_ns)

    def lost(self) -> None:
        """The connection is gone: what is in the book grows old unseen."""
        self.book = None


class UnifiedMarket(Market):
    """The state of such a market in one session."""

    def __init__(self, start_ns: int, session: SessionStarted) -> None:
        super().__init__(start_ns, session)
        self._records.event(start_ns, "unified", detail=NOTICE)

    def apply(self, recv_ns: int, happened: CollectorInput) -> None:
        match happened:
            case UnifiedBook():
                self._advance(recv_ns)
                self._book.take(happened, self._connections.get("depth") or 0)
            case UnifiedTrades(trades):
                self._advance(recv_ns)
                for trade in trades:
                    self._trade(recv_ns, trade)
            case Verbatim(connection, text):
                self._advance(recv_ns)
                self._records.quarantine(recv_ns, None, connection, "ccxt could not handle it", text)
            case _:
                super().apply(recv_ns, happened)

    def _settle(self) -> None:
        super()._settle()
        self._trades.settle()

    def _build(self, resume: Resume) -> None:
        depth, trades = (
            UncountedSequencer(name, self._ledger, resume.positions.get(name)) for name in ("depth", STREAM)
        )
        self._sequencers = {"depth": depth, STREAM: trades}
        self._depth = self._book = UnifiedDepth(depth, self._ledger, self._records)
        self._tapes = {}
        self._trades = VenueTape(trades, self._ledger, self._records)

    def _closed(self, recv_ns: int, connection: int, channels: list[str], reason: str) -> None:
        super()._closed(recv_ns, connection, channels, reason)
        if self._connections.get("depth") is None:
            self._book.lost()

    def _trade(self, recv_ns: int, trade: UnifiedTrade) -> None:
        connection = self._connections.get(STREAM) or 0
        text = msgspec.json.encode(trade)
        if trade.timestamp_ms is None or trade.side not in ("buy", "sell"):
            self._records.quarantine(recv_ns, STREAM, connection, "a trade without time or side", text)
            self._ledger.record(STREAM, "quarantine", None, None, recv_ns, recv_ns, recv_ns)
            return
        self._trades.take(
            VenueTrade(
                recv_ns,
                connection,
                trade.ident,
                trade.timestamp_ms,
                trade.price,
                trade.quantity,
                trade.side == "sell",
                text,
            )
        )


class _Told(NamedTuple):
    """A side, and the decimals of its units."""

    side: Side
    price_places: int
    quantity_places: int

    def at(self, price_places: int, quantity_places: int) -> Side:
        return self.side.scaled(
            10 ** (price_places - self.price_places), 10 ** (quantity_places - self.quantity_places)
        )


def _side(levels: Sequence[tuple[float, float]], price: Decimals, quantity: Decimals) -> _Told:
    """Raises BadNumber: a level that is no pair of exact decimals."""
    pairs = np.array(levels, np.float64).reshape(-1, 2)
    side = EMPTY.merge(units_of(pairs[:, 0], price), units_of(pairs[:, 1], quantity))
    return _Told(side, price.places or 0, quantity.places or 0)
