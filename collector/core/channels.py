"""Names of streams: the exchange's channels, what the core calls them, and the tables that hold them.

The core and table `gaps` call a stream by its table, where that table holds no other. Klines of several intervals and
partial books of several depths share a table, so these keep the exchange's name: a gap in one says nothing of another.
"""

from __future__ import annotations

import re
from typing import Final

INTERVALS_MS: Final = {
    "1s": 1_000,
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
    "3d": 3 * 86_400_000,
    "1w": 7 * 86_400_000,
}
"""Kline intervals of a fixed length, all that the exchange has but months (`1M`)."""

_TABLE_NAMED: Final = {
    "depth": "depth",
    "aggTrade": "trades",
    "trade": "raw_trades",
    "bookTicker": "book_ticker",
    "markPrice": "mark_price",
    "forceOrder": "liquidations",
}
_EXCHANGE_NAMED: Final = {stream: channel for channel, stream in _TABLE_NAMED.items()}
_PARTIAL = re.compile(r"depth(5|10|20)")
_KLINE = re.compile(rf"kline_({'|'.join(INTERVALS_MS)}|1M)")

CHANNELS: Final = (*_TABLE_NAMED, "depth5", "depth10", "depth20", "kline_1m")
"""The exchange's channels that are collected; `kline_1m` stands for every interval that the exchange has."""


def is_channel(channel: str) -> bool:
    """Whether this is a channel of the exchange that is collected."""
    return channel in _TABLE_NAMED or is_partial(channel) or is_kline(channel)


def is_partial(channel: str) -> bool:
    """Whether the channel's messages are whole best levels."""
    return _PARTIAL.fullmatch(channel) is not None


def is_kline(channel: str) -> bool:
    """Whether the channel brings klines, of an interval that the exchange has."""
    return _KLINE.fullmatch(channel) is not None


def stream_of(channel: str) -> str:
    """What the core calls the exchange's `channel`."""
    return _TABLE_NAMED.get(channel, channel)


def channel_of(stream: str) -> str:
    """The exchange's channel of what the core calls `stream`."""
    return _EXCHANGE_NAMED.get(stream, stream)


def table_of(stream: str) -> str:
    """The table that holds what the core calls `stream`."""
    if stream == "depth":
        return "diffs"
    if is_partial(stream):
        return "partial_depth"
    return "klines" if is_kline(stream) else stream
