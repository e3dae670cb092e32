"""Single trades of exchanges whose trade ids need not be numbers, nor count without holes.

Rows of `raw_trades`. Trades are told apart by the exchange's id as text. `trade_id`, the key in tables, is that id
where it is a plain integer. Otherwise it is made of the trade's time and a checksum of the text, so that it rises with
time and every collector makes the same one, and `venue_id` holds the text. Where two trades of one millisecond would
share one, the later one takes the next that is free.
"""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple
from zlib import crc32

import numpy as np

from collector.core.batch import Batch
from collector.core.decimals import BadNumber, Decimals, parse_column
from collector.core.gaps import GapLedger
from collector.core.records import Records
from collector.core.sequencer import Sequencer

STREAM = "raw_trades"
_LARGEST = 2**63 - 1
_CHECKSUM_BITS = 20  # under 43 bits of milliseconds: enough until the year 2248
_REMEMBERED = 20_000  # an exchange that repeats trades after a reconnect sends a thousand at most


class VenueTrade(NamedTuple):
    """One trade with its price and quantity as text, and the text it came in."""

    recv_ns: int
    connection: int
    ident: str
    timestamp_ms: int
    price: str
    quantity: str
    is_buyer_maker: bool
    text: str | bytes


class UncountedSequencer(Sequencer):
    """A stream whose ids say nothing about what was missed: its gaps have times only."""

    def lost(self, reason: str, detected_ns: int) -> None:
        if self.position.recv_ns:
            self._ledger.open(self.stream, reason, None, self.position.recv_ns, detected_ns)

    def seen(self, recv_ns: int) -> None:
        """The stream delivers: an open gap ends here."""
        self._ledger.close(self.stream, None, recv_ns)
        self.position.recv_ns = recv_ns


def trade_key(ident: str, timestamp_ms: int, taken: Container[int] = ()) -> tuple[int, str | None]:
    """`trade_id`, none of `taken` if it is made here, and `venue_id` of a trade."""
    if ident.isascii() and ident.isdigit() and (ident == "0" or ident[0] != "0") and int(ident) <= _LARGEST:
        return int(ident), None
    checksum = crc32(ident.encode("utf-8", "surrogatepass"))
    while True:
        number = timestamp_ms << _CHECKSUM_BITS | checksum & ((1 << _CHECKSUM_BITS) - 1)
        if number not in taken:
            return number, ident
        checksum += 1


class VenueTape:
    """The trades of one market: each once, parsed by the second."""

    def __init__(self, sequencer: UncountedSequencer, ledger: GapLedger, records: Records) -> None:
        self._sequencer = sequencer
        self._ledger = ledger
        self._records = records
        self._pending: list[tuple[VenueTrade, int, str | None]] = []
        self._seen: dict[str, int] = {}
        self._taken: set[int] = set()

    def take(self, trade: VenueTrade) -> None:
        """Takes one trade, in order of receipt."""
        self._sequencer.seen(trade.recv_ns)
        if trade.ident in self._seen:
            self._records.counts[f"{STREAM} duplicates"] += 1
            return
        number, text = trade_key(trade.ident, trade.timestamp_ms, self._taken)
        self._seen[trade.ident] = number
        self._taken.add(number)
        if len(self._seen) > _REMEMBERED:
            self._taken.discard(self._seen.pop(next(iter(self._seen))))
        self._pending.append((trade, number, text))

    def settle(self) -> None:
        """Parses what waits; a trade with a bad number goes into quarantine and leaves a gap."""
        if self._pending:
            self._write(self._pending)
            self._pending = []  # not before: a fault of ours on the way must not leave the position ahead of the rows

    def _write(self, entries: list[tuple[VenueTrade, int, str | None]]) -> None:
        trades = [trade for trade, _, _ in entries]
        try:
            # Decimals of their own: an absurd trade must not spoil those that follow.
            price = parse_column([trade.price for trade in trades], Decimals())
            quantity = parse_column([trade.quantity for trade in trades], Decimals())
        except BadNumber as error:
            if len(trades) > 1:
                middle = len(trades) // 2
                self._write(entries[:middle])
                self._write(entries[middle:])
                return
            (trade,) = trades
            at = trade.recv_ns
            self._records.quarantine(at, STREAM, trade.connection, str(error), trade.text)
            self._ledger.record(STREAM, "quarantine", None, None, at, at, at)
            return
        self._records.add(
            Batch(
                STREAM,
                {
                    "trade_id": np.array([number for _, number, _ in entries], np.int64),
                    "order_type": [None] * len(trades),
                    "price": price,
                    "quantity": quantity,
                    "is_buyer_maker": [trade.is_buyer_maker for trade in trades],
                    "timestamp": [trade.timestamp_ms for trade in trades],
                    "recv_ns": [trade.recv_ns for trade in trades],
                    "source": ["ws"] * len(trades),
                    "venue_id": [text for _, _, text in entries],
                },
            )
        )
