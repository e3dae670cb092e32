"""Tables of prices that the exchange states by the message."""

from __future__ import annotations

import pyarrow as pa

from storage_backends.schema.columns import (
    EARLIEST,
    EVENT_TIME,
    FLOAT,
    INT,
    MAYBE_EVENT_TIME,
    RECV_NS,
    TEXT,
    TRANSACT_TIME,
    column,
    maybe,
)
from storage_backends.schema.table import Table

BOOK_TICKER = Table(
    "book_ticker",
    pa.schema(
        [
            column("update_id", INT, "order book update id (u)"),
            column("bid_price", FLOAT, "quote currency"),
            column("bid_quantity", FLOAT, "base currency"),
            column("ask_price", FLOAT, "quote currency"),
            column("ask_quantity", FLOAT, "base currency"),
            MAYBE_EVENT_TIME,
            TRANSACT_TIME,
            RECV_NS,
        ]
    ),
    key=("update_id",),
    time="recv_ns",  # spot sends no time
    time_unit="ns",
    version=1,
    description="best bid and ask, each change",
    prefer=EARLIEST,
    key_spread_ns=60_000_000_000,
)

MARK_PRICE = Table(
    "mark_price",
    pa.schema(
        [
            EVENT_TIME,
            column("mark_price", FLOAT, "quote currency (p)"),
            maybe("mark_average", FLOAT, "quote currency, moving average of the mark price (ap)"),
            maybe("index_price", FLOAT, "quote currency (i)"),
            maybe("settle_price", FLOAT, "quote currency, estimated settlement (P)"),
            maybe("funding_rate", FLOAT, "fraction of the position for one funding interval (r)"),
            maybe("next_funding_time", INT, "ms, exchange clock (T); null where it says none"),
            RECV_NS,
        ]
    ),
    key=("event_time",),
    time="event_time",
    time_unit="ms",
    version=1,
    description="mark price, index and funding rate",
    prefer=EARLIEST,
)

LIQUIDATIONS = Table(
    "liquidations",
    pa.schema(
        [
            column("trade_time", INT, "ms, exchange clock: when it was filled (o.T)"),
            column("side", TEXT, "of the order: SELL closes a long, BUY a short"),
            EVENT_TIME,
            column("order_type", TEXT, "LIMIT, ... (o)"),
            column("time_in_force", TEXT, "IOC, ... (f)"),
            column("status", TEXT, "FILLED, ... (X)"),
            column("quantity", FLOAT, "base currency, ordered (q)"),
            column("price", FLOAT, "quote currency, of the order (p)"),
            column("average_price", FLOAT, "quote currency, of the fills (ap)"),
            column("last_quantity", FLOAT, "base currency, of the last fill (l)"),
            column("filled_quantity", FLOAT, "base currency, of all fills (z)"),
            RECV_NS,
        ]
    ),
    key=("trade_time", "side", "event_time"),
    time="trade_time",
    time_unit="ms",
    version=1,
    description="forced orders; at most the latest of a second, so a lower bound",
    prefer=EARLIEST,
)

OPEN_INTEREST = Table(
    "open_interest",
    pa.schema(
        [
            column("timestamp", INT, "ms, exchange clock: when it held"),
            column("open_interest", FLOAT, "base currency"),
            column("request_ns", INT, "ns, when it was asked for"),
            column("recv_ns", INT, "ns, when the answer was complete"),
        ]
    ),
    key=("timestamp",),
    time="timestamp",
    time_unit="ms",
    version=1,
    description="open interest, polled",
    prefer=EARLIEST,
)

FUNDING = Table(
    "funding",
    pa.schema(
        [
            column("funding_time", INT, "ms, exchange clock: when it was paid"),
            column("funding_rate", FLOAT, "fraction of the position"),
            maybe("mark_price", FLOAT, "quote currency, at that time; null where the exchange does not say"),
            column("recv_ns", INT, "ns, when it was fetched"),
        ]
    ),
    key=("funding_time",),
    time="funding_time",
    time_unit="ms",
    version=1,
    description="funding rates that were paid",
    prefer=EARLIEST,
)
