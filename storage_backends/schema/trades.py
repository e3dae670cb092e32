"""Tables of trades and of what is made of them."""

from __future__ import annotations

import pyarrow as pa

from storage_backends.schema.columns import EARLIEST, EVENT_TIME, FLOAT, INT, RECV_NS, SOURCE, TEXT, column, maybe
from storage_backends.schema.table import Table

TRADES = Table(
    "trades",
    pa.schema(
        [
            column("agg_trade_id", INT, "aggregate trade id (a)"),
            column("first_id", INT, "first trade id in it (f)"),
            column("last_id", INT, "last trade id in it (l)"),
            column("price", FLOAT, "quote currency"),
            column("quantity", FLOAT, "base currency"),
            maybe("normal_quantity", FLOAT, "base currency without price-improvement orders (nq); null if unsaid"),
            column("is_buyer_maker", pa.bool_(), "true: the seller took liquidity"),
            column("timestamp", INT, "ms, exchange clock: when it was made"),
            RECV_NS,
            SOURCE,
        ]
    ),
    key=("agg_trade_id",),
    time="timestamp",
    time_unit="ms",
    version=1,
    description="aggregate trades",
    prefer=EARLIEST,
)

RAW_TRADES = Table(
    "raw_trades",
    pa.schema(
        [
            column("trade_id", INT, "trade id (t); where the exchange has no such number, see venue_id"),
            column("price", FLOAT, "quote currency"),
            column("quantity", FLOAT, "base currency"),
            column("is_buyer_maker", pa.bool_(), "true: the seller took liquidity"),
            column("timestamp", INT, "ms, exchange clock: when it was made"),
            maybe("order_type", TEXT, "futures: MARKET, INSURANCE_FUND, ... (X); null on spot"),
            RECV_NS,
            SOURCE,
            maybe(
                "venue_id",
                TEXT,
                "the exchange's id where it is no integer; trade_id is then timestamp << 20 plus a checksum of it",
            ),
        ]
    ),
    key=("trade_id",),
    time="timestamp",
    time_unit="ms",
    version=2,
    description="single trades",
    prefer=EARLIEST,
)

BARS = Table(
    "bars",
    pa.schema(
        [
            column("open_time", INT, "ms, exchange clock: first millisecond of the bar"),
            column("interval_ms", INT, "ms that the bar covers"),
            column("interval", TEXT, "the same for people: 5s, 15s, 1m, ..."),
            maybe("open", FLOAT, "quote currency; null before the first trade ever seen"),
            maybe("high", FLOAT, "quote currency"),
            maybe("low", FLOAT, "quote currency"),
            maybe("close", FLOAT, "quote currency; of an empty bar the close before it"),
            column("volume", FLOAT, "base currency"),
            column("quote_volume", FLOAT, "quote currency, sum of price times quantity"),
            column("buy_volume", FLOAT, "base currency, taker bought"),
            column("sell_volume", FLOAT, "base currency, taker sold"),
            column("delta", FLOAT, "base currency, buy_volume minus sell_volume"),
            column("trades", INT, "trades; an aggTrade counts as all it holds"),
            column("empty", pa.bool_(), "true: no trade in it; prices are the close before"),
            column("late_trades", INT, "trades of earlier bars that came while this one was open; in no bar"),
            column("complete", pa.bool_(), "false: trades may be missing in it, as known when written"),
            column("recv_ns", INT, "ns, when the bar was closed"),
        ]
    ),
    key=("open_time", "interval_ms"),
    time="open_time",
    time_unit="ms",
    version=1,
    description="trades by interval of trade time",
    prefer=(("complete", "descending"), ("trades", "descending"), ("recv_ns", "ascending")),
)

KLINES = Table(
    "klines",
    pa.schema(
        [
            column("open_time", INT, "ms, exchange clock: first millisecond of the kline (t)"),
            column("interval", TEXT, "as the exchange names it: 1m, 1h, ..."),
            EVENT_TIME,
            column("close_time", INT, "ms, exchange clock: last millisecond of the kline (T)"),
            column("open", FLOAT, "quote currency (o)"),
            column("high", FLOAT, "quote currency (h)"),
            column("low", FLOAT, "quote currency (l)"),
            column("close", FLOAT, "quote currency (c)"),
            column("volume", FLOAT, "base currency, the nearest float64 (v)"),
            column("quote_volume", FLOAT, "quote currency, the nearest float64 (q)"),
            column("taker_buy_volume", FLOAT, "base currency, the nearest float64 (V)"),
            column("taker_buy_quote_volume", FLOAT, "quote currency, the nearest float64 (Q)"),
            column("trades", INT, "number of trades (n)"),
            maybe("first_id", INT, "first trade id (f); null where there was none, or by REST"),
            maybe("last_id", INT, "last trade id (L); null where there was none, or by REST"),
            column("closed", pa.bool_(), "whether it is final (x)"),
            RECV_NS,
            SOURCE,
        ]
    ),
    # Each message is kept: the last one of a kline that is not closed yet is all that was known then. By REST there is
    # no event time; it is then the kline's end.
    key=("open_time", "interval", "event_time"),
    time="open_time",
    time_unit="ms",
    version=1,
    description="klines as the exchange sends them",
    prefer=EARLIEST,
)
