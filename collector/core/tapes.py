"""Streams of which each message is one row: deduplicated and checked by id, parsed by the second.

Of streams without ids that count, see `StampedSequencer`, two messages of one number must be equal; one that
contradicts the other is no repetition, and goes into quarantine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from collector.core.batch import Batch, Column
from collector.core.channels import table_of
from collector.core.decimals import BadNumber, Decimals, all_or_none, parse_column
from collector.core.decode import AggTrade, BookTicker, PartialDepth, Trade, event_time_ms
from collector.core.entry import Entry
from collector.core.gaps import GapLedger
from collector.core.records import Records
from collector.core.sequencer import Position, Sequencer, StampedSequencer, Verdict
from collector.core.stamped import kline_columns, kline_ident, liquidation_columns, mark_columns, partial_columns


class TapeKind(NamedTuple):
    """What tells one tape from another: its table, ids, and columns. `stamped`: see `StampedSequencer`."""

    table: str
    ident: Callable[[Any], int]
    event_time: Callable[[Any], int | None]
    columns: Callable[[Sequence[Entry], Decimals, Decimals], dict[str, Column]]
    contiguous: bool = True
    stamped: bool = False


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
"""Those whose ids count."""

_STAMPED = {
    "mark_price": TapeKind("mark_price", lambda m: m.E, lambda m: m.E, mark_columns, contiguous=False, stamped=True),
    "liquidations": TapeKind(
        "liquidations", lambda m: m.E, lambda m: m.E, liquidation_columns, contiguous=False, stamped=True
    ),
    "klines": TapeKind("klines", kline_ident, lambda m: m.E, kline_columns, contiguous=False, stamped=True),
    "partial_depth": TapeKind(
        "partial_depth", lambda m: m.u, lambda m: m.E, partial_columns, contiguous=False, stamped=True
    ),
}
_COUNTED = {kind.table: kind for kind in KINDS}


def kind_of(stream: str) -> TapeKind:
    """What kind of tape a stream is, by the core's name of it.

    Raises:
        KeyError: it is none.
    """
    return _COUNTED.get(stream) or _STAMPED[table_of(stream)]


_REMEMBERED = 256  # as many as the sequencer tells repetitions by


class Tape:
    """One such stream of one market."""

    def __init__(self, kind: TapeKind, sequencer: Sequencer, ledger: GapLedger, records: Records) -> None:
        self._kind = kind
        self._sequencer = sequencer
        self._ledger = ledger
        self._records = records
        self._price, self._quantity = Decimals(), Decimals()
        self._pending: list[Entry] = []
        self._told: dict[int, Any] = {}  # of a stamped stream: the last messages by their number

    def message(self, entry: Entry) -> None:
        """Takes one message, in order of receipt."""
        ident = self._kind.ident(entry.message)
        event_time = self._kind.event_time(entry.message)
        event_ms = None if event_time is None else event_time_ms(event_time)
        verdict = self._sequencer.judge(ident, ident, event_ms, entry.recv_ns)
        if verdict is Verdict.DUPLICATE:
            if self._kind.stamped and self._contradicts(ident, entry):
                self._quarantine(entry, "it contradicts the message before with the same number")
            else:
                self._records.counts[f"{self._kind.table} duplicates"] += 1
            return
        if self._kind.stamped:
            self._told[ident] = entry.message
            if len(self._told) > _REMEMBERED:
                del self._told[next(iter(self._told))]
            if verdict is Verdict.LATE:
                self._records.counts[f"{self._kind.table} late"] += 1
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
        if self._pending:
            self._take(self._pending)
            self._pending = []  # not before: a fault of ours on the way must not leave the position ahead of the rows

    def _contradicts(self, ident: int, entry: Entry) -> bool:
        known, now = self._told.get(ident), entry.message
        if isinstance(now, PartialDepth):  # the book of one update, sent again at another time
            return known is not None and (known.b, known.a) != (now.b, now.a)
        return known is not None and known != now

    def _quarantine(self, entry: Entry, reason: str) -> None:
        """Keeps what no row can hold; it leaves a gap of its own id, or of its moment where ids do not count."""
        stream, at = self._sequencer.stream, entry.recv_ns
        ident = None if self._kind.stamped else self._kind.ident(entry.message)
        self._records.quarantine(at, stream, entry.connection, reason, entry.text)
        self._ledger.record(stream, "quarantine", ident, ident, at, at, at, fillable=False)

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
            self._quarantine(entry, str(error))
        else:
            self._price, self._quantity = price, quantity
            self._records.add(Batch(self._kind.table, columns))


def open_tape(
    stream: str, ledger: GapLedger, records: Records, position: Position | None = None
) -> tuple[Sequencer, Tape]:
    """The tape of a stream, by the core's name of it, and its sequencer.

    Raises:
        KeyError: the stream is none of single rows.
    """
    kind = kind_of(stream)
    sequencer: Sequencer
    if kind.stamped:
        sequencer = StampedSequencer(stream, ledger, position)
    else:
        sequencer = Sequencer(stream, ledger, position, contiguous=kind.contiguous)
    return sequencer, Tape(kind, sequencer, ledger, records)
