"""What REST was asked for at an interval: whole books and open interest. Each answer is one row at once."""

from __future__ import annotations

import msgspec

from collector.core.batch import Batch, Column
from collector.core.decimals import BadNumber, Decimals, parse_column, parse_levels
from collector.core.decode import Stamp, Undecodable, decode_rest_book, event_time_ms
from collector.core.diffs import level_columns
from collector.core.gaps import GapLedger
from collector.core.inputs import Polled
from collector.core.records import Records

TABLES = {"book": "polled_books", "open_interest": "open_interest"}


class _OpenInterest(msgspec.Struct, rename="camel"):
    symbol: str
    open_interest: str
    time: Stamp


_OPEN_INTEREST = msgspec.json.Decoder(_OpenInterest)


class Polls:
    """The answers of one market. One that repeats the last is a duplicate: an exchange keeps answers for a while."""

    def __init__(self, records: Records, ledger: GapLedger) -> None:
        self._records = records
        self._ledger = ledger
        self._last: dict[str, tuple[int, int]] = {}

    def take(self, recv_ns: int, polled: Polled, symbol: str) -> None:
        """Makes a row; what is no answer goes into quarantine."""
        table = TABLES[polled.what]
        try:
            if polled.what == "book":
                key, batch = _book(recv_ns, polled)
            else:
                key, batch = _open_interest(recv_ns, polled, symbol)
        except (Undecodable, BadNumber, msgspec.DecodeError, UnicodeError, RecursionError) as error:
            self._records.quarantine(recv_ns, table, None, str(error), polled.text)
            self._ledger.record(table, "quarantine", None, None, polled.requested_ns, recv_ns, recv_ns)
            return
        if self._last.get(table) == key:
            self._records.counts[f"{table} duplicates"] += 1
            return
        self._last[table] = key
        self._records.add(batch)


def _book(recv_ns: int, polled: Polled) -> tuple[tuple[int, int], Batch]:
    book = decode_rest_book(polled.text)
    price, quantity = Decimals(), Decimals()  # of its own: an absurd book must not spoil those that follow
    bids, asks = parse_levels([book.bids], [book.asks], price, quantity)
    columns: dict[str, Column] = {
        "last_update_id": [book.lastUpdateId],
        "limit": [polled.limit],
        **level_columns(bids, asks, price.places or 0, quantity.places or 0),
        "event_time": [None if book.E is None else event_time_ms(book.E)],
        "transact_time": [None if book.T is None else event_time_ms(book.T)],
        "request_ns": [polled.requested_ns],
        "recv_ns": [recv_ns],
    }
    return (book.lastUpdateId, polled.limit), Batch("polled_books", columns)


def _open_interest(recv_ns: int, polled: Polled, symbol: str) -> tuple[tuple[int, int], Batch]:
    answer = _OPEN_INTEREST.decode(polled.text)
    if answer.symbol != symbol:
        raise Undecodable(f"of another market, {answer.symbol[:40]!r}")
    at_ms = event_time_ms(answer.time)
    columns: dict[str, Column] = {
        "timestamp": [at_ms],
        "open_interest": parse_column([answer.open_interest], Decimals()),
        "request_ns": [polled.requested_ns],
        "recv_ns": [recv_ns],
    }
    return (at_ms, 0), Batch("open_interest", columns)
