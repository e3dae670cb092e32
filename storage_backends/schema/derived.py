"""Tables that are computed from the book, as it stood at an epoch or a grid point."""

from __future__ import annotations

import pyarrow as pa

from storage_backends.schema.columns import (
    BUCKETS,
    FLOAT,
    INT,
    LAST_UPDATE_ID,
    LEVELS,
    SMALL,
    SOUNDEST,
    TEXT,
    THAT_RECV_NS,
    VALID,
    column,
    maybe,
)
from storage_backends.schema.table import Table

DEPTH = Table(
    "depth",
    pa.schema(
        [
            column("epoch", INT, "s, the state after every input received before this second and none after"),
            maybe("best_bid", FLOAT, "quote currency; null on an empty or unknown side"),
            maybe("best_ask", FLOAT, "quote currency; null on an empty or unknown side"),
            maybe("price", FLOAT, "quote currency, the middle of best bid and best ask"),
            maybe("bid_buckets", BUCKETS, "quote currency by log-distance below ref; null beyond the known book"),
            maybe("ask_buckets", BUCKETS, "quote currency by log-distance above ref; null beyond the known book"),
            column("step_pct", FLOAT, "log-distance of one bucket, as a fraction (0.00002 = 0.2 bp)"),
            column("num_steps", SMALL, "buckets a side"),
            column("ref", TEXT, "where distances start: best (each side's own best price) or mid"),
            maybe("bid_coverage", pa.float32(), "known log-distance / (step_pct * num_steps), at most 1"),
            maybe("ask_coverage", pa.float32(), "known log-distance / (step_pct * num_steps), at most 1"),
            LAST_UPDATE_ID,
            maybe("event_time", INT, "ms, exchange clock, of that message"),
            THAT_RECV_NS,
            maybe("book_age_ms", INT, "ms from that receipt to the epoch"),
            VALID,
        ]
    ),
    key=("epoch",),
    time="epoch",
    time_unit="s",
    version=1,
    description="the book in log-distance buckets, one row a second",
    prefer=SOUNDEST,
)

BOOKS = Table(
    "books",
    pa.schema(
        [
            column("timestamp", INT, "ms, the state after every input received before this instant and none after"),
            maybe("best_bid_price", FLOAT, "quote currency; null on an empty or unknown side"),
            maybe("best_ask_price", FLOAT, "quote currency; null on an empty or unknown side"),
            maybe("mid_price", FLOAT, "quote currency, the middle of best bid and best ask"),
            maybe("spread", FLOAT, "quote currency, best ask minus best bid"),
            maybe("bid_volume_top", FLOAT, "base currency, sum of the bid levels in this row"),
            maybe("ask_volume_top", FLOAT, "base currency, sum of the ask levels in this row"),
            maybe("volume_imbalance", FLOAT, "(bid - ask) / (bid + ask) of these sums; null when both are 0"),
            column("bid_price", LEVELS, "quote currency, best first; shorter where the book is known no deeper"),
            column("bid_quantity", LEVELS, "base currency, one a bid price"),
            column("ask_price", LEVELS, "quote currency, best first; shorter where the book is known no deeper"),
            column("ask_quantity", LEVELS, "base currency, one an ask price"),
            column("depth", SMALL, "levels a side that were wanted"),
            column("grid_ms", SMALL, "ms between grid points"),
            LAST_UPDATE_ID,
            THAT_RECV_NS,
            VALID,
        ]
    ),
    key=("timestamp",),
    time="timestamp",
    time_unit="ms",
    version=1,
    description="the best levels of the maintained book on a time grid",
    prefer=SOUNDEST,
)

FORECASTS = Table(
    "forecasts",
    pa.schema(
        [
            column(
                "timestamp", INT, "ms, the time of the row that the model read last; it knew nothing received later"
            ),
            column("model", TEXT, "the first 16 digits of the SHA-256 of the model's file"),
            column("target", TEXT, "the price column that is forecast"),
            column("price", FLOAT, "quote currency, its value in that row"),
            column("horizon_ms", LEVELS, "ms, how far ahead of timestamp"),
            column("log_return_bp", LEVELS, "basis points of log-return from price, one a horizon"),
            column("forecast_price", LEVELS, "quote currency, price times exp(log_return_bp / 10000)"),
        ]
    ),
    key=("timestamp", "model", "target"),
    time="timestamp",
    time_unit="ms",
    version=1,
    description="what a trained model (`--model`) forecasts; no row while it has not seen enough since a gap",
)


def _tick_levels(side: str, rounding: str) -> list[pa.Field]:
    return [
        column(f"{side}_price", LEVELS, f"quote currency, multiples of tick, best first; {rounding}"),
        column(f"{side}_quantity", LEVELS, "base currency in that level"),
        column(f"{side}_cum_quantity", LEVELS, "base currency in that level and all better ones"),
        column(f"{side}_cum_notional", LEVELS, "quote currency, exact sum of price times quantity, likewise"),
    ]


MULTITICK = Table(
    "multitick",
    pa.schema(
        [
            column("epoch", INT, "s, the state after every input received before this second and none after"),
            column("tick", FLOAT, "quote currency, width of a price level"),
            maybe("best_bid", FLOAT, "quote currency, of the book itself; null on an empty or unknown side"),
            maybe("best_ask", FLOAT, "quote currency, of the book itself; null on an empty or unknown side"),
            maybe("spread", FLOAT, "quote currency, best ask minus best bid"),
            maybe("spread_pct", FLOAT, "percent of the mid price"),
            *_tick_levels("bid", "bids are rounded down"),
            *_tick_levels("ask", "see ask_rounding"),
            maybe(
                "imbalance",
                FLOAT,
                "(bid - ask) / (bid + ask) of the quantities in these levels; null where a side has none",
            ),
            maybe("depth_ratio", FLOAT, "bid / ask of the quantities in these levels; null where a side has none"),
            maybe("bid_coverage", pa.float32(), "part of the wanted price range that the book is known in, at most 1"),
            maybe("ask_coverage", pa.float32(), "part of the wanted price range that the book is known in, at most 1"),
            column("num_levels", SMALL, "levels a side that were wanted"),
            column("ask_rounding", TEXT, "ceil, or floor as older collectors did"),
            maybe("recv_ns", INT, "ns, receipt of the last depth message in the book"),
            VALID,
        ]
    ),
    key=("epoch", "tick"),
    time="epoch",
    time_unit="s",
    version=1,
    description="the book in price levels of several widths",
    prefer=SOUNDEST,
)
