"""Streams of single prices: aggTrades, trades and best quotes. Deduplicated and checked by id, parsed by the second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from collector.core.batch import Batch, Column
from collector.core.decimals import BadNumber, Decimals, all_or_none, parse_column
from collector.core.decode import AggTrade, BookTicker, Trade, event_time_ms
from collector.core.gaps import GapLedger
from collector.core.records import Records
from collector.core.sequencer import Sequencer, Verdict


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A message that waits to be parsed, with the frame it came in."""

    recv_ns: int
    connection: int
    message: Any
    text: str | bytes
    source: str = "ws"


class TapeKind(NamedTuple):
    """What tells one tape from another: its table, ids, and columns."""

    table: str
    ident: Callable[[Any], int]
    event_time: Callable[[Any], int | None]
    columns: Callable[[Sequence[Entry], Decimals, Decimals], dict[str, Column]]
    contiguous: bool = True


def _trade_columns(entries: Sequence[Entry], price: Decimals, quantity: Decimals) -> dict[str, Column]:
    messages: list[AggTrade | Trade] = [entry.message for entry in entries]
    return {
        "price": parse_column([m.p for m in messages], price),
        "quantity": parse_column([m.q for m in messages], quantity),
        "is_buyer_maker": [m.m for m in messages],
        "timestamp": [event_time_ms(m.T) for m in messages],
        "recv_ns": [entry.recv_ns for entry in entries],
        "source": [entry.source for entry in entries],
    }


def _agg_trade_columns(entries: Sequence[Entry], price: Decimals, quantity: Decimals) -> dict[str, Column]:
    messages: list[AggTrade] = [entry.message for entry in entries]
    normal = [m.nq for m in messages if m.nq is not None]
    normal_values = iter(parse_column(normal, quantity).floats().tolist())
    return {
        "agg_trade_id": [m.a for m in messages],
        "first_id": [m.f for m in messages],
        "last_id": [m.l for m in messages],
        "normal_quantity": [None if m.nq is None else next(normal_values) for m in messages],
        **_trade_columns(entries, price, quantity),
    }


def _raw_trade_columns(entries: Sequence[Entry], price: Decimals, quantity: Decimals) -> dict[str, Column]:
    return {
        "trade_id": [entry.message.t for entry in entries],
        "order_type": [entry.message.X for entry in entries],
        **_trade_columns(entries, price, quantity),
    }


def _ticker_columns(entries: Sequence[Entry], price: Decimals, quantity: Decimals) -> dict[str, Column]:
    messages: list[BookTicker] = [entry.message for entry in entries]
    return {
        "update_id": [m.u for m in messages],
        "bid_price": parse_column([m.b for m in messages], price),
        "bid_quantity": parse_column([m.B for m in messages], quantity),
        "ask_price": parse_column([m.a for m in messages], price),
        "ask_quantity": parse_column([m.A for m in messages], quantity),
        "event_time": [None if m.E is None else event_time_ms(m.E) for m in messages],
        "transact_time": [None if m.T is None else event_time_ms(m.T) for m in messages],
        "recv_ns": [entry.recv_ns for entry in entries],
    }


KINDS = (
    TapeKind("trades", lambda m: m.a, lambda m: m.E, _agg_trade_columns),
    TapeKind("raw_trades", lambda m: m.t, lambda m: m.E, _raw_trade_columns),
    TapeKind("book_ticker", lambda m: m.u, lambda m: m.E, _ticker_columns, contiguous=False),
)


class Tape:
    """One such stream of one market."""

    def __init__(self, kind: TapeKind, sequencer: Sequencer, ledger: GapLedger, records: Records) -> None:
        self._kind = kind
        self._sequencer = sequencer
        self._ledger = ledger
        self._records = records
        self._price, self._quantity = Decimals(), Decimals()
        self._pending: list[Entry] = []

    def message(self, entry: Entry) -> None:
        """Takes one message, in order of receipt."""
        ident = self._kind.ident(entry.message)
        event_time = self._kind.event_time(entry.message)
        event_ms = None if event_time is None else event_time_ms(event_time)
        if self._sequencer.judge(ident, ident, event_ms, entry.recv_ns) is Verdict.DUPLICATE:
            self._records.counts[f"{self._kind.table} duplicates"] += 1
        else:
            self._pending.append(entry)

    def fetched(self, entry: Entry) -> None:
        """Takes one that was fetched afterwards, if a gap lacks it. How far the stream got does not change."""
        ident = self._kind.ident(entry.message)
        if self._ledger.fill(self._kind.table, ident, ident, entry.source):
            self._pending.append(entry)
        else:
            self._records.counts[f"{self._kind.table} duplicates"] += 1

    def settle(self) -> None:
        """Parses what waits; a message with a bad number goes into quarantine and leaves a gap of its own id."""
        entries, self._pending = self._pending, []
        if entries:
            self._take(entries)

    def _take(self, entries: list[Entry]) -> None:
        try:
            with all_or_none(self._price, self._quantity):
                columns = self._kind.columns(entries, self._price, self._quantity)
        except BadNumber:
            if len(entries) == 1:
                self._take_alone(entries[0])
                return
            middle = len(entries) // 2
            self._take(entries[:middle])
            self._take(entries[middle:])
        else:
            self._records.add(Batch(self._kind.table, columns))

    def _take_alone(self, entry: Entry) -> None:
        """One that does not fit with those before it: in decimals of its own, which later ones then start from."""
        price, quantity = Decimals(), Decimals()
        try:
            columns = self._kind.columns([entry], price, quantity)
        except BadNumber as error:
            ident, at = self._kind.ident(entry.message), entry.recv_ns
            self._records.quarantine(at, self._kind.table, entry.connection, str(error), entry.text)
            self._ledger.record(self._kind.table, "quarantine", ident, ident, at, at, at, fillable=False)
        else:
            self._price, self._quantity = price, quantity
            self._records.add(Batch(self._kind.table, columns))
