"""Rows of REST answers as tables to store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from collector.core.decimals import BadNumber, Decimals
from collector.core.decode import Undecodable, decode_rest_trade, rest_rows
from collector.core.entry import Entry
from collector.core.tapes import KINDS
from collector.errors import CollectorError
from collector.journal.arrow import to_arrow
from storage_backends.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collector.core.batch import Batch

_KINDS = {kind.table: kind for kind in KINDS}


class BadAnswer(CollectorError):
    """The exchange answered with something else than what was asked for."""


def trade_table(channel: str, symbol: str, body: bytes, recv_ns: int) -> tuple[pa.Table, int]:
    """The rows of a REST answer in the schema of `trades` or `raw_trades`, and how many could not be read.

    Raises:
        BadAnswer: it is no list of rows.
    """
    try:
        rows = rest_rows(body)
    except Undecodable as error:
        raise BadAnswer(f"{symbol}: the exchange's answer cannot be read: {error}") from error
    entries = []
    for row in rows:
        try:
            entries.append(Entry(recv_ns, 0, decode_rest_trade(channel, symbol, row), b"", "rest"))
        except Undecodable:
            continue
    batches = list(_batches(channel, entries))
    read = sum(batch.rows for batch in batches)
    schema = TABLES[channel].schema
    return to_arrow(batches) if batches else schema.empty_table(), len(rows) - read


def _batches(channel: str, entries: Sequence[Entry]) -> Iterator[Batch]:
    """Those whose numbers are sound, in decimals of their own."""
    from collector.core.batch import Batch

    if not entries:
        return
    try:
        yield Batch(channel, _KINDS[channel].columns(entries, Decimals(), Decimals()))
    except BadNumber:
        if len(entries) > 1:
            middle = len(entries) // 2
            yield from _batches(channel, entries[:middle])
            yield from _batches(channel, entries[middle:])


KLINE = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "trades",
    "taker_buy_volume",
    "taker_buy_quote_volume",
)
"""Columns of klines in the order of REST rows and of archive files; one more follows that means nothing."""


def kline_table(interval: str, columns: dict[str, Any], recv_ns: int, source: str) -> pa.Table:
    """Klines that are over, from columns named as `KLINE`. Their event time is their end: REST says no other."""
    count = len(columns["open_time"])
    schema = TABLES["klines"].schema
    filled = {
        **columns,
        "interval": [interval] * count,
        "event_time": columns["close_time"],
        "first_id": pa.nulls(count, pa.int64()),
        "last_id": pa.nulls(count, pa.int64()),
        "closed": [True] * count,
        "recv_ns": [recv_ns] * count,
        "source": [source] * count,
    }
    return pa.table({name: filled[name] for name in schema.names}).cast(schema)


def rest_klines(interval: str, body: bytes, recv_ns: int, before_ms: int) -> pa.Table:
    """The klines of a REST answer that were over at `before_ms`.

    Raises:
        BadAnswer: it is no list of klines.
    """
    try:
        rows = [row for row in msgspec.json.decode(body, type=list[list[Any]]) if row[6] < before_ms]
        columns: dict[str, Any] = {
            name: [float(row[at]) if isinstance(row[at], str) else row[at] for row in rows]
            for at, name in enumerate(KLINE)
        }
    except (msgspec.MsgspecError, IndexError, ValueError, TypeError) as error:
        raise BadAnswer(f"the exchange's answer holds no klines: {error}") from error
    return kline_table(interval, columns, recv_ns, "rest")


class _Funding(msgspec.Struct, rename="camel"):
    funding_time: int
    funding_rate: str
    mark_price: str | None = None


def rest_funding(body: bytes, recv_ns: int) -> pa.Table:
    """The funding rates of a REST answer.

    Raises:
        BadAnswer: it is no list of them.
    """
    try:
        rows = msgspec.json.decode(body, type=list[_Funding])
        columns = {
            "funding_time": [row.funding_time for row in rows],
            "funding_rate": [float(row.funding_rate) for row in rows],
            "mark_price": [float(row.mark_price) if row.mark_price else None for row in rows],
            "recv_ns": [recv_ns] * len(rows),
        }
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadAnswer(f"the exchange's answer holds no funding rates: {error}") from error
    return pa.table(columns, schema=TABLES["funding"].schema)
