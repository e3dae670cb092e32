"""Stored trades, quotes, liquidations and mark prices in the order of receipt, cut into epochs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from collector.core.epochs import SECOND_NS
from collector.core.flow import NOTHING, Liquidations, Mark, Quotes, Trades
from storage_backends.interface import Backend, Market

_CHUNK_NS = 3600 * SECOND_NS
_CLOCKS_NS = 60 * SECOND_NS
"""How far the exchange's clock, which some tables are filed by, may stand from ours."""

Span = tuple[int, int]
Columns = TypeVar("Columns", Trades, Quotes, Liquidations)


class _Source(NamedTuple):
    """A table, and the columns of it that make those of a flow; `ident` orders rows of one time."""

    table: str
    columns: tuple[str, ...]
    ident: str


SOURCES: dict[str, _Source] = {
    "trades": _Source(
        "trades",
        ("recv_ns", "timestamp", "price", "quantity", "is_buyer_maker", "first_id", "last_id", "agg_trade_id"),
        "agg_trade_id",
    ),
    "raw_trades": _Source(
        "raw_trades",
        ("recv_ns", "timestamp", "price", "quantity", "is_buyer_maker", "trade_id", "order_type"),
        "trade_id",
    ),
    "book_ticker": _Source(
        "book_ticker",
        ("recv_ns", "update_id", "bid_price", "bid_quantity", "ask_price", "ask_quantity"),
        "update_id",
    ),
    "liquidations": _Source(
        "liquidations", ("recv_ns", "trade_time", "side", "average_price", "filled_quantity"), "recv_ns"
    ),
}
_MARK = ("recv_ns", "event_time", "mark_price", "index_price", "settle_price", "funding_rate", "next_funding_time")


class StoredColumns:
    """One stream of a market by epoch. Ask for epochs in rising order; about an hour of rows is held at a time."""

    def __init__(self, backend: Backend, market: Market, stream: str, kind: type[Any], late: Iterable[Span]) -> None:
        """`late`: spans of receipt whose messages may have come much later than they were made."""
        self._backend = backend
        self._market = market
        self._source = SOURCES[stream]
        self._kind = kind
        self._late = [(start - _CLOCKS_NS, end + _CLOCKS_NS) for start, end in late]
        self._end_ns = 0
        self._held: Any = NOTHING[kind]

    def take(self, start_ns: int, end_ns: int) -> Any:
        """The columns of what was received in [start_ns, end_ns)."""
        if end_ns > self._end_ns:
            self._read(start_ns, max(end_ns, start_ns + _CHUNK_NS))
        first, last = np.searchsorted(self._held.recv_ns, (start_ns, end_ns))
        if first == last:
            return NOTHING[self._kind]
        return self._kind(*(getattr(self._held, one.name)[first:last] for one in fields(self._kind)))

    def _read(self, start_ns: int, end_ns: int) -> None:
        spans = [(start_ns - _CLOCKS_NS, end_ns + _CLOCKS_NS), *self._late]
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in self._source.columns}
        for span in spans:
            for rows in self._backend.scan(self._source.table, self._market, *span, self._source.columns):
                for name, pieces in parts.items():
                    pieces.append(_array(rows.column(name)))
        self._end_ns = end_ns
        if not parts["recv_ns"]:
            self._held = NOTHING[self._kind]
            return
        columns = {name: np.concatenate(pieces) for name, pieces in parts.items()}
        recv_ns = columns["recv_ns"]
        order = np.lexsort((columns[self._source.ident], recv_ns))
        order = order[(recv_ns[order] >= start_ns) & (recv_ns[order] < end_ns)]
        columns = {name: column[order] for name, column in columns.items()}
        if self._source.ident != "recv_ns" and len(order):  # spans may overlap
            ident, recv = columns[self._source.ident], columns["recv_ns"]
            fresh = np.concatenate(((True,), (ident[1:] != ident[:-1]) | (recv[1:] != recv[:-1])))
            columns = {name: column[fresh] for name, column in columns.items()}
        self._held = self._made(columns)

    def _made(self, columns: dict[str, NDArray[Any]]) -> Any:
        if self._source.table == "raw_trades":
            market = columns.pop("order_type")
            kept = np.array([one in (None, "MARKET") for one in market], np.bool_)
            columns = {name: column[kept] for name, column in columns.items()}
            ids = columns.pop("trade_id")
            recv_ns, timestamp, price, quantity, maker = columns.values()
            return Trades(recv_ns, timestamp, price, quantity, maker, ids, ids, ids)
        if self._source.table == "liquidations":
            columns["side"] = columns["side"] == "SELL"
        return self._kind(*columns.values())


def _array(column: Any) -> NDArray[Any]:
    return np.asarray(column.to_numpy(zero_copy_only=False))


def read_marks(backend: Backend, market: Market, start_ns: int, end_ns: int) -> Iterator[Mark]:
    """Mark prices in the order of receipt."""
    for from_ns in range(start_ns, end_ns, _CHUNK_NS):
        until_ns = min(end_ns, from_ns + _CHUNK_NS)
        found: list[Mark] = []
        for rows in backend.scan("mark_price", market, from_ns - _CLOCKS_NS, until_ns + _CLOCKS_NS, _MARK):
            found += [Mark(*row) for row in zip(*(rows.column(name).to_pylist() for name in _MARK), strict=True)]
        yield from sorted((one for one in found if from_ns <= one.recv_ns < until_ns), key=lambda one: one.recv_ns)
