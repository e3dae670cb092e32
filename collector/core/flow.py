"""What one market received in one epoch, for whoever computes rows from it: bars, features, the multi-tick book.

Streams settle when somebody drains, or when something asks for the book, so an epoch comes in pieces. They are put end
to end here before anybody computes, so that what is computed depends on the inputs alone: live and replay agree. A
market without consumers keeps no pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from collector.core.batch import Batch, Column, Fixed
from collector.core.book import Book

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

TABLES = frozenset({"trades", "raw_trades", "book_ticker", "mark_price", "liquidations"})
"""The tables whose rows make a flow."""


@dataclass(frozen=True, slots=True)
class Trades:
    """Trades in the order of receipt; every column has one entry a trade. Prices in quote, quantities in base currency.

    From aggTrades where they are collected, else from single trades: then all three ids are the trade's, and fills of
    the insurance fund and of auto-deleveraging are left out, as the exchange does in aggTrades. Where an exchange's ids
    are no integers they are those of table `raw_trades`.
    """

    recv_ns: Ints
    timestamp_ms: Ints
    price: Floats
    quantity: Floats
    is_buyer_maker: Flags
    first_id: Ints
    last_id: Ints
    agg_id: Ints

    def __len__(self) -> int:
        return len(self.recv_ns)


@dataclass(frozen=True, slots=True)
class Quotes:
    """Best quotes in the order of receipt, one entry a message; 0 for price and quantity of an empty side."""

    recv_ns: Ints
    update_id: Ints
    bid_price: Floats
    bid_quantity: Floats
    ask_price: Floats
    ask_quantity: Floats

    def __len__(self) -> int:
        return len(self.recv_ns)


@dataclass(frozen=True, slots=True)
class Liquidations:
    """Forced orders in the order of receipt, one entry a message: average price, and quantity filled in all."""

    recv_ns: Ints
    trade_time_ms: Ints
    side_is_sell: Flags
    price: Floats
    quantity: Floats

    def __len__(self) -> int:
        return len(self.recv_ns)


@dataclass(frozen=True, slots=True)
class Mark:
    """One message of the mark price stream. Prices in quote currency, the rate as a fraction; None where unsaid."""

    recv_ns: int
    event_ms: int
    mark_price: float
    index_price: float | None
    settle_price: float | None
    funding_rate: float | None
    next_funding_ms: int | None


@dataclass(frozen=True, slots=True)
class EpochFlow:
    """What epoch T is computed from: nothing in it was received at T or later.

    The columns hold what was received in [T - interval, T), late messages included: what counts is when they came, not
    when they were made. After a stall the first of the epochs that ended has it all, and the others are empty.

    Attributes:
        epoch: T, UTC seconds.
        book: the book at T; None while it is out of step.
        book_recv_ns: receipt of the last depth message before T; None before the first.
        valid: the depth row's flag: in step, connected, no open gap, and fresh.
        event_ms: the newest time that the last messages of the streams bore, by the exchange's clock; None before any.
        mark: the newest mark price, from whatever epoch; None before the first, or where it is not collected.
        trades_stream: where the trades come from: `trades`, or `raw_trades` where those are not collected.
        in_gap: streams that may lack something of this epoch, as known at T: those with an open gap, those that a gap
            touched in it, and those that were not connected yet. Names as in table `gaps`.
    """

    epoch: int
    book: Book | None
    book_recv_ns: int | None
    valid: bool
    event_ms: int | None
    trades: Trades
    quotes: Quotes
    mark: Mark | None
    liquidations: Liquidations
    in_gap: frozenset[str]
    trades_stream: str = "trades"


@runtime_checkable
class Listener(Protocol):
    """A consumer that also takes inputs."""

    def hear(self, happened: object) -> None:
        """Takes an input that reached the market between two epochs; what means nothing to it is passed over."""
        ...

    @property
    def wants_history(self) -> set[int]:
        """Lengths (s) of the bars whose past it lacks."""
        ...


class EpochConsumer(Protocol):
    """Computes rows from epochs. It must be a function of the flows alone: no clock, no IO."""

    def take(self, flow: EpochFlow) -> Iterable[Batch]:
        """Called once an epoch, in order; gives the rows that it finishes, which may be none."""
        ...


Columns = TypeVar("Columns", Trades, Quotes, Liquidations)


class FlowPieces:
    """Collects settled batches, and makes the columns of an epoch of them."""

    def __init__(self) -> None:
        self._batches: list[Batch] = []
        self._mark: Mark | None = None

    def add(self, batch: Batch) -> None:
        """Takes rows as they are settled, in the order of receipt within each table."""
        if batch.table in TABLES:
            self._batches.append(batch)

    def take(self, trades_table: str) -> tuple[Trades, Quotes, Mark | None, Liquidations]:
        """Everything since the last call, with trades from `trades_table`, and the newest mark price."""
        batches, self._batches = self._batches, []
        pieces: dict[str, list[Batch]] = {}
        for batch in batches:
            pieces.setdefault(batch.table, []).append(batch)
        for batch in pieces.get("mark_price", ())[-1:]:
            self._mark = _mark(batch.columns)
        trades = pieces.get(trades_table, ())
        made = _raw_trades if trades_table == "raw_trades" else _agg_trades
        return (
            _joined(Trades, [made(batch.columns) for batch in trades]),
            _joined(Quotes, [_quotes(batch.columns) for batch in pieces.get("book_ticker", ())]),
            self._mark,
            _joined(Liquidations, [_liquidations(batch.columns) for batch in pieces.get("liquidations", ())]),
        )


def _joined(kind: type[Columns], pieces: Sequence[Columns]) -> Columns:
    if len(pieces) == 1:
        return pieces[0]
    if not pieces:
        return NOTHING[kind]  # type: ignore[return-value]  # keyed by its own type
    return kind(*(np.concatenate([getattr(one, name) for one in pieces]) for name in _names(kind)))


def _names(kind: type[Any]) -> list[str]:
    return [field.name for field in fields(kind)]


def _agg_trades(columns: dict[str, Column]) -> Trades:
    return Trades(
        _ints(columns["recv_ns"]),
        _ints(columns["timestamp"]),
        _floats(columns["price"]),
        _floats(columns["quantity"]),
        np.array(columns["is_buyer_maker"], np.bool_),
        _ints(columns["first_id"]),
        _ints(columns["last_id"]),
        _ints(columns["agg_trade_id"]),
    )


def _raw_trades(columns: dict[str, Column]) -> Trades:
    ids = _ints(columns["trade_id"])
    trades = Trades(
        _ints(columns["recv_ns"]),
        _ints(columns["timestamp"]),
        _floats(columns["price"]),
        _floats(columns["quantity"]),
        np.array(columns["is_buyer_maker"], np.bool_),
        ids,
        ids,
        ids,
    )
    on_market = np.array([kind in (None, "MARKET") for kind in columns["order_type"]], np.bool_)  # type: ignore[union-attr]
    if on_market.all():
        return trades
    return Trades(*(getattr(trades, name)[on_market] for name in _names(Trades)))


def _quotes(columns: dict[str, Column]) -> Quotes:
    return Quotes(
        _ints(columns["recv_ns"]),
        _ints(columns["update_id"]),
        _floats(columns["bid_price"]),
        _floats(columns["bid_quantity"]),
        _floats(columns["ask_price"]),
        _floats(columns["ask_quantity"]),
    )


def _liquidations(columns: dict[str, Column]) -> Liquidations:
    return Liquidations(
        _ints(columns["recv_ns"]),
        _ints(columns["trade_time"]),
        np.array([side == "SELL" for side in columns["side"]], np.bool_),  # type: ignore[union-attr]
        _floats(columns["average_price"]),
        _floats(columns["filled_quantity"]),
    )


def _mark(columns: dict[str, Any]) -> Mark:
    names = ("recv_ns", "event_time", "mark_price", "index_price", "settle_price", "funding_rate", "next_funding_time")
    values = [columns[name] for name in names]
    return Mark(*(value.floats()[-1].item() if isinstance(value, Fixed) else value[-1] for value in values))


def _ints(column: Column) -> Ints:
    return np.asarray(column, np.int64)


def _floats(column: Column) -> Floats:
    return column.floats() if isinstance(column, Fixed) else np.asarray(column, np.float64)


_INTS, _FLOATS, _FLAGS = np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.bool_)
NOTHING = {
    Trades: Trades(_INTS, _INTS, _FLOATS, _FLOATS, _FLAGS, _INTS, _INTS, _INTS),
    Quotes: Quotes(_INTS, _INTS, _FLOATS, _FLOATS, _FLOATS, _FLOATS),
    Liquidations: Liquidations(_INTS, _INTS, _FLAGS, _FLOATS, _FLOATS),
}
"""An epoch in which nothing came."""
